"""Random faults over many rules, beside a model that knows the true backlogs and judges every scale-down."""

import asyncio
import contextlib
import statistics
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import nats
from nats.js.client import JetStreamContext

from natsscaler.nats.dial import hang_up
from tests.bench.faults import HOST, KUBERNETES, NATS, suffer
from tests.bench.faulty_fleet import BENCH, FaultyFleet, open_faulty_fleet, until
from tests.bench.life import Life, WatchedLife
from tests.bench.truth import AGE_SECONDS, Wanted

RULES = 50
BASE = {"minReplicas": 1, "maxReplicas": 10, "scaleDownThreshold": 1, "scaleUpThreshold": 5}
AT_ONCE = BASE | {"messagesPerReplica": 10, "pollIntervalSeconds": 5}
"""Replicas fall with the first read that says so, a wrong one too."""
KINDS: Sequence[dict[str, Any]] = (
    AT_ONCE | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    AT_ONCE | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}, "pollIntervalSeconds": 20},
    AT_ONCE | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "events": ["Advisories"]},
    AT_ONCE | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "consumer": "workers"},
    BASE | {"scaleUpThreshold": 50, "scaleDownThreshold": 10, "pollIntervalSeconds": 2},
)
START_SECONDS, CALM_SECONDS = 60.0, 900.0
"""The longest time that the operator may take to start, and to be right everywhere after the last fault: a
watch that is muted is given up after 90 s, slow reads have to be saved up for by the read budget, and after a
conflict a step may have to wait for 10 minutes."""
CONNECTIONS = 10
"""Of the model, so that none has many subscriptions."""
IDLE_SECONDS = 30.0
"""After which connections that are not used are closed."""
SAMPLE_SECONDS = 5.0
WARM_UP_SHARE = 0.2
"""Of the time, in which memory may grow."""


class Sample(NamedTuple):
    """What the operator uses at one time."""

    at: float
    resident_bytes: int
    tasks: Counter[str]
    descriptors: Counter[str]
    connections: int

    def told(self) -> str:
        """Write it for a person."""
        return (
            f"{self.tasks.total()} tasks, {self.descriptors.total()} descriptors,"
            f" {self.connections} connection to NATS, {self.resident_bytes / 2**20:.0f} MiB"
        )

    def exceeds(self, other: "Sample") -> bool:
        """Tell whether there are more tasks, descriptors or connections than in another sample."""
        more = self.descriptors.total() > other.descriptors.total() or self.connections > other.connections
        return more or bool(self.tasks - other.tasks)


@dataclass
class Soaked:
    """What a soak has found."""

    seed: int
    minutes: float
    faults: Counter[str] = field(default_factory=Counter)
    ups: int = 0
    downs: int = 0
    wrong: list[str] = field(default_factory=list)
    checked: int = 0
    differences: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    peak_bytes: int = 0
    before: Sample | None = None
    after: Sample | None = None
    calm_seconds: float | None = None
    """How long after the last fault all replicas were right; None: they were not."""
    restless: list[str] = field(default_factory=list)
    """The rules that were not."""

    @property
    def leaked(self) -> bool:
        """Whether there are more tasks, descriptors or connections than before it all, with as much to do."""
        if self.before is None or self.after is None:
            return True
        return self.after.exceeds(self.before)

    @property
    def failed(self) -> bool:
        return bool(self.wrong or self.restless or self.leaked)

    @property
    def slope(self) -> float:
        """By how many bytes per minute memory has grown after the warm-up.

        By least squares of the least of each minute, as an answer of 50 MB is there for a moment.
        """
        begin = self.samples[0].at + 60 * self.minutes * WARM_UP_SHARE
        least: dict[int, int] = {}
        for one in self.samples:
            if one.at >= begin:
                minute = int((one.at - begin) // 60)
                least[minute] = min(one.resident_bytes, least.get(minute, one.resident_bytes))
        slope, _ = statistics.linear_regression(list(least), list(least.values()))
        return slope


class Judge:
    """Looks at every change of replicas."""

    def __init__(self, fleet: FaultyFleet, lives: Sequence[Life], found: Soaked) -> None:
        self._fleet, self._lives, self._found = fleet, lives, found
        self.recent: deque[str] = deque(maxlen=30)
        """The faults that began last, and when."""

    def look(self, number: int, before: int, after: int) -> None:
        now = time.monotonic()
        if after > before:
            self._found.ups += 1
            return
        self._found.downs += 1
        least = self._lives[number].truth.least(now)
        if not wanted(number).excuses(least, before, after):
            told = f"{now:.1f}: app-{number} from {before} to {after} with at least {least:g} waiting for"
            recent = "; ".join(self.recent)
            self._found.wrong.append(f"{told} {AGE_SECONDS:g} s ({self._fleet.conditions(number)}; {recent})")

    def begun(self, fault: str) -> None:
        self._found.faults[fault] += 1
        self.recent.append(f"{time.monotonic():.1f} {fault}")

    def told(self, number: int) -> str:
        """Describe a rule as it is now."""
        backlog, replicas = self._lives[number].truth.now, self._fleet.replicas(number)
        return f"app-{number}: {replicas} replicas, backlog {backlog}, {self._fleet.conditions(number)}"

    def right(self, number: int) -> bool:
        """Tell whether a rule has as many replicas as its backlog asks for, and is well."""
        life, rule = self._lives[number], wanted(number)
        replicas, least = self._fleet.replicas(number), rule.at_least(life.truth.now)
        if "messagesPerReplica" in rule.spec:
            settled = replicas == least
        else:
            up, down = rule.spec["scaleUpThreshold"], rule.spec["scaleDownThreshold"]
            settled = replicas == least or down <= life.truth.now <= up
        return settled and self._fleet.conditions(number).get("Ready", ("", ""))[0] == "True"


def spec(number: int) -> dict[str, Any]:
    return KINDS[number % len(KINDS)]


def wanted(number: int) -> Wanted:
    return Wanted(spec(number))


async def soak(directory: Path, minutes: float, seed: int, read_budget: float) -> tuple[Soaked, str]:
    """Let faults happen for so long; return what was found, and the end of the operator's log."""
    found, random = Soaked(seed, minutes), Random(seed)
    specs = [spec(number) for number in range(RULES)]
    async with open_faulty_fleet(directory, specs, read_budget) as fleet, AsyncExitStack() as stack:
        streams = [await _connect(fleet, stack) for _ in range(CONNECTIONS)]
        lives = [
            (WatchedLife if number % 2 else Life)(
                number, streams[number % CONNECTIONS], Random(random.random())
            )
            for number in range(RULES)
        ]
        judge = Judge(fleet, lives, found)
        for life in lives:
            await life.begin()
        fleet.scaled = judge.look

        def calm() -> bool:
            return all(map(judge.right, range(RULES)))

        await until(calm, START_SECONDS)
        await asyncio.sleep(IDLE_SECONDS)
        found.before = await _sample(fleet)
        await _suffer(fleet, lives, judge, found, random)
        for life in lives:
            await life.fix()
        with contextlib.suppress(TimeoutError):
            found.calm_seconds = await until(calm, CALM_SECONDS)
        found.restless = [judge.told(number) for number in range(RULES) if not judge.right(number)]
        for life in lives:
            await life.end()
        with contextlib.suppress(TimeoutError):
            await until(calm, CALM_SECONDS)
        found.after = await _sample(fleet)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALM_SECONDS):
                while found.after.exceeds(found.before):
                    await asyncio.sleep(SAMPLE_SECONDS)
                    found.after = await _sample(fleet)
        found.peak_bytes = fleet.peak_bytes
        found.checked = sum(life.checked for life in lives)
        found.differences = [told for life in lives for told in life.differences]
        return found, (await asyncio.to_thread(fleet.log.read_text))[-20_000:]


async def _connect(fleet: FaultyFleet, stack: AsyncExitStack) -> JetStreamContext:
    connection = await nats.connect(
        fleet.server.url,
        user=BENCH,
        password=BENCH,
        name="natsscaler bench",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.2,
        error_cb=_ignore,
    )
    stack.push_async_callback(hang_up, connection)
    return connection.jetstream(timeout=2)


async def _suffer(
    fleet: FaultyFleet, lives: Sequence[Life], judge: Judge, found: Soaked, random: Random
) -> None:
    end = time.monotonic() + 60 * found.minutes
    sampling = asyncio.create_task(_keep_sampling(fleet, found), name="samples")
    async with asyncio.TaskGroup() as group:
        for faults in (NATS, KUBERNETES, HOST):
            group.create_task(suffer(fleet, faults, Random(random.random()), end, judge.begun))
        for life in lives:
            group.create_task(life.live(end))
    sampling.cancel()


async def _keep_sampling(fleet: FaultyFleet, found: Soaked) -> None:
    while True:
        found.samples.append(await _sample(fleet))
        await asyncio.sleep(SAMPLE_SECONDS)


async def _sample(fleet: FaultyFleet) -> Sample:
    connections = -1
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            connections = await fleet.connections()
    return Sample(time.monotonic(), fleet.resident_bytes, fleet.tasks, fleet.descriptors, connections)


async def _ignore(_: Exception) -> None:
    """Faults are what this is about."""
