"""The JetStream advisories that wake rules: lifecycle and leaders, nothing that comes per message.

`$JS.EVENT.ADVISORY.>` would bring the audit of every API call too, that of natsscaler's own included. An
advisory's subject tells all that is needed (nats-server: server/jetstream_events.go); payloads are not read.
"""

from typing import NamedTuple

PREFIX = "$JS.EVENT.ADVISORY."
SUBJECTS = (
    *(f"{PREFIX}STREAM.{it}.>" for it in ("CREATED", "UPDATED", "DELETED", "LEADER_ELECTED", "QUORUM_LOST")),
    *(f"{PREFIX}CONSUMER.{it}.>" for it in ("CREATED", "DELETED", "PAUSE", "LEADER_ELECTED", "QUORUM_LOST")),
)


class Advisory(NamedTuple):
    """A JetStream event: which stream, which consumer ("" for the stream itself), what happened."""

    action: str
    stream: str
    consumer: str


def advisory_of(subject: str) -> Advisory:
    """Read an advisory from its subject."""
    kind, action, stream, *consumer = subject.removeprefix(PREFIX).split(".")
    return Advisory(f"{kind}.{action}", stream, ".".join(consumer) if kind == "CONSUMER" else "")
