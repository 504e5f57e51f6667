"""The two measurements: reaction times of both sides, and what doorbells cost under a steady load."""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial

from nats.aio.client import Client
from nats.errors import TimeoutError as NoMessageError

from natsscaler.demo.workload import CONSUMER
from tests.bench.side import Side, until

BURST_MESSAGES = 100
SETTLE_SECONDS, PHASE_SECONDS = 0.5, 10.0
REACTION_SECONDS = 30.0
STEADY_SECONDS, STEADY_RATE, BATCHES_PER_SECOND = 20.0, 5000, 50
PULLED = 500


async def reaction_times(nats: Client, event: Side, poll: Side, bursts: int) -> list[tuple[float, float]]:
    """Return the seconds from the first publish to the change of replicas, per burst: event, poll."""
    times = []
    for number in range(1, bursts + 1):
        await asyncio.gather(
            until(partial(event.ready, listening=True)), until(partial(poll.ready, listening=False))
        )
        await asyncio.sleep(SETTLE_SECONDS + random.uniform(0, PHASE_SECONDS))
        assert (event.replicas, poll.replicas) == (1, 1)
        changes = event.expect_scale_up(), poll.expect_scale_up()
        began = time.monotonic()
        for _ in range(BURST_MESSAGES):
            for side in (event, poll):
                await nats.publish(side.subject, b"burst")
        await nats.flush()
        async with asyncio.timeout(REACTION_SECONDS):
            seen = await asyncio.gather(*changes)
        pair = seen[0] - began, seen[1] - began
        times.append(pair)
        line = f"burst {number:3d}: events {pair[0] * 1000:7.1f} ms   poll {pair[1] * 1000:8.1f} ms"
        print(line, flush=True)  # noqa: T201
        await asyncio.gather(event.reset(), poll.reset())
    return times


@dataclass(frozen=True, slots=True)
class Steady:
    """What a steady load cost."""

    seconds: float
    published: int
    delivered: int
    acknowledged: int
    backlog: int
    replicas: int


async def steady_load(nats: Client, side: Side) -> Steady:
    """Publish for a while what one worker keeps up with, and count what doorbells got of it."""
    before = await side.deliveries()
    counts = {"acknowledged": 0}
    worker = asyncio.create_task(_work(side, counts))
    began = time.monotonic()
    published, batch = 0, STEADY_RATE // BATCHES_PER_SECOND
    while published < STEADY_RATE * STEADY_SECONDS:
        for _ in range(batch):
            await nats.publish(side.subject, b"steady")
        await nats.flush()
        published += batch
        await asyncio.sleep(max(0.0, began + published / STEADY_RATE - time.monotonic()))
    seconds = time.monotonic() - began
    backlog, delivered = await side.backlog(), await side.deliveries() - before
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return Steady(seconds, published, delivered, counts["acknowledged"], backlog, side.replicas)


async def _work(side: Side, counts: dict[str, int]) -> None:
    subscription = await side.stream.pull_subscribe_bind(CONSUMER, stream=side.stream_name)
    while True:
        try:
            messages = await subscription.fetch(PULLED, timeout=0.1)
        except NoMessageError:
            continue
        for message in messages:
            await message.ack()
        counts["acknowledged"] += len(messages)
