"""A stream with one consumer in memory, which counts as NATS does, and the truth beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.counters import Counters
from tests.support.factories import NOW, backlog


@dataclass
class Queue:
    """Messages on their way; `shared`: the stream has messages of others, too."""

    shared: bool = False
    at: float = NOW
    published: int = 0
    processed: int = 0
    pending: int = 0
    in_work: int = 0
    delivered: int = 0
    redelivered: int = 0
    waiting: int = 0
    most_unacknowledged: int = 1000
    pushed: bool = False

    def publish(self, messages: int) -> None:
        self.published += messages
        self.pending += messages

    def deliver(self, messages: int) -> None:
        taken = min(messages, self.pending)
        self.pending -= taken
        self.in_work += taken
        self.delivered += taken

    def repeat(self, messages: int) -> None:
        """Deliver messages again that are not acknowledged."""
        self.redelivered = min(messages, self.in_work)
        self.delivered += self.redelivered

    def acknowledge(self, messages: int) -> None:
        done = min(messages, self.in_work)
        self.in_work -= done
        self.processed += done
        self.redelivered = min(self.redelivered, self.in_work)

    def purge(self) -> None:
        self.pending = self.in_work = self.redelivered = 0

    def work(self, messages: int) -> None:
        self.deliver(messages)
        self.acknowledge(messages)

    @property
    def counters(self) -> Counters:
        return Counters(
            name="ORDERS/workers",
            ever=None if self.shared else self.published,
            delivered=self.delivered,
            floor=0,
            pending=self.pending,
            unacknowledged=self.in_work,
            redelivered=self.redelivered,
            waiting=self.waiting,
            most_unacknowledged=self.most_unacknowledged,
            pushed=self.pushed,
        )

    @property
    def backlog(self) -> Backlog:
        return replace(
            backlog(self.pending, unacknowledged=self.in_work),
            counters=(self.counters,),
            at=datetime.fromtimestamp(self.at, UTC),
        )
