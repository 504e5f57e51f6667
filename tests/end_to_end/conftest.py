"""The operator as a process of its own, on a real nats-server and either Kubernetes API."""

import pathlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from natsscaler.demo.nats_server import NatsServer
from tests.conftest import KubeApi
from tests.support.crew import Crew
from tests.support.stage import Stage


@pytest.fixture
async def stage(kube_api: KubeApi, nats_server: NatsServer, tmp_path: pathlib.Path) -> AsyncIterator[Stage]:
    """A stage with its stream; the operator is started by the test."""
    stage = Stage(kube_api, nats_server, tmp_path)
    await stage.create_stream()
    yield stage
    await stage.stop()


@pytest.fixture
async def crew(stage: Stage, kube_api: KubeApi, tmp_path: pathlib.Path) -> AsyncIterator[Crew]:
    """Several operators on the stage, one of which leads at a time."""
    async with AsyncExitStack() as stack:
        made = Crew(kube_api, stage, tmp_path, stack)
        yield made
        await stage.stop()
    made.assert_one_wrote_at_a_time()
