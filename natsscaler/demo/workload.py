"""What the demo scales: publishers, and workers that really pull and acknowledge.

The workers are simulated here, as many as the Deployment has replicas; its own pods, if any, do nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Self

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NoMessageError
from nats.js import JetStreamContext

from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.manifests import SUBJECT
from natsscaler.nats.dial import obediently

STREAM, CONSUMER = "ORDERS", "workers"
MESSAGE_SECONDS = 0.05
"""What one message costs a worker: about 20 messages per second."""
TRICKLE_PER_SECOND = 5
FETCH_SECONDS = 1.0
CHECK_SECONDS = 0.02


class Workload:
    """A stream, its durable consumer and their clients; `async with` connects."""

    def __init__(self, url: str, stream: str = STREAM, subject: str = SUBJECT) -> None:
        self._url, self._name, self._subject = url, stream, subject
        self._stack = AsyncExitStack()
        self._client: Client
        self._stream: JetStreamContext

    async def __aenter__(self) -> Self:
        with _answered():
            self._client = await nats.connect(
                self._url, name="natsscaler demo", allow_reconnect=False, error_cb=_ignore
            )
            self._stack.push_async_callback(self._client.close)
            self._stream = self._client.jetstream()
            await self._stream.add_stream(name=self._name, subjects=[self._subject])
            await self._stream.pull_subscribe(self._subject, durable=CONSUMER, stream=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def backlog(self) -> int:
        """Count the messages that no worker has acknowledged yet."""
        with _answered():
            info = await obediently(self._stream.consumer_info(self._name, CONSUMER))
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def burst(self, messages: int) -> float:
        """Publish as fast as it goes; return when the first message was published (monotonic clock)."""
        began = time.monotonic()
        with _answered():
            for number in range(messages):
                await self._client.publish(self._subject, b"burst %d" % number)
            await obediently(self._client.flush())
        return began

    async def trickle(self) -> None:
        """Publish, until cancelled, what one worker easily keeps up with."""
        while True:
            with _answered():
                await self._client.publish(self._subject, b"trickle")
            await asyncio.sleep(1 / TRICKLE_PER_SECOND)

    async def work(self, replicas: Callable[[], int]) -> None:
        """Keep, until cancelled, as many workers as there are replicas."""
        async with asyncio.TaskGroup() as group:
            workers: dict[int, asyncio.Task[None]] = {}
            while True:
                for number in range(replicas()):
                    if number not in workers or workers[number].done():
                        job = self._worker(number, replicas)
                        workers[number] = group.create_task(job, name=f"worker {number}")
                await asyncio.sleep(CHECK_SECONDS)

    async def _worker(self, number: int, replicas: Callable[[], int]) -> None:
        """Work until there are too many workers; a message that was begun is finished."""
        with _answered():
            subscription = await obediently(self._stream.pull_subscribe_bind(CONSUMER, stream=self._name))
            while number < replicas():
                try:
                    (message,) = await obediently(subscription.fetch(1, timeout=FETCH_SECONDS))
                except NoMessageError:
                    continue
                await asyncio.sleep(MESSAGE_SECONDS)
                await message.ack()
            await subscription.unsubscribe()


@contextmanager
def _answered() -> Iterator[None]:
    """Raise DemoFailed if NATS does not answer."""
    try:
        yield
    except (NatsError, OSError) as error:
        raise DemoFailed(f"NATS does not answer: {error}") from error


async def _ignore(_: Exception) -> None:
    """What fails for good fails in a call, too."""
