"""Rules on a real cluster: scaled on the leader's word alone, whoever leads and however it is reached."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from natsscaler.core.jetstream.backlog import Via
from natsscaler.core.reasons import State
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import LastDecision
from natsscaler.demo.nats_server import NatsServer
from tests.support.asking import ask, ask_all
from tests.support.factories import body
from tests.support.nats_cluster import NatsCluster
from tests.support.until import until
from tests.support.world import TARGET, World, publish, user, work_off, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
NAMES: dict[str, Any] = {"stream": "ORDERS", "consumer": "worker"}


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(nats_cluster: NatsCluster) -> NatsCluster:
    await nats_cluster.fix()
    async with nats_cluster.connect() as js:
        await js.add_stream(name="ORDERS", subjects=["orders.>"], num_replicas=3)
        await js.add_consumer("ORDERS", durable_name="worker", filter_subject="orders.processing")
    return nats_cluster


@asynccontextmanager
async def balancer(backends: Sequence[NatsServer]) -> AsyncIterator[str]:
    """Lead each connection to the next one of these nodes' monitoring ports; yield the URL."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        backend = backends[opened % len(backends)]
        opened += 1
        there, here = await asyncio.open_connection(backend.host, backend.monitoring_port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pipe(reader, here), name="request")
            group.create_task(_pipe(there, writer), name="answer")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


def last_decision(here: World) -> LastDecision | None:
    status = here.cluster.statuses.get(RuleKey("default", "rule"))
    return status.last_decision if status else None


async def test_behind_a_round_robin_balancer_all_nodes_are_found(cluster: NatsCluster) -> None:
    async with (
        balancer(cluster.nodes) as url,
        world(cluster.nodes[0]) as here,
        user(cluster.nodes[0].url) as client,
    ):
        await publish(client, 51)
        here.apply(natsMonitoringURL=url, nats={"url": cluster.nodes[1].url})
        await until(lambda: here.cluster.table[TARGET] == 2)
        await here.becomes("EventDriven", "True", "Listening")
        decision = last_decision(here)
        assert decision
        assert (decision.source, decision.leaders) == (
            Via.MONITORING,
            (await cluster.leader("ORDERS", "worker"),),
        )


async def test_behind_a_balancer_that_leads_to_a_follower_the_leader_is_asked_over_nats(
    cluster: NatsCluster,
) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    follower = next(node for node in cluster.nodes if node.name != leader)
    async with (
        balancer([follower]) as url,
        world(follower) as here,
        user(follower.url) as client,
    ):
        await publish(client, 51)
        here.apply(natsMonitoringURL=url, nats={"url": follower.url})
        await until(lambda: here.cluster.table[TARGET] == 2)
        await here.becomes("Ready", "True", "Scaling")
        decision = last_decision(here)
        assert decision
        assert (decision.source, decision.leaders, decision.backlog) == (Via.CONSUMER_INFO, (leader,), 51)
        steps = await ask(natsMonitoringURL=url, nats={"url": follower.url})
        assert steps["NATS"].text == f"{leader} answered over NATS, as {url} does not lead there"
        assert steps["Backlog"].text.startswith("51 messages")


async def test_rules_in_doubt_share_one_connection_to_nats(cluster: NatsCluster) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    follower = next(node for node in cluster.nodes if node.name != leader)

    async def connections(http: httpx.AsyncClient) -> int:
        total: int = (await http.get(f"{follower.monitoring_url}/varz")).json()["total_connections"]
        return total

    async with balancer([follower]) as url, httpx.AsyncClient(trust_env=False) as http:
        asked = {"natsMonitoringURL": url, "nats": {"url": follower.url}}
        rules = [body(deploymentName=f"app-{number}", **asked) for number in range(20)]
        for number, rule in enumerate(rules):
            rule["metadata"]["name"] = f"rule-{number}"
        before = await connections(http)
        told = await ask_all(rules)
        assert {steps["NATS"].text.split(",")[0] for steps in told} == {f"{leader} answered over NATS"}
        assert await connections(http) == before + 1


async def test_without_nats_a_follower_alone_leaves_the_backlog_unknown(cluster: NatsCluster) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    follower = next(node for node in cluster.nodes if node.name != leader)
    async with (
        balancer([follower]) as url,
        world(follower) as here,
        user(follower.url) as client,
    ):
        here.cluster.table[TARGET] = 3
        await publish(client, 51)
        here.apply(natsMonitoringURL=url, **NAMES)
        await here.becomes("Ready", "False", "LeaderUnclear")
        assert here.cluster.table[TARGET] == 3
        step = (await ask(natsMonitoringURL=url, **NAMES))["NATS"]
        assert (step.state, f"its leader is {leader}" in step.text) == (State.BLOCKED, True)
        assert step.fix
        assert "the monitoring port of every node" in step.fix.text


async def test_a_leader_killed_in_a_burst_is_followed_by_its_successor(cluster: NatsCluster) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    other = next(node for node in cluster.nodes if node.name != leader)
    async with world(other) as here, user(other.url) as client:
        here.cluster.table[TARGET] = 4
        behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        await publish(client, 80)
        here.apply(messagesPerReplica=20, behavior=behavior, **NAMES)
        await here.rests()
        await cluster.node(leader).kill()
        seen = set()

        async def successor() -> bool:
            seen.add(here.cluster.table[TARGET])
            leaders = await asyncio.gather(cluster.leader("ORDERS"), cluster.leader("ORDERS", "worker"))
            return not {"", leader} & set(leaders)

        await until(successor, 60)
        await publish(client, 40)
        await until(lambda: here.cluster.table[TARGET] == 6, 30)
        assert seen == {4}, "a follower's count was believed"
        await cluster.node(leader).start()
        await work_off(client, 120)
        await until(lambda: here.cluster.table[TARGET] == 1, 60)
