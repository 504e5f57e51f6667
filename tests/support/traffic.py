"""Publishers and workers on a real nats-server that count what they do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from natsscaler.nats.dial import obediently

FETCH_SECONDS = 1.0


@dataclass
class Truth:
    """What has been done so far."""

    published: int = 0
    processed: int = 0
    """Messages acknowledged or terminated."""


Handle = Callable[[Msg], Awaitable[bool]]
"""Does with a message what a worker does; returns whether that is done with."""


async def acknowledge(message: Msg) -> bool:
    await message.ack()
    return True


async def terminate_some(message: Msg) -> bool:
    await (message.term() if message.metadata.sequence.stream % 5 == 0 else message.ack())
    return True


async def refuse_some(message: Msg) -> bool:
    """Refuse each fifth message when it comes for the first time."""
    if message.metadata.sequence.stream % 5 == 0 and message.metadata.num_delivered == 1:
        await message.nak()
        return False
    return await acknowledge(message)


async def forget_some(message: Msg) -> bool:
    """Leave each fifth message to the ack wait when it comes for the first time."""
    if message.metadata.sequence.stream % 5 == 0 and message.metadata.num_delivered == 1:
        return False
    return await acknowledge(message)


@dataclass
class Traffic:
    """Messages for one subject of a stream, published and worked off at a pace, until cancelled."""

    js: JetStreamContext
    stream: str
    consumer: str
    subject: str
    truth: Truth = field(default_factory=Truth)

    async def publish(self, per_second: float) -> None:
        for _ in _forever():
            with suppress(NatsError):
                await obediently(self.js.publish(self.subject, b""))
                self.truth.published += 1
            await asyncio.sleep(1 / per_second)

    async def work(self, per_second: float, handle: Handle = acknowledge) -> None:
        worker = await obediently(self.js.pull_subscribe_bind(self.consumer, stream=self.stream))
        for _ in _forever():
            with suppress(NatsError):
                (message,) = await obediently(worker.fetch(1, timeout=FETCH_SECONDS))
                await asyncio.sleep(1 / per_second)
                self.truth.processed += await handle(message)


def _forever() -> Iterator[None]:
    while True:
        yield
