"""What feeds a backlog by the word of NATS itself, which alone decides what is subscribed to.

What `/jsz` says comes from whoever a rule names, and the connection to NATS may be one that others share. So
the server is asked over that very connection for what is counted: for its consumers (`CONSUMER.INFO`), whose
filters are subscribed to, or where all of a stream counts for the stream (`STREAM.INFO`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from natsscaler.core.errors import excerpt
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.documents import ConsumerInfo, StreamTold, own_filters
from natsscaler.core.jetstream.sources import NotTold, exactly
from natsscaler.core.reasons import Finding, Reason

CONSUMER_INFO, STREAM_INFO = "$JS.API.CONSUMER.INFO.", "$JS.API.STREAM.INFO."

Answer = ConsumerInfo | StreamTold | NotTold


class Feeds(NamedTuple):
    """Subjects whose messages raise a backlog, or why they are unknown."""

    subjects: tuple[str, ...]
    unknown: Finding | None = None
    passing: bool = False
    """It may be known at any moment."""


def questions(backlog: Backlog) -> tuple[str, ...]:
    """Say what to ask NATS for: STREAM/CONSUMER, or STREAM where all of it counts."""
    consumers = (name for name in backlog.source.consumers if name.partition("/")[0] not in backlog.whole)
    return (*backlog.whole, *consumers)


def told(backlog: Backlog, answers: Mapping[str, Answer]) -> Feeds:
    """Return what feeds a backlog as NATS reports it, if it reports on the same streams and consumers.

    An answer without the times of creation may be about other ones.
    """
    subjects: set[str] = set()
    for name in questions(backlog):
        answer = answers.get(name, NotTold.NO_ANSWER)
        if isinstance(answer, NotTold):
            return _untold(name, answer)
        found = own_filters(answer) if isinstance(answer, ConsumerInfo) else answer.subjects
        if not (found and _same(answer.created, backlog.source.births.get(name))):
            return _unknown(name, "knows another one of that name")
        subjects.update(found)
    return Feeds(tuple(sorted(subjects)))


def _same(created: datetime | None, known: str | None) -> bool:
    return created is not None and exactly(created) == known


def _untold(name: str, why: NotTold) -> Feeds:
    if why in (NotTold.NO_CONSUMER, NotTold.NO_STREAM):
        return _unknown(name, f"says that there is {why}")
    if why is NotTold.DENIED:
        request = CONSUMER_INFO if "/" in name else STREAM_INFO
        subject = excerpt(request + name.replace("/", "."))
        message = f"The NATS user may not ask on {subject} what feeds the backlog. Permit {request}>"
        return Feeds((), Finding(Reason.PERMISSION_DENIED, message))
    message = f"NATS did not say what feeds {excerpt(name)} when it was asked; it is asked again"
    return Feeds((), Finding(Reason.NOT_CONNECTED, message), passing=True)


def _unknown(name: str, what: str) -> Feeds:
    message = f"NATS was asked for {excerpt(name)} and {what}: it is another server than the monitored one"
    return Feeds((), Finding(Reason.OTHER_SERVER, f"{message}. Set spec.nats.url"))
