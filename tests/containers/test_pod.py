"""The operator's image, run as a pod of the real control plane runs it."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.containers.conftest import Container, Images, docker
from tests.install.pod.conftest import Install, World

FIVE, OK = 5, 200
pytestmark = [pytest.mark.containers, pytest.mark.control_plane]


@pytest.mark.parametrize("installed", ["kustomize", "chart"])
async def test_the_image_scales_on_a_real_control_plane_as_its_pod_runs_it(
    images: Images,
    world: World,
    run_container: Callable[..., Container],
    request: pytest.FixtureRequest,
    installed: str,
) -> None:
    install: Install = request.getfixturevalue(installed)
    install()
    await world.burst()
    (pod,) = await world.made()
    await asyncio.to_thread(pod.mount)
    container = await asyncio.to_thread(run_container, *pod.container(images.operator))
    deadline = time.monotonic() + 60
    while await world.stage.replicas() != FIVE:
        assert time.monotonic() < deadline, container.logs
        await asyncio.sleep(0.1)
    docker("exec", container.name, "natsscaler", "explain", f"{world.stage.namespace}/my-app-scaling")
    assert await pod.ready() == OK
    container.stop()
    assert container.exit_status == 0, container.logs
