"""From a read of NATS and a rule to a backlog, or to Unknown with the reason.

Unknown is never zero: whatever is missing, ambiguous or contradictory here makes the backlog Unknown, and
the decision then holds the replicas.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from heapq import nsmallest

from msgspec import Struct

from natsscaler.core.jetstream.counters import Counters, complete, of_consumer, of_stream
from natsscaler.core.jetstream.documents import (
    INT64_MAX,
    ConsumerConfig,
    ConsumerInfo,
    StreamInfo,
    StreamState,
    implausible,
    is_sourced,
    is_transformed,
    published_subjects,
)
from natsscaler.core.jetstream.selection import Candidate, Match, Selection, Unknown, listed, select
from natsscaler.core.jetstream.snapshot import View, cut_off
from natsscaler.core.jetstream.sources import UNASKED, Former, NotTold, Source, Told, interrupted, source_of
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.selector import BacklogMode, Selector
from natsscaler.core.subjects import MAX_LENGTH, within

MOST_SUBJECTS = 1000
"""How many subjects a backlog names. One that is too long to be subscribed to is cut, and stays too long."""


class Via(StrEnum):
    """Who was asked for the counts."""

    MONITORING = "Monitoring"
    CONSUMER_INFO = "ConsumerInfo"


class Traffic(Struct, frozen=True, kw_only=True):
    """What moves on the consumers of a backlog: whether their workers may go altogether."""

    waiting: int
    """Messages that are not acknowledged yet, delivered or not, whatever counts as backlog."""
    delivered: int
    """Messages delivered so far; it moves with every message, and starts anew with the consumer."""
    quiet_seconds: float = math.inf
    """How long ago one was last delivered, by the leader's own clock; infinite: that is unknown."""
    fleeting: str = ""
    """Why a consumer, or what waits for it, may vanish without its workers; "": it stays."""


class Backlog(Struct, frozen=True, kw_only=True):
    """How many messages wait for the workers of a rule."""

    pending: int
    """Messages that no worker has been given yet."""
    unacknowledged: int
    """Messages that workers were given and have not acknowledged yet."""
    mode: BacklogMode
    source: Source
    account_key: str
    """What no other account has: its name, but its public key with JWTs, where the name is a mere tag."""
    feeds: tuple[str, ...]
    """Subjects whose messages raise this backlog; sorted, no more than MOST_SUBJECTS."""
    whole: tuple[str, ...] = ()
    """Streams all of whose subjects are among `feeds`; sorted."""
    leaders: tuple[str, ...] = ()
    """Nodes whose word this is; sorted."""
    led_seconds: float = math.inf
    """For how long all of them had led, by their own word; 0: they do not say."""
    via: Via = Via.MONITORING
    sourced: bool = False
    """A stream of the source is filled from other streams, where no subscription of ours sees it."""
    paused: bool = False
    """Every chosen consumer is paused: its workers are given nothing of what waits here."""
    at: datetime | None = None
    """When this was true, by the clock of NATS."""
    traffic: Traffic | None = None
    """What moves; None: it is counted on no consumer."""
    wider: tuple[str, ...] = ()
    """What a consumer that the rule names takes beyond the rule's subject, and so counts too; sorted, no more
    than MOST_SUBJECTS."""
    counters: tuple[Counters, ...] = ()
    """What tells of the work on these messages, by name; (): unknown."""
    parts: "tuple[Backlog | Unknown, ...]" = ()
    """Of several sources each one's, in the rule's order; one is unknown only where this is the least that
    there is."""

    @property
    def of_each(self) -> "tuple[Backlog | Unknown, ...]":
        """The backlog of each source."""
        return self.parts or (self,)

    @property
    def messages(self) -> int:
        """The backlog that decides."""
        if self.mode is BacklogMode.PENDING:
            return self.pending
        return self.pending + self.unacknowledged


def measure(
    rule: Rule,
    view: View,
    kept: Source | None = None,
    told: Told | None = None,
    seen: datetime | None = None,
) -> Backlog | Unknown:
    """Find the rule's consumers in what was read, and count what waits for them.

    `kept` is the source of the last known backlog, when it was last `seen`: while the rule selects by the
    same words, it is replaced by another one only if it was deleted, and never by one of a worse class. What
    was `told` over NATS replaces what the view has.
    """
    by = rule.selectors[0]
    return count(by, view, select(by, view), former(by, kept, seen), told or {})


def count(
    by: Selector, view: View, selection: Selection | Unknown, before: Former | None, told: Told
) -> Backlog | Unknown:
    """Count what waits for these consumers, if they are those of before; see `measure`."""
    usable = _usable(by, view, selection, before, told)
    if isinstance(usable, Unknown):
        return usable
    source = source_of(by, usable)
    if usable.candidates:
        return _count_consumers(by, view, usable.candidates, source, told)
    return _count_streams(by, view, usable, source)


def former(by: Selector, kept: Source | None, seen: datetime | None) -> Former | None:
    """Return what was counted last, if the rule still selects by the same words."""
    return Former(by, kept, seen) if kept and kept.selector == str(by) else None


def _usable(
    by: Selector, view: View, selection: Selection | Unknown, before: Former | None, told: Told
) -> Selection | Unknown:
    """Accept a selection that is whole, and the same as before."""
    if view.disabled:
        return Unknown(Reason.JETSTREAM_DISABLED, "JetStream is disabled on the NATS server")
    if before and before.source.match.former:
        return Unknown(
            Reason.CONSUMER_NOT_FOUND,
            f"{listed(before.source.consumers)} was counted so far, and no longer is, as it is not durable or"
            f" takes more than {by.subject}: name it in {by.field}.consumer, or the consumer of the workers",
        )
    if isinstance(selection, Unknown):
        return _incomplete(selection, view)
    source = source_of(by, selection)
    unseen = _unseen(by, view, selection, source, before)
    if unseen:
        return Unknown(Reason.MONITORING_INCOMPLETE, unseen)
    why = before and interrupted(before, source, selection, view, told)
    return _incomplete(why, view) if why else selection


def in_doubt(view: View, candidates: Iterable[Candidate]) -> list[Candidate]:
    """List those of these whose leader did not speak, so that it can be asked in another way."""
    return [one for one in candidates if not view.leaders(one.account, one.stream, one.consumer)]


def _incomplete(unknown: Unknown, view: View) -> Unknown:
    """Say in what is missing that it may only be out of sight."""
    if not view.silent:
        return unknown
    return Unknown(unknown.reason, f"{unknown.message} ({listed(view.silent)} did not answer)")


def _unseen(by: Selector, view: View, selection: Selection, source: Source, before: Former | None) -> str:
    """Say why there may be consumers of this rule beside those that were found; "" if there are none."""
    if (before and source.consumers == before.source.consumers) or _certain(selection):
        return ""
    unsure = view.unsure(selection.streams[0][0])
    why = f"{listed(unsure)} may not have found all of its streams again" if unsure else ""
    if view.silent:
        why = f"{listed(view.silent)} did not answer"
    return (
        f"{why}, and there may be more consumers of {by.subject}:"
        f" bring it back, or name {by.field}.stream and {by.field}.consumer"
        if why
        else ""
    )


def _certain(selection: Selection) -> bool:
    """Tell whether no consumer that is out of sight could add to this selection, only make it ambiguous."""
    return len(selection.candidates) == 1 and selection.match in (Match.NAMED, Match.EQUAL)


def _count_consumers(
    by: Selector, view: View, chosen: Sequence[Candidate], source: Source, told: Told
) -> Backlog | Unknown:
    counts = []
    for candidate in chosen:
        count, doubt = _word(view, candidate, told.get(str(candidate), NotTold.CANNOT_ASK))
        if doubt:
            return Unknown(Reason.LEADER_UNCLEAR, f"{candidate}: {doubt}")
        counts.append(count)
    holds = [_holds(view, candidate) for candidate in chosen]
    for candidate, held, count in zip(chosen, holds, counts, strict=True):
        problem = implausible(held, count)
        if problem:
            return Unknown(Reason.IMPLAUSIBLE_COUNT, f"{candidate}: {problem}")
    pairs = list(zip(holds, counts, strict=True))
    active = [(held, count) for held, count in pairs if not count.paused]
    counted = active or pairs
    pending = sum(min(count.num_pending, held.messages) for held, count in counted)
    unacknowledged = sum(count.num_ack_pending for _, count in counted)
    if pending + unacknowledged > INT64_MAX:
        return Unknown(
            Reason.IMPLAUSIBLE_COUNT, f"{listed(source.consumers)}: more messages than there can be"
        )
    return Backlog(
        pending=pending,
        unacknowledged=unacknowledged,
        mode=by.backlog,
        source=source,
        account_key=chosen[0].account.key,
        feeds=_some(subject for candidate in chosen for subject in candidate.feeds),
        whole=tuple(sorted({one.stream.name for one in chosen if one.takes_all})),
        at=view.now,
        leaders=_leaders(view, counts),
        led_seconds=min(map(_led_seconds, counts)),
        via=Via.CONSUMER_INFO if in_doubt(view, chosen) else Via.MONITORING,
        sourced=any(is_sourced(candidate.stream) for candidate in chosen),
        paused=not active,
        traffic=_traffic(chosen, counts),
        wider=_wider(by.subject, chosen),
        counters=complete(
            [
                of_consumer(str(one), one.stream, held, count, one.consumer)
                for one, held, count in zip(chosen, holds, counts, strict=True)
            ]
        ),
    )


def _traffic(chosen: Sequence[Candidate], counts: Sequence[ConsumerInfo]) -> Traffic:
    return Traffic(
        waiting=sum(count.num_pending + count.num_ack_pending for count in counts),
        delivered=sum(count.delivered.consumer_seq for count in counts),
        quiet_seconds=min(map(_quiet_seconds, counts)),
        fleeting=next(filter(None, map(_fleeting, chosen)), ""),
    )


def _quiet_seconds(count: ConsumerInfo) -> float:
    last = count.delivered.last_active
    return max(0.0, (count.ts - last).total_seconds()) if count.ts and last else math.inf


def _fleeting(one: Candidate) -> str:
    """Say why a consumer, or what waits for it, may vanish without its workers."""
    config = one.consumer.config or ConsumerConfig()
    if not config.durable_name:
        return f"the consumer {one} is not durable, so it vanishes with its workers: make it durable"
    if config.inactive_threshold > 0:
        return (
            f"the consumer {one} has an inactive_threshold, so it vanishes without its workers: set that to 0"
        )
    if one.stream.config and one.stream.config.retention == "interest":
        return (
            f"the stream {one.stream.name} has interest retention, so messages vanish with a consumer that is"
            " gone: use limits or workqueue retention"
        )
    return ""


def _word(view: View, one: Candidate, answer: ConsumerInfo | NotTold) -> tuple[ConsumerInfo, str]:
    """Return a consumer's counts by its leader's word, and why they are to be doubted: "" if they are not."""
    if isinstance(answer, ConsumerInfo):
        if answer.created != one.consumer.created:
            return answer, "NATS leads to another one of that name than the monitoring endpoint"
        if view.clustered and not (answer.cluster and answer.cluster.leader):
            return answer, "who answered for it over NATS does not know its leader"
        return answer, cut_off(answer.cluster) or view.behind(one.account, one.stream, answer.cluster)
    doubt = view.doubt(one.account, one.stream, one.consumer)
    doubt = doubt or view.behind(one.account, one.stream, one.consumer.cluster)
    if not doubt and answer not in UNASKED:
        doubt = f"asked over NATS, there is {answer}"
    return one.consumer, doubt


def _holds(view: View, candidate: Candidate) -> StreamState:
    """Say what the consumer's stream holds; as much as can be where its leader has not spoken."""
    if view.doubt(candidate.account, candidate.stream):
        return StreamState(messages=INT64_MAX)
    return candidate.stream.state


def _wider(subject: str, chosen: Sequence[Candidate]) -> tuple[str, ...]:
    """List what is counted beyond the subject, of streams that store what is published as it is."""
    own = (one for one in chosen if not (is_transformed(one.stream) or is_sourced(one.stream)))
    return _some(taken for one in own for taken in one.filters if not within(taken, subject))


def _some(subjects: Iterable[str]) -> tuple[str, ...]:
    """Keep no more than a rule may need: these outlive the document that they come from."""
    return tuple(nsmallest(MOST_SUBJECTS, {subject[: MAX_LENGTH + 1] for subject in subjects}))


def _count_streams(by: Selector, view: View, selection: Selection, source: Source) -> Backlog | Unknown:
    streams = [stream for _, stream in selection.streams]
    for account, stream in selection.streams:
        doubt = view.doubt(account, stream)
        if doubt:
            return Unknown(Reason.LEADER_UNCLEAR, f"{stream.name}: {doubt}")
        problem = implausible(stream.state)
        if problem:
            return Unknown(Reason.IMPLAUSIBLE_COUNT, f"{stream.name}: {problem}")
    return Backlog(
        pending=sum(stream.state.messages for stream in streams),
        unacknowledged=0,
        mode=by.backlog,
        source=source,
        account_key=selection.streams[0][0].key,
        feeds=_some(subject for stream in streams for subject in published_subjects(stream)),
        whole=tuple(sorted({stream.name for stream in streams})),
        at=view.now,
        leaders=_leaders(view, streams),
        led_seconds=min(map(_led_seconds, streams)),
        sourced=any(is_sourced(stream) for stream in streams),
        counters=complete([of_stream(stream) for stream in streams]),
    )


def _leaders(view: View, counted: Sequence[ConsumerInfo] | Sequence[StreamInfo]) -> tuple[str, ...]:
    named = {one.cluster.leader for one in counted if one.cluster}
    return tuple(sorted(named)) or tuple(sorted(view.nodes))


def _led_seconds(one: ConsumerInfo | StreamInfo) -> float:
    if one.cluster is None or not one.cluster.replicas:
        return math.inf
    said = one.ts if isinstance(one, ConsumerInfo) else None
    since = one.cluster.leader_since
    return (said - since).total_seconds() if said and since else 0.0
