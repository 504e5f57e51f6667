"""The reactor on a real nats-server with somebody who uses it, and the operator's ports."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from tests.support.names import resolve_by
from tests.support.nats_cluster import NatsCluster
from tests.support.serving import Running, free_settings, serve
from tests.support.world import NAME, World, create_consumer, create_stream, user, world


@pytest.fixture
async def here(nats_server: NatsServer) -> AsyncIterator[World]:
    async with world(nats_server) as made:
        yield made


@pytest.fixture
async def orders(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A client; there is a stream with the worker's consumer."""
    async with user(nats_server.url) as client:
        await create_stream(client)
        await create_consumer(client)
        yield client


@pytest.fixture
async def reader() -> AsyncIterator[Monitoring]:
    made = Monitoring(AllowList(in_cluster=False))
    yield made
    await made.close()


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have NAME stand for the addresses that a test puts into this list."""
    listed: list[str] = []
    resolve_by(monkeypatch, lambda host: list(listed) if host == NAME else None)
    return listed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsCluster]:
    """Three nodes for all tests of a file; each test has them fixed first."""
    made = NatsCluster(tmp_path_factory.mktemp("cluster"))
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with serve(free_settings()) as served:
        yield served
