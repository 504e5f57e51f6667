"""What happens to one rule's stream in a soak: bursts and work, and whatever people do to streams."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from natsscaler.demo.workload import CONSUMER
from tests.bench.truth import UNKNOWABLE, Truth

FAILURES = (NatsError, OSError, TimeoutError)
LEVELS = (0, 0, 3, 25, 60, 95, 140)
"""Backlogs that a rule's load goes to."""
BATCH = 50
REST_SECONDS = (0.5, 6.0)
LONG_GONE = "2100-01-01T00:00:00Z"
PAYLOAD = b"soak"
AUDIT = "audit"
MANY = 500
"""Messages after which a stream that keeps them is purged; so many are looked at together."""
LOOK_SECONDS = 5.0
"""After which NATS forgets a consumer that nobody uses."""


class Life:
    """One rule's stream, with a model of its backlog that is checked whenever nothing is in doubt."""

    retention = RetentionPolicy.WORK_QUEUE

    def __init__(self, number: int, stream: JetStreamContext, random: Random) -> None:
        self.truth = Truth(time.monotonic())
        self.checked = 0
        """How often the model was compared with what NATS says."""
        self.differences: list[str] = []
        self.past: deque[str] = deque(maxlen=12)
        """What happened last, and when."""
        self._stream, self._random = stream, random
        self._name, self._subject = f"SOAK_{number}", f"soak.{number}"
        self._other = f"{self._subject}.other"

    async def begin(self) -> None:
        """Create the stream and its consumer."""
        config = StreamConfig(
            name=self._name, subjects=[self._subject, self._other], retention=self.retention
        )
        await self._stream.add_stream(config)
        await self._create_consumer()

    async def live(self, end: float) -> None:
        """Let things happen until `end` (monotonic seconds); what NATS does not answer to is fixed."""
        chances = self._chances()
        while time.monotonic() < end:
            await asyncio.sleep(self._random.uniform(*REST_SECONDS))
            (happening,) = self._random.choices(list(chances), list(chances.values()))
            self._note(happening.__name__.strip("_"))
            try:
                await happening()
            except FAILURES as error:
                self._note(f"given up: {error!r}")
                await self.fix()

    def _chances(self) -> dict[Callable[[], Awaitable[None]], int]:
        return {
            self._load: 60,
            self._purge: 3,
            self._recreate_stream: 3,
            self._recreate_consumer: 3,
            self._pause: 3,
            self._edit_filter: 3,
            self._raise_advisories: 2,
        }

    async def fix(self) -> None:
        """Bring stream and consumer back, as soon as NATS answers, and learn the backlog anew."""
        while True:
            with contextlib.suppress(*FAILURES):
                with contextlib.suppress(NotFoundError):
                    await self._stream.stream_info(self._name)
                await self.begin()
                await self._stream.resume_consumer(self._name, CONSUMER)
                stored = await self._stored()
                self._note(f"fixed: {stored} stored")
                self._at_least(stored)
                return
            await asyncio.sleep(0.5)

    async def end(self) -> None:
        """Leave no message."""
        await self._purge()

    async def check(self) -> None:
        """Compare the model with what NATS says; call it only when nothing is under way."""
        stored = await self._stored()
        self.checked += 1
        if stored != self.truth.now:
            past = "; ".join(self.past)
            self.differences.append(f"{self._name}: {self.truth.now} by the model, {stored} stored ({past})")
        self._at_least(stored)

    async def _load(self) -> None:
        missing = self._random.choice(LEVELS) - await self._stored()
        self._note(f"{missing:+} from {self.truth.now}")
        if missing > 0:
            await self._publish(missing)
        elif missing < 0:
            await self._work_off(-missing)
        await self.check()

    async def _publish(self, messages: int) -> None:
        before = int(self.truth.now)
        for first in range(0, messages, BATCH):
            count = min(BATCH, messages - first)
            sent = (self._stream.publish(self._subject, PAYLOAD) for _ in range(count))
            await asyncio.gather(*sent)
            self._at_least(before + first + count)

    async def _work_off(self, messages: int) -> None:
        self._at_least(self.truth.now - messages)
        worker = await self._stream.pull_subscribe_bind(CONSUMER, stream=self._name)
        try:
            while messages > 0:
                taken = await worker.fetch(min(messages, BATCH), timeout=2)
                await asyncio.gather(*(message.ack_sync(timeout=2) for message in taken))
                messages -= len(taken)
        finally:
            with contextlib.suppress(*FAILURES):
                await worker.unsubscribe()

    async def _purge(self) -> None:
        self._at_least(0)
        await self._stream.purge_stream(self._name)

    async def _recreate_stream(self) -> None:
        try:
            await self._stream.delete_stream(self._name)
        except FAILURES:
            self._at_least(0)
            raise
        self._at_least(UNKNOWABLE)
        await self._linger()
        self._at_least(0)
        await self.begin()

    async def _recreate_consumer(self) -> None:
        await self._stream.delete_consumer(self._name, CONSUMER)
        await self._linger()
        await self._create_consumer()

    async def _pause(self) -> None:
        before = self.truth.now
        await self._stream.pause_consumer(self._name, CONSUMER, LONG_GONE)
        self._at_least(UNKNOWABLE)
        await self._linger()
        self._at_least(before)
        await self._stream.resume_consumer(self._name, CONSUMER)

    async def _edit_filter(self) -> None:
        await self._create_consumer(self._subject, self._other)
        await self._linger()
        await self._create_consumer()

    async def _raise_advisories(self) -> None:
        """Create and delete consumers, of which each time an advisory tells."""
        for _ in range(30):
            config = ConsumerConfig(name="passing", filter_subject=self._other, inactive_threshold=60)
            await self._stream.add_consumer(self._name, config)
            await self._stream.delete_consumer(self._name, "passing")

    async def _create_consumer(self, *subjects: str) -> None:
        config = ConsumerConfig(
            durable_name=CONSUMER, filter_subjects=list(subjects or (self._subject,)), ack_wait=600
        )
        await self._stream.add_consumer(self._name, config)

    async def _stored(self) -> int:
        """Ask for the backlog: in a work queue all that is stored."""
        return (await self._stream.stream_info(self._name)).state.messages

    async def _linger(self) -> None:
        await asyncio.sleep(self._random.uniform(0.1, 8))

    def _note(self, happening: str) -> None:
        self.past.append(f"{time.monotonic():.1f} {happening}")

    def _at_least(self, messages: float) -> None:
        self.truth.becomes(messages, time.monotonic())


class WatchedLife(Life):
    """One whose stream keeps its messages, so that others can look at them, also while the consumer is gone.

    After a crash NATS may have forgotten the last acknowledgements: then more is stored than the model says.
    """

    retention = RetentionPolicy.LIMITS

    def _chances(self) -> dict[Callable[[], Awaitable[None]], int]:
        looks = (self._look_in_order, self._look_once, self._audit)
        return {**super()._chances(), **dict.fromkeys(looks, 4)}

    async def fix(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._stream.delete_consumer(self._name, AUDIT)
        await super().fix()

    async def check(self) -> None:
        self.truth.becomes(max(self.truth.now, await self._stored()), time.monotonic())
        await super().check()

    async def _load(self) -> None:
        if await self._stored() > MANY:
            await self._purge()
        await super()._load()

    async def _recreate_consumer(self) -> None:
        """The new consumer has all messages of the stream before it."""
        await super()._recreate_consumer()
        self._at_least(await self._stored())

    async def _look_in_order(self) -> None:
        """Look at all messages without acknowledging them, as `nats stream view` does."""
        async with self._without_consumer():
            looking = await self._stream.subscribe(self._subject, stream=self._name, ordered_consumer=True)
            try:
                await self._linger()
            finally:
                await looking.unsubscribe()

    async def _look_once(self) -> None:
        """Take all messages by a consumer without a name, which NATS forgets after a while."""
        await self._take(filter_subject=self._subject, inactive_threshold=LOOK_SECONDS)

    async def _audit(self) -> None:
        """Have a durable consumer that takes everything, and is always done with it."""
        await self._take(durable_name=AUDIT)
        await self._stream.delete_consumer(self._name, AUDIT)

    async def _take(self, **config: Any) -> None:
        async with self._without_consumer():
            made = await self._stream.add_consumer(self._name, ack_policy=AckPolicy.NONE, **config)
            looking = await self._stream.pull_subscribe_bind(made.name, stream=self._name)
            try:
                with contextlib.suppress(TimeoutError):
                    while await looking.fetch(MANY, timeout=0.5):
                        pass
                await self._linger()
            finally:
                await looking.unsubscribe()

    @contextlib.asynccontextmanager
    async def _without_consumer(self) -> AsyncIterator[None]:
        """Do something, half of the times while the workers' consumer is missing."""
        missing = self._random.random() < 0.5
        if missing:
            await self._stream.delete_consumer(self._name, CONSUMER)
        yield
        if missing:
            await self._create_consumer()
            self._at_least(await self._stored())

    async def _stored(self) -> int:
        info = await self._stream.consumer_info(self._name, CONSUMER)
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)
