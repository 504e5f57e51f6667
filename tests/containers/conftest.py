"""A container engine, and the images built by `make docker-build`."""

import asyncio
import pathlib
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.install.pod.conftest import chart, kustomize, pod_cluster, pytest_generate_tests, python, world

__all__ = ["chart", "kustomize", "pod_cluster", "pytest_generate_tests", "python", "world"]
ROOT = pathlib.Path(__file__).parents[2]


def docker(*arguments: str) -> str:
    """Return what docker prints, log lines on stderr too; fails the test if docker fails."""
    done = subprocess.run(
        ["docker", *arguments], text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Images:
    operator: str
    examples: str


@pytest.fixture(scope="session")
def images() -> Images:
    """The images of this checkout."""
    made = Images("natsscaler:test", "natsscaler-examples:test")
    names = [f"IMG={made.operator}", f"EXAMPLES_IMG={made.examples}"]
    done = subprocess.run(
        ["make", "docker-build", *names], cwd=ROOT, text=True, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@dataclass(frozen=True, slots=True)
class Container:
    """A container in the background; what it logs can be read after it has ended too."""

    name: str

    def inspect(self, template: str) -> str:
        return docker("inspect", "--format", template, self.name)

    @property
    def logs(self) -> str:
        return docker("logs", self.name)

    @property
    def exit_status(self) -> int:
        return int(self.inspect("{{.State.ExitCode}}"))

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after 5 s."""
        docker("stop", "--time", "5", self.name)

    async def becomes(self, look: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until looking says yes; the container's log is shown if it never does."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(look):
            assert time.monotonic() < deadline, self.logs
            await asyncio.sleep(0.1)


@pytest.fixture
def run_container() -> Iterator[Callable[..., Container]]:
    """Start containers as `docker run` would, with its arguments; the end of the test removes them."""
    started: list[Container] = []

    def run(*arguments: str) -> Container:
        container = Container(f"natsscaler-test-{uuid.uuid4().hex[:8]}")
        started.append(container)
        docker("run", "--detach", "--name", container.name, *arguments)
        return container

    yield run
    for container in started:
        subprocess.run(["docker", "rm", "--force", container.name], check=False, capture_output=True)
