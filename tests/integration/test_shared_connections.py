"""A connection to NATS that rules of several namespaces share: what one tenant's server claims moves none."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import ConsumerConfig

from natsscaler.core.jetstream.documents import ConsumerInfo
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.connection import Connection
from tests.support import faulty_monitoring as faults
from tests.support.beside import good_rule
from tests.support.until import SECONDS, until
from tests.support.world import (
    TARGET,
    World,
    create_consumer,
    create_stream,
    doorbell_subjects,
    publish,
    world,
)

pytestmark = pytest.mark.timeout(90)
OTHER = Target("default", "other")
GOOD = "orders.processing"


@pytest.fixture
async def here(nats_server: NatsServer) -> AsyncIterator[World]:
    """The operator has a connection of its own, which rules use that name no other."""
    async with world(nats_server, nats_url=nats_server.url) as made:
        yield made


def claims(
    *filters: str, stream: str = "MINE", consumer: str = "worker", whole: bool = False
) -> faults.Answer:
    """Tell of a stream with a consumer that has these filters, or none and so takes all of the stream."""

    def change(truth: bytes) -> bytes:
        document = json.loads(truth)
        [account] = document["account_details"]
        named = [one for one in account["stream_detail"] if one["name"] == stream]
        [real] = named or account["stream_detail"]
        mine = json.loads(json.dumps(real))
        mine["name"], mine["config"]["subjects"] = stream, list(filters)
        [one] = mine["consumer_detail"]
        one["name"] = one["config"]["durable_name"] = consumer
        one["num_pending"] = one["num_ack_pending"] = 0
        del one["config"]["filter_subject"]
        if not whole:
            one["config"]["filter_subjects"] = list(filters)
        account["stream_detail"] = [mine]
        return json.dumps(document).encode()

    return faults.changed(change)


def apply_liar(here: World, url: str, name: str = "liar", **spec: Any) -> None:
    here.cluster.table[OTHER] = 1
    here.apply(name, deploymentName=OTHER.name, natsMonitoringURL=url, **spec)


SECRET = ("secrets.a", "secrets.b")


@pytest.mark.parametrize(
    ("fault", "spec"),
    [
        pytest.param(claims(*SECRET), {"stream": "MINE", "consumer": "worker"}, id="other-stream"),
        pytest.param(
            claims(*SECRET, stream="ORDERS", consumer="mine"),
            {"stream": "ORDERS", "consumer": "mine"},
            id="other-consumer",
        ),
        pytest.param(claims("secrets.a"), {"subject": "secrets.a"}, id="by-subject"),
        pytest.param(claims(*SECRET, whole=True), {"stream": "MINE", "consumer": "worker"}, id="no-filter"),
    ],
)
async def test_what_an_answer_claims_is_not_subscribed_to(
    here: World, orders: Client, fault: faults.Answer, spec: dict[str, Any]
) -> None:
    """The server itself is asked for the consumer, over the connection that is to be used."""
    async with good_rule(here, orders) as good, faults.front(here.server) as liar:
        liar.fault = fault
        apply_liar(here, liar.url, **spec)
        await here.becomes("EventDriven", "False", "OtherServer", "liar")
        assert await doorbell_subjects(here.server) == [GOOD]
        await good.goes_on()
        assert await doorbell_subjects(here.server) == [GOOD]
    assert len(here.connections) == 1


async def test_a_real_consumer_is_listened_to_as_nats_knows_it(here: World, orders: Client) -> None:
    async with good_rule(here, orders) as good, faults.front(here.server) as liar:
        liar.fault = claims(*SECRET, stream="ORDERS", consumer="worker")
        apply_liar(here, liar.url, stream="ORDERS", consumer="worker")
        await here.becomes("EventDriven", "True", "Listening", "liar")
        await here.listens(GOOD, GOOD)
        await good.goes_on()
    assert len(here.connections) == 1


async def test_subjects_that_are_answers_of_others_are_claimed_in_vain(here: World, orders: Client) -> None:
    """A request that nobody serves goes on failing at once, and answers reach only who asked."""
    async with faults.front(here.server) as liar:
        liar.fault = claims("_INBOX.natsscaler.>", stream="ORDERS", consumer="worker")
        apply_liar(here, liar.url, stream="ORDERS", consumer="worker")
        await here.becomes("EventDriven", "False", "SubjectTooWide", "liar")
        with pytest.raises(NoRespondersError):
            await orders.request("_INBOX.natsscaler.anything", timeout=SECONDS)
        assert await doorbell_subjects(here.server) == []


async def test_nats_is_asked_once_not_for_each_reading_or_ring(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Connection.consumer_info

    async def counted(connection: Connection, stream: str, consumer: str) -> ConsumerInfo | NotTold:
        asked.append(f"{stream}/{consumer}")
        return await ask(connection, stream, consumer)

    monkeypatch.setattr(Connection, "consumer_info", counted)
    async with good_rule(here, orders) as good:
        await good.goes_on()
    assert here.wakeups("doorbell") >= 5
    assert asked == ["ORDERS/worker"]


async def test_a_filter_that_is_edited_is_asked_for_anew(here: World, orders: Client) -> None:
    here.apply(consumer="worker", pollIntervalSeconds=1)
    await here.listens(GOOD)
    await orders.jetstream().add_consumer(
        "ORDERS", ConsumerConfig(durable_name="worker", filter_subject="orders.edited")
    )
    await here.listens("orders.edited")
    await here.becomes("EventDriven", "True", "Listening")


async def test_all_of_a_stream_is_listened_to_as_nats_knows_it(here: World, orders: Client) -> None:
    """That is what a consumer without filter takes, and a work queue before it has consumers."""
    await create_stream(orders, "QUEUE", "jobs.>", retention="workqueue")
    await create_consumer(orders, name="everything", subject="")
    here.cluster.table[OTHER] = 1
    here.apply("consumer", consumer="everything")
    here.apply("queue", deploymentName=OTHER.name, subject="jobs.>")
    await here.listens("jobs.>", "orders.>")
    await publish(orders, 51, "jobs.a")
    await publish(orders, 51, "orders.any")
    await until(lambda: here.cluster.table == {TARGET: 2, OTHER: 2})
