"""Which consumers are those of a rule's workers.

A rule names a subject, while JetStream counts per consumer. The consumers are found by classes, best first,
and never guessed: where several answers are possible, there is none, and the message says what to name.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from natsscaler.errors import Reason
from natsscaler.jsz import (
    AccountInfo,
    ConsumerInfo,
    StreamInfo,
    is_sourced,
    is_transformed,
    own_filters,
    published_subjects,
)
from natsscaler.rules import Rule
from natsscaler.subjects import all_within, any_overlap, disjoint
from natsscaler.view import View

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


class Selection(NamedTuple):
    """What a rule's backlog is counted on: consumers, or without any the streams themselves."""

    match: Match
    candidates: Sequence[Candidate]
    streams: Streams


def select(rule: Rule, view: View) -> Selection | Unknown:
    """Find what the rule's backlog is counted on."""
    streams = _streams(rule, view)
    if isinstance(streams, Unknown):
        return streams
    candidates = [
        Candidate(account, stream, consumer, own_filters(consumer) or _everything(stream))
        for account, stream in streams
        for consumer in sorted(stream.consumer_detail, key=lambda consumer: consumer.name)
        if not (consumer.config and consumer.config.direct)
    ]
    if any(candidate.consumer.config is None for candidate in candidates):
        return Unknown(Reason.MONITORING_INCOMPLETE, "/jsz gave a consumer without its configuration")
    if rule.spec.consumer:
        return _named(rule.spec.consumer, candidates, streams)
    classes: dict[Match, list[Candidate]] = {}
    for candidate in candidates:
        match = _match(rule.spec.subject, candidate)
        if match is not None:
            classes.setdefault(match, []).append(candidate)
    if classes:
        best = min(classes, key=lambda match: match.rank)
        return _countable(best, classes[best], streams)
    return _work_queues(rule, streams)


def _streams(rule: Rule, view: View) -> Streams | Unknown:
    spec = rule.spec
    accounts = view.accounts
    if spec.account:
        accounts = tuple(a for a in accounts if spec.account in (a.name, a.id))
        if not accounts:
            seen = listed(account.name for account in view.accounts)
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
    owners = {account.key: account.name for account, _ in found}
    if len(owners) > 1:  # the name may be a mere tag that two accounts share; the id never is
        names = (name if name == id_ else f"{name} ({id_})" for id_, name in owners.items())
        streams = listed({stream.name for _, stream in found})
        return Unknown(
            Reason.AMBIGUOUS_ACCOUNT,
            f"several accounts have such a stream ({streams}): {listed(names)}. Name one in spec.account",
        )
    return sorted(found, key=lambda pair: pair[1].name)  # /jsz lists them in no order


def _stream_names(accounts: Iterable[AccountInfo]) -> str:
    return listed({stream.name for account in accounts for stream in account.stream_detail})


def _named(name: str, candidates: Sequence[Candidate], streams: Streams) -> Selection | Unknown:
    named = [candidate for candidate in candidates if candidate.consumer.name == name]
    if not named:
        return Unknown(
            Reason.CONSUMER_NOT_FOUND,
            f"there is no consumer {name} on {listed(stream.name for _, stream in streams)};"
            f" these exist: {listed(candidate.consumer.name for candidate in candidates)}."
            " Create it or mend spec.consumer",
        )
    return _countable(Match.NAMED, named, streams)


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


def _countable(match: Match, chosen: Sequence[Candidate], streams: Streams) -> Selection | Unknown:
    """Accept several consumers only if a message counts on no more than one of them."""
    only_one = match in (Match.OVERLAPPING, Match.EPHEMERAL_OVERLAPPING)
    if len(chosen) > 1 and (only_one or not disjoint(candidate.filters for candidate in chosen)):
        return Unknown(
            Reason.AMBIGUOUS_CONSUMER,
            f"several consumers match equally well: {listed(map(str, chosen))}."
            " Name one in spec.consumer (and spec.stream)",
        )
    return Selection(match, chosen, streams)


def _work_queues(rule: Rule, streams: Streams) -> Selection | Unknown:
    """Without a consumer, a stream's messages are a backlog only if each waits for one worker."""
    subject = rule.spec.subject
    for _, stream in streams:
        feeds = published_subjects(stream)
        work_queue = stream.config is not None and stream.config.retention == "workqueue"
        if is_sourced(stream) or not (work_queue and feeds and all_within(feeds, (subject,))):
            return Unknown(
                Reason.CONSUMER_NOT_FOUND,
                f"no consumer on {listed(s.name for _, s in streams)} takes messages of {subject}:"
                " create the workers' durable consumer first",
            )
    return Selection(Match.STREAM, (), streams)


def listed(names: Iterable[str]) -> str:
    """Write the first LISTED_CANDIDATES of these names in order, and how many more there are."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:LISTED_CANDIDATES]) or "none"
    more = len(ordered) - LISTED_CANDIDATES
    return f"{shown} and {more} more" if more > 0 else shown
