"""The monitoring endpoint's documents, typed and indexed.

The structs name only the fields of `/jsz` and `/varz` that are needed (nats-server: server/monitor.go
JSInfo, AccountDetail, StreamDetail, Varz; server/consumer.go ConsumerInfo). A field that is required here
and missing there makes the document unreadable, and so the backlog Unknown.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from natsscaler.subjects import any_overlap, is_literal

Count = Annotated[int, Meta(ge=0)]


class ConsumerConfig(Struct, frozen=True):
    """`config` of a consumer (NATS ADR-8 for filters; `direct` marks the internal ones of mirrors)."""

    durable_name: str = ""
    filter_subject: str = ""
    filter_subjects: tuple[str, ...] = ()
    direct: bool = False


class Raft(Struct, frozen=True):
    """`cluster` of a consumer: absent on a standalone server."""

    leader: str = ""


class ConsumerInfo(Struct, frozen=True):
    """One of `consumer_detail`. `num_pending` is authoritative on the consumer's leader only."""

    name: str
    num_pending: Count
    num_ack_pending: Count
    config: ConsumerConfig | None = None
    paused: bool = False
    cluster: Raft | None = None


class StreamConfig(Struct, frozen=True):
    """`config` of a stream."""

    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    mirror: dict[str, object] | None = None
    sources: tuple[dict[str, object], ...] = ()
    subject_transform: dict[str, object] | None = None


class StreamState(Struct, frozen=True):
    """`state` of a stream."""

    messages: Count


class StreamInfo(Struct, frozen=True):
    """One of `stream_detail`."""

    name: str
    state: StreamState
    config: StreamConfig | None = None
    consumer_detail: tuple[ConsumerInfo, ...] = ()


class AccountInfo(Struct, frozen=True):
    """One of `account_details`."""

    name: str
    id: str = ""
    stream_detail: tuple[StreamInfo, ...] = ()


class Jsz(Struct, frozen=True):
    """The answer of `GET /jsz?accounts=true&consumers=true&config=true`."""

    server_id: str
    now: str
    disabled: bool = False
    total: int = 0
    account_details: tuple[AccountInfo, ...] = ()


class ClusterInfo(Struct, frozen=True):
    """`cluster` of `/varz`."""

    name: str = ""


class Varz(Struct, frozen=True):
    """The answer of `GET /varz`."""

    server_id: str
    server_name: str
    port: int
    tls_required: bool = False
    cluster: ClusterInfo = ClusterInfo()


class View:
    """All that one read of a server said, indexed so that 1,000 rules can be looked up in it."""

    def __init__(self, server_name: str, documents: Sequence[Jsz]) -> None:
        self.server_name = server_name
        self.disabled = any(document.disabled for document in documents)
        self.accounts = tuple(account for document in documents for account in document.account_details)
        self._by_subject: dict[str, list[tuple[AccountInfo, StreamInfo]]] = {}
        self._by_pattern: list[tuple[AccountInfo, StreamInfo]] = []
        for account in self.accounts:
            for stream in account.stream_detail:
                self._index(account, stream)

    def _index(self, account: AccountInfo, stream: StreamInfo) -> None:
        subjects = known_subjects(stream)
        if not all(is_literal(subject) for subject in subjects):
            self._by_pattern.append((account, stream))
        else:
            for subject in subjects:
                self._by_subject.setdefault(subject, []).append((account, stream))

    def streams_for(self, subject: str) -> Iterable[tuple[AccountInfo, StreamInfo]]:
        """Yield the streams that hold, or whose consumers filter on, subjects of this pattern."""
        if is_literal(subject):
            yield from self._by_subject.get(subject, ())
        else:
            literal = {
                id(stream): (account, stream)
                for name, found in self._by_subject.items()
                if any_overlap((name,), (subject,))
                for account, stream in found
            }
            yield from literal.values()
        for account, stream in self._by_pattern:
            if any_overlap(known_subjects(stream), (subject,)):
                yield account, stream


def known_subjects(stream: StreamInfo) -> tuple[str, ...]:
    """List the subjects that a rule may know a stream's messages by.

    A mirror or sourced stream has messages of other streams' subjects, and one with a transform stores
    them under other subjects than they were published on: its consumers' filters tell which.
    """
    subjects = published_subjects(stream)
    if not (is_sourced(stream) or is_transformed(stream)):
        return subjects
    named = (subject for consumer in stream.consumer_detail for subject in own_filters(consumer))
    return tuple(dict.fromkeys((*subjects, *named)))


def published_subjects(stream: StreamInfo) -> tuple[str, ...]:
    """List the subjects that a stream takes messages of when they are published."""
    return stream.config.subjects if stream.config else ()


def is_transformed(stream: StreamInfo) -> bool:
    """Tell whether a stream stores messages under other subjects than they come on (NATS ADR-36)."""
    return stream.config is not None and stream.config.subject_transform is not None


def is_sourced(stream: StreamInfo) -> bool:
    """Tell whether a stream is filled from other streams."""
    return stream.config is not None and bool(stream.config.mirror or stream.config.sources)


def own_filters(consumer: ConsumerInfo) -> tuple[str, ...]:
    """List the subjects that a consumer itself filters on; none: all of its stream's."""
    config = consumer.config or ConsumerConfig()
    return config.filter_subjects or ((config.filter_subject,) if config.filter_subject else ())


class Reading(NamedTuple):
    """One successful read of a monitoring endpoint."""

    view: View
    server: Varz
    nats_url: str
    """Where this server takes NATS clients, as far as its monitoring endpoint tells."""
    seconds: float
    """How long the server was kept busy."""
