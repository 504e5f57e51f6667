"""What wakes a rule, on real NATS; the poll interval is an hour unless a test is about polling."""

import asyncio

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from natsscaler.core.rule import RuleKey, Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port
from natsscaler.nats import connection
from tests.support.until import SECONDS, until
from tests.support.world import (
    NEVER,
    TARGET,
    World,
    create_consumer,
    create_stream,
    publish,
    user,
    work_off,
    world,
)

pytestmark = pytest.mark.timeout(90)
OTHER = Target("default", "other-app")


async def test_a_burst_scales_long_before_the_deadline(here: World, orders: Client) -> None:
    here.apply()
    await here.rests()
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert here.wakeups("doorbell") >= 1


async def test_the_first_message_above_the_threshold_rings(here: World, orders: Client) -> None:
    await publish(orders, 40)
    here.apply()
    await here.rests()
    await publish(orders, 10)
    before = here.wakeups("doorbell")
    await publish(orders, 1)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert (before, here.wakeups("doorbell")) == (0, 1)


async def test_two_rules_on_one_subject_have_a_doorbell_each(here: World, orders: Client) -> None:
    here.cluster.table[OTHER] = 1
    here.apply("few", scaleUpThreshold=10)
    here.apply("many", scaleUpThreshold=40, deploymentName=OTHER.name)
    await here.listens("orders.processing", "orders.processing")
    await publish(orders, 11)
    await until(lambda: here.cluster.table[TARGET] == 2)
    await here.listens("orders.processing")  # the first is at its cadence: no message could change it
    assert here.cluster.table[OTHER] == 1
    await publish(orders, 30)
    await until(lambda: here.cluster.table[OTHER] == 2)
    assert here.cluster.table[TARGET] == 2


@pytest.mark.parametrize("name", ["Ünï:kode", "a$b#c;d", "under_score-dash", "'quoted\""])
async def test_odd_names(here: World, nats_server: NatsServer, name: str) -> None:
    here.apply(stream=f"stream{name}", consumer=f"worker{name}")
    await here.becomes("ScalingActive", "False", "StreamNotFound")
    async with user(nats_server.url) as client:
        await create_stream(client, f"stream{name}")
        await create_consumer(client, f"stream{name}", f"worker{name}")
        await here.listens("orders.processing")  # advisories told of both
        await publish(client, 51)
        await until(lambda: here.cluster.table[TARGET] == 2)
        await client.jetstream().delete_stream(f"stream{name}")
        await here.becomes("ScalingActive", "False", "StreamNotFound")


async def test_a_stream_that_is_deleted_and_created_again(here: World, orders: Client) -> None:
    here.apply(messagesPerReplica=50)
    await here.listens("orders.processing")
    for replicas in (2, 3, 4):
        await orders.jetstream().delete_stream("ORDERS")
        await create_stream(orders)
        await create_consumer(orders)
        await here.listens("orders.processing")
        await publish(orders, 50 * replicas)
        await until(lambda: here.cluster.table[TARGET] == replicas)  # noqa: B023 - awaited in this round


async def test_all_rules_are_evaluated_once_after_the_start(nats_server: NatsServer) -> None:
    names = [f"rule-{number}" for number in range(20)]
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await create_consumer(client)
        for name in names:
            here.cluster.table[Target("default", name)] = 1
            here.apply(name, deploymentName=name)
        await here.listens(*["orders.processing"] * len(names))
        keys = {RuleKey("default", name) for name in names}
        await until(lambda: here.cluster.statuses.keys() == keys)
        assert {status.pending_messages for status in here.cluster.statuses.values()} == {0}
        assert here.monitoring.begun <= 6, "reads are shared"


async def test_what_happened_while_nats_was_away_is_seen_on_reconnect(
    here: World, orders: Client, nats_server: NatsServer
) -> None:
    here.apply()
    await here.listens("orders.processing")
    await orders.close()
    await nats_server.kill()
    await here.becomes("EventDriven", "False", "NotConnected")
    here.monitoring.gate.clear()  # so that no retry of a failed read finds it
    await nats_server.start()
    async with user(nats_server.url) as client:
        await publish(client, 51)
    rung = here.wakeups("connection")
    here.monitoring.gate.set()
    await until(lambda: here.cluster.table[TARGET] == 2)
    await here.becomes("EventDriven", "True", "Listening")
    assert here.wakeups("connection") > rung


async def test_a_changed_rule_is_evaluated_at_once(here: World, orders: Client) -> None:
    await publish(orders, 20)
    here.apply()
    await here.listens("orders.processing")
    here.apply(scaleUpThreshold=19)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_of_many_rules_for_one_deployment_an_edit_wakes_only_those_it_concerns(
    here: World, orders: Client
) -> None:
    """With thousands of them, each edit of one would otherwise cost an evaluation of all."""
    names = [f"rule-{number}" for number in range(20)]
    for name in names:
        here.apply(name, created=f"2026-01-01T00:00:{name[5:]:0>2}Z")
    for name in names[1:]:
        await here.becomes("AbleToScale", "False", "TargetOwnedByAnother", name)
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)

    async def woken() -> float:
        await until(lambda: not any(state.rings or state.busy for state in here.reactor._states.values()))
        return here.wakeups("rule")

    before = await woken()
    here.apply("rule-7", created="2026-01-01T00:00:07Z", maxReplicas=20)
    assert await woken() == before + 1
    here.reactor.forget(RuleKey("default", "rule-0"))
    assert await woken() == before + 2
    await here.becomes("AbleToScale", "True", "ReadyForNewScale", "rule-1")
    here.apply("rule-19", created="2025-01-01T00:00:00Z")
    await here.becomes("AbleToScale", "True", "ReadyForNewScale", "rule-19")
    await here.becomes("AbleToScale", "False", "TargetOwnedByAnother", "rule-1")
    assert await woken() == before + 4


async def test_deadlines_go_on_without_a_connection(here: World, orders: Client) -> None:
    port = free_port()
    here.apply(pollIntervalSeconds=1, nats={"url": f"nats://127.0.0.1:{port}"})
    await here.becomes("EventDriven", "False", "NotConnected")
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_connection_that_keeps_failing_rings_once(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", (0.01, 0.02))
    attempts = 0

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as nothing:
        port = nothing.sockets[0].getsockname()[1]
        here.apply(nats={"url": f"nats://127.0.0.1:{port}"})
        await here.becomes("EventDriven", "False", "NotConnected")
        before = attempts
        await until(lambda: attempts >= before + 10)
    assert (here.wakeups("connection"), here.monitoring.begun) == (1, 2)
    assert orders.is_connected


async def test_a_new_rule_never_looks_disconnected(here: World, orders: Client) -> None:
    here.apply()
    await here.becomes("EventDriven", "True", "Listening")
    assert orders.is_connected
    assert not [event for event in here.cluster.events if event[1] == "EventDriven"]


async def test_an_edited_filter_rings_nothing_and_is_seen_by_the_deadline(
    here: World, orders: Client
) -> None:
    await publish(orders, 30, "orders.others")
    here.apply(pollIntervalSeconds=2, consumer="worker", scaleUpThreshold=20)
    await here.rests()
    rung = here.wakeups("advisory")
    wider = ConsumerConfig(durable_name="worker", filter_subject="orders.>")
    await orders.jetstream().add_consumer("ORDERS", wider)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert here.wakeups("advisory") == rung


async def test_a_consumer_that_is_reset_rings_nothing_and_is_seen_by_the_deadline(
    here: World, orders: Client
) -> None:
    await publish(orders, 51)
    await work_off(orders, 51)
    here.apply(pollIntervalSeconds=2)
    await here.rests()
    rung = here.wakeups("advisory")
    await orders.request("$JS.API.CONSUMER.RESET.ORDERS.worker", b'{"seq": 1}', timeout=SECONDS)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert (here.wakeups("advisory"), here.wakeups("doorbell")) == (rung, 0)


async def test_a_scheduled_message_rings_nothing_and_is_seen_by_the_deadline(
    nats_server: NatsServer,
) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client, allow_msg_schedules=True)
        await create_consumer(client)
        here.apply(pollIntervalSeconds=2, scaleUpThreshold=10)
        await here.rests()
        await publish(client, 10)
        headers = {"Nats-Schedule": "@at 2026-01-01T00:00:00Z", "Nats-Schedule-Target": "orders.processing"}
        await client.jetstream().publish("orders.later", b"", headers=headers)
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert here.wakeups("doorbell") == 0


async def batch(client: Client, numbers: range, **last: str) -> None:
    """Publish these messages of an atomic batch; NATS delivers each, and stores them when one commits."""
    for number in numbers:
        headers = {"Nats-Batch-Id": "batch", "Nats-Batch-Sequence": str(number)} | last
        await client.publish("orders.processing", b"", headers=headers)
    await client.flush()


@pytest.mark.parametrize("late", [False, True], ids=["within a second", "by the deadline"])
async def test_an_atomic_batch_that_is_committed_after_it_rang_is_seen(
    nats_server: NatsServer, *, late: bool
) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client, allow_atomic=True)
        await create_consumer(client)
        here.apply(pollIntervalSeconds=2 if late else NEVER)
        await here.rests()
        await batch(client, range(1, 60))
        await until(lambda: here.wakeups("doorbell") == 1)
        await (here.rests() if late else here.listens("orders.processing"))
        await batch(client, range(60, 61), **{"Nats-Batch-Commit": "1"})
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert here.wakeups("doorbell") == 1
