"""The monitoring endpoint's documents, typed.

The structs name only the fields of `/jsz` and `/varz` that are needed (nats-server: server/monitor.go
JSInfo, AccountDetail, StreamDetail, Varz; server/consumer.go ConsumerInfo). A field that is required here
and missing there makes the document unreadable, and so the backlog Unknown.
"""

from datetime import datetime, timedelta
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct, ValidationError
from msgspec.json import Decoder

INT64_MAX = 2**63 - 1
Name = Annotated[str, Meta(max_length=255)]
"""As long as nats-server lets names of streams and consumers be (server/jetstream_api.go JSMaxNameLen)."""
Count = int
"""As a server says it; `plausible` tells whether it can be true."""
Moment = Annotated[datetime, Meta(tz=True)]
"""By the clock of the server that answered."""
SKEW = timedelta(minutes=1)
"""How far the clocks of the servers of one cluster may be apart."""


MOST_PEERS = 1000
"""Nodes that one list may name."""
MOST_ENTRIES = 500_000
"""Streams, consumers, subjects and filters of one answer: many times what nats-server puts into 64 MiB."""
PIECE_BYTES = 2**16
"""Size beyond which the entries of a piece are counted before it is decoded."""
HEARD_NANOSECONDS = 3_000_000_000
"""A leader hears its followers every second; after 4 s without it they may elect another (server/raft.go)."""


class ConsumerConfig(Struct, frozen=True, gc=False):
    """`config` of a consumer (NATS ADR-8 for filters; `direct` marks the internal ones of mirrors)."""

    durable_name: Name = ""
    filter_subject: str = ""
    filter_subjects: tuple[str, ...] = ()
    num_replicas: int = 0
    """0: as many as the stream has."""
    direct: bool = False
    deliver_subject: str = ""
    """Where messages are pushed to; "": they are pulled."""
    inactive_threshold: int = 0
    """After so many nanoseconds without a subscriber it is deleted; 0: a durable one never."""
    ack_policy: str = "explicit"
    """`flow_control` is for streams that are filled from others (nats-server: server/consumer.go)."""
    max_ack_pending: int = -1
    """How many messages may be unacknowledged at a time; 0 or less: any number."""


class Peer(Struct, frozen=True, gc=False):
    """One of `replicas`: a node as the answering one sees it."""

    name: Name
    active: int = 0
    """Nanoseconds since it was heard; 0: never (nats-server: server/jetstream_cluster.go clusterInfo)."""
    lag: int = 0
    """How much of what the leader has it lacks."""
    pending: bool = False
    """It is to join, and has no vote yet."""

    @property
    def heard(self) -> bool:
        """Whether it follows the answering node: for so long after, no election can have passed that by."""
        return 0 < self.active <= HEARD_NANOSECONDS


Peers = Annotated[tuple[Peer, ...], Meta(max_length=MOST_PEERS)]
Hosts = Annotated[tuple[str, ...], Meta(max_length=MOST_PEERS)]


class Raft(Struct, frozen=True, gc=False):
    """`cluster` of a stream or consumer: absent on a standalone server."""

    leader: Name = ""
    leader_since: Moment | None = None
    """Since when the leader leads, by its own word; older servers do not say."""
    replicas: Peers = ()
    """The other replicas; of a single replica none."""

    @property
    def backed(self) -> bool:
        """Whether a majority follows the leader that says this, itself included."""
        voters = [peer for peer in self.replicas if not peer.pending]
        return 2 * (1 + sum(peer.heard for peer in voters)) > 1 + len(voters)


class MetaCluster(Struct, frozen=True, gc=False):
    """`meta_cluster`: the JetStream nodes as the answering one knows them."""

    leader: Name = ""
    replicas: Peers = ()

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of the other nodes of the cluster, and of its meta leader."""
        return tuple(name for name in (self.leader, *(peer.name for peer in self.replicas)) if name)


class SequenceInfo(Struct, frozen=True, gc=False):
    """`delivered` and `ack_floor` of a consumer (nats-server: server/consumer.go SequenceInfo)."""

    consumer_seq: Count = 0
    """How many messages it has delivered, redeliveries included."""
    last_active: Moment | None = None
    """When it last did; not known if its leader has not seen it."""


class ConsumerInfo(Struct, frozen=True, gc=False):
    """One of `consumer_detail`. `num_pending` is authoritative on the consumer's leader only."""

    name: Name
    num_pending: Count
    num_ack_pending: Count
    config: ConsumerConfig | None = None
    paused: bool = False
    cluster: Raft | None = None
    ts: Moment | None = None
    """When this was said."""
    created: Moment | None = None
    delivered: SequenceInfo = SequenceInfo()
    ack_floor: SequenceInfo = SequenceInfo()
    """Up to which delivery all are acknowledged."""
    num_redelivered: Count = 0
    """Unacknowledged messages that were delivered more than once."""
    num_waiting: Count = 0
    """Pull requests that wait for messages."""


class JetStreamError(Struct, frozen=True, gc=False):
    """`error` of an answer of JetStream's API."""

    err_code: int = 0


class ApiAnswer(Struct, frozen=True, gc=False):
    """An answer of JetStream's API, as far as it tells of an error."""

    error: JetStreamError | None = None


class Present(Struct, frozen=True, gc=False):
    """Something of which matters only that it is there: what is in it makes no objects."""


class StreamConfig(Struct, frozen=True, gc=False):
    """`config` of a stream."""

    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    num_replicas: int = 1
    mirror: Present | None = None
    sources: tuple[Present, ...] = ()
    subject_transform: Present | None = None


class StreamTold(Struct, frozen=True, gc=False):
    """The answer of `$JS.API.STREAM.INFO`, as far as it is needed."""

    config: StreamConfig = StreamConfig()
    created: Moment | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it takes messages of when they are published."""
        return self.config.subjects


class StreamState(Struct, frozen=True, gc=False):
    """`state` of a stream."""

    messages: Count
    last_seq: Count | None = None
    """How many messages it has ever had, as sequences begin with 1."""


class StreamInfo(Struct, frozen=True, gc=False):
    """One of `stream_detail`."""

    name: Name
    state: StreamState
    config: StreamConfig | None = None
    consumer_detail: tuple[ConsumerInfo, ...] = ()
    cluster: Raft | None = None
    created: Moment | None = None


class StreamOutline(Struct, frozen=True, gc=False):
    """The same, with what there may be much of not decoded yet."""

    name: Name
    state: StreamState
    config: Raw = Raw(b"null")
    consumer_detail: tuple[Raw, ...] = ()
    cluster: Raft | None = None
    created: Moment | None = None


class AccountInfo(Struct, frozen=True, gc=False):
    """One of `account_details`."""

    name: Name
    id: Name = ""
    stream_detail: tuple[StreamInfo, ...] = ()

    @property
    def key(self) -> str:
        """What no two accounts share: with JWTs the name is a mere tag (server/monitor.go)."""
        return self.id or self.name


class AccountOutline(Struct, frozen=True, gc=False):
    """The same, with what there may be much of not decoded yet."""

    name: Name
    id: Name = ""
    stream_detail: tuple[Raw, ...] = ()


class Jsz(Struct, frozen=True, gc=False):
    """The answer of `GET /jsz?accounts=true&consumers=true&config=true`."""

    server_id: Name
    now: Moment
    disabled: bool = False
    total: int = 0
    account_details: tuple[AccountInfo, ...] = ()
    meta_cluster: MetaCluster = MetaCluster()


class JszOutline(Struct, frozen=True, gc=False):
    """The same, with what there may be much of not decoded yet."""

    server_id: Name
    now: Moment
    disabled: bool = False
    total: int = 0
    account_details: tuple[AccountOutline, ...] = ()
    meta_cluster: MetaCluster = MetaCluster()


T = TypeVar("T")
JSZ, STREAM = Decoder(JszOutline), Decoder(StreamOutline)
CONFIG, CONSUMER = Decoder[StreamConfig | None](StreamConfig | None), Decoder(ConsumerInfo)


def read_jsz(document: bytes | bytearray) -> Jsz:
    """Decode an answer of `/jsz` piece by piece, as no other thread goes on while msgspec decodes.

    Raises MsgspecError, also for more than MOST_ENTRIES: bytes alone do not tell how much memory it takes.
    """
    return _Decoder().jsz(document)


class _Decoder:
    def __init__(self) -> None:
        self._entries = 0

    def jsz(self, document: bytes | bytearray) -> Jsz:
        outline = JSZ.decode(document)
        return Jsz(
            server_id=outline.server_id,
            now=outline.now,
            disabled=outline.disabled,
            total=outline.total,
            account_details=tuple(map(self._account, outline.account_details)),
            meta_cluster=outline.meta_cluster,
        )

    def _account(self, outline: AccountOutline) -> AccountInfo:
        self._count(1)
        return AccountInfo(outline.name, outline.id, tuple(map(self._stream, outline.stream_detail)))

    def _stream(self, raw: Raw) -> StreamInfo:
        self._count(1)
        outline = STREAM.decode(raw)
        return StreamInfo(
            name=outline.name,
            state=outline.state,
            config=self._piece(outline.config, CONFIG),
            consumer_detail=tuple(self._piece(one, CONSUMER) for one in outline.consumer_detail),
            cluster=outline.cluster,
            created=outline.created,
        )

    def _piece(self, raw: Raw, decoder: Decoder[T]) -> T:
        self._count(1 + _commas(raw))
        return decoder.decode(raw)

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > MOST_ENTRIES:
            raise ValidationError(f"more than {MOST_ENTRIES:,} streams, consumers, subjects and filters")


def _commas(raw: Raw) -> int:
    """Count the commas of a large piece, without copying the whole."""
    view = memoryview(raw)
    if len(view) <= PIECE_BYTES:
        return 0
    return sum(bytes(view[at : at + PIECE_BYTES]).count(b",") for at in range(0, len(view), PIECE_BYTES))


class ClusterInfo(Struct, frozen=True, gc=False):
    """`cluster` of `/varz`."""

    name: Name = ""
    urls: Hosts = ()
    """HOST:PORT of the routes as they are configured."""


class Varz(Struct, frozen=True, gc=False):
    """The answer of `GET /varz`."""

    server_id: Name
    server_name: Name
    port: int
    tls_required: bool = False
    cluster: ClusterInfo = ClusterInfo()
    connect_urls: Hosts = ()
    """HOST:PORT for clients, of all nodes; empty with `no_advertise`."""
    start: Moment | None = None
    now: Moment | None = None


def implausible(stream: StreamState, consumer: ConsumerInfo | None = None) -> str:
    """Say what in the counts of a stream or its consumer cannot be true; "" if they may be.

    The stream's messages are counted a moment before the consumer's, and perhaps by another node, so these
    may be more: up to twice as many, of which only as many count as the stream has.
    """
    counts = {"messages": stream.messages}
    if consumer:
        counts |= {"num_pending": consumer.num_pending, "num_ack_pending": consumer.num_ack_pending}
    for name, count in counts.items():
        if not 0 <= count <= INT64_MAX:
            return f"{name} {count} is no number of messages"
    if consumer is None:
        return ""
    messages, ever = stream.messages, stream.last_seq
    if consumer.num_pending > 2 * messages:
        return f"num_pending {consumer.num_pending} is more than the {messages} messages of the stream"
    if ever is not None and consumer.num_ack_pending > 2 * ever:
        return f"num_ack_pending {consumer.num_ack_pending} is more than the {ever} messages it has ever had"
    if consumer.created and consumer.ts and consumer.created > consumer.ts + SKEW:
        return f"it was created {consumer.created.isoformat()}, after it said this"
    return ""


class HealthError(Struct, frozen=True, gc=False):
    """One of `errors`."""

    type: str = ""
    account: str = ""
    error: str = ""


class Healthz(Struct, frozen=True, gc=False):
    """The answer of `GET /healthz?details=true`; older servers give no details."""

    status: str
    error: str = ""
    errors: tuple[HealthError, ...] = ()

    @property
    def starting(self) -> bool:
        """Whether it takes no clients yet: a single server does so once it has found all of its streams."""
        kinds = {one.type for one in self.errors}
        return "CONNECTION" in kinds or (self.status == "error" and not kinds)

    @property
    def lacking(self) -> frozenset[str]:
        """Ids of the accounts of which it lacks something that it should have; "": of all."""
        found = frozenset(one.account for one in self.errors)
        return found if found or self.status == "ok" else frozenset({""})


def replicas_of(stream: StreamInfo, consumer: ConsumerInfo | None = None) -> int:
    """Say how many replicas a stream or its consumer is to have."""
    own = consumer.config.num_replicas if consumer and consumer.config else 0
    return own or (stream.config.num_replicas if stream.config else 1)


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
