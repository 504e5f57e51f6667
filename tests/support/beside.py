"""A good rule beside what a tenant does: it goes on as if it were alone, and so does the process."""

import asyncio
import os
import pathlib
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client

from natsscaler.core.arming import Armed
from natsscaler.core.decision import pipeline
from natsscaler.core.rule import RuleKey
from natsscaler.demo.ports import free_port
from natsscaler.settings import Settings
from natsscaler.web.server import HealthPort, Web
from tests.conftest import in_background
from tests.support.until import until
from tests.support.world import TARGET, World, publish

AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
TIMES = 5
"""Reactions whose median counts."""
APART_SECONDS = 0.3
"""So that what a tenant does now and then falls upon some of them."""
TRIES = 3
"""Medians of which one must be as it should: the machine may be busy with something else."""
SLOWER = 3.0
"""How many times as long as alone a reaction may take."""
BUSY_SECONDS = 0.3
"""What any reaction may take: others may keep the machine busy."""
MEMORY_BYTES = 128 * 2**20
PROBE_SECONDS = 1.0
"""How long a probe waits for its answer, as Kubernetes does."""


class Good:
    """A rule that nothing is wrong with. Its backlog only grows, by one replica's messages at a time."""

    def __init__(self, here: World, orders: Client) -> None:
        self._here = here
        self._orders = orders
        self._replicas = 4
        self._alone = 0.0
        self._resident = 0

    async def begin(self) -> None:
        """Make the rule, and see how it reacts while nobody disturbs it."""
        await publish(self._orders, 80)
        self._here.cluster.table[TARGET] = self._replicas
        self._here.apply("good", messagesPerReplica=20, maxReplicas=1000, behavior=AT_ONCE)
        await self._here.rests()
        self._alone = await self._median()
        self._resident = resident()

    async def goes_on(self) -> None:
        """Assert that it reacts as if it were alone, and that the process is well."""
        medians: list[float] = []
        most = max(SLOWER * self._alone, BUSY_SECONDS)
        async with _probed(self._here):
            while len(medians) < TRIES and not (medians and min(medians) <= most):
                medians.append(await self._median())
        assert min(medians) <= most, (medians, self._alone)
        assert resident() - self._resident < MEMORY_BYTES

    async def _median(self) -> float:
        took = []
        for _ in range(TIMES):
            took.append(await self._reacts())
            await asyncio.sleep(APART_SECONDS)
        return statistics.median(took)

    async def _reacts(self) -> float:
        """Publish what one more replica is for; return after how long it was asked for, in seconds."""
        self._replicas += 1
        began = time.monotonic()
        await publish(self._orders, 20)
        await until(lambda: self._here.cluster.table[TARGET] == self._replicas)
        took = time.monotonic() - began
        await until(self._listens)
        return took

    def _listens(self) -> bool:
        state = self._here.reactor._states[RuleKey("default", "good")]
        return (
            isinstance(state.arm, Armed)
            and state.doorbell is not None
            and not state.doorbell.spent
            and not state.busy
            and state.seen is not None
            and state.seen.replicas == self._replicas
        )


def resident() -> int:
    """Return how much memory this process has, in bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def good_rule(here: World, orders: Client) -> AsyncIterator[Good]:
    """Have a good rule; steps may follow each other without a pause, for the sake of the test's time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "MIN_SECONDS_BETWEEN_STEPS", 0.0)
        made = Good(here, orders)
        await made.begin()
        yield made


@asynccontextmanager
async def _probed(here: World) -> AsyncIterator[None]:
    """Ask /healthz again and again, in a thread; every answer must come in time and be good."""
    health = cast("HealthPort", SimpleNamespace(live=here.reactor.stalled, ready=list))
    settings = Settings(probe_port=free_port(), activity_port=0, metrics_port=0, host="127.0.0.1")
    web = Web(settings, cast("Any", SimpleNamespace(subscribe=None)), here.metrics, health, time.time)
    over, asked = asyncio.Event(), 0

    async def ask() -> None:
        nonlocal asked
        while not over.is_set():
            await asyncio.to_thread(_healthy, f"http://127.0.0.1:{settings.probe_port}/healthz")
            asked += 1

    async with in_background(web.run()) as serving:
        await asyncio.sleep(0.1)
        assert not serving.done(), serving
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(), name="probes")
            yield
            over.set()
    assert asked


def _healthy(url: str) -> None:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        url, timeout=PROBE_SECONDS
    ) as answer:
        assert answer.status == 200
    time.sleep(0.02)
