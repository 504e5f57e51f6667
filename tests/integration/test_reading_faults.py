"""A monitoring endpoint that fails in every way: the replicas stay, the rule says why, and it ends well."""

import json
from functools import partial

import pytest
from nats.aio.client import Client

from natsscaler.core.reasons import Reason
from natsscaler.demo.nats_server import NatsServer
from tests.support.faulty_monitoring import Answer, changed, front, slow
from tests.support.reading_faults import FAULTS
from tests.support.until import until
from tests.support.world import TARGET, create_consumer, create_stream, publish, user, work_off, world

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_replicas_are_held_while_the_backlog_cannot_be_read(
    nats_server: NatsServer, fault: Answer, reason: Reason
) -> None:
    async with (
        front(nats_server) as behind,
        world(nats_server, monitoring_timeout=1, monitoring_max_mib=2) as here,
        user(nats_server.url) as client,
    ):
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 80)
        here.cluster.table[TARGET] = 4
        here.apply(
            natsMonitoringURL=behind.url,
            nats={"url": nats_server.url},
            messagesPerReplica=20,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
            pollIntervalSeconds=1,
        )
        await here.becomes("Ready", "True", "Scaling")
        behind.fault = fault
        await here.becomes("Ready", "False", reason)
        await work_off(client, 80)
        reads = here.monitoring.begun
        await until(lambda: here.monitoring.begun > reads + 1)
        assert here.cluster.table[TARGET] == 4
        assert here.condition("Ready") == ("False", reason)
        behind.fault = None
        await here.becomes("Ready", "True", "Scaling")
        await until(lambda: here.cluster.table[TARGET] == 1)


async def test_an_answer_that_takes_three_seconds_is_right(nats_server: NatsServer, orders: Client) -> None:
    await publish(orders, 80)
    async with front(nats_server) as behind, world(nats_server) as here:
        behind.fault = slow(3)
        here.apply(natsMonitoringURL=behind.url, nats={"url": nats_server.url}, messagesPerReplica=20)
        await until(lambda: here.cluster.table[TARGET] == 4)
        await here.becomes("Ready", "True", "Scaling")


@pytest.mark.parametrize(("mib", "right"), [(50, True), (65, False)], ids=["50 MiB", "65 MiB"])
async def test_a_huge_answer_is_read_up_to_64_mib(
    nats_server: NatsServer, orders: Client, mib: int, *, right: bool
) -> None:
    await publish(orders, 80)
    async with front(nats_server) as behind, world(nats_server, monitoring_timeout=30) as here:
        behind.fault = changed(partial(with_streams, mib * 2**20))
        here.apply(natsMonitoringURL=behind.url, nats={"url": nats_server.url}, messagesPerReplica=20)
        if right:
            await until(lambda: here.cluster.table[TARGET] == 4)
            await here.becomes("Ready", "True", "Scaling")
        else:
            await here.becomes("Ready", "False", Reason.MONITORING_TOO_LARGE)
            assert here.cluster.table[TARGET] == 1


def with_streams(size: int, truth: bytes) -> bytes:
    """Fill a document with as many other streams as take it to this size in bytes."""
    document = json.loads(truth)
    [account] = document["account_details"]
    other = json.dumps(account["stream_detail"][0], indent=2).encode()
    account["stream_detail"].append("OTHERS")
    count = size // len(other) + 1
    others = (
        other.replace(b"ORDERS", b"S%d" % number).replace(b"orders", b"s%d" % number)
        for number in range(count)
    )
    return json.dumps(document).encode().replace(b'"OTHERS"', b",".join(others))
