"""What NATS sends comes faster than it is taken, so some of it is lost: all rules are read anew."""

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from tests.support.until import until
from tests.support.world import TARGET, World, create_consumer, create_stream, publish, user, world

pytestmark = pytest.mark.timeout(60)
OTHERS = "$JS.EVENT.ADVISORY.CONSUMER.CREATED.OTHERS.passing"
"""An advisory that concerns no rule of these tests; whoever may publish can send it."""


async def test_a_connection_that_nats_cuts_off_as_too_slow_is_made_anew(
    nats_servers: Callable[..., Awaitable[NatsServer]],
) -> None:
    server = await nats_servers(config="max_pending: 1MB")
    async with world(server) as here, user(server.url) as client:
        await create_stream(client)
        await create_consumer(client)
        here.apply()
        await here.rests()
        socket = transport(here)
        socket.pause_reading()

        async def cut_off() -> bool:
            await client.publish(OTHERS, 2**19 * b" ")
            await client.flush()
            return await slow_consumers(server) == 1

        await until(cut_off)
        await publish(client, 51)
        socket.resume_reading()
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert here.wakeups("doorbell") == 0, "it heard nothing"
        await here.becomes("EventDriven", "True", "Listening")


async def test_messages_dropped_by_the_client_cost_a_new_connection(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(orders, 80)
    *others, _, size = Client.subscribe.__defaults__ or ()
    monkeypatch.setattr(Client.subscribe, "__defaults__", (*others, 8, size))
    here.cluster.table[TARGET] = 4
    here.apply(messagesPerReplica=20, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    await here.rests()
    await orders.jetstream().purge_stream("ORDERS")  # rings nothing
    for _ in range(100):
        await orders.publish(OTHERS, b"")
    await orders.flush()
    await until(lambda: here.cluster.table[TARGET] == 1)
    await here.becomes("EventDriven", "True", "Listening")


async def test_a_reset_that_comes_while_something_waits_to_be_written_is_noticed(
    here: World, orders: Client, nats_server: NatsServer
) -> None:
    """Nats-py then raises an error in a task of its own, and calls nobody."""
    here.apply()
    await here.rests()
    await orders.close()
    connection = here.connections[0]._client
    assert connection
    nats_server.pause()
    await connection.publish("unread", b"")  # makes the end a reset
    await until(lambda: not connection._pending)
    connection._pending.append(b"PING\r\n")
    connection._pending_data_size += len(b"PING\r\n")
    os.kill(nats_server.pid, signal.SIGKILL)
    await here.becomes("EventDriven", "False", "NotConnected")


def transport(here: World) -> Any:
    """Give the socket's transport of the one connection to NATS."""
    client: Any = here.connections[0]._client
    return client._transport._io_writer.transport


async def slow_consumers(server: NatsServer) -> int:
    """Ask the server how many connections it has cut off for being too slow."""
    async with httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False) as client:
        count: int = (await client.get("/varz")).json()["slow_consumers"]
        return count
