"""What is measured of a fleet: bursts among quiet rules, rest, and bursts of every rule at once."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nats.js.client import JetStreamContext

from natsscaler.demo.workload import CONSUMER
from tests.bench.fleet import Fleet

BURST_MESSAGES = 100
QUIET_SECONDS = 120.0
BUSY_PER_SECOND, WORKED_PER_SECOND, BUSY_BURST, TICK_SECONDS = 500, 800, 1000, 0.02
RULES_PER_SECOND = 250
"""A read takes longer the more rules there are; so much longer the read budget needs to fill up again."""
BACK_OFF_SECONDS = 5.0
"""For a busy rule to have backed off as far as it does."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What a fleet at rest costs, per minute."""

    cpu_seconds: float
    reads: float
    requests: float
    resident_mebibytes: float


async def bursts_among_quiet(fleet: Fleet, bursts: int) -> list[float]:
    """Return the reaction time of each burst, one at a time, each of another rule."""
    times = []
    refill = fleet.rules / RULES_PER_SECOND
    for number in random.sample(range(fleet.rules), bursts):
        await asyncio.sleep(refill + random.uniform(0, 1))
        times.append(await fleet.burst(number, BURST_MESSAGES))
        await fleet.drain(number)
    return times


async def rest(fleet: Fleet) -> Rest:
    """Look at what the operator uses while nothing happens."""
    before = await fleet.usage()
    await asyncio.sleep(QUIET_SECONDS)
    after = await fleet.usage()
    minutes = QUIET_SECONDS / 60
    return Rest(
        cpu_seconds=(after.cpu_seconds - before.cpu_seconds) / minutes,
        reads=(after.reads - before.reads) / minutes,
        requests=(after.requests - before.requests) / minutes,
        resident_mebibytes=after.resident_bytes / 2**20,
    )


async def everybody(fleet: Fleet, seconds: float) -> Sequence[float]:
    """Return the reaction times when every rule has a burst once, at a random moment of this time."""

    async def one(number: int) -> float:
        await asyncio.sleep(random.uniform(0, seconds))
        return await fleet.burst(number, BURST_MESSAGES)

    return await asyncio.gather(*map(one, range(fleet.rules)))


async def bursts_on_a_busy_subject(fleet: Fleet, bursts: int) -> list[float]:
    """Return the reaction times of bursts on a subject that is busy, with a worker that keeps up."""
    times = []
    async with asyncio.TaskGroup() as group:
        load = [
            group.create_task(_trickle(fleet), name="load"),
            group.create_task(_work(fleet.nats.jetstream()), name="worker"),
        ]
        for _ in range(bursts):
            await asyncio.sleep(BACK_OFF_SECONDS + random.uniform(0, 2))
            times.append(await fleet.burst(0, BUSY_BURST))
            await fleet.drain(0)
        for task in load:
            task.cancel()
    return times


async def _trickle(fleet: Fleet) -> None:
    published, began = 0, time.monotonic()
    while True:
        while published < (time.monotonic() - began) * BUSY_PER_SECOND:
            await fleet.nats.publish("fleet.0", b"steady")
            published += 1
        await asyncio.sleep(TICK_SECONDS)


async def _work(stream: JetStreamContext) -> None:
    """Keep up with the load, but not with a burst."""
    subscription = await stream.pull_subscribe_bind(CONSUMER, stream="FLEET_0")
    batch = int(WORKED_PER_SECOND * TICK_SECONDS)
    while True:
        began = time.monotonic()
        try:
            messages = await subscription.fetch(batch, timeout=TICK_SECONDS)
        except TimeoutError:
            messages = []
        for message in messages:
            await message.ack()
        await asyncio.sleep(max(0.0, began + TICK_SECONDS - time.monotonic()))
