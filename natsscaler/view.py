"""What the nodes of one NATS server or cluster said at one moment, merged and indexed.

In a cluster every node lists the streams and consumers that it has a replica of, but only a consumer's leader
knows its backlog: followers say 0 or an old number (nats-server: server/consumer.go). So of each stream and
consumer the leader's word is taken, and where no single leader has spoken, that is said.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from natsscaler.jsz import AccountInfo, ConsumerInfo, Jsz, Raft, StreamInfo, Varz, known_subjects
from natsscaler.subjects import any_overlap, is_literal


class Node(NamedTuple):
    """What one node answered."""

    server: Varz
    documents: Sequence[Jsz]
    """The pages of its `/jsz`."""
    seconds: float
    """How long it was kept busy."""

    @property
    def disabled(self) -> bool:
        """Whether JetStream is off there."""
        return any(document.disabled for document in self.documents)


T = TypeVar("T", StreamInfo, ConsumerInfo)


class View:
    """All that was read, indexed so that 1,000 rules can be looked up in it."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        documents = [document for node in nodes for document in node.documents]
        self.nodes = frozenset(node.server.server_name for node in nodes)
        self.silent = tuple(sorted({name for d in documents for name in d.meta_cluster.peers} - self.nodes))
        """Nodes that belong to the cluster and did not answer."""
        self.disabled = all(node.disabled for node in nodes)
        self._leaders: dict[tuple[str, str, str], list[str]] = {}
        """Who claims to lead a stream (consumer "") or consumer; filled for clusters only."""
        self.accounts = _accounts(nodes[0]) if len(nodes) == 1 else self._merged(nodes)
        self._by_subject: dict[str, list[tuple[AccountInfo, StreamInfo]]] = {}
        self._by_pattern: list[tuple[AccountInfo, StreamInfo]] = []
        for account in self.accounts:
            for stream in account.stream_detail:
                self._index(account, stream)

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

    def doubt(self, account: AccountInfo, stream: StreamInfo, consumer: ConsumerInfo | None = None) -> str:
        """Say why the counts of a stream or consumer here are not its leader's; "" if they are."""
        raft = (consumer or stream).cluster
        if raft is None:
            return ""
        claims = [node for node in self.nodes if node == raft.leader]
        if len(self.nodes) > 1:
            claims = self._leaders[account.key, stream.name, consumer.name if consumer else ""]
        if len(claims) > 1:
            return f"{' and '.join(sorted(claims))} both say that they lead it"
        if not claims:
            who = f"its leader is {raft.leader}" if raft.leader else "it has no leader"
            return f"{who}, and {', '.join(sorted(self.nodes))} answered: only the leader knows the backlog"
        if raft.replicas and all(peer.offline for peer in raft.replicas):
            return f"its leader {raft.leader} sees none of the other replicas"
        return ""

    def _index(self, account: AccountInfo, stream: StreamInfo) -> None:
        subjects = known_subjects(stream)
        if not all(is_literal(subject) for subject in subjects):
            self._by_pattern.append((account, stream))
        else:
            for subject in subjects:
                self._by_subject.setdefault(subject, []).append((account, stream))

    def _merged(self, nodes: Sequence[Node]) -> tuple[AccountInfo, ...]:
        accounts: dict[str, AccountInfo] = {}
        streams: dict[str, dict[str, list[tuple[str, StreamInfo]]]] = {}
        for node in nodes:
            for account in _accounts(node):
                accounts.setdefault(account.key, account)
                named = streams.setdefault(account.key, {})
                for stream in account.stream_detail:
                    named.setdefault(stream.name, []).append((node.server.server_name, stream))
        return tuple(
            replace(
                account,
                stream_detail=tuple(self._stream(key, said) for said in streams[key].values()),
            )
            for key, account in accounts.items()
        )

    def _stream(self, account: str, said: Sequence[tuple[str, StreamInfo]]) -> StreamInfo:
        consumers: dict[str, list[tuple[str, ConsumerInfo]]] = {}
        for node, stream in said:
            for consumer in stream.consumer_detail:
                consumers.setdefault(consumer.name, []).append((node, consumer))
        name = said[0][1].name
        chosen = tuple(self._choose((account, name, one), entries) for one, entries in consumers.items())
        return replace(self._choose((account, name, ""), said), consumer_detail=chosen)

    def _choose(self, key: tuple[str, str, str], said: Sequence[tuple[str, T]]) -> T:
        leaders = [(node, one) for node, one in said if _leads(node, one.cluster)]
        self._leaders[key] = [node for node, _ in leaders]
        return (leaders or said)[0][1]


def _leads(node: str, raft: Raft | None) -> bool:
    return raft is None or raft.leader == node


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
    """For each node that answered, its server_id and how long it was kept busy, in seconds."""
