"""The example worker can be scaled down at any time: it loses no order, and does none twice."""

import asyncio
import contextlib
import os
import pathlib
import sys
from collections.abc import AsyncIterator
from typing import Self

import nats
from nats.aio.client import Client
from nats.js.api import ConsumerInfo

from natsscaler.demo.nats_server import NatsServer
from tests.support.until import until

WORKER = pathlib.Path(__file__).parents[2] / "examples/worker.py"


@contextlib.asynccontextmanager
async def worker(url: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the example worker; it is at work inside."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(WORKER),
        env=os.environ | {"NATS_URL": url} | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"working\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Orders:
    """The stream of orders, and its consumer."""

    def __init__(self, client: Client) -> None:
        self._stream = client.jetstream()

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        async with await nats.connect(url) as client:
            yield cls(client)

    async def publish(self, count: int) -> None:
        for number in range(count):
            await self._stream.publish("orders.processing", str(number).encode())

    async def consumer(self) -> ConsumerInfo:
        info: ConsumerInfo = await self._stream.consumer_info("ORDERS", "workers")
        return info

    async def done(self) -> bool:
        info = await self.consumer()
        return (info.num_pending, info.num_ack_pending) == (0, 0)


async def deliveries(orders: Orders) -> int:
    """Say how often an order was given to a worker, the first and any further time."""
    delivered = (await orders.consumer()).delivered
    assert delivered
    return delivered.consumer_seq


async def test_workers_that_are_taken_away_lose_and_repeat_nothing(nats_server: NatsServer) -> None:
    url = nats_server.url
    async with worker(url, ORDER_SECONDS="0.2") as first, Orders.at(url) as orders:
        await orders.publish(60)
        async with worker(url, ORDER_SECONDS="0.2") as second, worker(url, ORDER_SECONDS="0.05"):
            for taken in (first, second):
                before = await deliveries(orders)

                async def goes_on(seen: int = before) -> bool:
                    return await deliveries(orders) > seen

                await until(goes_on)
                taken.terminate()
                assert await asyncio.wait_for(taken.wait(), 10) == 0
            await until(orders.done)
        assert await deliveries(orders) == 60


async def test_an_order_that_takes_long_stays_with_its_worker(nats_server: NatsServer) -> None:
    long = {"ORDER_SECONDS": "2.5", "ACK_WAIT_SECONDS": "1"}
    url = nats_server.url
    async with worker(url, **long), worker(url, **long), Orders.at(url) as orders:
        await orders.publish(1)
        await until(orders.done)
        assert await deliveries(orders) == 1
