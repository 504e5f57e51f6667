"""What a real nats-server says of its streams, and the backlog that is made of it."""

from collections.abc import AsyncIterator

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, SubjectTransform

from natsscaler.core.access import Access
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from tests.support.factories import rule


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_server.url)
    yield client.jetstream()
    await client.close()


async def backlog(server: NatsServer, subject: str) -> Backlog:
    reader = Monitoring(AllowList(in_cluster=False))
    try:
        found = measure(rule(subject=subject), (await reader.read(Access(server.monitoring_url))).view)
    finally:
        await reader.close()
    assert isinstance(found, Backlog), found
    return found


async def test_a_stream_that_stores_under_other_subjects_is_fed_by_its_own(
    js: JetStreamContext, nats_server: NatsServer
) -> None:
    transform = SubjectTransform("orders.>", "stored.>")
    await js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], subject_transform=transform))
    await js.add_consumer("ORDERS", durable_name="worker", filter_subject="stored.new")
    for _ in range(3):
        await js.publish("orders.new", b"")
    found = await backlog(nats_server, "stored.new")
    assert (found.messages, found.feeds) == (3, ("orders.>",))


async def test_delivered_messages_count_until_they_are_acknowledged(
    js: JetStreamContext, nats_server: NatsServer
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    worker = await js.pull_subscribe("orders.new", durable="worker", stream="ORDERS")
    for _ in range(3):
        await js.publish("orders.new", b"")
    first, second = await worker.fetch(2, timeout=5)
    found = await backlog(nats_server, "orders.new")
    assert (found.pending, found.unacknowledged, found.messages) == (1, 2, 3)
    await first.ack_sync()
    await second.nak()
    found = await backlog(nats_server, "orders.new")
    assert found.messages == 2, "a nak leaves the backlog as it is"
