"""A real run on a real nats-server with real workers, and its simulation: the same steps and waits."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NothingWaits

from natsscaler.core.rule import Target
from natsscaler.simulate.arrivals import of_rows
from natsscaler.simulate.plant import Speed
from natsscaler.simulate.run import simulate
from tests.support.world import TARGET, World

pytestmark = pytest.mark.timeout(180)
RATE = 5.0
"""Messages per second of a worker."""
SECONDS = 50.0
READ_SECONDS = 1.0
"""While messages come, the operator reads once a second."""
SPEC: dict[str, Any] = {
    "maxReplicas": 5,
    "scaleUpThreshold": 20,
    "scaleDownThreshold": 5,
    "pollIntervalSeconds": 4,
}


class Crew:
    """Workers, as many as the Deployment asks for; each takes one message at a time."""

    def __init__(self, world: World, client: Client) -> None:
        self._world, self._client = world, client
        self.waits: list[float] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(SPEC["maxReplicas"]):
                group.create_task(self._work(number), name=f"worker {number}")

    async def _work(self, number: int) -> None:
        taking = await self._client.jetstream().pull_subscribe_bind("worker", stream="ORDERS")
        while True:
            if number >= self._world.cluster.table[TARGET]:
                await asyncio.sleep(0.02)
                continue
            try:
                [message] = await taking.fetch(1, timeout=0.5)
            except NothingWaits:
                continue
            done_at = time.monotonic() + 1 / RATE
            await asyncio.sleep(done_at - time.monotonic())
            await message.ack()
            self.waits.append(time.monotonic() - float(message.data))


async def publish(client: Client, began: float) -> list[float]:
    """Publish a trickle with a burst in it; give the time of each message."""
    times = []
    while (now := time.monotonic() - began) < SECONDS:
        await client.jetstream().publish("orders.processing", str(time.monotonic()).encode())
        times.append(now)
        rate = 50 if 8 <= now < 12 else 3
        await asyncio.sleep(max(0.0, began + now + 1 / rate - time.monotonic()))
    return times


async def test_a_simulation_of_what_came_takes_the_steps_that_were_taken(here: World, orders: Client) -> None:
    steps = list[tuple[float, int, int]]()
    scale = here.cluster.scale

    async def noted(target: Target, before: int, after: int) -> int:
        steps.append((time.monotonic() - began, before, after))
        return await scale(target, before, after)

    here.cluster.scale = noted  # type: ignore[method-assign] # to learn when
    crew = Crew(here, orders)
    working = asyncio.create_task(crew.run(), name="crew")
    began = time.monotonic()
    here.apply(**SPEC)
    times = await publish(orders, began)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    corners = [0.0, *times, SECONDS]
    counts = [0.0] + [1.0] * len(times)
    rows = [(at, count) for (at, later), count in zip(pairwise(corners), counts, strict=True) if later > at]
    found = simulate(here.rule(**SPEC), of_rows(rows), Speed(RATE))
    assert [(step.before, step.after) for step in found.steps] == [step[1:] for step in steps]
    assert max(step[2] for step in steps) >= 4
    for (at, *_), simulated in zip(steps, found.steps, strict=True):
        assert simulated.time == pytest.approx(at, abs=READ_SECONDS)
    waits = sorted(crew.waits)
    for share, figure in ((0.95, found.figures.p95_wait_seconds), (0.99, found.figures.p99_wait_seconds)):
        assert figure == pytest.approx(waits[int(share * len(waits))], rel=0.15)
