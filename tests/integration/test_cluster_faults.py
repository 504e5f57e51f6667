"""Rules through every fault of a real cluster, beside a model that knows the true backlog.

Messages are published all the time and none is taken, so the backlog only grows: whatever is decided on must
lie between what NATS had acknowledged when the read began and what was sent, and no step down can be right.
The cluster is reached by one name with an address per node, as by a headless service.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from nats.errors import Error as NatsError

from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.rule import Rule
from natsscaler.nats.dial import obediently
from natsscaler.reactor import endpoint_loop
from tests.support.names import resolve_by
from tests.support.nats_cluster import NatsCluster, eventually
from tests.support.until import until
from tests.support.world import TARGET, World, world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
log = logging.getLogger(__name__)
NAME = "nats.internal"
PER_REPLICA = 20
FAULT_SECONDS = 60.0


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(nats_cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch) -> NatsCluster:
    """Three healthy nodes without streams, behind one name."""
    await nats_cluster.fix()
    hosts = [node.host for node in nats_cluster.nodes]
    resolve_by(monkeypatch, lambda host: hosts if host == NAME else None)
    return nats_cluster


class Truth:
    """What was really published, and every decision that natsscaler took meanwhile."""

    def __init__(self) -> None:
        self.sent = self.stored = self.at_read = 0
        self.decided_at = -math.inf
        self.last: Observation | None = None
        self.known_at = -math.inf
        """When a decision was last made on a backlog that was known."""
        self.wrong: list[str] = []
        self.elected_at = -math.inf
        self.recovered = math.nan
        """Seconds from the last election to the first decision on a known backlog."""

    async def read_begins(self) -> None:
        self.at_read = self.stored

    def decide(self, rule: Rule, seen: Observation, memory: Memory, now: float) -> Decision:
        decision = decide(rule, seen, memory, now)
        self.last, self.decided_at = seen, time.monotonic()
        if isinstance(seen.backlog, Backlog):
            if not self.at_read <= seen.backlog.messages <= self.sent:
                self.wrong.append(f"{seen.backlog} of {self.at_read} to {self.sent}")
            if self.known_at < self.elected_at:
                self.recovered = self.decided_at - self.elected_at
            self.known_at = self.decided_at
        if decision.desired < seen.replicas:
            self.wrong.append(f"{seen.replicas} to {decision.desired}: {decision.message}")
        return decision

    @property
    def known(self) -> Backlog | None:
        return self.last.backlog if self.last and isinstance(self.last.backlog, Backlog) else None

    async def publish(self, cluster: NatsCluster, subjects: list[str]) -> None:
        """Publish for ever, each message until it is stored, and once only."""
        async with cluster.connect() as js:

            async def elected(_: object) -> None:
                self.elected_at = time.monotonic()

            await js._nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.>", cb=elected)
            while True:
                self.sent += 1
                subject = subjects[self.sent % len(subjects)]
                while True:
                    try:
                        headers = {"Nats-Msg-Id": str(self.sent)}
                        acknowledged = await obediently(js.publish(subject, b"", timeout=1, headers=headers))
                        break
                    except NatsError:
                        await asyncio.sleep(0.05)
                if not acknowledged.duplicate:  # else it may be one that was lost with the quorum
                    self.stored += 1
                await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(
    cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch, *subjects: str, **spec: Any
) -> AsyncIterator[tuple[World, Truth]]:
    """Run a rule that any lower count would scale down at once, and check all that it decides."""
    truth = Truth()
    monkeypatch.setattr(endpoint_loop, "decide", truth.decide)
    port, monitoring_port = cluster.nodes[0].port, cluster.nodes[0].monitoring_port
    async with world(cluster.nodes[0]) as here, asyncio.TaskGroup() as group:
        here.monitoring.on_begin = truth.read_begins
        publishing = group.create_task(truth.publish(cluster, list(subjects)), name="publish")
        await until(lambda: truth.stored >= 2 * PER_REPLICA)
        here.apply(
            natsMonitoringURL=f"http://{NAME}:{monitoring_port}",
            nats={"url": f"nats://{NAME}:{port}"},
            pollIntervalSeconds=1,
            messagesPerReplica=PER_REPLICA,
            scaleUpThreshold=1,
            scaleDownThreshold=0,
            maxReplicas=10_000,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
            **spec,
        )
        await follows(here, truth)
        await here.becomes("EventDriven", "True", "Listening")
        yield here, truth
        publishing.cancel()


async def follows(here: World, truth: Truth) -> None:
    """Wait until what is published from now on is known and scaled for."""
    stored, since = truth.stored, time.monotonic()

    def followed() -> bool:
        known = truth.known if truth.decided_at > since else None
        return bool(known and known.messages >= stored and here.cluster.table[TARGET] * PER_REPLICA >= stored)

    await until(followed, FAULT_SECONDS)


async def consumer_steps_down(cluster: NatsCluster, _: Truth) -> None:
    await cluster.move("ORDERS", "worker")


async def stream_steps_down(cluster: NatsCluster, _: Truth) -> None:
    await cluster.move("ORDERS")


async def leader_killed(cluster: NatsCluster, _: Truth) -> None:
    await _lose(cluster, await cluster.settle("ORDERS", "worker"), stopped=False)


async def leader_stopped(cluster: NatsCluster, _: Truth) -> None:
    """It goes on accepting connections, and never answers."""
    await _lose(cluster, await cluster.settle("ORDERS", "worker"), stopped=True)


async def _lose(cluster: NatsCluster, former: str, *, stopped: bool) -> None:
    if stopped:
        cluster.node(former).pause()
    else:
        await cluster.node(former).kill()

    async def followed() -> bool:
        return await cluster.leader("ORDERS", "worker") not in ("", former)

    await eventually(followed, FAULT_SECONDS)


async def follower_killed(cluster: NatsCluster, _: Truth) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    await next(node for node in cluster.nodes if node.name != leader).kill()


async def follower_stopped(cluster: NatsCluster, _: Truth) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    next(node for node in cluster.nodes if node.name != leader).pause()


async def rolling_restart(cluster: NatsCluster, _: Truth, streams: Sequence[str] = ("ORDERS",)) -> None:
    for node in cluster.nodes:
        await node.stop()
        await node.start()

        async def whole() -> bool:
            return all([await cluster.current(stream) for stream in streams])

        await eventually(whole, FAULT_SECONDS)


async def quorum_lost_and_regained(cluster: NatsCluster, truth: Truth) -> None:
    leader = await cluster.settle("ORDERS", "worker")
    others = [node for node in cluster.nodes if node.name != leader]
    await asyncio.gather(*(node.kill() for node in others))
    await until(lambda: truth.last is not None and truth.known is None, FAULT_SECONDS)
    await asyncio.gather(*(node.start() for node in others))
    await cluster.settle("ORDERS", "worker")


Fault = Callable[[NatsCluster, Truth], Awaitable[None]]
FAULTS = [
    (consumer_steps_down, "file", 3),
    (stream_steps_down, "memory", 3),
    (leader_killed, "file", 3),
    (leader_stopped, "memory", 3),
    (follower_killed, "memory", 3),
    (follower_stopped, "file", 3),
    (rolling_restart, "file", 3),
    (rolling_restart, "file", 1),
    (quorum_lost_and_regained, "file", 3),
]


@pytest.mark.parametrize(
    ("fault", "storage", "replicas"),
    [pytest.param(*each, id=f"{each[0].__name__}-{each[1]}-R{each[2]}") for each in FAULTS],
)
async def test_no_fault_of_a_cluster_makes_a_false_count_or_a_step_down(
    cluster: NatsCluster,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: Fault,
    storage: Any,
    replicas: int,
) -> None:
    async with cluster.connect() as js:
        await js.add_stream(name="ORDERS", subjects=["orders.>"], num_replicas=replicas, storage=storage)
        await js.add_consumer("ORDERS", durable_name="worker", filter_subject="orders.processing")
    async with watched(cluster, monkeypatch, "orders.processing") as (here, truth):
        await fault(cluster, truth)
        over = time.monotonic()
        await follows(here, truth)
        log.info("back %.2f s after it, %.2f s after the election", time.monotonic() - over, truth.recovered)
        assert truth.wrong == []
        leader = await cluster.settle("ORDERS", "worker")
        await until(lambda: bool(truth.known and truth.known.leaders == (leader,)), FAULT_SECONDS)
    assert truth.wrong == []


async def test_a_rolling_restart_takes_nothing_from_a_sum_over_single_replicas(
    cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream is on a node of its own, which shows its consumers some time after it answers again."""
    names = ["A", "B", "C"]
    async with cluster.connect() as js:
        for name in names:
            await js.add_stream(name=name, subjects=[f"orders.{name}"], num_replicas=1)
            await js.add_consumer(name, durable_name="worker", filter_subject=f"orders.{name}")
    subjects = [f"orders.{name}" for name in names]
    async with watched(cluster, monkeypatch, *subjects, subject="orders.*") as (here, truth):
        await rolling_restart(cluster, truth, names)
        await follows(here, truth)
    assert truth.wrong == []
