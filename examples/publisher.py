"""Publishes bursts of orders to NATS JetStream. NATS_URL: where NATS is (default nats://127.0.0.1:4222)."""

import argparse
import asyncio
import contextlib

from nats.js import JetStreamContext
from orders import SUBJECT, connected, stop_on_sigterm

AT_A_TIME = 100


async def publish(stream: JetStreamContext, orders: int) -> None:
    """Publish, and wait until JetStream has stored them all."""
    for first in range(0, orders, AT_A_TIME):
        numbers = range(first, min(first + AT_A_TIME, orders))
        await asyncio.gather(*(stream.publish(SUBJECT, b"order %d" % number) for number in numbers))
    print(f"published {orders} orders", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--burst", type=int, default=500, help="orders per burst (default 500)")
    parser.add_argument("--every", type=float, help="seconds between bursts (default: one burst, then stop)")
    options = parser.parse_args()
    stopping = stop_on_sigterm()
    async with connected("publisher") as stream:
        await publish(stream, options.burst)
        while options.every and not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), options.every)
                break
            await publish(stream, options.burst)


if __name__ == "__main__":
    asyncio.run(main())
