"""Takes one order after another from NATS JetStream, and acknowledges each when it is done.

It can be scaled down at any time: at SIGTERM it finishes its order first. It tells NATS that it is still at
work, so that an order that takes long is not given to another worker.

NATS_URL: where NATS is (default nats://127.0.0.1:4222). ORDER_SECONDS: what an order costs (default 0.05).
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NoOrderError
from nats.js import JetStreamContext
from orders import ACK_WAIT_SECONDS, CONSUMER, STREAM, connected, stop_on_sigterm

FETCH_SECONDS = 1.0
"""Also how long an idle worker takes to stop."""


@contextlib.asynccontextmanager
async def at_work(order: Msg) -> AsyncIterator[None]:
    """Keep the order for this worker while it is inside."""

    async def say_so() -> None:
        while True:
            await asyncio.sleep(ACK_WAIT_SECONDS / 3)
            await order.in_progress()

    saying = asyncio.create_task(say_so(), name="in progress")
    try:
        yield
    finally:
        saying.cancel()


async def work(stream: JetStreamContext, stopping: asyncio.Event, order_seconds: float) -> int:
    """Work until it is time to stop; an order that was begun is finished. Returns how many were done."""
    done = 0
    subscription = await stream.pull_subscribe_bind(CONSUMER, stream=STREAM)
    while not stopping.is_set():
        with contextlib.suppress(NoOrderError):
            (order,) = await subscription.fetch(1, timeout=FETCH_SECONDS)
            async with at_work(order):
                await asyncio.sleep(order_seconds)
            await order.ack_sync()
            done += 1
    return done


async def main() -> None:
    stopping = stop_on_sigterm()
    order_seconds = float(os.environ.get("ORDER_SECONDS", "0.05"))
    async with connected(f"worker {socket.gethostname()}") as stream:
        print("working", flush=True)
        done = await work(stream, stopping, order_seconds)
    print(f"stopped after {done} orders", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
