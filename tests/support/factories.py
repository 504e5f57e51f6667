"""Makes rules, reads of a server and observations, each with only what a test is about spelled out."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from natsscaler.core.conditions import Facts
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.documents import (
    AccountInfo,
    ClusterInfo,
    ConsumerConfig,
    ConsumerInfo,
    Jsz,
    Peer,
    Present,
    Raft,
    StreamConfig,
    StreamInfo,
    StreamState,
    Varz,
)
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.jetstream.snapshot import Node, View
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.pause import PAUSED_ANNOTATION
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, parse
from natsscaler.core.selector import BacklogMode

SAMPLE_SPEC: dict[str, Any] = {
    "deploymentName": "my-app",
    "namespace": "default",
    "minReplicas": 1,
    "maxReplicas": 10,
    "natsMonitoringURL": "http://nats:8222",
    "subject": "orders.processing",
    "scaleUpThreshold": 50,
    "scaleDownThreshold": 10,
    "pollIntervalSeconds": 30,
}
"""The spec of the contract's sample."""


def body(**spec: Any) -> dict[str, Any]:
    """Make a ScalingRule object as the Kubernetes API gives it: the sample, with these fields changed."""
    return {
        "apiVersion": "scaling.example.com/v1",
        "kind": "ScalingRule",
        "metadata": {
            "name": "my-app-scaling",
            "namespace": "default",
            "uid": "6f1c",
            "generation": 3,
            "resourceVersion": "100",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {**SAMPLE_SPEC, **spec},
    }


def rule(*, paused: bool = False, annotations: dict[str, str] | None = None, **spec: Any) -> Rule:
    made = body(**spec)
    made["metadata"]["annotations"] = annotations or {PAUSED_ANNOTATION: str(paused).lower()}
    return parse(made)


def proportional(messages_per_replica: int = 10, *, window: int = 300, **spec: Any) -> Rule:
    return rule(
        messagesPerReplica=messages_per_replica,
        behavior={"scaleDown": {"stabilizationWindowSeconds": window}},
        **spec,
    )


def consumer(
    name: str,
    *filters: str,
    pending: int = 0,
    unacknowledged: int = 0,
    durable: bool = True,
    paused: bool = False,
    leader: str | None = None,
    **config: Any,
) -> ConsumerInfo:
    """Make a consumer; without `leader` its server is standalone, and one filter is written as NATS does."""
    return ConsumerInfo(
        name=name,
        num_pending=pending,
        num_ack_pending=unacknowledged,
        config=ConsumerConfig(
            durable_name=name if durable else "",
            filter_subject=filters[0] if len(filters) == 1 else "",
            filter_subjects=filters if len(filters) > 1 else (),
            **config,
        ),
        paused=paused,
        cluster=None if leader is None else Raft(leader=leader),
    )


MANY = 10_000_000
"""Messages in a stream with consumers: more than any of them has."""


def stream(
    name: str,
    subjects: Iterable[str],
    *consumers: ConsumerInfo,
    messages: int | None = None,
    retention: str = "limits",
    mirror: str | None = None,
    sources: Iterable[str] = (),
    transform: bool = False,
) -> StreamInfo:
    return StreamInfo(
        name=name,
        state=StreamState(messages=MANY if messages is None and consumers else messages or 0),
        config=StreamConfig(
            subjects=tuple(subjects),
            retention=retention,
            mirror=Present() if mirror else None,
            sources=tuple(Present() for _ in sources),
            subject_transform=Present() if transform else None,
        ),
        consumer_detail=consumers,
    )


def peer(name: str, seconds: float = 0.5) -> Peer:
    """Make a replica that was last heard so many seconds ago."""
    return Peer(name, active=round(seconds * 1e9))


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
"""When NATS answers here, by its own clock."""


def account(name: str, *streams: StreamInfo, identity: str = "") -> AccountInfo:
    return AccountInfo(name=name, id=identity or name, stream_detail=streams)


def node(name: str, *documents: Jsz, cluster: str = "") -> Node:
    server = Varz(server_id=f"ID-{name}", server_name=name, port=4222, cluster=ClusterInfo(name=cluster))
    return Node(server, documents, seconds=0.0)


def view_of(*accounts: AccountInfo, server: str = "n1", disabled: bool = False) -> View:
    document = Jsz(server_id="NA", now=MOMENT, disabled=disabled, account_details=tuple(accounts))
    return View([node(server, document)])


def view(*streams: StreamInfo, server: str = "n1") -> View:
    """Make a read of a server that has these streams in its one account."""
    return view_of(account("$G", *streams), server=server)


SOURCE = Source(
    selector="subject orders.processing", account="$G", match=Match.EQUAL, consumers=("ORDERS/workers",)
)


def backlog(
    pending: int,
    *,
    unacknowledged: int = 0,
    mode: BacklogMode = BacklogMode.PENDING_AND_UNACKNOWLEDGED,
    source: Source = SOURCE,
    paused: bool = False,
) -> Backlog:
    return Backlog(
        pending=pending,
        unacknowledged=unacknowledged,
        mode=mode,
        source=source,
        account_key=source.account,
        feeds=("orders.processing",),
        paused=paused,
    )


NOW = 1_767_225_600.0
"""In seconds since the epoch, on every clock."""
UNKNOWN = Unknown(Reason.MONITORING_TIMEOUT, "http://nats:8222 did not answer within 5 s")


def seen(messages: int | Backlog | Unknown, replicas: int, at: float = NOW) -> Observation:
    known = backlog(messages) if isinstance(messages, int) else messages
    return Observation(known, replicas, at)


def known(found: Backlog | Unknown) -> Backlog:
    assert isinstance(found, Backlog), found
    return found


def unknown(found: Backlog | Unknown, reason: Reason) -> str:
    assert isinstance(found, Unknown), found
    assert found.reason is reason
    return found.message


LISTENING = Finding(Reason.LISTENING, "Listening on NATS at nats:4222")
FREE = Memory()
"""Nothing has happened before."""


def facts(
    messages: int | Backlog | Unknown | None,
    replicas: int = 3,
    *,
    made: Rule | None = None,
    memory: Memory = FREE,
    unable: Finding | None = None,
    events: Finding | None = LISTENING,
    late: bool = False,
    now: float = NOW,
) -> Facts:
    """Say what is true after an evaluation, or before the first one where no messages are given."""
    made = made or rule()
    if messages is None:
        return Facts(made, None, None, unable, events, late, None, now)
    observation = seen(messages, replicas, now)
    decision = decide(made, observation, memory, now)
    return Facts(made, observation, decision, unable, events, late, decision.next_change, now)
