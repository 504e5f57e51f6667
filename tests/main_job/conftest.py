"""The operator as a process of its own, on a real nats-server and either Kubernetes API."""

import pathlib
from collections.abc import AsyncIterator

import pytest

from natsscaler.demo.nats_server import NatsServer
from tests.conftest import KubeApi
from tests.main_job.stage import Stage


@pytest.fixture
async def stage(kube_api: KubeApi, nats_server: NatsServer, tmp_path: pathlib.Path) -> AsyncIterator[Stage]:
    """A stage with its stream; the operator is started by the test."""
    stage = Stage(kube_api, nats_server, tmp_path)
    await stage.create_stream()
    yield stage
    await stage.stop()
