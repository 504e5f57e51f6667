"""Random faults on real servers beside a model that knows how much waits, and so which steps down are right.

It knows the least that can have waited in the last seconds. Everything that ever made natsscaler count less
than there was can happen here, in any order: restarts, slow recovery, partitions, elections, other people's
consumers, deletions, creations and edits.
"""

import asyncio
import contextlib
import logging
import math
import os
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy, RetentionPolicy, StreamConfig

from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.dial import obediently
from natsscaler.reactor.rule_state import RuleState
from tests.bench import truth as bench_truth
from tests.bench.truth import UNKNOWABLE, Truth, Wanted
from tests.support.names import resolve_by
from tests.support.partition import Wired, wired
from tests.support.until import until
from tests.support.world import NAME, TARGET, World, world

log = logging.getLogger(__name__)
SECONDS = float(os.environ.get("MODEL_SECONDS", "20"))
"""How long each runs; hours of it find more."""
pytestmark = pytest.mark.timeout(3 * SECONDS + 300)
AGE_SECONDS = 7.0
"""The oldest truth that may be acted upon: a read takes 5 s at the most."""
SPEC: dict[str, Any] = {
    "subject": "orders.*",
    "messagesPerReplica": 10,
    "pollIntervalSeconds": 1,
    "minReplicas": 1,
    "maxReplicas": 10,
    "scaleUpThreshold": 5,
    "scaleDownThreshold": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
WANTED = Wanted(SPEC)
LEVELS = (0, 45, 95, 95, 140)
FAILURES = (NatsError, OSError, TimeoutError, AssertionError)


@dataclass
class Model:
    """What really waits, who made it so, and which steps down it does not allow."""

    nodes: Sequence[NatsServer]
    replicas: int
    random: Random
    there: Wired | None = None
    truth: Truth = field(default_factory=lambda: Truth(time.monotonic()))
    waiting: int = 0
    past: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    downs: int = 0
    sent: int = 0

    def note(self, what: str) -> None:
        self.past.append(f"{time.monotonic():.1f} {what}")

    def becomes(self, messages: float) -> None:
        self.truth.becomes(messages, time.monotonic())

    def look(self, before: int, after: int, why: str) -> None:
        """Judge a change of replicas."""
        if after >= before:
            return
        self.downs += 1
        least = self.truth.least(time.monotonic())
        if not WANTED.excuses(least, before, after):
            recent = "; ".join(self.past[-12:])
            self.wrong.append(
                f"{time.monotonic():.1f}: {before} to {after} with {least:g} waiting ({why}; {recent})"
            )

    @asynccontextmanager
    async def client(self, besides: NatsServer | None = None) -> AsyncIterator[Client]:
        urls = [node.url for node in self.nodes if node is not besides and node.running]
        client = await nats.connect(
            urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1, connect_timeout=5
        )
        try:
            yield client
        finally:
            await client.close()

    async def create(self) -> None:
        """Create the stream and the workers' consumer, if they are missing."""
        async with self.client() as client:
            js = client.jetstream(timeout=5)
            await js.add_stream(
                StreamConfig(
                    name="ORDERS",
                    subjects=["orders.*"],
                    retention=RetentionPolicy.LIMITS,
                    num_replicas=self.replicas,
                )
            )
            await js.add_consumer("ORDERS", WORKER)

    async def publish(self, messages: int, besides: NatsServer | None = None) -> None:
        """Publish each message once, however often it takes."""
        async with self.client(besides) as client:
            js = client.jetstream(timeout=2)
            for _ in range(messages):
                self.sent += 1
                async with asyncio.timeout(60):
                    while True:
                        with contextlib.suppress(*FAILURES):
                            headers = {"Nats-Msg-Id": str(self.sent)}
                            await obediently(js.publish("orders.processing", b"", headers=headers))
                            break
                        await asyncio.sleep(0.1)
                self.waiting += 1
                self.becomes(self.waiting)

    async def work(self, messages: int) -> None:
        """Take and acknowledge messages."""
        self.becomes(self.waiting - messages)
        async with self.client() as client:
            worker = await client.jetstream(timeout=5).pull_subscribe_bind("worker", stream="ORDERS")
            while messages > 0:
                taken = await worker.fetch(min(messages, 50), timeout=10)
                await asyncio.gather(*(message.ack_sync(timeout=10) for message in taken))
                messages -= len(taken)
                self.waiting -= len(taken)
        self.becomes(self.waiting)

    # What happens.

    async def load(self) -> None:
        missing = self.random.choice(LEVELS) - self.waiting
        self.note(f"load {missing:+}")
        await (self.publish(missing) if missing > 0 else self.work(-missing))

    async def restart(self) -> None:
        node = self.random.choice(self.nodes)
        killed = self.random.random() < 0.5
        self.note(f"{'kill' if killed else 'stop'} {node.name}")
        await (node.kill() if killed else node.stop())
        await asyncio.sleep(self.random.uniform(0, 3))
        starting = asyncio.create_task(node.start(), name="start")
        if self.random.random() < 0.6:
            self.note(f"slow start of {node.name}")
            await _slowly(node, starting, self.random.uniform(2, 6))
        await starting
        self.note(f"started {node.name}")

    async def freeze(self) -> None:
        node = self.random.choice(self.nodes)
        self.note(f"freeze {node.name}")
        node.pause()
        await asyncio.sleep(self.random.uniform(1, 8))
        node.resume()
        self.note(f"thaw {node.name}")

    async def partition(self) -> None:
        if self.there is None:
            return
        node = self.random.choice(self.nodes)
        self.note(f"isolate {node.name}")
        self.there.isolate(node.name)
        try:
            await asyncio.sleep(self.random.uniform(1, 12))
            await self.publish(self.random.choice((0, 20)), besides=node)
            await asyncio.sleep(self.random.uniform(0, 5))
        finally:
            self.there.heal()
            self.note(f"heal {node.name}")

    async def elect(self) -> None:
        async with self.client() as client:
            kind = self.random.choice(
                ("CONSUMER.LEADER.STEPDOWN.ORDERS.worker", "STREAM.LEADER.STEPDOWN.ORDERS")
            )
            self.note(kind)
            await client.request(f"$JS.API.{kind}", b"", timeout=2)

    async def look_in(self) -> None:
        """Have somebody else look at the stream, audit it, or do so by the very subject of the rule."""
        config = self.random.choice(
            (
                ConsumerConfig(deliver_policy=DeliverPolicy.NEW, inactive_threshold=30),
                ConsumerConfig(durable_name="audit", deliver_policy=DeliverPolicy.NEW),
                ConsumerConfig(
                    durable_name="audit", deliver_policy=DeliverPolicy.NEW, filter_subject="orders.processing"
                ),
            )
        )
        async with self.client() as client:
            js = client.jetstream(timeout=5)
            self.note(f"look in: {config.durable_name} {config.filter_subject}")
            info = await js.add_consumer("ORDERS", config)
            await asyncio.sleep(self.random.uniform(1, 4))
            await js.delete_consumer("ORDERS", info.name)
            self.note("looked")

    async def delete_workers(self) -> None:
        """Delete the workers' consumer, and create it again."""
        async with self.client() as client:
            js = client.jetstream(timeout=5)
            self.note("delete the workers' consumer")
            self.becomes(UNKNOWABLE)
            await js.delete_consumer("ORDERS", "worker")
            await asyncio.sleep(self.random.uniform(0, 4))
            await js.purge_stream("ORDERS", keep=self.waiting)
            await js.add_consumer("ORDERS", WORKER)
            self.becomes(self.waiting)
            self.note("created it again")

    async def fix(self) -> None:
        """Bring everything back, and learn what waits."""
        if self.there:
            self.there.heal()
        for node in self.nodes:
            if node.running:
                node.resume()
            else:
                await node.start()
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(*FAILURES):
                    await self.create()
                    async with self.client() as client:
                        js = client.jetstream(timeout=5)
                        with contextlib.suppress(NatsError):
                            await js.delete_consumer("ORDERS", "audit")
                        info = await js.consumer_info("ORDERS", "worker")
                        self.waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
                        self.becomes(self.waiting)
                        self.note(f"fixed: {self.waiting} wait")
                        return
                await asyncio.sleep(0.2)


WORKER = ConsumerConfig(durable_name="worker", filter_subject="orders.processing", ack_wait=30)


async def _slowly(node: NatsServer, starting: "asyncio.Task[None]", seconds: float) -> None:
    """Give a server that starts a little time now and then."""
    end = time.monotonic() + seconds
    while not starting.done() and time.monotonic() < end:
        await asyncio.sleep(0.01)
        if node.running:
            node.pause()
            await asyncio.sleep(0.1)
            node.resume()


async def run(model: Model, here: World, rule: Callable[..., object]) -> None:
    """Let things happen, and judge; in the end all must be right."""
    scale = here.cluster.scale

    async def judged(target: Target, before: int, after: int) -> int:
        model.look(before, after, here.message("ScalingActive"))
        return await scale(target, before, after)

    here.cluster.scale = judged  # type: ignore[method-assign]
    chances: dict[Callable[[], Awaitable[None]], int] = {
        model.load: 8,
        model.restart: 4,
        model.freeze: 2,
        model.partition: 4 if model.there else 0,
        model.elect: 2 if model.there else 0,
        model.look_in: 3,
        model.delete_workers: 2,
    }
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        (happening,) = model.random.choices(list(chances), list(chances.values()))
        try:
            await happening()
        except FAILURES as error:
            model.note(f"given up: {error!r}")
            await model.fix()
        if model.random.random() < 0.2:
            rule(stream="ORDERS" if model.random.random() < 0.5 else None)
            model.note("the rule is edited")  # it may then choose anew, so nobody looks in until it has
            await until(lambda: all(map(_chosen, here.reactor._states.values())), 90)
        await asyncio.sleep(model.random.uniform(0, 2))
    await model.fix()
    rule(stream="ORDERS")
    await until(lambda: _right(model, here), 90)
    log.info("%d steps down; %s", model.downs, "; ".join(model.past))


def _right(model: Model, here: World) -> bool:
    well = here.condition("Ready")[0] == "True" and not math.isinf(model.truth.now)
    return well and here.cluster.table[TARGET] == WANTED.at_least(model.truth.now)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench allows for a slow Kubernetes API too."""
    monkeypatch.setattr(bench_truth, "AGE_SECONDS", AGE_SECONDS)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("events", [["Advisories", "Doorbell"], []], ids=["connected", "polled"])
async def test_no_step_down_on_a_single_server_that_the_truth_does_not_allow(
    nats_server: NatsServer, seed: int, events: list[str]
) -> None:
    model = Model([nats_server], 1, Random(seed))
    await model.create()
    async with world(nats_server) as here:

        def rule(**spec: Any) -> None:
            here.apply(**SPEC | {"events": events} | {k: v for k, v in spec.items() if v})

        rule()
        await run(model, here, rule)
    assert model.wrong == []


@pytest.mark.parametrize(("seed", "replicas"), [(3, 3), (4, 3), (5, 1)])
async def test_no_step_down_on_a_cluster_that_the_truth_does_not_allow(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seed: int, replicas: int
) -> None:
    async with wired(tmp_path) as there:
        nodes = there.cluster.nodes
        model = Model(nodes, replicas, Random(seed), there)
        await model.create()
        resolve_by(monkeypatch, lambda host: [node.host for node in nodes] if host == NAME else None)
        async with world(nodes[0]) as here:
            at: dict[str, Any] = {
                "natsMonitoringURL": f"http://{NAME}:{nodes[0].monitoring_port}",
                "nats": {"url": f"nats://{NAME}:{nodes[0].port}"},
            }

            def rule(**spec: Any) -> None:
                here.apply(**SPEC | at | {k: v for k, v in spec.items() if v})

            rule()
            await run(model, here, rule)
    assert model.wrong == []


def _chosen(state: RuleState) -> bool:
    """Tell whether what the backlog is counted on is chosen."""
    return bool(state.trusts) and all(trust.source for trust in state.trusts.values())
