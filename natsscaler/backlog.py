"""From a read of NATS and a rule to a backlog, or to Unknown with the reason.

Unknown is never zero: whatever is missing, ambiguous or contradictory here makes the backlog Unknown, and
the decision then holds the replicas. A rule names a subject, while JetStream counts per consumer: which
consumers are the rule's workers is found by classes, best first, and never guessed.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from natsscaler.errors import Reason
from natsscaler.jsz import (
    AccountInfo,
    ConsumerInfo,
    StreamInfo,
    View,
    is_sourced,
    is_transformed,
    own_filters,
    published_subjects,
)
from natsscaler.rules import BacklogMode, Rule
from natsscaler.subjects import all_within, any_overlap, disjoint

LISTED_CANDIDATES = 5
"""How many candidates a message lists before it only counts the others."""


class Match(StrEnum):
    """How a backlog was found, best class first."""

    NAMED = "Named"
    EQUAL = "Equal"
    WITHIN = "Within"
    OVERLAPPING = "Overlapping"
    EPHEMERAL_EQUAL = "EphemeralEqual"
    EPHEMERAL_WITHIN = "EphemeralWithin"
    EPHEMERAL_OVERLAPPING = "EphemeralOverlapping"
    STREAM = "Stream"

    @property
    def rank(self) -> int:
        """0 for the best class."""
        return list(Match).index(self)


class Source(Struct, frozen=True):
    """Where a backlog came from; kept in the rule's status so that it cannot silently get worse."""

    selector: Annotated[str, Meta(description="What the rule looks for; the choice holds until it changes.")]
    account: Annotated[str, Meta(description="The NATS account.")]
    match: Annotated[Match, Meta(description="How well it matches: the class that it was found by.")]
    consumers: Annotated[
        tuple[str, ...],
        Meta(description="STREAM/CONSUMER, or STREAM where the stream's own messages count; sorted."),
    ]


class Backlog(Struct, frozen=True, kw_only=True):
    """How many messages wait for the workers of a rule."""

    pending: int
    """Messages that no worker has been given yet."""
    unacknowledged: int
    """Messages that workers were given and have not acknowledged yet."""
    mode: BacklogMode
    source: Source
    feeds: tuple[str, ...]
    """Subjects whose messages raise this backlog; sorted."""
    sourced: bool = False
    """A stream of the source is filled from other streams, where no subscription of ours sees it."""
    paused: bool = False
    """Every chosen consumer is paused: its workers are given nothing."""

    @property
    def messages(self) -> int:
        """The backlog that decides."""
        if self.mode is BacklogMode.PENDING:
            return self.pending
        return self.pending + self.unacknowledged


class Unknown(NamedTuple):
    """The backlog is not known, and why; never to be taken for zero."""

    reason: Reason
    message: str


class Candidate(NamedTuple):
    """A consumer that may be that of the rule's workers, with the subjects that it takes."""

    account: AccountInfo
    stream: StreamInfo
    consumer: ConsumerInfo
    filters: tuple[str, ...]

    @property
    def feeds(self) -> tuple[str, ...]:
        """Subjects whose messages it takes, as they are published."""
        return published_subjects(self.stream) if is_transformed(self.stream) else self.filters

    def __str__(self) -> str:
        return f"{self.stream.name}/{self.consumer.name}"


Streams = Sequence[tuple[AccountInfo, StreamInfo]]


def measure(rule: Rule, view: View, kept: Source | None = None) -> Backlog | Unknown:
    """Find the rule's consumers in what was read, and count what waits for them.

    `kept` is the source of the last known backlog: while the rule selects by the same words, a source of
    a worse class does not replace it.
    """
    if view.disabled:
        return Unknown(Reason.JETSTREAM_DISABLED, "JetStream is disabled on the NATS server: enable it")
    streams = _streams(rule, view)
    if isinstance(streams, Unknown):
        return streams
    backlog = _choose(rule, view, streams)
    if isinstance(backlog, Unknown):
        return backlog
    if kept and kept.selector == rule.selector and backlog.source.match.rank > kept.match.rank:
        return Unknown(
            Reason.CONSUMER_GONE,
            f"{_listed(kept.consumers)} no longer exists, and what is left matches the subject less well:"
            " create it again, or name spec.consumer",
        )
    return backlog


def _streams(rule: Rule, view: View) -> Streams | Unknown:
    spec = rule.spec
    accounts = view.accounts
    if spec.account:
        accounts = tuple(a for a in accounts if spec.account in (a.name, a.id))
        if not accounts:
            seen = _listed(account.name for account in view.accounts)
            return Unknown(
                Reason.ACCOUNT_NOT_FOUND,
                f"no account {spec.account} has JetStream; these do: {seen}. Mend spec.account",
            )
    if spec.stream:
        found = [(a, s) for a in accounts for s in a.stream_detail if s.name == spec.stream]
        if not found:
            return Unknown(
                Reason.STREAM_NOT_FOUND,
                f"there is no stream {spec.stream}; these exist: {_stream_names(accounts)}."
                " Create it or mend spec.stream",
            )
    else:
        ids = {id(account) for account in accounts}
        found = [(a, s) for a, s in view.streams_for(spec.subject) if id(a) in ids]
        if not found:
            return Unknown(
                Reason.STREAM_NOT_FOUND,
                f"no stream has subjects that match {spec.subject}; these streams exist:"
                f" {_stream_names(accounts)}. Create one or mend spec.subject",
            )
    owners = {account.id or account.name: account.name for account, _ in found}
    if len(owners) > 1:  # the name may be a mere tag that two accounts share; the id never is
        names = (name if name == id_ else f"{name} ({id_})" for id_, name in owners.items())
        return Unknown(
            Reason.AMBIGUOUS_ACCOUNT,
            f"several accounts have such a stream: {_listed(names)}. Name one in spec.account",
        )
    return sorted(found, key=lambda pair: pair[1].name)  # /jsz lists them in no order


def _stream_names(accounts: Iterable[AccountInfo]) -> str:
    return _listed({stream.name for account in accounts for stream in account.stream_detail})


def _choose(rule: Rule, view: View, streams: Streams) -> Backlog | Unknown:
    candidates = [
        Candidate(account, stream, consumer, own_filters(consumer) or _everything(stream))
        for account, stream in streams
        for consumer in sorted(stream.consumer_detail, key=lambda consumer: consumer.name)
        if not (consumer.config and consumer.config.direct)
    ]
    if any(candidate.consumer.config is None for candidate in candidates):
        return Unknown(Reason.MONITORING_INCOMPLETE, "/jsz gave a consumer without its configuration")
    if rule.spec.consumer:
        named = [c for c in candidates if c.consumer.name == rule.spec.consumer]
        if not named:
            return Unknown(
                Reason.CONSUMER_NOT_FOUND,
                f"there is no consumer {rule.spec.consumer} on {_listed(s.name for _, s in streams)};"
                f" these exist: {_listed(c.consumer.name for c in candidates)}."
                " Create it or mend spec.consumer",
            )
        return _sum(rule, view, Match.NAMED, named)
    classes: dict[Match, list[Candidate]] = {}
    for candidate in candidates:
        match = _match(rule.spec.subject, candidate)
        if match is not None:
            classes.setdefault(match, []).append(candidate)
    if classes:
        best = min(classes, key=lambda match: match.rank)
        return _sum(rule, view, best, classes[best])
    return _stream_messages(rule, streams)


def _everything(stream: StreamInfo) -> tuple[str, ...]:
    """List what a consumer without filters takes; of a sourced stream that may be anything: nothing known."""
    return () if is_sourced(stream) else published_subjects(stream)


def _match(subject: str, candidate: Candidate) -> Match | None:
    durable = bool(candidate.consumer.config and candidate.consumer.config.durable_name)
    if candidate.filters == (subject,):
        return Match.EQUAL if durable else Match.EPHEMERAL_EQUAL
    if candidate.filters and all_within(candidate.filters, (subject,)):
        return Match.WITHIN if durable else Match.EPHEMERAL_WITHIN
    if any_overlap(candidate.filters, (subject,)):
        return Match.OVERLAPPING if durable else Match.EPHEMERAL_OVERLAPPING
    return None


def _sum(rule: Rule, view: View, match: Match, chosen: Sequence[Candidate]) -> Backlog | Unknown:
    only_one = match in (Match.OVERLAPPING, Match.EPHEMERAL_OVERLAPPING)
    if len(chosen) > 1 and (only_one or not disjoint(candidate.filters for candidate in chosen)):
        return Unknown(
            Reason.AMBIGUOUS_CONSUMER,
            f"several consumers match equally well: {_listed(map(str, chosen))}."
            " Name one in spec.consumer (and spec.stream)",
        )
    for candidate in chosen:
        cluster = candidate.consumer.cluster
        if cluster is not None and cluster.leader != view.server_name:
            return Unknown(
                Reason.LEADER_UNCLEAR,
                f"{candidate}: its leader is {cluster.leader or 'not elected'}, and {view.server_name}"
                " answered: only the leader knows the backlog",
            )
    active = [candidate for candidate in chosen if not candidate.consumer.paused]
    return Backlog(
        pending=sum(candidate.consumer.num_pending for candidate in active),
        unacknowledged=sum(candidate.consumer.num_ack_pending for candidate in active),
        mode=rule.spec.backlog,
        source=Source(
            selector=rule.selector,
            account=chosen[0].account.name,
            match=match,
            consumers=tuple(sorted(map(str, chosen))),
        ),
        feeds=tuple(sorted({subject for candidate in chosen for subject in candidate.feeds})),
        sourced=any(is_sourced(candidate.stream) for candidate in chosen),
        paused=not active,
    )


def _stream_messages(rule: Rule, streams: Streams) -> Backlog | Unknown:
    subject = rule.spec.subject
    for _, stream in streams:
        feeds = published_subjects(stream)
        work_queue = stream.config is not None and stream.config.retention == "workqueue"
        if is_sourced(stream) or not (work_queue and feeds and all_within(feeds, (subject,))):
            return Unknown(
                Reason.CONSUMER_NOT_FOUND,
                f"no consumer on {_listed(s.name for _, s in streams)} takes messages of {subject}:"
                " create the workers' durable consumer first",
            )
    return Backlog(
        pending=sum(stream.state.messages for _, stream in streams),
        unacknowledged=0,
        mode=rule.spec.backlog,
        source=Source(
            selector=rule.selector,
            account=streams[0][0].name,
            match=Match.STREAM,
            consumers=tuple(sorted(stream.name for _, stream in streams)),
        ),
        feeds=tuple(sorted({subject for _, stream in streams for subject in published_subjects(stream)})),
        sourced=any(is_sourced(stream) for _, stream in streams),
    )


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(ordered[:LISTED_CANDIDATES]) or "none"
    more = len(ordered) - LISTED_CANDIDATES
    return f"{shown} and {more} more" if more > 0 else shown
