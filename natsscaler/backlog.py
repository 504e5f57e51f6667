"""From a read of NATS and a rule to a backlog, or to Unknown with the reason.

Unknown is never zero: whatever is missing, ambiguous or contradictory here makes the backlog Unknown, and
the decision then holds the replicas.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.consumers import Candidate, Match, Streams, Unknown, listed, select
from natsscaler.errors import Reason
from natsscaler.jsz import View, is_sourced, published_subjects
from natsscaler.rules import BacklogMode, Rule


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


def measure(rule: Rule, view: View, kept: Source | None = None) -> Backlog | Unknown:
    """Find the rule's consumers in what was read, and count what waits for them.

    `kept` is the source of the last known backlog: while the rule selects by the same words, a source of
    a worse class does not replace it.
    """
    if view.disabled:
        return Unknown(Reason.JETSTREAM_DISABLED, "JetStream is disabled on the NATS server: enable it")
    selection = select(rule, view)
    if isinstance(selection, Unknown):
        return selection
    if kept and kept.selector == rule.selector and selection.match.rank > kept.match.rank:
        return Unknown(
            Reason.CONSUMER_GONE,
            f"{listed(kept.consumers)} no longer exists, and what is left matches the subject less well:"
            " create it again, or name spec.consumer",
        )
    if selection.match is Match.STREAM:
        return _count_streams(rule, selection.streams)
    return _count_consumers(rule, view, selection.match, selection.candidates)


def _count_consumers(rule: Rule, view: View, match: Match, chosen: Sequence[Candidate]) -> Backlog | Unknown:
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


def _count_streams(rule: Rule, streams: Streams) -> Backlog:
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
