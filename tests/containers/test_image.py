"""The operator's image, built and run by a container engine."""

import json
import pathlib
import subprocess
from collections.abc import Callable

import httpx
import pytest

from natsscaler import __version__
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.ports import free_port
from tests.containers.conftest import ROOT, Container, Images, docker

pytestmark = pytest.mark.containers

RunContainer = Callable[..., Container]
KUBECONFIG = "/etc/natsscaler/kubeconfig"
LOCKED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
UNCOMPILED = """
import os, sys, natsscaler.app.cli, natsscaler.app.healthcheck
cached = [getattr(module, "__cached__", None) for module in sys.modules.values()]
print([path for path in cached if path and not os.path.exists(path)])
"""


def python(images: Images, code: str) -> str:
    return docker("run", "--rm", *LOCKED, "--entrypoint", "python", images.operator, "-c", code)


@pytest.fixture
def operator(
    images: Images, embedded: EmbeddedKubernetes, run_container: RunContainer, tmp_path: pathlib.Path
) -> Callable[..., Container]:
    """Start the image on the embedded Kubernetes API, with its probes at the port given."""
    del embedded
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.chmod(0o644)

    def start(port: int, *options: str) -> Container:
        settings = {
            "KUBECONFIG": KUBECONFIG,
            "NATSSCALER_PROBE_PORT": str(port),
            "NATSSCALER_METRICS_PORT": "0",
            "NATSSCALER_ACTIVITY_PORT": "0",
        }
        environment = [f"--env={name}={value}" for name, value in settings.items()]
        volume = f"--volume={kubeconfig}:{KUBECONFIG}:ro"
        return run_container(
            "--network=host", "--health-interval=1s", volume, *environment, *options, images.operator
        )

    return start


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


async def test_runs_locked_down_and_is_gone_within_5_s_of_sigterm(operator: Callable[..., Container]) -> None:
    port = free_port()
    container = operator(port, *LOCKED)
    await container.becomes(lambda: ready(port))
    await container.becomes(lambda: container.inspect("{{.State.Health.Status}}") == "healthy")
    container.stop()
    assert container.exit_status == 0, container.logs


async def test_writes_no_file(operator: Callable[..., Container]) -> None:
    port = free_port()
    container = operator(port)
    await container.becomes(lambda: ready(port))
    container.stop()
    mounts = ["A /etc/natsscaler", "A /etc/natsscaler/kubeconfig", "C /etc"]
    assert sorted(docker("diff", container.name).splitlines()) == mounts


async def test_sigterm_counts_while_the_api_server_cannot_be_reached(
    operator: Callable[..., Container], embedded: EmbeddedKubernetes
) -> None:
    await embedded.stop()
    port = free_port()
    container = operator(port, *LOCKED)
    await container.becomes(lambda: "starts" in container.logs)
    container.stop()
    assert container.exit_status == 0, container.logs


async def test_sigterm_counts_during_the_imports(
    images: Images, run_container: RunContainer, tmp_path: pathlib.Path
) -> None:
    module = tmp_path / "cli.py"
    module.write_text("import time\nprint('importing')\ntime.sleep(600)\n")
    package = f"{python(images, PACKAGES)}/natsscaler"
    container = run_container(
        *(f"--volume={module}:{package}/app/cli.py:ro", f"--tmpfs={package}/app/__pycache__"),
        *LOCKED,
        images.operator,
    )
    await container.becomes(lambda: "importing" in container.logs)
    container.stop()
    assert container.exit_status == 0


def test_says_what_it_is(images: Images) -> None:
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", images.operator))
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["natsscaler"]
    assert config["Cmd"] == ["run"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "natsscaler"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert docker("run", "--rm", *LOCKED, images.operator, "version") == __version__


@pytest.mark.parametrize("interpreter", ["/opt/natsscaler/bin/python", "/usr/local/bin/python"])
def test_has_no_package_manager(images: Images, interpreter: str) -> None:
    code = "from importlib.util import find_spec; print(find_spec('pip'), find_spec('ensurepip'))"
    found = docker("run", "--rm", *LOCKED, "--entrypoint", interpreter, images.operator, "-c", code)
    assert found == "None None"


def test_has_no_installer_and_no_compiler(images: Images) -> None:
    programs = ["pip", "pip3", "gcc", "cc", "make"]
    code = f"import shutil; print([program for program in {programs} if shutil.which(program)])"
    assert python(images, code) == "[]"


def test_compiles_nothing_at_run_time(images: Images) -> None:
    assert python(images, UNCOMPILED) == "[]"


def test_the_operator_s_image_has_no_examples(images: Images) -> None:
    code = "import os; print(os.path.exists('/opt/examples'))"
    assert python(images, code) == "False"
    done = subprocess.run(
        ["docker", "run", "--rm", images.examples, "publisher.py", "--help"], check=True, capture_output=True
    )
    assert b"--burst" in done.stdout


def test_all_that_the_tests_need_is_in_their_image() -> None:
    command = ["make", "test-docker", "PYTEST_FLAGS=--collect-only --quiet"]
    done = subprocess.run(command, cwd=ROOT, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
