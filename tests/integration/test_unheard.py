"""Why messages cannot wake a rule: each reason on a real nats-server, and that polling goes on."""

from typing import Any

import pytest
from nats.js.api import StreamSource

from natsscaler.core.rule import EventSource
from natsscaler.demo.nats_server import NatsServer
from tests.support.unheard import USERS, Servers
from tests.support.until import until
from tests.support.world import TARGET, World, create_consumer, create_stream, doorbell_subjects, user, world

pytestmark = pytest.mark.timeout(90)

ACCOUNTS = """
accounts {
  ORDERS: { jetstream: enabled, users: [{user: orders, password: orders}] }
  EVENTS: { jetstream: enabled, users: [{user: events, password: events}] }
}
no_auth_user: events
"""


async def polled(
    here: World, url: str, reason: str, *, published: str = "orders.processing", **spec: Any
) -> None:
    """Show that a rule has this reason and no doorbell, and is scaled by polling all the same."""
    here.apply(pollIntervalSeconds=1, **spec)
    await here.becomes("EventDriven", "False", reason)
    await here.becomes("ScalingActive", "True", "ValidMetricFound")
    await here.listens()
    async with user(url) as client:
        for _ in range(51):
            await client.publish(published, b"")
        await client.flush()
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert await doorbell_subjects(here.server) == []
    assert here.condition("EventDriven") == ("False", reason)


@pytest.mark.parametrize(
    ("settings", "spec", "connects"),
    [
        pytest.param({}, {"events": []}, False, id="rule-none"),
        pytest.param({}, {"events": ["Advisories"]}, True, id="rule-no-doorbell"),
        pytest.param({"events": frozenset()}, {}, False, id="process-none"),
        pytest.param({"events": frozenset({EventSource.ADVISORIES})}, {}, True, id="process-no-doorbell"),
        pytest.param(
            {"events": frozenset({EventSource.DOORBELL})}, {"events": ["Advisories"]}, False, id="neither"
        ),
    ],
)
async def test_switched_off(
    nats_server: NatsServer, settings: dict[str, Any], spec: dict[str, Any], connects: bool
) -> None:
    async with user(nats_server.url) as client, world(nats_server, **settings) as here:
        await create_stream(client)
        await create_consumer(client)
        await polled(here, nats_server.url, "SwitchedOff", **spec)
        assert bool(here.connections) == connects


async def test_events_that_are_switched_off_later_end_the_connection(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await create_consumer(client)
        here.apply()
        await here.listens("orders.processing")
        here.apply(events=[])
        await here.becomes("EventDriven", "False", "SwitchedOff")
        connected = "natsscaler_nats_connected"
        await until(lambda: here.metrics.registry.get_sample_value(connected) == 0)
        here.apply()
        await here.listens("orders.processing")


async def test_sourced_stream(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await client.jetstream().add_stream(name="COPY", mirror=StreamSource(name="ORDERS"))
        await create_consumer(client, "COPY")
        await polled(here, nats_server.url, "SourcedStream", stream="COPY")


@pytest.mark.parametrize(
    ("wide", "published"), [("*", "orders"), ("*.>", "orders.processing"), ("_INBOX.mine.>", "_INBOX.mine.a")]
)
async def test_subject_too_wide(nats_server: NatsServer, wide: str, published: str) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client, "ORDERS", wide, no_ack=wide == "*.>")
        await create_consumer(client, subject=wide)
        await polled(here, nats_server.url, "SubjectTooWide", published=published, subject=wide)


async def test_subject_unusable(nats_server: NatsServer) -> None:
    """NATS takes such a subject, where the star is a mere letter; its clients do not subscribe to it."""
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client, "ORDERS", "orders.a*")
        await create_consumer(client, subject="orders.a*")
        await polled(here, nats_server.url, "SubjectUnusable", published="orders.a*", subject="orders.a*")
        assert "'orders.a*'" in here.message("EventDriven")


async def test_other_account(nats_servers: Servers) -> None:
    server = await nats_servers(config=ACCOUNTS)
    url = f"nats://orders:orders@127.0.0.1:{server.port}"
    async with user(url) as client, world(server) as here:
        await create_stream(client)
        await create_consumer(client)
        await polled(here, url, "OtherAccount")
        assert here.connections[0].account == "EVENTS"


async def test_other_server(nats_server: NatsServer, nats_servers: Servers) -> None:
    other = await nats_servers(name="other")
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await create_consumer(client)
        await polled(here, nats_server.url, "OtherServer", nats={"url": other.url})
        assert await doorbell_subjects(other) == []


@pytest.mark.parametrize(
    "permissions",
    [
        pytest.param('{subscribe: {deny: ["orders.>"]}}', id="doorbell"),
        pytest.param('{subscribe: {deny: ["$JS.EVENT.>"]}}', id="advisories"),
        pytest.param('{publish: {deny: ["$SYS.>"]}}', id="account"),
    ],
)
async def test_permission_denied(nats_servers: Servers, permissions: str) -> None:
    server = await nats_servers(config=USERS % permissions)
    url = f"nats://admin:admin@127.0.0.1:{server.port}"
    async with user(url) as client, world(server) as here:
        await create_stream(client)
        await create_consumer(client)
        await polled(here, url, "PermissionDenied")


async def test_an_unknown_backlog_does_not_refute_a_reason(nats_servers: Servers) -> None:
    server = await nats_servers(config=ACCOUNTS)
    async with user(f"nats://orders:orders@127.0.0.1:{server.port}") as client, world(server) as here:
        await create_stream(client)
        await create_consumer(client)
        here.apply(pollIntervalSeconds=1)
        await here.becomes("EventDriven", "False", "OtherAccount")
        await client.jetstream().delete_stream("ORDERS")
        await here.becomes("ScalingActive", "False", "StreamNotFound")
        assert here.condition("EventDriven") == ("False", "OtherAccount")
