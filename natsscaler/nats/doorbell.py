"""A doorbell: rings once, after a number of messages on the subjects that feed a backlog.

JetStream sends no advisory when a message is published, so messages are counted: a core subscription with
auto-unsubscribe, which the server itself ends. Payloads pass through; they are counted and measured, never
kept.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from natsscaler.nats.dial import NATS_ERRORS


class Doorbell:
    """One arming; ringing again takes a new one, as a raised limit can leave a subscription deaf."""

    def __init__(
        self,
        client: Client,
        limit: int,
        ring: Callable[[], None],
        delivered: Callable[[int], object],
        closed: Callable[["Doorbell"], None] = lambda _: None,
    ) -> None:
        self.limit = limit
        """Messages after which it rings."""
        self.last_delivery = -1.0
        """On the clock of time.monotonic; negative: none yet."""
        self.largest = 0
        """Size of the largest message seen, in bytes; 0: none yet."""
        self._client = client
        self._ring = ring
        self._delivered = delivered
        self._closed = closed
        self._spent = False
        self._counted = 0
        self._subscriptions: list[Subscription] = []

    @property
    def deliveries(self) -> int:
        """Messages delivered so far."""
        return sum(subscription.delivered for subscription in self._subscriptions)

    @property
    def spent(self) -> bool:
        """It will not ring any more: it rang, was closed, or its connection is gone."""
        return self._spent or self._client.is_closed

    async def subscribe(self, subjects: Sequence[str]) -> None:
        """Start listening; the caller must settle before it reads what the doorbell is to guard."""
        for subject in subjects:
            subscription = await self._client.subscribe(subject, cb=self._deliver)
            self._subscriptions.append(subscription)
            await subscription.unsubscribe(limit=self.limit)

    async def lower(self, limit: int) -> None:
        """Ring after fewer messages, at once if they have been delivered; a higher limit is ignored."""
        if limit >= self.limit or self.spent:
            return
        self.limit = limit
        remaining = limit - self.deliveries
        if remaining <= 0:
            self._rings()
            return
        for subscription in self._subscriptions:
            with suppress(*NATS_ERRORS):
                await subscription.unsubscribe(limit=subscription.delivered + remaining)

    async def close(self) -> None:
        """Stop listening: publishers find no responder here any more."""
        self._spent = True
        self._closed(self)
        for subscription in self._subscriptions:
            with suppress(*NATS_ERRORS):
                await subscription.unsubscribe()
        self._count()

    def refuse(self) -> None:
        """Ring, as the server does not let it listen."""
        self._rings()

    async def _deliver(self, message: Msg) -> None:
        self.last_delivery = time.monotonic()
        self.largest = max(self.largest, len(message.data))
        self._count()
        if self.deliveries >= self.limit:
            self._rings()

    def _rings(self) -> None:
        if not self._spent:
            self._spent = True
            self._ring()

    def _count(self) -> None:
        """Count what was delivered since the last time; nats-py hands on only a part of a burst."""
        deliveries = self.deliveries
        self._delivered(deliveries - self._counted)
        self._counted = deliveries
