"""Which consumers are those of a rule's workers.

A rule names a subject, while JetStream counts per consumer. The consumers are found by classes, best first,
and never guessed: where several answers are possible, there is none, and the message says what to name. What
the workers of a queue would not use, or what takes more than the subject, only counts if the rule names it.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from heapq import nlargest, nsmallest
from itertools import islice
from typing import NamedTuple

from natsscaler.core.errors import excerpt
from natsscaler.core.jetstream.documents import (
    AccountInfo,
    ConsumerConfig,
    ConsumerInfo,
    StreamInfo,
    is_sourced,
    is_transformed,
    known_subjects,
    own_filters,
    published_subjects,
)
from natsscaler.core.jetstream.snapshot import View
from natsscaler.core.reasons import Reason
from natsscaler.core.selector import Selector
from natsscaler.core.subjects import all_within, disjoint

LISTED_CANDIDATES = 5
"""How many candidates a message lists before it only counts the others."""
MOST_COUNTED = 256
"""Consumers, or streams, that one rule counts at most. Its status names each, and NATS is asked for each."""
ALIKE = 0.75
"""How much of two names must be the same for one to be meant by the other, from 0 to 1."""
LOOKED_THROUGH, COMPARED, MEANT_LENGTH = 10_000, 100, 64
"""For a name that was meant: how many are looked through, how many of these are compared, and how long the
written one may be. The time that a comparison takes grows with the cube of the length."""


class Match(StrEnum):
    """How a backlog was found, best class first.

    Earlier versions also counted what overlaps and what is ephemeral; a status may still say so.
    """

    NAMED = "Named"
    EQUAL = "Equal"
    WITHIN = "Within"
    OVERLAPPING = "Overlapping"
    EPHEMERAL_EQUAL = "EphemeralEqual"
    EPHEMERAL_WITHIN = "EphemeralWithin"
    EPHEMERAL_OVERLAPPING = "EphemeralOverlapping"
    STREAM = "Stream"

    @property
    def former(self) -> bool:
        """Whether only earlier versions found a backlog like this."""
        return self is Match.OVERLAPPING or self.startswith("Ephemeral")

    @property
    def rank(self) -> int:
        """0 for the best class."""
        return list(Match).index(self)


class Unknown(NamedTuple):
    """The backlog is unknown, and why; never to be taken for zero."""

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
        return published_subjects(self.stream) if self.takes_all else self.filters

    @property
    def takes_all(self) -> bool:
        """Whether whatever is published to the stream may be for it."""
        return is_transformed(self.stream) or not own_filters(self.consumer)

    def __str__(self) -> str:
        return f"{self.stream.name}/{self.consumer.name}"


Streams = Sequence[tuple[AccountInfo, StreamInfo]]


class Selection(NamedTuple):
    """What a rule's backlog is counted on: consumers, or without any the streams themselves."""

    match: Match
    candidates: Sequence[Candidate]
    streams: Streams


def select(by: Selector, view: View) -> Selection | Unknown:
    """Find what a backlog is counted on."""
    streams = _streams(by, view)
    if isinstance(streams, Unknown):
        return streams
    if any(consumer.config is None for _, stream in streams for consumer in stream.consumer_detail):
        return Unknown(
            Reason.MONITORING_INCOMPLETE, "The answer of /jsz has a consumer without its configuration"
        )
    if by.consumer:
        return _named(by, by.consumer, streams)
    classes: dict[Match, list[Candidate]] = {}
    for account, stream in streams:
        everything = _everything(stream)
        of_everything = _match(by.subject, everything)
        for consumer in stream.consumer_detail:
            own = own_filters(consumer)
            match = _match(by.subject, own) if own else of_everything
            if match is not None and not unfit(consumer):
                classes.setdefault(match, []).append(Candidate(account, stream, consumer, own or everything))
    if classes:
        best = min(classes, key=lambda match: match.rank)
        return _countable(by, best, classes[best], streams)
    return _work_queues(by, streams)


def _candidates(streams: Streams) -> Iterator[Candidate]:
    for account, stream in streams:
        everything = _everything(stream)
        for consumer in stream.consumer_detail:
            yield Candidate(account, stream, consumer, own_filters(consumer) or everything)


def _streams(by: Selector, view: View) -> Streams | Unknown:
    accounts = view.accounts
    if by.account:
        accounts = tuple(a for a in accounts if by.account in (a.name, a.id))
        if not accounts:
            seen = listed(account.name for account in view.accounts)
            meant = did_you_mean(by.account, (account.name for account in view.accounts))
            return Unknown(
                Reason.ACCOUNT_NOT_FOUND,
                f"No account {by.account} has JetStream; these do: {seen}. {meant}Fix {by.field}.account",
            )
    if by.stream:
        found = [(a, s) for a, s in _all(accounts) if s.name == by.stream]
        if not found:
            streams = {stream.name for _, stream in _all(accounts)}
            meant = did_you_mean(by.stream, streams)
            return Unknown(
                Reason.STREAM_NOT_FOUND,
                f"There is no stream {by.stream}; these exist: {listed(streams)}. {meant}"
                f"Fix {by.field}.stream",
            )
    else:
        ids = {id(account) for account in accounts}
        found = [(a, s) for a, s in view.streams_for(by.subject) if id(a) in ids]
        if not found:
            return _no_stream(by, [stream for _, stream in _all(accounts)])
    owners = {account.key: account.name for account, _ in found}
    if len(owners) > 1:  # the name may be a mere tag that two accounts share; the id never is
        names = (name if name == id_ else f"{name} ({id_})" for id_, name in owners.items())
        several = listed({stream.name for _, stream in found})
        return Unknown(
            Reason.AMBIGUOUS_ACCOUNT,
            f"Several accounts have such a stream ({several}): {listed(names)}."
            f" Name one in {by.field}.account",
        )
    return sorted(found, key=lambda pair: pair[1].name)  # /jsz lists them in no order


def _all(accounts: Iterable[AccountInfo]) -> Streams:
    return [(account, stream) for account in accounts for stream in account.stream_detail]


def _no_stream(by: Selector, streams: Sequence[StreamInfo]) -> Unknown:
    filters = {taken for stream in streams for one in stream.consumer_detail for taken in own_filters(one)}
    known = filters.union(*map(known_subjects, streams))
    fix = f"{did_you_mean(by.subject, known)}Fix {by.field}.subject, or create the stream"
    filled = {stream.name for stream in streams if is_sourced(stream)}
    if filled:
        fix += f". To count on a stream that is filled from others ({listed(filled)}),"
        fix += f" name it in {by.field}.stream"
    return Unknown(
        Reason.STREAM_NOT_FOUND,
        f"No stream has subjects that match {by.subject}; these streams exist:"
        f" {listed({stream.name for stream in streams})}. {fix}",
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether one of the known names was meant; "" if none is near, or to find out takes long."""
    if len(name) > MEANT_LENGTH:
        return ""
    near = (one for one in islice(known, LOOKED_THROUGH) if _as_long(name, one))
    nearest = sorted(nlargest(COMPARED, near, key=lambda one: _agreement(name, one)))
    meant = difflib.get_close_matches(name, nearest, n=1, cutoff=ALIKE)
    return f"Did you mean {meant[0]}? " if meant and meant[0] != name else ""


def _as_long(one: str, other: str) -> bool:
    """Tell whether two names may be ALIKE by their length."""
    return 2 * min(len(one), len(other)) >= ALIKE * (len(one) + len(other))


def _agreement(one: str, other: str) -> int:
    """Count the places at which two names agree, from their beginning and from their end."""
    ends = zip(reversed(one), reversed(other), strict=False)
    return sum(a == b for a, b in zip(one, other, strict=False)) + sum(a == b for a, b in ends)


def _named(by: Selector, name: str, streams: Streams) -> Selection | Unknown:
    named = [candidate for candidate in _candidates(streams) if candidate.consumer.name == name]
    if not named:
        known = [consumer.name for _, stream in streams for consumer in stream.consumer_detail]
        return Unknown(
            Reason.CONSUMER_NOT_FOUND,
            f"There is no consumer {name} on {listed(stream.name for _, stream in streams)};"
            f" these exist: {listed(known)}. {did_you_mean(name, known)}"
            f"Create it, or fix {by.field}.consumer",
        )
    return _countable(by, Match.NAMED, named, streams)


def _everything(stream: StreamInfo) -> tuple[str, ...]:
    """List what a consumer without filters takes; of a sourced stream that may be anything: nothing known."""
    return () if is_sourced(stream) else published_subjects(stream)


def _match(subject: str, filters: Sequence[str]) -> Match | None:
    if filters == (subject,):
        return Match.EQUAL
    return Match.WITHIN if filters and all_within(filters, (subject,)) else None


def unfit(consumer: ConsumerInfo) -> str:
    """Say why a consumer is not one of a queue's workers, whatever it takes; "" if it may be."""
    config = consumer.config or ConsumerConfig()
    if config.direct or config.ack_policy == "flow_control":
        return "of a mirror or source"
    if not config.durable_name:
        return "not durable"
    if config.deliver_subject and config.ack_policy == "none":
        return "pushed to without acknowledgement"
    return ""


def _countable(
    by: Selector, match: Match, chosen: Sequence[Candidate], streams: Streams
) -> Selection | Unknown:
    """Accept several consumers only if a message counts on no more than one of them."""
    if len(chosen) > MOST_COUNTED:
        return _too_many(
            f"consumers ({listed(map(str, chosen))})", f"{by.field}.consumer (and {by.field}.stream)"
        )
    if len(chosen) > 1 and not disjoint([candidate.filters for candidate in chosen]):
        return Unknown(
            Reason.AMBIGUOUS_CONSUMER,
            f"Several consumers match equally well: {listed(map(str, chosen))}."
            f" Name one in {by.field}.consumer (and {by.field}.stream)",
        )
    return Selection(match, sorted(chosen, key=str), streams)


def _too_many(what: str, field: str) -> Unknown:
    return Unknown(
        Reason.AMBIGUOUS_CONSUMER,
        f"more than {MOST_COUNTED} {what} match, and a rule counts no more: name one in {field}",
    )


def _not_found(by: Selector, streams: Streams) -> Unknown:
    """List the consumers that there are, and why none of them counts."""
    names, candidates = listed(stream.name for _, stream in streams), list(_candidates(streams))
    if not candidates:
        return Unknown(
            Reason.CONSUMER_NOT_FOUND,
            f"Stream {names} has no consumer. Create the workers' durable consumer for {by.subject}",
        )
    first = nsmallest(LISTED_CANDIDATES, candidates, key=str)
    shown = [f"{one} ({unfit(one.consumer) or _takes(one)})" for one in first]
    meant = did_you_mean(by.subject, (filter_ for one in candidates for filter_ in one.filters))
    return Unknown(
        Reason.CONSUMER_NOT_FOUND,
        f"No durable consumer on {names} takes {by.subject} and nothing else; there are:"
        f" {_enumerated(shown, len(candidates))}."
        f" {meant}Name the workers' in {by.field}.consumer, create it, or fix {by.field}.subject",
    )


def _takes(candidate: Candidate) -> str:
    return f"takes {listed(candidate.filters)}" if candidate.filters else "takes what others fill it with"


def _work_queues(by: Selector, streams: Streams) -> Selection | Unknown:
    """Without a consumer, a stream's messages are a backlog only if each waits for one worker."""
    for _, stream in streams:
        feeds = published_subjects(stream)
        work_queue = stream.config is not None and stream.config.retention == "workqueue"
        if is_sourced(stream) or not (work_queue and feeds and all_within(feeds, (by.subject,))):
            return _not_found(by, streams)
    if len(streams) > MOST_COUNTED:
        return _too_many(
            f"work queues ({listed(stream.name for _, stream in streams)})", f"{by.field}.stream"
        )
    return Selection(Match.STREAM, (), streams)


def listed(names: Iterable[str]) -> str:
    """Write the first LISTED_CANDIDATES of these names in order, and how many more there are."""
    names = list(names)
    return _enumerated(map(excerpt, nsmallest(LISTED_CANDIDATES, names)), len(names))


def _enumerated(shown: Iterable[str], count: int) -> str:
    more = count - LISTED_CANDIDATES
    return f"{', '.join(shown) or 'none'}{f' and {more} more' if more > 0 else ''}"
