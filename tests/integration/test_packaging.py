"""What `make build` makes: it installs and runs where there is no checkout."""

import asyncio
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv

import httpx
import pytest

from natsscaler import __version__
from natsscaler.demo.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
RETRIES = 8
"""Each waits twice as long as the one before: half a minute in all."""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(distributions: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The bin folder of a fresh environment with the wheel; its dependencies are this environment's own."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home)
    (wheel,) = distributions.glob("*.whl")
    python = home / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin"


@pytest.fixture
def elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)


def test_names_carry_the_version_of_the_package(distributions: pathlib.Path) -> None:
    assert sorted(path.name for path in distributions.iterdir()) == [
        f"natsscaler-{__version__}-py3-none-any.whl",
        f"natsscaler-{__version__}.tar.gz",
    ]


def test_sdist_has_what_is_needed_to_check_and_install(distributions: pathlib.Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "constraints.txt", "tests/conftest.py"} <= names
    assert {"config/crd/bases/scaling.example.com_scalingrules.yaml", "Dockerfile"} <= names


@pytest.mark.usefixtures("elsewhere")
def test_installed_command_runs_outside_the_checkout(installed: pathlib.Path) -> None:
    def natsscaler(*arguments: str) -> str:
        return subprocess.run(
            [installed / "natsscaler", *arguments], check=True, capture_output=True, text=True
        ).stdout

    assert natsscaler("version").strip() == __version__
    assert "--kubeconfig" in natsscaler("run", "--help")
    plugin = subprocess.check_output([installed / "kubectl-natsscaler", "explain", "--help"], text=True)
    assert plugin.startswith("usage: kubectl natsscaler explain")
    where = "import natsscaler; print(natsscaler.__file__)"
    imported = subprocess.check_output([installed / "python", "-c", where], text=True)
    assert imported.startswith(str(installed.parent))


@pytest.mark.usefixtures("elsewhere", "embedded")
async def test_installed_operator_serves_its_page(installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if "KUBERNETES" not in name}
    operator = await asyncio.create_subprocess_exec(
        *(installed / "natsscaler", "run", "--kubeconfig", tmp_path / "kubeconfig", "--host", "127.0.0.1"),
        *("--metrics-port", "0", "--probe-port", "0", "--activity-port", str(port)),
        env=environment,
    )
    try:
        transport = httpx.AsyncHTTPTransport(retries=RETRIES)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
            page = await client.get("/")
            linked = re.findall(r'(?:href|src)="([\w./-]+)"', page.text)
            names = {pathlib.PurePath(path).name for path in linked}
            assert {"page.css", "main.js", "openapi.json"} <= names, page.text
            for name in linked:
                assert (await client.get(name)).is_success, name
    finally:
        operator.terminate()
        assert await operator.wait() == 0
