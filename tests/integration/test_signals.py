"""Connection and Doorbell against a real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import nats
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import ConsumerConfig

from natsscaler.core.jetstream.advisories import Advisory
from natsscaler.core.reasons import Finding, Reason
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.connection import Connection, Report
from natsscaler.nats.credentials import NatsCredentials
from natsscaler.nats.doorbell import Doorbell
from natsscaler.net.allowlist import AllowList
from natsscaler.observe.metrics import Metrics
from tests.conftest import in_background
from tests.support.false_nats import false_nats
from tests.support.until import until

pytestmark = pytest.mark.timeout(60)

DENY = """
authorization {
  users = [{user: limited, password: pass, permissions: {subscribe: {deny: ["secret.>"]}}}]
}
"""


ANONYMOUS = NatsCredentials()


class Listener:
    """A Connection and what it told."""

    def __init__(self, url: str, credentials: NatsCredentials) -> None:
        self.metrics = Metrics()
        self.heard: list[Advisory] = []
        self.states: list[Reason | None] = []
        """At each `advised(connection, None)`."""
        self.rings = 0
        allow = AllowList(in_cluster=False)

        async def login(_: float) -> NatsCredentials:
            return credentials

        report = Report(self.metrics.connected.inc, self.metrics.doorbell.inc)
        self.connection = Connection(
            url, allow, self._advised, advisories=True, report=report, credentials=login
        )

    async def _advised(self, connection: Connection, advisory: Advisory | None) -> None:
        assert connection is self.connection
        if advisory is None:
            self.states.append(connection.state.reason if connection.state else None)
        else:
            self.heard.append(advisory)

    @property
    def state(self) -> Finding:
        assert self.connection.state, "the first attempt to connect is still under way"
        return self.connection.state

    def ring(self) -> None:
        self.rings += 1

    async def bell(self, limit: int, *subjects: str) -> Doorbell:
        bell = await self.connection.doorbell(subjects or ("orders.>",), limit, self.ring)
        assert bell
        assert await self.connection.settle()
        return bell


@asynccontextmanager
async def listening(url: str, credentials: NatsCredentials = ANONYMOUS) -> AsyncIterator[Listener]:
    made = Listener(url, credentials)
    async with in_background(made.connection.run()) as task:
        await until(lambda: task.done() or bool(made.states))
        yield made


@pytest.fixture
async def listener(nats_server: NatsServer) -> AsyncIterator[Listener]:
    async with listening(nats_server.url) as made:
        yield made


@pytest.fixture
async def other(nats_server: NatsServer) -> AsyncIterator[Client]:
    """Somebody else's connection."""
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


async def publish(client: Client, count: int, subject: str = "orders.new") -> None:
    for _ in range(count):
        await client.publish(subject, b"hello")
    await client.flush()


async def test_listening(listener: Listener) -> None:
    connection = listener.connection
    assert listener.state.reason is Reason.LISTENING
    assert connection.account == "$G"
    assert connection.server_id
    assert listener.states == [Reason.LISTENING]
    assert connection.denied(["orders.>"]) is None


async def test_advisories(listener: Listener, other: Client) -> None:
    js = other.jetstream()
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    await js.add_consumer("ORDERS", durable_name="worker")
    created = Advisory("CONSUMER.CREATED", "ORDERS", "worker")
    await until(lambda: created in listener.heard)
    for _ in range(10):
        await js.publish("orders.new", b"")
    await js.stream_info("ORDERS")
    await js.account_info()
    await js.delete_stream("ORDERS")
    gone = Advisory("CONSUMER.DELETED", "ORDERS", "worker")
    await until(lambda: gone in listener.heard)
    assert await listener.connection.settle()
    between = listener.heard[listener.heard.index(created) + 1 : listener.heard.index(gone)]
    deleted = Advisory("STREAM.DELETED", "ORDERS", "")  # now and then nats-server forgets to send this one
    assert between in ([], [deleted])
    assert not [advisory for advisory in listener.heard if "API" in advisory.action]
    assert listener.heard[0] == Advisory("STREAM.CREATED", "ORDERS", "")


@pytest.mark.parametrize("limit", [1, 5])
async def test_a_doorbell_rings_at_its_limit_and_falls_silent(
    listener: Listener, other: Client, limit: int
) -> None:
    bell = await listener.bell(limit)
    await publish(other, limit - 1)
    assert await listener.connection.settle()
    assert (listener.rings, bell.deliveries) == (0, limit - 1)
    await publish(other, 1)
    await until(lambda: bell.spent)
    await publish(other, 20)
    assert await listener.connection.settle()
    assert (listener.rings, bell.deliveries) == (1, limit)
    assert bell.largest == len(b"hello")
    assert bell.last_delivery > 0


async def test_a_doorbell_counts_all_of_its_subjects(listener: Listener, other: Client) -> None:
    bell = await listener.bell(3, "a", "b")
    await publish(other, 2, "a")
    await publish(other, 1, "b")
    await until(lambda: bell.spent)
    assert (listener.rings, bell.deliveries) == (1, 3)


async def test_a_lowered_limit_rings_earlier(listener: Listener, other: Client) -> None:
    bell = await listener.bell(100)
    await publish(other, 2)
    await until(lambda: bell.deliveries == 2)
    await bell.lower(5)
    assert await listener.connection.settle()
    await publish(other, 2)
    assert await listener.connection.settle()
    assert listener.rings == 0
    await publish(other, 10)
    await until(lambda: bell.spent)
    assert await listener.connection.settle()
    assert (listener.rings, bell.deliveries) == (1, 5)


@pytest.mark.parametrize("limit", [3, 2, 1])
async def test_lowered_to_what_was_delivered_rings_at_once(
    listener: Listener, other: Client, limit: int
) -> None:
    bell = await listener.bell(100)
    await publish(other, 3)
    await until(lambda: bell.deliveries == 3)
    await bell.lower(limit)
    assert (listener.rings, bell.spent) == (1, True)
    await bell.close()


async def test_a_limit_is_never_raised(listener: Listener, other: Client) -> None:
    bell = await listener.bell(2)
    await bell.lower(10)
    await publish(other, 5)
    await until(lambda: bell.spent)
    assert (bell.limit, listener.rings) == (2, 1)


async def test_no_message_is_lost_after_settle(listener: Listener, other: Client) -> None:
    for number in range(1, 101):
        bell = await listener.bell(1)
        await other.publish("orders.new", b"")
        await other.flush()
        await until(lambda: bell.spent)  # noqa: B023 - awaited in this round
        assert listener.rings == number
        await bell.close()


async def test_a_closed_doorbell_leaves_no_responders(listener: Listener, other: Client) -> None:
    bell = await listener.bell(10)
    with pytest.raises(nats.errors.TimeoutError):  # heard by the doorbell, which never answers
        await other.request("orders.new", b"", timeout=0.2)
    await bell.close()
    assert await listener.connection.settle()
    with pytest.raises(NoRespondersError):
        await other.request("orders.new", b"", timeout=5)
    assert (listener.rings, bell.deliveries) == (0, 1)


async def test_a_server_that_goes_and_comes_back(nats_server: NatsServer) -> None:
    async with listening(nats_server.url) as listener:
        await nats_server.kill()
        await until(lambda: Reason.NOT_CONNECTED in listener.states)
        assert listener.state.reason is Reason.NOT_CONNECTED
        assert await listener.connection.doorbell(["orders.>"], 1, listener.ring) is None
        assert not await listener.connection.settle()
        await nats_server.start()
        await until(lambda: listener.states[-1] is Reason.LISTENING, 20)
        assert listener.states[:2] == [Reason.LISTENING, Reason.NOT_CONNECTED]
        assert listener.states.count(Reason.LISTENING) == 2
        assert listener.metrics.registry.get_sample_value("natsscaler_nats_connected") == 1
        bell = await listener.bell(1)
        client = await nats.connect(nats_server.url)
        await publish(client, 1)
        await client.close()
        await until(lambda: bell.spent)


async def test_a_denied_subject(nats_servers: Callable[..., Awaitable[NatsServer]]) -> None:
    server = await nats_servers(config=DENY)
    limited = NatsCredentials(origin="test", user="limited", password="pass")  # noqa: S106
    async with listening(server.url, limited) as listener:
        connection = listener.connection
        assert listener.state.reason is Reason.LISTENING
        assert "pass" not in listener.state.message
        await listener.bell(1, "Secret.orders", "secret.orders")
        await until(lambda: connection.denied(["public", "secret.orders"]) == "secret.orders")
        assert connection.denied(["public"]) is None
        assert listener.rings == 1, "the rule is told"


async def test_a_cancellation_that_comes_with_an_answer_is_not_lost(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for in Python 3.11, which returns the answer and forgets the cancellation."""
    flushing, answered = asyncio.Event(), Client.flush

    async def flush(client: Client, timeout: int = 10) -> None:  # noqa: ASYNC109 - nats-py's signature
        await answered(client, timeout)
        flushing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    made = Listener(nats_server.url, ANONYMOUS)
    monkeypatch.setattr(Client, "flush", flush)
    task = asyncio.create_task(made.connection.run())
    await flushing.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()


async def test_what_workers_do_with_a_message_is_not_listened_to(listener: Listener, other: Client) -> None:
    """NAK, TERM and exceeded deliveries come per message and never raise a backlog."""
    js = other.jetstream()
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    config = ConsumerConfig(durable_name="worker", max_deliver=2, sample_freq="100")
    await js.add_consumer("ORDERS", config)
    sent = await other.subscribe("$JS.EVENT.>")
    for _ in range(3):
        await js.publish("orders.new", b"")
    worker = await js.pull_subscribe_bind("worker", stream="ORDERS")
    term, ack, nak = await worker.fetch(3, timeout=5)
    await term.term()
    await ack.ack_sync()
    await nak.nak()
    (again,) = await worker.fetch(1, timeout=5)
    await again.nak()
    kinds = {"MSG_TERMINATED", "MSG_NAKED", "MAX_DELIVERIES", "ACK"}
    while kinds:  # until the server has told those who listen
        subject = (await sent.next_msg(timeout=5)).subject
        kinds -= {kind for kind in kinds if f".{kind}." in subject}
        if "MAX_DELIVERIES" in kinds and kinds == {"MAX_DELIVERIES"}:
            with suppress(TimeoutError):
                await worker.fetch(1, timeout=0.2)
    assert await listener.connection.settle()
    assert [advisory.action for advisory in listener.heard] == ["STREAM.CREATED", "CONSUMER.CREATED"]


async def test_denials_of_what_was_never_asked_for_are_not_kept() -> None:
    """A server may tell of as many as it likes; the one that it tells of last was asked for."""
    invented = "".join(
        f"-ERR 'Permissions Violation for {what} to \"x.{number}\"'\r\n"
        for number in range(3000)
        for what in ("Subscription", "Publish")
    )
    async with false_nats("S", {}) as server:
        real = "-ERR 'Permissions Violation for Subscription to \"orders.>\"'\r\n"
        server.says = {"orders.>": (invented + real).encode()}
        async with listening(f"nats://127.0.0.1:{server.port}") as listener:
            connection = listener.connection
            await connection.doorbell(["orders.>"], 1, listener.ring)
            await until(lambda: connection.denied(["orders.>"]) is not None)
            assert connection.denied([f"x.{number}" for number in range(3000)]) is None
            assert (listener.rings, len(listener.states)) == (1, 1)
            await connection.doorbell(["orders.>"], 1, listener.ring)
            await until(lambda: listener.rings == 2)
