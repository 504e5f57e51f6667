"""What NATS limits or permits, from the start or by a reload: as much as it allows is woken by events."""

import pytest
from nats.aio.client import RawCredentials

from natsscaler.core import arming
from natsscaler.core.jetstream.advisories import SUBJECTS
from natsscaler.core.rule import RuleKey, Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats import connection
from tests.support.nats_jwt import OperatorMode
from tests.support.unheard import USERS, Servers
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

pytestmark = pytest.mark.timeout(120)

OWN = len(SUBJECTS) + 1
"""Subscriptions that natsscaler needs for itself: advisories and an inbox."""
NAMES = [f"rule-{number}" for number in range(6)]


def having(here: World, reason: str) -> list[str]:
    return [name for name in NAMES if here.condition("EventDriven", name)[1] == reason]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what was refused tried again in the time of a test."""
    monkeypatch.setattr(arming, "NO_ROOM_SECONDS", 1.0)
    monkeypatch.setattr(connection, "PERMISSION_SECONDS", 0.5)


async def test_as_many_rules_as_fit_are_woken_and_the_others_are_polled(nats_servers: Servers) -> None:
    server = await nats_servers(config=f"max_subscriptions: {OWN + 3}")
    async with user(server.url) as client, world(server) as here:
        await create_stream(client)
        for name in NAMES:
            await create_consumer(client, name=name, subject=f"orders.{name}")
            here.cluster.table[Target("default", name)] = 1
            here.apply(name, subject=f"orders.{name}", deploymentName=name, pollIntervalSeconds=2)
        await until(lambda: len(having(here, "Listening")) == 3 == len(having(here, "SubscriptionLimit")))
        assert "Raise max_subscriptions" in here.message("EventDriven", having(here, "SubscriptionLimit")[0])
        for name in NAMES:
            await publish(client, 51, f"orders.{name}")
        await until(lambda: all(here.cluster.table[Target("default", name)] >= 2 for name in NAMES))
        assert len(await doorbell_subjects(server)) <= 3
        assert not [event for event in here.cluster.events if event[2] == "NotConnected"]


async def test_a_rule_that_goes_leaves_its_room_to_another(nats_servers: Servers) -> None:
    server = await nats_servers(config=f"max_subscriptions: {OWN + 1}")
    async with user(server.url) as client, world(server) as here:
        await create_stream(client)
        for name in NAMES[:2]:
            await create_consumer(client, name=name, subject=f"orders.{name}")
            here.apply(name, subject=f"orders.{name}", dryRun=True)
        await until(lambda: len(having(here, "Listening")) == 1 == len(having(here, "SubscriptionLimit")))
        (heard,), (left,) = having(here, "Listening"), having(here, "SubscriptionLimit")
        here.reactor.forget(RuleKey("default", heard))
        await here.becomes("EventDriven", "True", "Listening", left)


async def test_fewer_subscriptions_than_natsscaler_itself_needs(nats_servers: Servers) -> None:
    server = await nats_servers(config="max_subscriptions: 5")
    async with user(server.url) as client, world(server) as here:
        await create_stream(client)
        await create_consumer(client)
        here.apply(pollIntervalSeconds=1)
        await here.becomes("EventDriven", "False", "SubscriptionLimit")
        assert f"fewer subscriptions than the {OWN}" in here.message("EventDriven")
        await publish(client, 51)
        await until(lambda: here.cluster.table[TARGET] == 2)
        server.config = ""
        await server.stop()
        await server.start()
        await here.becomes("EventDriven", "True", "Listening")


async def test_the_limit_of_an_account_is_told_as_well(nats_servers: Servers) -> None:
    mode = OperatorMode()
    server = await nats_servers(config=mode.limited(subs=OWN))
    async with world(server) as here:
        here.keep_secret({"creds": mode.creds()})
        async with user(server.url, user_credentials=RawCredentials(mode.creds())) as client:
            await create_stream(client)
            await create_consumer(client)
            here.apply(nats={"secretRef": {"name": "nats"}})
            await here.becomes("EventDriven", "False", "SubscriptionLimit")
            assert here.message("EventDriven").startswith("NATS limits the subscriptions of a connection or")


async def test_a_connection_that_has_too_few_is_made_anew_in_silence(
    nats_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SHORT_SECONDS", 0.1)
    server = await nats_servers(config="max_subscriptions: 5")
    async with world(server) as here:
        here.apply()
        await here.becomes("EventDriven", "False", "SubscriptionLimit")
        first = here.connections[0]._client
        await until(lambda: here.connections[0]._client not in (None, first))
        told = [event[2] for event in here.cluster.events if event[1] == "EventDriven"]
        assert told == ["SubscriptionLimit"]


async def test_a_small_payload_limit_disturbs_nothing(nats_servers: Servers) -> None:
    server = await nats_servers(config="max_payload: 8")
    async with world(server) as here:
        here.apply()
        await here.becomes("EventDriven", "True", "Listening")


async def test_too_many_connections_are_told_and_tried_again(nats_servers: Servers) -> None:
    server = await nats_servers(config="max_connections: 1")
    async with world(server) as here:
        async with user(server.url):
            here.apply()
            await here.becomes("EventDriven", "False", "NotConnected")
            assert "maximum connections exceeded" in here.message("EventDriven")
            assert "max_connections" in here.message("EventDriven")
        await here.becomes("EventDriven", "True", "Listening")


DENIED = [
    pytest.param('subscribe: {deny: ["orders.>"]}', id="doorbell"),
    pytest.param('subscribe: {deny: ["$JS.EVENT.ADVISORY.STREAM.>"]}', id="advisories"),
    pytest.param('subscribe: {deny: ["_INBOX.natsscaler.>"]}', id="inbox"),
    pytest.param('publish: {deny: ["$SYS.>"]}', id="account"),
    pytest.param('publish: {deny: ["$JS.API.CONSUMER.INFO.>"]}', id="feeds"),
]


@pytest.mark.parametrize("permissions", DENIED)
async def test_a_permission_that_a_reload_grants_is_used_soon(
    nats_servers: Servers, permissions: str
) -> None:
    server = await nats_servers(config=USERS % f"{{{permissions}}}")
    async with world(server) as here:
        await prepare(server)
        here.apply()
        await here.becomes("EventDriven", "False", "PermissionDenied")
        server.reload(USERS % "{}")
        await here.becomes("EventDriven", "True", "Listening")
        await reacts(here, server)


@pytest.mark.parametrize("permissions", DENIED[:3])
async def test_a_permission_that_a_reload_takes_away_is_told(nats_servers: Servers, permissions: str) -> None:
    server = await nats_servers(config=USERS % "{}")
    async with world(server) as here:
        await prepare(server)
        here.apply()
        await here.listens("orders.processing")
        await here.rests()
        server.reload(USERS % f"{{{permissions}}}")
        await here.becomes("EventDriven", "False", "PermissionDenied")
        assert await doorbell_subjects(server) == []
        server.reload(USERS % "{}")
        await here.becomes("EventDriven", "True", "Listening")
        await reacts(here, server)


async def prepare(server: NatsServer) -> None:
    async with user(f"nats://admin:admin@127.0.0.1:{server.port}") as admin:
        await create_stream(admin)
        await create_consumer(admin)


async def reacts(here: World, server: NatsServer) -> None:
    await here.rests()
    async with user(f"nats://admin:admin@127.0.0.1:{server.port}") as admin:
        await publish(admin, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)
