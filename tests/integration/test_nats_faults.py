"""NATS that is away at the start or for long, comes back elsewhere, is flooded, or is treated by people."""

from typing import Any

import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats import connection
from natsscaler.nats.dial import dial
from natsscaler.reactor import endpoint_loop
from tests.support.names import resolve_by
from tests.support.until import until
from tests.support.world import TARGET, World, create_consumer, create_stream, publish, user, world

pytestmark = pytest.mark.timeout(90)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
LIMIT = 60
"""How many attempts nats-py makes by itself before it gives up for good."""


async def test_nats_down_at_the_start(nats_server: NatsServer) -> None:
    await nats_server.kill()
    async with world(nats_server) as here:
        here.cluster.table[TARGET] = 4
        here.apply(messagesPerReplica=20, behavior=AT_ONCE)
        await here.becomes("Ready", "False", "MonitoringUnreachable")
        assert here.cluster.table[TARGET] == 4
        await nats_server.start()
        async with user(nats_server.url) as client:
            await create_stream(client)
            await create_consumer(client)
            await publish(client, 100)
            await until(lambda: here.cluster.table[TARGET] == 5)
            await here.becomes("EventDriven", "True", "Listening")


async def test_nats_gone_for_longer_than_any_limit_of_reconnects(
    here: World, orders: Client, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(endpoint_loop, "RETRY_SECONDS", (0.1, 0.2))
    attempts = 0

    async def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return await dial(*arguments, **named)

    here.apply()
    await here.rests()
    monkeypatch.setattr(connection, "dial", counted)
    await orders.close()
    await nats_server.kill()
    await until(lambda: attempts > LIMIT)
    await nats_server.start()
    await here.becomes("EventDriven", "True", "Listening")
    async with user(nats_server.url) as client:
        await publish(client, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_nats_that_comes_back_on_another_address(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a host name whose address changes; the ports stay."""
    where = "127.0.0.1"
    resolve_by(monkeypatch, lambda host: [where] if host == "nats.example" else None)
    async with world(nats_server) as here:
        here.apply(
            natsMonitoringURL=f"http://nats.example:{nats_server.monitoring_port}",
            nats={"url": f"nats://nats.example:{nats_server.port}"},
        )
        await here.becomes("EventDriven", "True", "Listening")
        await nats_server.kill()
        await here.becomes("EventDriven", "False", "NotConnected")
        where = nats_server.host = "127.0.0.2"
        await nats_server.start()
        async with user(nats_server.url) as client:
            await create_stream(client)
            await create_consumer(client)
            await here.becomes("EventDriven", "True", "Listening")
            await publish(client, 51)
            await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_flood_of_advisories_keeps_no_burst_waiting(here: World, orders: Client) -> None:
    here.apply()
    await here.rests()
    begun = here.monitoring.begun
    stream = orders.jetstream()
    for _ in range(300):
        await stream.add_consumer("ORDERS", name="passing", filter_subject="orders.others")
        await stream.delete_consumer("ORDERS", "passing")
    assert here.monitoring.begun - begun < 100, "rings coalesce"
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_consumer_that_is_deleted_and_created_again(here: World, orders: Client) -> None:
    await publish(orders, 80)
    here.cluster.table[TARGET] = 4
    here.apply(messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    await orders.jetstream().delete_consumer("ORDERS", "worker")
    await here.becomes("ScalingActive", "False", "ConsumerNotFound")
    assert here.cluster.table[TARGET] == 4
    await create_consumer(orders)
    await here.becomes("ScalingActive", "True", "ValidMetricFound")
    assert here.cluster.table[TARGET] == 4


async def test_a_consumer_that_is_paused_and_resumed(here: World, orders: Client) -> None:
    here.apply(messagesPerReplica=20)
    await here.rests()
    stream = orders.jetstream()
    await stream.pause_consumer("ORDERS", "worker", "2100-01-01T00:00:00Z")
    await here.becomes("ScalingActive", "False", "ConsumerPaused")
    await publish(orders, 80)
    await stream.resume_consumer("ORDERS", "worker")
    await until(lambda: here.cluster.table[TARGET] == 4)


async def test_a_purged_stream_is_seen_by_the_deadline(here: World, orders: Client) -> None:
    await publish(orders, 80)
    here.cluster.table[TARGET] = 4
    here.apply(messagesPerReplica=20, behavior=AT_ONCE, pollIntervalSeconds=1)
    await here.rests()
    await orders.jetstream().purge_stream("ORDERS")
    await until(lambda: here.cluster.table[TARGET] == 1)
