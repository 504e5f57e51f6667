"""Rates against publishers and workers on a real nats-server that count what they do.

Each rate is within a tenth of the truth, or not known. All ways of working run side by side for a while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy

from natsscaler.core.access import Access
from natsscaler.core.decision.rates import Rates, Work, Workers
from natsscaler.core.errors import MonitoringError
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from tests.support.factories import rule
from tests.support.nats_cluster import NatsCluster
from tests.support.traffic import (
    Handle,
    Traffic,
    Truth,
    acknowledge,
    forget_some,
    refuse_some,
    terminate_some,
)

WINDOW = 12.0
"""Seconds that the rates are means of: the shown ones are of a minute, by the same sums."""
READY = 2
PER_SECOND = 20.0
SLOW, FAST = 4.0, 40.0
"""What one worker can do per second."""


class Outcome(NamedTuple):
    """What was found out, and what is true."""

    rates: Rates
    arriving: float
    processing: float
    replica_rate: float | None
    """What was learnt that one replica can do."""

    def agrees(self, *, known: Sequence[str] = ()) -> None:
        """Be right or not known."""
        for name in ("arriving", "processing"):
            found, truth = getattr(self.rates, name), getattr(self, name)
            assert found is not None or name not in known, f"{name}: not known, {truth:.1f} in truth"
            assert found is None or found == pytest.approx(truth, rel=0.1, abs=0.2), name


Disturb = Callable[[JetStreamContext, str], Coroutine[Any, Any, None]]


async def watch(
    read: Callable[[str], Awaitable[Backlog | None]],
    subject: str,
    truth: Truth,
    seconds: float = WINDOW,
) -> Outcome:
    """Look once a second, as an evaluation does."""
    clock = asyncio.get_running_loop().time
    begun, end = Truth(), clock() + seconds
    work, first, last = Work(), 0.0, 0.0
    while clock() < end:
        backlog = await read(subject)
        if backlog:
            if not work.tallies:
                first, begun = clock(), Truth(truth.published, truth.processed)
            work, last = work.observed(backlog, Workers(READY, "1"), WINDOW), clock()
            seen = Truth(truth.published, truth.processed)
        await asyncio.sleep(1)
    span = last - first
    return Outcome(
        work.rates(WINDOW),
        (seen.published - begun.published) / span,
        (seen.processed - begun.processed) / span,
        work.replica_rate,
    )


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Callable[[str], Awaitable[Backlog | None]]]:
    monitoring = Monitoring(AllowList(in_cluster=False))

    async def read(subject: str) -> Backlog | None:
        try:
            view = (await monitoring.read(Access(url))).view
        except MonitoringError:
            return None
        found = measure(rule(subject=subject), view)
        return found if isinstance(found, Backlog) else None

    yield read
    await monitoring.close()


class Case(NamedTuple):
    """One way of working."""

    per_worker: float = FAST
    handle: Handle = acknowledge
    known: Sequence[str] = ("arriving", "processing")
    """What must be known in the end."""
    parts: int = 1
    """Consumers that share the rule's messages."""
    shares: bool = False
    """The stream has messages of others too."""
    disturb: Disturb | None = None
    consumer: Mapping[str, Any] = MappingProxyType({})
    stream: Mapping[str, Any] = MappingProxyType({})


async def purge(js: JetStreamContext, stream: str) -> None:
    await asyncio.sleep(WINDOW / 2)
    await js.purge_stream(stream)


ARRIVING, NONE = ("arriving",), ()
EXPIRING = {"ack_wait": 1}
CASES = {
    "keeping-up": Case(),
    "falling-behind": Case(SLOW),
    "naks": Case(handle=refuse_some),
    "naks-behind": Case(SLOW, refuse_some),
    "terms": Case(handle=terminate_some),
    "ack-wait": Case(handle=forget_some, consumer=EXPIRING),
    "purge": Case(SLOW, disturb=purge, known=ARRIVING),
    "two-consumers": Case(parts=2),
    "work-queue": Case(stream={"retention": RetentionPolicy.WORK_QUEUE}),
    "work-queue-naks": Case(handle=refuse_some, stream={"retention": RetentionPolicy.WORK_QUEUE}),
    "shared": Case(shares=True),
    "shared-behind": Case(SLOW, shares=True),
    "shared-terms": Case(handle=terminate_some, shares=True),
    "shared-purge": Case(SLOW, disturb=purge, shares=True, known=NONE),
    "shared-naks": Case(handle=refuse_some, shares=True),
}


async def run(case: Case, name: str, js: JetStreamContext, url: str) -> Outcome:
    """Publish and work for a while, and look meanwhile."""
    subject, stream = f"{name}.orders", name
    subjects = [f"{subject}.>"] + ([f"{name}.others"] if case.shares else [])
    await js.add_stream(name=stream, subjects=subjects, **case.stream)
    truth = Truth()
    tasks: list[asyncio.Task[None]] = []
    parts = [f"{subject}.{part}" for part in range(case.parts)]
    for part, filter_ in enumerate(parts):
        consumer = f"workers{part}"
        filters = f"{subject}.>" if case.parts == 1 else filter_
        await js.add_consumer(stream, durable_name=consumer, filter_subject=filters, **case.consumer)
        traffic = Traffic(js, stream, consumer, filter_, truth)
        tasks.append(asyncio.create_task(traffic.publish(PER_SECOND / case.parts)))
        tasks += [asyncio.create_task(traffic.work(case.per_worker, case.handle)) for _ in range(READY)]
    if case.shares:
        others = Traffic(js, stream, "", f"{name}.others")
        tasks.append(asyncio.create_task(others.publish(PER_SECOND)))
    if case.disturb:
        tasks.append(asyncio.create_task(case.disturb(js, stream)))
    async with reading(url) as read:
        outcome = await watch(read, f"{subject}.>", truth)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return outcome


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(tmp_path_factory.mktemp("nats")))
        clients = [await nats.connect(server.url) for _ in CASES]
        for client in clients:
            stack.push_async_callback(client.close)
        found = await asyncio.gather(
            *(
                run(case, name, client.jetstream(), server.monitoring_url)
                for (name, case), client in zip(CASES.items(), clients, strict=True)
            )
        )
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"shared-naks"}))
def test_rates_are_right_or_not_known(outcomes: dict[str, Outcome], name: str) -> None:
    outcomes[name].agrees(known=CASES[name].known)
    assert outcomes[name].rates.estimated == (CASES[name].shares or CASES[name].parts > 1)


def test_where_repeated_deliveries_cannot_be_told_the_rate_is_an_estimate(
    outcomes: dict[str, Outcome],
) -> None:
    rates, arriving, *_ = outcomes["shared-naks"]
    assert rates.estimated
    assert rates.arriving is None or 0.9 * arriving < rates.arriving < 1.35 * arriving


@pytest.mark.parametrize("name", ["falling-behind", "shared-behind"])
def test_what_a_replica_can_do_is_learnt_of_workers_that_fall_behind(
    outcomes: dict[str, Outcome], name: str
) -> None:
    outcome = outcomes[name]
    assert outcome.replica_rate == pytest.approx(outcome.processing / READY, rel=0.15)


def test_it_is_not_learnt_of_workers_that_wait_for_messages(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["keeping-up"].replica_rate is None


def test_what_one_replica_does_follows_from_how_many_are_ready(outcomes: dict[str, Outcome]) -> None:
    rates = outcomes["falling-behind"].rates
    assert rates.processing is not None
    assert rates.per_replica == pytest.approx(rates.processing / READY)


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(nats_cluster: NatsCluster) -> NatsCluster:
    await nats_cluster.fix()
    return nats_cluster


@pytest.mark.asyncio(loop_scope="module")
async def test_rates_are_right_or_not_known_when_a_cluster_changes_its_leaders(cluster: NatsCluster) -> None:
    async def move(_: JetStreamContext, stream: str) -> None:
        await asyncio.sleep(WINDOW / 3)
        await cluster.move(stream, "workers0")
        await asyncio.sleep(WINDOW / 6)
        await cluster.move(stream)

    case = Case(handle=refuse_some, stream={"num_replicas": 3}, disturb=move)
    async with cluster.connect() as js:
        outcome = await run(case, "moved", js, cluster.nodes[0].monitoring_url)
    outcome.agrees()
    assert outcome.rates.arriving is not None


async def test_rates_are_right_or_not_known_when_nats_restarts(nats_server: NatsServer) -> None:
    async def restart(_: JetStreamContext, __: str) -> None:
        await asyncio.sleep(WINDOW / 2)
        await nats_server.kill()
        await nats_server.start()

    client = await nats.connect(nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    case = Case(handle=refuse_some, disturb=restart)
    outcome = await run(case, "restarted", client.jetstream(), nats_server.monitoring_url)
    await client.close()
    outcome.agrees()
