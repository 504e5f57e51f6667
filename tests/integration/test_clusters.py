"""Reads of real clusters: only a consumer's leader is believed, whichever nodes answer."""

import pathlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

from natsscaler.core.access import Access
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.trust import LED_SECONDS
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from tests.support.factories import rule
from tests.support.nats_cluster import NatsCluster, eventually
from tests.support.world import publish

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
NAMED = rule(subject="orders.a", stream="ORDERS", consumer="worker")
STREAMS = {"ORDERS": ("file", 3), "BILLS": ("file", 1), "VISITS": ("memory", 3), "CLICKS": ("memory", 1)}


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(nats_cluster: NatsCluster) -> NatsCluster:
    """Three healthy nodes with a stream of each kind, and 7 messages for its worker."""
    await nats_cluster.fix()
    await fill(nats_cluster)
    return nats_cluster


async def fill(cluster: NatsCluster) -> None:
    async with cluster.connect() as js:
        for stream, (storage, replicas) in STREAMS.items():
            subject = stream.lower()
            await js.add_stream(
                name=stream, subjects=[f"{subject}.>"], num_replicas=replicas, storage=cast("Any", storage)
            )
            await js.add_consumer(stream, durable_name="worker", filter_subject=f"{subject}.a")
            await publish(js._nc, 7, f"{subject}.a")


@pytest_asyncio.fixture(loop_scope="module")
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


async def test_the_leader_is_believed_whichever_node_is_named(
    cluster: NatsCluster, reader: Monitoring
) -> None:
    await every_node_leads_to_the_truth(cluster, reader)


async def test_nodes_that_advertise_nothing_are_found_by_their_routes(
    tmp_path: pathlib.Path, reader: Monitoring
) -> None:
    silent = NatsCluster(tmp_path, more=", no_advertise: true")
    await silent.start()
    try:
        await fill(silent)
        await every_node_leads_to_the_truth(silent, reader)
    finally:
        await silent.kill()


@pytest.mark.ipv6
async def test_nodes_are_found_at_addresses_of_both_families(
    tmp_path: pathlib.Path, reader: Monitoring
) -> None:
    both = NatsCluster(tmp_path, hosts=("::1", "127.0.0.14", "127.0.0.15"))
    await both.start()
    try:
        await fill(both)
        await every_node_leads_to_the_truth(both, reader)
    finally:
        await both.kill()


async def every_node_leads_to_the_truth(cluster: NatsCluster, reader: Monitoring) -> None:
    for stream in STREAMS:
        leader = await cluster.settle(stream, "worker")
        of = rule(subject=f"{stream.lower()}.a")
        for node in cluster.nodes:

            async def right(url: str = node.monitoring_url, of: Rule = of) -> bool:
                return is_right(await known(reader, url, of))

            await eventually(right, 40)
            assert (await known(reader, node.monitoring_url, of)).leaders == (leader,)


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

        await eventually(moved, 60)


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
