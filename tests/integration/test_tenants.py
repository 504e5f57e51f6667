"""One tenant's rules and servers beside a good rule, which goes on as if it were alone."""

import contextlib
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from natsscaler.core.reasons import Reason
from natsscaler.core.rule import RuleKey, Target
from natsscaler.core.status import RuleStatus
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.large import EACH, PLACES
from natsscaler.reactor.read_turns import READS
from tests.support import attackers
from tests.support import faulty_monitoring as faults
from tests.support.attackers import MIB
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
    async with attackers.flooding_nats(opening, attackers.bytes_without_end) as liar:
        with little_memory(32 * MIB):
            here.apply("flooded", deploymentName="other", nats={"url": liar.url})
            await until(lambda: liar.sent > 100 * MIB or said in here.message("EventDriven", "flooded"))
            await scales(here, orders)
    await here.becomes("EventDriven", "False", "NotConnected", "flooded")
    assert said in here.message("EventDriven", "flooded")


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
    """Give such a document."""

    async def answer(request: web.Request, _truth: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in attackers.filled(before, piece, after, mib):
            await response.write(part)
        return response

    return answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            filled(*attackers.EMPTY_OBJECTS),
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


async def test_a_namespace_with_many_silent_servers_has_few_of_them_read_at_once(here: World) -> None:
    async with attackers.attacker("silent") as enemy:
        for n in range(2 * READS):
            here.apply(f"silent-{n}", natsMonitoringURL=f"http://{enemy.addresses[0]}/{n}", events=[])
        await enemy.bites(READS)
        other = RuleKey("other", "good")
        here.reactor.upsert(replace(here.rule(events=[]), key=other), RuleStatus())
        await until(lambda: other in here.cluster.statuses)
        assert here.monitoring.begun == READS + 1
    await until(lambda: here.monitoring.begun > READS + 1)


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


def crowd(truth: bytes) -> bytes:
    """Have the one stream have 40,000 consumers more, of which another node is the leader."""
    document = json.loads(truth)
    stream = document["account_details"][0]["stream_detail"][0]
    stream["config"]["subjects"].append("crowd.>")
    stream["consumer_detail"] += [
        {"name": f"c{number}", "num_pending": 0, "num_ack_pending": 0, "cluster": {"leader": "elsewhere"}}
        | {"config": {"durable_name": f"c{number}", "filter_subject": f"crowd.{number}"}}
        for number in range(40_000)
    ]
    return json.dumps(document).encode()


async def test_a_rule_that_matches_thousands_of_consumers_asks_nats_for_none(
    here: World, orders: Client
) -> None:
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    asked = await orders.subscribe("$JS.API.CONSUMER.INFO.*.*")
    await orders.flush()
    async with faults.front(here.server) as liar:
        liar.fault = faults.changed(crowd)
        here.cluster.table[Target("default", "other")] = 5
        here.apply("crowd", deploymentName="other", natsMonitoringURL=liar.url, subject="crowd.>")
        await here.becomes("Ready", "False", Reason.AMBIGUOUS_CONSUMER, "crowd")
        assert "more than 256 consumers" in here.message("Ready", "crowd")
        await scales(here, orders)
    await orders.flush()
    assert asked.pending_msgs < 10
    assert here.cluster.table[Target("default", "other")] == 5


async def test_a_large_answer_makes_room_for_the_next_once_its_rules_are_evaluated(here: World) -> None:
    async with faults.front(here.server) as front:
        front.fault = faults.changed(lambda truth: truth + 2**17 * b" ")
        here.apply("large", natsMonitoringURL=front.url, pollIntervalSeconds=1)
        await until(lambda: here.monitoring.reads > PLACES + EACH, 15)
