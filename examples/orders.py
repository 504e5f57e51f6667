"""The stream and the durable consumer that the local stack's publisher, worker and ScalingRule share."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

STREAM, SUBJECT, CONSUMER = "ORDERS", "orders.processing", "workers"
ACK_WAIT_SECONDS = float(os.environ.get("ACK_WAIT_SECONDS", "30"))
"""After how long without a word from its worker an order is given to another one."""
MAX_BYTES = 64 * 2**20
"""Old messages go before the stack fills a disk."""


@asynccontextmanager
async def connected(name: str) -> AsyncIterator[JetStreamContext]:
    """Connect to NATS_URL as soon as it answers; make the stream and its consumer if they are missing."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    connection = await nats.connect(url, name=name, max_reconnect_attempts=-1)
    try:
        stream = connection.jetstream()
        await stream.add_stream(
            StreamConfig(
                name=STREAM, subjects=["orders.>"], retention=RetentionPolicy.WORK_QUEUE, max_bytes=MAX_BYTES
            )
        )
        config = ConsumerConfig(durable_name=CONSUMER, filter_subject=SUBJECT, ack_wait=ACK_WAIT_SECONDS)
        await stream.add_consumer(STREAM, config)
        yield stream
    finally:
        await connection.close()


def stop_on_sigterm() -> asyncio.Event:
    """Return an event that SIGTERM sets: the work at hand is finished then."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    return stopping
