"""What the nodes of one NATS server or cluster said at one moment, merged and indexed.

In a cluster every node lists the streams and consumers that it has a replica of, but only a consumer's leader
knows its backlog: followers say 0 or an old number (nats-server: server/consumer.go). So of each stream and
consumer the leader's word is taken, and where no single leader has spoken, that is said.

A node that is starting or stopping takes itself for the leader of what it has (nats-server:
server/jetstream_cluster.go clusterInfo, with counts of 0). Hence a claim to lead is only heard from who knows
of the other replicas, or, where there are none, has found its cluster again.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from natsscaler.core.jetstream.documents import (
    AccountInfo,
    ConsumerInfo,
    Jsz,
    Raft,
    StreamInfo,
    Varz,
    known_subjects,
    replicas_of,
)
from natsscaler.core.subjects import literal_prefix, overlaps

META_LEADER = "the meta leader"
"""Stands among the names of nodes for one that nobody names, as during its election."""


LAG = 1000
"""How many messages a replica may lack while it follows: under load it is never quite there."""


class Node(NamedTuple):
    """What one node answered."""

    server: Varz
    documents: Sequence[Jsz]
    """The pages of its `/jsz`."""
    seconds: float
    """How long it was kept busy."""
    young: bool = False
    """It started so recently that it may not have found all of its streams again."""
    lacking: frozenset[str] = frozenset()
    """Ids of the accounts of which it lacks something, by its own word; "": of all."""

    @property
    def name(self) -> str:
        return self.server.server_name

    @property
    def disabled(self) -> bool:
        """Whether JetStream is off there."""
        return any(document.disabled for document in self.documents)

    @property
    def clustered(self) -> bool:
        """Whether it is to be one of several nodes."""
        return bool(self.server.cluster.name)

    @property
    def joined(self) -> bool:
        """Whether it knows who leads the cluster."""
        return any(document.meta_cluster.leader for document in self.documents)

    def leads(self, raft: Raft | None, replicas: int) -> bool:
        """Tell whether it rightly says that it leads what has so many replicas."""
        if raft is None:
            return not self.clustered
        if raft.leader != self.name:
            return False
        return bool(raft.replicas) if replicas > 1 else self.joined or not self.young


T = TypeVar("T", StreamInfo, ConsumerInfo)


class View:
    """All that was read, indexed so that 1,000 rules can be looked up in it."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = frozenset(node.name for node in nodes)
        self.silent = tuple(sorted(peers(nodes) - self.nodes))
        """Nodes that belong to the cluster and did not answer."""
        self._unsure = [(node.name, node.young, node.lacking) for node in nodes]
        self.disabled = all(node.disabled for node in nodes)
        self._leaders: dict[tuple[str, str, str], list[str]] = {}
        """Who rightly says that it leads a stream (consumer "") or consumer; filled for clusters only."""
        self.clustered = any(node.clustered for node in nodes)
        self._standalone = len(nodes) == 1 and not self.clustered
        self.now = min((document.now for node in nodes for document in node.documents[:1]), default=None)
        """When this was said, by the clock of the node that answered first."""
        self.accounts = _accounts(nodes[0]) if self._standalone else self._merged(nodes)
        self._streams: dict[tuple[str, str], StreamInfo] = {}
        """By account and name."""
        self._consumers: dict[tuple[str, str], frozenset[str]] = {}
        """Names of those of a stream, once asked for."""
        self._by_subject: dict[str, list[tuple[AccountInfo, StreamInfo]]] = {}
        self._by_prefix: dict[str, list[tuple[str, AccountInfo, StreamInfo]]] = {}
        """Subjects with wildcards, by what comes before the first one."""
        for account in self.accounts:
            for stream in account.stream_detail:
                self._index(account, stream)

    def streams_for(self, subject: str) -> Iterable[tuple[AccountInfo, StreamInfo]]:
        """Give the streams that hold, or whose consumers filter on, subjects of this pattern."""
        prefix = literal_prefix(subject)
        found = {id(stream): (account, stream) for account, stream in self._by_subject.get(subject, ())}
        tokens = prefix.split(".") if prefix else []
        for length in range(len(tokens) + 1):
            patterns = self._by_prefix.get(".".join(tokens[:length]), ())
            found |= _overlapping(patterns, subject)
        if prefix != subject:
            begin = f"{prefix}." if prefix else ""
            for name, streams in self._by_subject.items():
                if name.startswith(begin) and overlaps(name, subject):
                    found |= {id(stream): (account, stream) for account, stream in streams}
            for other, patterns in self._by_prefix.items():
                if other != prefix and other.startswith(begin):
                    found |= _overlapping(patterns, subject)
        return found.values()

    def has(self, account: AccountInfo, name: str) -> bool:
        """Tell whether an account has STREAM, or STREAM/CONSUMER."""
        stream_name, _, consumer = name.partition("/")
        key = account.key, stream_name
        stream = self._streams.get(key)
        if stream and consumer and key not in self._consumers:
            self._consumers[key] = frozenset(one.name for one in stream.consumer_detail)
        return stream is not None and (not consumer or consumer in self._consumers[key])

    def unsure(self, account: AccountInfo) -> list[str]:
        """Name the nodes that answered and may not have found again all that they have of an account."""
        concerned = {"", account.key}
        return sorted(name for name, young, lacking in self._unsure if young or lacking & concerned)

    def doubt(self, account: AccountInfo, stream: StreamInfo, consumer: ConsumerInfo | None = None) -> str:
        """Say why the counts of a stream or consumer here are not its leader's; "" if they are."""
        leaders = self.leaders(account, stream, consumer)
        raft = (consumer or stream).cluster
        if len(leaders) > 1:
            return f"{' and '.join(sorted(leaders))} both say that they lead it"
        if leaders:
            return cut_off(raft)
        named = raft.leader if raft else ""
        if named in self.nodes:
            return f"{named}, which says that it leads it, is starting or stopping"
        who = f"its leader is {named}" if named else "it has no leader"
        return f"{who}, and {', '.join(sorted(self.nodes))} answered: only the leader knows the backlog"

    def behind(self, account: AccountInfo, stream: StreamInfo, raft: Raft | None) -> str:
        """Say why a consumer's leader may not have all of the stream that it counts in; "" if it has."""
        if raft is None or self._standalone:
            return ""
        if self.doubt(account, stream):
            alone = not raft.replicas and replicas_of(stream) > 1
            return f"{raft.leader} alone has it, and the stream's leader did not answer" if alone else ""
        others = stream.cluster.replicas if stream.cluster else ()
        own = next((peer for peer in others if peer.name == raft.leader), None)
        if own and not own.heard:
            return f"its leader {raft.leader} does not follow the stream's leader"
        if own and own.lag > LAG:
            return f"its leader {raft.leader} lacks {own.lag} messages of the stream"
        return ""

    def leaders(
        self, account: AccountInfo, stream: StreamInfo, consumer: ConsumerInfo | None = None
    ) -> Collection[str]:
        """Name the nodes that answered and rightly say that they lead a stream or consumer."""
        raft = (consumer or stream).cluster
        if self._standalone:
            return [node for node in self.nodes if raft is None or node == raft.leader]
        return self._leaders[account.key, stream.name, consumer.name if consumer else ""]

    def _index(self, account: AccountInfo, stream: StreamInfo) -> None:
        self._streams[account.key, stream.name] = stream
        for subject in known_subjects(stream):
            prefix = literal_prefix(subject)
            if prefix == subject:
                self._by_subject.setdefault(subject, []).append((account, stream))
            else:
                self._by_prefix.setdefault(prefix, []).append((subject, account, stream))

    def _merged(self, nodes: Sequence[Node]) -> tuple[AccountInfo, ...]:
        accounts: dict[str, AccountInfo] = {}
        streams: dict[str, dict[str, list[tuple[Node, StreamInfo]]]] = {}
        for node in nodes:
            for account in _accounts(node):
                accounts.setdefault(account.key, account)
                named = streams.setdefault(account.key, {})
                for stream in account.stream_detail:
                    named.setdefault(stream.name, []).append((node, stream))
        return tuple(
            replace(
                account,
                stream_detail=tuple(self._stream(key, said) for said in streams[key].values()),
            )
            for key, account in accounts.items()
        )

    def _stream(self, account: str, said: Sequence[tuple[Node, StreamInfo]]) -> StreamInfo:
        consumers: dict[str, list[tuple[Node, ConsumerInfo]]] = {}
        for node, stream in said:
            for consumer in stream.consumer_detail:
                consumers.setdefault(consumer.name, []).append((node, consumer))
        chosen = self._choose((account, said[0][1].name, ""), said, replicas_of(said[0][1]))
        return replace(
            chosen,
            consumer_detail=tuple(
                self._choose((account, chosen.name, name), entries, replicas_of(chosen, entries[0][1]))
                for name, entries in consumers.items()
            ),
        )

    def _choose(self, key: tuple[str, str, str], said: Sequence[tuple[Node, T]], replicas: int) -> T:
        leaders = [(node, one) for node, one in said if node.leads(one.cluster, replicas)]
        self._leaders[key] = [node.name for node, _ in leaders]
        return (leaders or said)[0][1]


def peers(nodes: Iterable[Node]) -> set[str]:
    """Name all JetStream nodes of a cluster, as far as these know them."""
    nodes = [node for node in nodes if node.clustered and not node.disabled]
    named = {name for node in nodes for document in node.documents for name in document.meta_cluster.peers}
    return named if not nodes or any(node.joined for node in nodes) else named | {META_LEADER}


def cut_off(raft: Raft | None) -> str:
    """Say so if no majority of the replicas follows a leader: they may have another one by now."""
    if raft and not raft.backed:
        return f"its leader {raft.leader} hears no majority of its replicas, which may have another leader"
    return ""


def _overlapping(
    patterns: Iterable[tuple[str, AccountInfo, StreamInfo]], subject: str
) -> dict[int, tuple[AccountInfo, StreamInfo]]:
    found: dict[int, tuple[AccountInfo, StreamInfo]] = {}
    for pattern, account, stream in patterns:
        if id(stream) not in found and overlaps(pattern, subject):
            found[id(stream)] = account, stream
    return found


def _accounts(node: Node) -> tuple[AccountInfo, ...]:
    return tuple(account for document in node.documents for account in document.account_details)


class Reading(NamedTuple):
    """One successful read of a monitoring endpoint."""

    view: View
    server: Varz
    """One of the nodes that answered."""
    nats_url: str
    """Where this server takes NATS clients, as far as its monitoring endpoint tells."""
    costs: Sequence[tuple[str, float]]
    """For each node that answered, ADDRESS:PORT and how long it was kept busy, in seconds. Where an answer
    came from is known; what it says of its server may be made up, so that another server pays for it."""
    large: bool = False
    """Whether it takes so long to look through that the event loop must not wait for it."""
