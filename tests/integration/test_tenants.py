"""One tenant's rules and servers beside a good rule, which goes on as if it were alone."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from tests.support import faulty_monitoring as faults
from tests.support.until import until
from tests.support.world import (
    TARGET,
    World,
    create_consumer,
    create_stream,
    doorbell_subjects,
    publish,
    user,
    world,
)

pytestmark = pytest.mark.timeout(60)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
MIB = 2**20


class FalseNats:
    """Speaks NATS as far as to be connected to, and then sends what it wants to, again and again."""

    def __init__(self, opening: bytes, flood: Iterator[bytes]) -> None:
        self.sent = 0
        """Bytes of the flood."""
        self.url = ""
        self._opening = opening
        self._flood = flood

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"S","version":"2.12.0","max_payload":1048576}\r\n')
        with contextlib.suppress(OSError):
            while not (await reader.readline()).startswith(b"PING"):
                pass
            writer.write(b"PONG\r\n" + self._opening)
            for piece in self._flood:
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
                await asyncio.sleep(0)  # drain does not always let others in
        writer.close()


@contextlib.asynccontextmanager
async def false_nats(opening: bytes, flood: Iterator[bytes]) -> AsyncIterator[FalseNats]:
    made = FalseNats(opening, flood)
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


@contextlib.contextmanager
def little_memory(most: int) -> Iterator[None]:
    """Assert that no more than so many bytes were taken at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


async def scales(here: World, orders: Client) -> None:
    """Wait until the rule that nothing is wrong with has followed its backlog."""
    await publish(orders, 100)
    await until(lambda: here.cluster.table[TARGET] == 5)


async def test_a_slow_server_that_claims_another_ones_id_pays_for_itself(
    here: World, orders: Client, nats_server: NatsServer
) -> None:
    """What the operator spends on a read is kept by where the answer came from, not by what it claims."""
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with faults.front(nats_server) as liar:
        liar.fault = faults.slow(4.5)
        reads = here.monitoring.reads
        here.apply("slow", deploymentName="other", natsMonitoringURL=liar.url, events=[])
        await until(lambda: here.monitoring.reads == reads + 1)
        await publish(orders, 100)
        await until(lambda: here.cluster.table[TARGET] == 5)


def addresses() -> Iterator[bytes]:
    for block in range(10_000):
        told = ",".join(f'"10.{block // 250}.{block % 250}.{n % 250}:{n}"' for n in range(1000, 2000))
        yield b'INFO {"connect_urls":[' + told.encode() + b"]}\r\n"


async def test_a_server_that_tells_of_addresses_without_end(here: World, orders: Client) -> None:
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with false_nats(b"", addresses()) as liar:
        here.apply("flooded", deploymentName="other", nats={"url": liar.url})
        await until(lambda: liar.sent > 2 * MIB)
        await scales(here, orders)


@pytest.mark.parametrize(
    ("opening", "said"),
    [
        (b"MSG a 1 99999999999999\r\n", "a message of more than 64 MiB"),
        (b"HMSG a 1 12 99999999999999\r\n", "a message of more than 64 MiB"),
        (b"INFO ", "a line of more than 32 KiB"),
    ],
    ids=["message", "headers", "line"],
)
async def test_a_message_without_end(here: World, orders: Client, opening: bytes, said: str) -> None:
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with false_nats(opening, iter(2000 * [2**16 * b"x"])) as liar:
        with little_memory(32 * MIB):
            here.apply("flooded", deploymentName="other", nats={"url": liar.url})
            await until(lambda: liar.sent > 100 * MIB or said in here.message("EventDriven", "flooded"))
            await scales(here, orders)
    await here.becomes("EventDriven", "False", "NotConnected", "flooded")
    assert said in here.message("EventDriven", "flooded")


async def test_large_messages_are_passed_over(here: World, orders: Client) -> None:
    message = [b"MSG a 1 62914560\r\n", *(960 * [2**16 * b"x"]), b"\r\n"]
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with false_nats(b"", iter(20 * message)) as liar:
        with little_memory(32 * MIB):
            here.apply("flooded", deploymentName="other", nats={"url": liar.url})
            await until(lambda: liar.sent > 150 * MIB)
            await scales(here, orders)


async def test_a_large_message_that_nats_permits_is_heard(
    nats_servers: Callable[..., Awaitable[NatsServer]],
) -> None:
    server = await nats_servers(config="max_payload: 64MB\nmax_pending: 128MB")
    async with world(server) as here, user(server.url, pending_size=128 * MIB) as orders:
        await create_stream(orders)
        await create_consumer(orders)
        await publish(orders, 80)
        here.cluster.table[TARGET] = 4
        here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
        await here.rests()
        await publish(orders, 1, payload=24 * MIB * b"x")
        await until(lambda: here.cluster.table[TARGET] == 5)
        assert here.wakeups("doorbell")
        assert here.condition("EventDriven", "good") == ("True", "Listening")


def filled(before: bytes, piece: bytes, after: bytes, mib: int = 60) -> faults.Answer:
    """Put so much of the same into the document of a server with one stream, never having all of it."""

    async def answer(request: web.Request, _truth: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"server_id":"A","now":"2026-01-01T00:00:00Z","account_details":[{"name":"A",')
        await response.write(b'"stream_detail":[{"state":{"messages":0},' + before)
        for _ in range(mib * 16):
            await response.write(piece * (MIB // 16 // len(piece)))
        await response.write(after + b"}]}]}")
        return response

    return answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            filled(b'"name":"S","config":{"sources":[', b"{},", b"{}]}"),
            Reason.MONITORING_TOO_LARGE,
            id="empty-objects",
        ),
        pytest.param(
            filled(b'"name":"S","config":{"subjects":[', b'"ab",', b'"ab"]}'),
            Reason.MONITORING_TOO_LARGE,
            id="short-texts",
        ),
        pytest.param(
            filled(b'"name":"S","x":', b"[", b"0", mib=1),
            Reason.MONITORING_UNREADABLE,
            id="nested",
        ),
    ],
)
async def test_an_answer_that_decodes_to_far_more_costs_the_others_nothing(
    here: World,
    orders: Client,
    fault: faults.Answer,
    reason: Reason,
) -> None:
    """What an answer becomes is bounded before it is decoded."""
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with faults.front(here.server) as liar:
        liar.fault = fault
        here.cluster.table[Target("default", "other")] = 1
        with little_memory(128 * MIB):
            here.apply("large", deploymentName="other", natsMonitoringURL=liar.url, events=[])
            await here.becomes("Ready", "False", reason, "large")
            await scales(here, orders)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b'"name":"', b'"', id="stream"),
        pytest.param(
            b'"name":"S","consumer_detail":[{"num_pending":0,"num_ack_pending":0,"name":"',
            b'"}]',
            id="consumer",
        ),
        pytest.param(b'"name":"S","cluster":{"leader":"', b'"}', id="leader"),
    ],
)
async def test_names_without_end_get_nowhere(
    here: World, orders: Client, before: bytes, after: bytes
) -> None:
    """They would make a status that the API server refuses for ever."""
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with faults.front(here.server) as liar:
        liar.fault = filled(before, b"x", after, mib=20)
        here.cluster.table[Target("default", "other")] = 1
        with little_memory(128 * MIB):
            here.apply("large", deploymentName="other", natsMonitoringURL=liar.url, events=[])
            await here.becomes("Ready", "False", Reason.MONITORING_UNREADABLE, "large")
            await scales(here, orders)


async def test_a_rule_with_too_many_filters_is_polled(here: World, orders: Client) -> None:
    subjects = [f"many.{n}" for n in range(65)]
    await create_stream(orders, "MANY", "many.>")
    await orders.jetstream().add_consumer(
        "MANY", ConsumerConfig(durable_name="all", filter_subjects=subjects)
    )
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    here.cluster.table[Target("default", "other")] = 1
    here.apply("wide", deploymentName="other", subject="many.>", stream="MANY", consumer="all")
    await here.becomes("EventDriven", "False", "SubjectUnusable", "wide")
    assert "65 filters" in here.message("EventDriven", "wide")
    assert await doorbell_subjects(here.server) == ["orders.processing"]
    await scales(here, orders)
