"""Which consumers of a real nats-server count for a rule: its workers', and nobody else's."""

import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig, StreamSource, SubjectTransform

from natsscaler.demo.nats_server import NatsServer
from tests.support.faulty_monitoring import changed, front
from tests.support.until import until
from tests.support.world import TARGET, World, create_consumer, create_stream, publish, user, world

pytestmark = pytest.mark.timeout(60)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
LIVELY: dict[str, Any] = {"messagesPerReplica": 20, "pollIntervalSeconds": 1, "behavior": AT_ONCE}


async def read_again(here: World) -> None:
    """Wait until a read that begins from now on is decided on."""
    begun = here.monitoring.begun
    await until(lambda: here.monitoring.begun > begun + 2)


async def look(client: Client) -> None:
    """Look at the stream as `nats stream view` does: by an ephemeral consumer; this one has taken all."""
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, inactive_threshold=300, mem_storage=True
    )
    info = await client.jetstream().add_consumer("ORDERS", config)
    looking = await client.jetstream().pull_subscribe_bind(info.name, stream="ORDERS")
    assert len(await looking.fetch(300, timeout=5)) == 300


async def test_somebody_who_looks_at_the_stream_never_counts(nats_server: NatsServer) -> None:
    """Not while the workers' consumer is missing either."""
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await publish(client, 300)
        await look(client)
        here.cluster.table[TARGET] = 8
        here.apply(**LIVELY)
        await here.becomes("Ready", "False", "ConsumerNotFound")
        assert "(not durable)" in here.message("Ready")
        await read_again(here)
        assert here.cluster.table[TARGET] == 8
        await create_consumer(client)
        await here.becomes("Ready", "True", "Scaling")
        await until(lambda: here.cluster.table[TARGET] == 10)


async def test_an_audit_is_not_taken_for_the_workers_that_are_missing(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await client.jetstream().add_consumer("ORDERS", ConsumerConfig(durable_name="audit"))
        await create_consumer(client, name="shipping", subject="orders.shipping")
        await publish(client, 300)
        here.apply(**LIVELY, subject="orders.shiping")
        await here.becomes("Ready", "False", "ConsumerNotFound")
        message = here.message("Ready")
        assert "ORDERS/audit (takes orders.>), ORDERS/shipping (takes orders.shipping)" in message
        assert "Did you mean orders.shipping?" in message
        await read_again(here)
        assert here.cluster.table[TARGET] == 1


async def test_a_wider_consumer_counts_if_it_is_named_and_that_is_told(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await client.jetstream().add_consumer("ORDERS", ConsumerConfig(durable_name="worker"))
        await publish(client, 45)
        await publish(client, 25, "orders.others")
        here.apply(**LIVELY, consumer="worker")
        await until(lambda: here.cluster.table[TARGET] == 4)
        await here.becomes("Ready", "True", "Scaling")
        assert "It takes orders.>, not only orders.processing" in here.message("ScalingActive")


@pytest.mark.parametrize("filled", ["transformed", "mirrored"])
async def test_a_durable_of_a_stream_that_stores_otherwise_is_listed_to_be_named(
    nats_server: NatsServer, filled: str
) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        js = client.jetstream()
        if filled == "transformed":
            transform = SubjectTransform("orders.>", "stored.>")
            await js.add_stream(StreamConfig(name="COPY", subjects=["orders.>"], subject_transform=transform))
        else:
            await create_stream(client)
            await js.add_stream(StreamConfig(name="COPY", mirror=StreamSource(name="ORDERS")))
        await js.add_consumer("COPY", ConsumerConfig(durable_name="worker", filter_subject=None))
        await publish(client, 300)
        here.apply(**LIVELY, stream="COPY")
        await here.becomes("Ready", "False", "ConsumerNotFound")
        assert "COPY/worker (takes " in here.message("Ready")
        assert "spec.consumer" in here.message("Ready")
        here.apply(**LIVELY, stream="COPY", consumer="worker")
        await until(lambda: here.cluster.table[TARGET] == 10)


async def test_the_consumers_that_fill_a_mirror_never_count(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await publish(client, 300)
        mirror = StreamConfig(name="COPY", mirror=StreamSource(name="ORDERS"))
        await client.jetstream().add_stream(mirror)
        here.apply(**LIVELY)
        await here.becomes("Ready", "False", "ConsumerNotFound")
        await read_again(here)
        assert here.cluster.table[TARGET] == 1


IMPOSSIBLE = [(18446744073709551615, 0), (2**63, 0), (-1, 0), (5000, 0), (0, 2**64), (2**62, 2**62 + 10**18)]


@pytest.mark.parametrize(("pending", "unacknowledged"), IMPOSSIBLE)
async def test_a_count_that_cannot_be_is_unknown_and_disturbs_nobody(
    nats_server: NatsServer, pending: int, unacknowledged: int
) -> None:
    """As some releases of nats-server have counted."""

    def miscount(truth: bytes) -> bytes:
        document = json.loads(truth)
        for stream in document["account_details"][0]["stream_detail"]:
            for consumer in stream["consumer_detail"]:
                if consumer["name"] == "worker":
                    consumer |= {"num_pending": pending, "num_ack_pending": unacknowledged}
        return json.dumps(document).encode()

    async with user(nats_server.url) as client, world(nats_server) as here, front(nats_server) as behind:
        await create_stream(client)
        await create_consumer(client)
        await create_consumer(client, name="others", subject="orders.others")
        await publish(client, 55)
        await publish(client, 55, "orders.others")
        there: dict[str, Any] = {"natsMonitoringURL": behind.url, "nats": {"url": nats_server.url}}
        here.apply(**LIVELY, **there)
        await until(lambda: here.cluster.table[TARGET] == 3)
        behind.fault = changed(miscount)
        await here.becomes("Ready", "False", "ImplausibleCount")
        assert "ORDERS/worker" in here.message("Ready")
        here.cluster.table[TARGET._replace(name="others")] = 1
        here.apply("others", **LIVELY, **there, subject="orders.others", deploymentName="others")
        await until(lambda: here.cluster.table[TARGET._replace(name="others")] == 3)
        assert here.cluster.table[TARGET] == 3
        behind.fault = None
        await here.becomes("Ready", "True", "Scaling")
        assert here.cluster.table[TARGET] == 3
