"""When a doorbell is armed, how low, and when it is taken away, as nats-server itself sees it (`/connz`)."""

import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from natsscaler.core.rule import EventSource, RuleKey
from natsscaler.demo.nats_server import NatsServer
from tests.support.until import until
from tests.support.world import (
    NEVER,
    TARGET,
    World,
    create_consumer,
    create_stream,
    doorbell_subjects,
    publish,
    subscriptions,
    user,
    work_off,
    world,
)

pytestmark = pytest.mark.timeout(90)
SUBJECT = "orders.processing"


async def limit(world: World) -> int:
    """Wait for the one doorbell and return after how many messages the server will end it."""
    await world.listens(SUBJECT)
    await world.rests()
    [subscription] = await subscriptions(world.server)
    return int(subscription["max"])


async def test_subscribed_then_settled_then_read(here: World, orders: Client) -> None:
    known_before_read: list[int] = []

    async def look() -> None:
        known_before_read.append(len(await doorbell_subjects(here.server)))

    here.apply("first")
    await here.rests()
    here.cluster.table[TARGET._replace(name="second")] = 1
    here.monitoring.on_begin = look
    here.apply("second", deploymentName="second")
    await here.rests()
    assert orders.is_connected
    assert known_before_read[:2] == [1, 2], "the first evaluation reads twice"
    assert set(known_before_read[1:]) == {2}


@pytest.mark.parametrize(
    ("spec", "backlog", "armed"),
    [
        pytest.param({}, 0, 51, id="empty"),
        pytest.param({}, 48, 3, id="nearly"),
        pytest.param({"scaleUpThreshold": 1000}, 0, 64, id="far"),
        pytest.param({"messagesPerReplica": 60}, 20, 41, id="proportional"),
    ],
)
async def test_the_server_ends_it_when_the_decision_could_change(
    here: World, orders: Client, spec: dict[str, Any], backlog: int, armed: int
) -> None:
    await publish(orders, backlog)
    here.apply(**spec)
    assert await limit(here) == armed


async def test_large_messages_cost_no_more_than_64_kib(here: World, orders: Client) -> None:
    here.apply(scaleUpThreshold=1000)
    assert await limit(here) == 64
    await publish(orders, 64, payload=bytes(20_000))
    await until(lambda: here.wakeups("doorbell") >= 1)
    assert await limit(here) == 3
    here.apply(scaleUpThreshold=1000, paused=True)
    await here.listens()
    here.apply(scaleUpThreshold=1000)
    assert await limit(here) == 3, "what is known of the messages outlives a doorbell that heard none"


@pytest.mark.parametrize(
    ("unarmed", "spec", "replicas"),
    [
        pytest.param(
            ("ScalingLimited", "True", "TooManyReplicas"), {"scaleUpThreshold": 19}, 10, id="at-max"
        ),
        pytest.param(("ScalingActive", "False", "Paused"), {"paused": True}, 1, id="paused"),
        pytest.param(("ScalingActive", "False", "ScalingDisabled"), {}, 0, id="switched-off"),
        pytest.param(
            ("ScalingActive", "False", "DryRun"), {"dryRun": True, "scaleUpThreshold": 19}, 1, id="above"
        ),
        pytest.param(("ScalingActive", "False", "ConsumerNotFound"), {"consumer": "no"}, 1, id="unknown"),
        pytest.param(("AbleToScale", "False", "TargetNotFound"), {"deploymentName": "no"}, 1, id="target"),
    ],
)
async def test_only_while_a_message_could_change_the_decision(
    here: World, orders: Client, unarmed: tuple[str, str, str], spec: dict[str, Any], replicas: int
) -> None:
    await publish(orders, 20)
    here.apply()
    await here.rests()
    here.cluster.table[TARGET] = replicas
    here.apply(**spec)
    here.reactor.ring_target(TARGET)
    await here.becomes(*unarmed)
    await here.listens()
    here.cluster.table[TARGET] = 1
    here.apply(scaleUpThreshold=60)
    here.reactor.ring_target(TARGET)
    await here.listens(SUBJECT)


async def test_not_while_the_step_waits_for_its_cadence(here: World, orders: Client) -> None:
    await publish(orders, 51)
    here.apply()
    await until(lambda: here.cluster.table[TARGET] == 2)
    await here.becomes("EventDriven", "True", "Listening")
    await here.listens()
    await work_off(orders, 51)
    here.apply(pollIntervalSeconds=NEVER - 1)
    await here.listens(SUBJECT)


@pytest.mark.parametrize("events", [list(EventSource), ["Doorbell"]], ids=["both", "doorbell"])
async def test_without_the_stream_publishers_fail_at_once(
    here: World, orders: Client, events: list[str]
) -> None:
    here.apply(events=events)
    await here.rests()
    here.monitoring.gate.clear()  # no read may be what tells
    await orders.jetstream().delete_stream("ORDERS")
    await until(lambda: _is_bare(here))
    with pytest.raises(NoRespondersError):
        await orders.request(SUBJECT, b"", timeout=10)
    here.monitoring.gate.set()
    await orders.flush()


async def _is_bare(here: World) -> bool:
    return await doorbell_subjects(here.server) == []


async def test_a_deleted_rule_takes_its_doorbell_along(here: World, orders: Client) -> None:
    key = here.apply()
    here.cluster.table[TARGET._replace(name="other")] = 1
    here.apply("other", deploymentName="other")
    await here.listens(SUBJECT, SUBJECT)
    here.reactor.forget(key)
    await here.listens(SUBJECT)
    assert here.reactor.keys == {RuleKey("default", "other")}
    assert orders.is_connected


async def test_what_is_stored_after_its_delivery_is_found_a_second_later(
    nats_servers: Callable[..., Awaitable[NatsServer]], tmp_path: pathlib.Path
) -> None:
    """With sync_interval: always a read may lack what the doorbell has counted already."""
    store = tmp_path / "synced"
    server = await nats_servers(config=f'jetstream {{ store_dir: "{store}", sync_interval: always }}')
    async with user(server.url) as client, world(server) as here:
        await create_stream(client)
        await create_consumer(client)
        for replicas in range(2, 6):
            here.apply(messagesPerReplica=60, scaleUpThreshold=59)
            await here.rests()
            await publish(client, 60 if replicas > 2 else 61)
            await until(lambda: here.cluster.table[TARGET] == replicas)  # noqa: B023 - awaited in this round
