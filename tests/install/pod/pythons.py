"""The Pythons that the operator runs on in a pod: the oldest supported and the image's, if they are here."""

import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[3]
PREFIXES = "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"


def versions() -> list[str]:
    """Name the oldest Python that is supported and that of the image."""
    oldest = re.search(r'requires-python = ">=([\d.]+)', (ROOT / "pyproject.toml").read_text())
    image = re.search(r"PYTHON_IMAGE=python:([\d.]+)", (ROOT / "Dockerfile").read_text())
    assert oldest
    assert image
    return [oldest[1], image[1]]


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter that has all that natsscaler needs."""

    version: str
    program: pathlib.Path
    directories: tuple[pathlib.Path, ...]
    """Where the interpreter and what is installed for it are."""


@functools.cache
def find(version: str) -> pathlib.Path | None:
    """Find an interpreter that starts: this one, one on the PATH, or one of pyenv's."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    name = f"python{version}"
    installed = map(str, sorted(pyenv.glob(f"{version}.*/bin/{name}")))
    candidates = [sys.executable, shutil.which(name), *installed]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", PREFIXES], text=True, check=False, capture_output=True)
        if done.returncode == 0 and done.stdout.split()[0] == version:
            return pathlib.Path(candidate)
    return None


def prepare(version: str) -> Python:
    """Give the interpreter, with a virtual environment that is made once for each set of dependencies."""
    found = find(version)
    assert found, f"there is no Python {version} here"
    if found != pathlib.Path(sys.executable):
        found = _environment(version, found)
    told = subprocess.run([found, "-c", PREFIXES], text=True, check=True, capture_output=True).stdout.split()
    return Python(version, found, (found.parents[1], pathlib.Path(told[1])))


def _environment(version: str, python: pathlib.Path) -> pathlib.Path:
    needs = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in needs)).hexdigest()[:12]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "natsscaler"
    directory = cache / f"python{version}-{digest}"
    made = directory / "bin/python"
    if not (directory / "complete").exists():
        constraint = ("--quiet", "--constraint", str(ROOT / "constraints.txt"))
        subprocess.run([python, "-m", "venv", "--clear", directory], check=True)
        subprocess.run([made, "-m", "pip", "install", *constraint, str(ROOT)], check=True)
        # the source is what runs, not a copy of it
        subprocess.run([made, "-m", "pip", "uninstall", "--quiet", "--yes", "natsscaler"], check=True)
        (directory / "complete").touch()
    return made
