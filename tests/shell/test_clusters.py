"""Reads of real clusters: only a consumer's leader is believed, whichever nodes answer."""

import asyncio
import pathlib
from collections.abc import AsyncIterator

import pytest

from natsscaler.access import Access
from natsscaler.backlog import Backlog, measure
from natsscaler.consumers import Unknown
from natsscaler.errors import Reason
from natsscaler.monitoring import Monitoring
from natsscaler.network import AllowList
from natsscaler.reactor.state import LED_SECONDS
from natsscaler.rules import Rule
from tests.core.factories import rule
from tests.nats_cluster import NatsCluster, eventually

pytestmark = pytest.mark.timeout(120)
NAMED = rule(subject="orders.a", stream="ORDERS", consumer="worker")


@pytest.fixture
async def cluster(tmp_path: pathlib.Path) -> AsyncIterator[NatsCluster]:
    made = NatsCluster(tmp_path)
    await made.start()
    async with made.connect() as js:
        await js.add_stream(name="ORDERS", subjects=["orders.>"], num_replicas=3)
        await js.add_consumer("ORDERS", durable_name="worker", filter_subject="orders.a")
        await js.add_stream(name="BILLS", subjects=["bills.>"], num_replicas=1)
        await js.add_consumer("BILLS", durable_name="clerk", filter_subject="bills.a")
        for _ in range(7):
            await js.publish("orders.a", b"")
            await js.publish("bills.a", b"")
    yield made
    await made.kill()


@pytest.fixture
async def reader() -> AsyncIterator[Monitoring]:
    made = Monitoring(AllowList(in_cluster=False))
    yield made
    await made.close()


async def look(reader: Monitoring, url: str, of: Rule) -> Backlog | Unknown:
    return measure(of, (await reader.read(Access(url))).view)


async def known(reader: Monitoring, url: str, of: Rule) -> Backlog:
    found = await look(reader, url, of)
    assert isinstance(found, Backlog), found
    return found


def is_right(found: Backlog) -> bool:
    """Tell whether it is right; a new leader may have to count first, and a rule waits until it has."""
    assert found.messages == 7 or found.led_seconds < LED_SECONDS, "a follower was believed"
    return found.messages == 7


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("subject", ["orders.a", "bills.a"])
async def test_the_leader_is_believed_whichever_node_is_named(
    cluster: NatsCluster, reader: Monitoring, number: int, subject: str
) -> None:
    stream, consumer = ("ORDERS", "worker") if subject == "orders.a" else ("BILLS", "clerk")
    leader = await cluster.settle(stream, consumer)
    found = await known(reader, cluster.nodes[number].monitoring_url, rule(subject=subject))
    assert (found.messages, found.leaders) == (7, (leader,))


async def test_a_stepped_down_leader_is_not_believed_any_more(
    cluster: NatsCluster, reader: Monitoring
) -> None:
    url = cluster.nodes[0].monitoring_url
    former = (await known(reader, url, rule(subject="orders.a"))).leaders
    async with cluster.connect() as js:
        await js._nc.request("$JS.API.CONSUMER.LEADER.STEPDOWN.ORDERS.worker", b"", timeout=5)

        async def moved() -> bool:
            found = await look(reader, url, rule(subject="orders.a"))
            return isinstance(found, Backlog) and is_right(found) and found.leaders != former

        await eventually(moved, 30)


async def test_a_killed_leader_is_unknown_until_another_one_is_elected(
    cluster: NatsCluster, reader: Monitoring
) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    other = next(node for node in cluster.nodes if node.name != leader)
    assert (await known(reader, other.monitoring_url, NAMED)).messages == 7
    await cluster.node(leader).kill()

    async def elected() -> bool:
        found = await look(reader, other.monitoring_url, NAMED)
        if isinstance(found, Unknown):
            assert found.reason is Reason.LEADER_UNCLEAR
            return False
        return is_right(found) and found.leaders != (leader,)

    await eventually(elected, 40)
    wide = await look(reader, other.monitoring_url, rule(subject="orders.*"))
    assert isinstance(wide, Unknown), "the dead node may have had more consumers"
    assert leader in wide.message
    await cluster.node(leader).start()

    async def whole() -> bool:
        return isinstance(await look(reader, other.monitoring_url, rule(subject="orders.*")), Backlog)

    await eventually(whole, 40)


async def test_a_stopped_node_delays_others_only_once(cluster: NatsCluster, reader: Monitoring) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    stopped = next(node for node in cluster.nodes if node.name != leader)
    url = cluster.node(leader).monitoring_url
    await known(reader, url, NAMED)
    stopped.pause()
    try:
        for _ in range(3):
            assert (await known(reader, url, NAMED)).messages == 7
        asked = [address for address, until in reader._endpoints[Access(url)]._skipped.items() if until]
        assert asked == [stopped.host]
    finally:
        stopped.resume()


async def test_a_lost_quorum_is_unknown(cluster: NatsCluster, reader: Monitoring) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    url = cluster.node(leader).monitoring_url
    await known(reader, url, NAMED)
    others = [node for node in cluster.nodes if node.name != leader]
    for node in others:
        await node.kill()

    async def unclear() -> bool:
        found = await look(reader, url, NAMED)
        return isinstance(found, Unknown) and found.reason is Reason.LEADER_UNCLEAR

    await eventually(unclear, 40)
    await asyncio.gather(*(node.start() for node in others))

    async def back() -> bool:
        found = await look(reader, url, NAMED)
        return isinstance(found, Backlog) and found.messages == 7

    await eventually(back, 60)
