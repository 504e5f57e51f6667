"""Reads by a host name whose addresses change: who is there now is believed, and who they name."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from natsscaler.core.access import Access
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.core.jetstream.documents import ClusterInfo, Jsz, MetaCluster, Raft, Varz
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port, free_ports
from natsscaler.nats import nodes
from natsscaler.nats.monitoring import Monitoring
from tests.support.factories import account, consumer, peer, rule, stream
from tests.support.nats_cluster import NatsCluster, eventually
from tests.support.world import NAME, create_consumer, create_stream, publish, user

RULE = rule(subject="orders.processing")
pytestmark = pytest.mark.timeout(120)


async def fill(server: NatsServer, messages: int, replicas: int = 1) -> None:
    async with user(server.url) as client:
        await create_stream(client, num_replicas=replicas)
        await create_consumer(client)
        await publish(client, messages)


async def backlog(reader: Monitoring, port: int) -> int | str:
    """Read once; return the backlog, or why it is unknown."""
    found = measure(RULE, (await reader.read(Access(f"http://{NAME}:{port}"))).view)
    return found.messages if isinstance(found, Backlog) else found.message


async def test_a_name_that_moves_to_another_server_takes_the_old_ones_word_with_it(
    tmp_path: Path, reader: Monitoring, addresses: list[str]
) -> None:
    client_port, port = free_ports(2)
    made = [NatsServer(tmp_path / h, host=h, ports=(client_port, port)) for h in ("127.0.0.31", "127.0.0.32")]
    async with made[0] as old, made[1] as new:
        await fill(old, 80)
        await fill(new, 3)
        addresses[:] = [old.host]
        assert await backlog(reader, port) == 80
        addresses[:] = [new.host]
        assert {await backlog(reader, port) for _ in range(5)} == {3}


async def test_a_name_that_moves_to_another_cluster_of_the_same_names(
    tmp_path: Path, reader: Monitoring, addresses: list[str]
) -> None:
    old = NatsCluster(tmp_path / "old", hosts=("127.0.0.31", "127.0.0.32", "127.0.0.33"))
    new = NatsCluster(tmp_path / "new", hosts=("127.0.0.41", "127.0.0.42", "127.0.0.43"), like=old)
    port = old.nodes[0].monitoring_port
    try:
        await old.start()
        await new.start()
        await fill(old.nodes[0], 80, replicas=3)
        await fill(new.nodes[0], 3, replicas=3)

        async def counts(messages: int) -> bool:
            return await backlog(reader, port) == messages

        addresses[:] = [node.host for node in old.nodes]
        await eventually(lambda: counts(80), 60)
        addresses[:] = [node.host for node in new.nodes]
        assert 80 not in {await backlog(reader, port) for _ in range(10)}
        await eventually(lambda: counts(3), 60)
    finally:
        await old.kill()
        await new.kill()


async def test_nodes_that_were_found_answer_for_the_one_that_the_url_names(
    tmp_path: Path, reader: Monitoring, addresses: list[str]
) -> None:
    cluster = NatsCluster(tmp_path, hosts=("127.0.0.31", "127.0.0.32", "127.0.0.33"))
    port = cluster.nodes[0].monitoring_port
    try:
        await cluster.start()
        await fill(cluster.nodes[1], 80, replicas=3)
        leader = await cluster.settle("ORDERS", "worker")
        named = next(node for node in cluster.nodes if node.name != leader)
        addresses[:] = [named.host]

        async def counts() -> bool:
            return await backlog(reader, port) == 80

        await eventually(counts, 60)
        await named.kill()
        for _ in range(3):
            assert await backlog(reader, port) == 80
        await named.start()
        named.pause()
        for _ in range(3):
            assert await backlog(reader, port) == 80
    finally:
        await cluster.kill()


class Pretender:
    """Answers as a node of a cluster, and leads all that it has; real ones cannot be had with a false id."""

    def __init__(self, name: str, server_id: str, messages: int = 0) -> None:
        self.name, self.server_id, self.messages = name, server_id, messages
        self.advertises: list[str] = []

    async def varz(self, _: web.Request) -> web.Response:
        cluster, urls = ClusterInfo(name="east"), tuple(self.advertises)
        told = Varz(self.server_id, self.name, port=4222, cluster=cluster, connect_urls=urls)
        return web.json_response(body=msgspec.json.encode(told))

    async def jsz(self, _: web.Request) -> web.Response:
        raft = Raft(leader=self.name, replicas=(peer("n1"),))
        worker = replace(consumer("worker", "orders.processing", pending=self.messages), cluster=raft)
        orders = replace(stream("ORDERS", ["orders.>"], worker), cluster=raft)
        told = Jsz(
            server_id=self.server_id,
            now=datetime.fromtimestamp(time.time(), UTC),
            account_details=(account("$G", orders) if self.messages else account("$G"),),
            meta_cluster=MetaCluster(leader="n1", replicas=(peer("n2"),)),
        )
        return web.json_response(body=msgspec.json.encode(told))


@asynccontextmanager
async def pretending(port: int, pretenders: Mapping[str, Pretender]) -> AsyncIterator[None]:
    """Let each of these answer at its host."""
    async with AsyncExitStack() as stack:
        for host, node in pretenders.items():
            app = web.Application()
            app.router.add_get("/jsz", partial(Pretender.jsz, node))
            app.router.add_get("/varz", partial(Pretender.varz, node))
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, host, port).start()
        yield


async def test_an_address_that_nobody_names_any_more_is_not_believed_from_another_server(
    reader: Monitoring, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "VARZ_SECONDS", 0)
    named, other = Pretender("n1", "S1"), Pretender("n2", "S2", 80)
    named.advertises = ["127.0.0.32:4222"]
    addresses[:] = ["127.0.0.31"]
    port = free_port()
    async with pretending(port, {"127.0.0.31": named, "127.0.0.32": other}):
        assert await backlog(reader, port) == 80
        named.advertises = []
        assert await backlog(reader, port) == 80, "the same server as before"
        other.server_id, other.messages = "S3", 3
        assert "n2" in str(await backlog(reader, port))
        named.advertises = ["127.0.0.32:4222"]
        assert await backlog(reader, port) == 3


async def test_of_a_server_that_starts_again_and_again_nothing_is_kept(
    reader: Monitoring, addresses: list[str]
) -> None:
    named = Pretender("n3", "S3")
    addresses[:] = ["127.0.0.31"]
    port = free_port()
    async with pretending(port, {"127.0.0.31": named}):
        for number in range(3, 8):
            named.name, named.server_id = f"n{number}", f"S{number}"
            await backlog(reader, port)
        known = reader._endpoints[Access(f"http://{NAME}:{port}")]._nodes
        assert (list(known._servers), list(known._clocks)) == (["S7"], ["S7"])
