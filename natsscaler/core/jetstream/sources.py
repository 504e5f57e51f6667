"""What a backlog is counted on, and whether that is the same thing as before.

A name is not enough: two servers may have streams of one name, and a stream that is deleted may come again.
So streams and consumers are known by when they were created. What was counted before counts until it is seen
to be deleted; it is never merely missing.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from natsscaler.core.jetstream.documents import ConsumerInfo, published_subjects
from natsscaler.core.jetstream.selection import Match, Selection, Unknown, listed
from natsscaler.core.jetstream.snapshot import View
from natsscaler.core.reasons import Reason
from natsscaler.core.selector import Selector
from natsscaler.core.subjects import all_within


class Birth(Struct, frozen=True):
    """When a stream or consumer was created, which tells it from another one of its name."""

    name: Annotated[str, Meta(description="STREAM, or STREAM/CONSUMER.")]
    time: Annotated[str, Meta(description="When.", extra_json_schema={"format": "date-time"})]


class Source(Struct, frozen=True, rename="camel"):
    """Where a backlog came from; kept in the rule's status so that it cannot silently become another."""

    selector: Annotated[str, Meta(description="What the rule looks for; the choice holds until it changes.")]
    account: Annotated[str, Meta(description="The NATS account.")]
    match: Annotated[Match, Meta(description="How well it matches: the class that it was found by.")]
    consumers: Annotated[
        tuple[str, ...],
        Meta(description="STREAM/CONSUMER, or STREAM where the stream's own messages count; sorted."),
    ]
    account_id: Annotated[str, Meta(description="What no other account has.")] = ""
    created: Annotated[
        tuple[Birth, ...], Meta(description="When these consumers and their streams were created.")
    ] = ()

    @property
    def births(self) -> Mapping[str, str]:
        """When each stream and consumer was created, by name."""
        return {birth.name: birth.time for birth in self.created}


class Former(NamedTuple):
    """What was counted last by a selector, and when that was (by NATS's clock; None: unknown)."""

    by: Selector
    source: Source
    seen: datetime | None


class NotTold(StrEnum):
    """Why NATS gave no counts when it was asked for a consumer."""

    NO_CONSUMER = "no such consumer"
    NO_STREAM = "no such stream"
    NO_ANSWER = "no answer"
    CANNOT_ASK = "it cannot be asked"
    """There is no connection at the moment."""
    DENIED = "it may not be asked"
    """The user of the connection may not."""


UNASKED = (NotTold.CANNOT_ASK, NotTold.DENIED)
"""NATS was not asked at all."""
Told = Mapping[str, ConsumerInfo | NotTold]
"""What NATS said of consumers when it was asked for them, by STREAM/CONSUMER ($JS.API.CONSUMER.INFO)."""


def source_of(by: Selector, selection: Selection) -> Source:
    """Say what a selection is counted on."""
    names = map(str, selection.candidates) if selection.candidates else (s.name for _, s in selection.streams)
    streams = [one.stream for one in selection.candidates] or [stream for _, stream in selection.streams]
    created = {stream.name: stream.created for stream in streams}
    created |= {str(one): one.consumer.created for one in selection.candidates}
    account = selection.streams[0][0]
    return Source(
        selector=str(by),
        account=account.name,
        match=selection.match,
        consumers=tuple(sorted(names)),
        account_id=account.key,
        created=tuple(Birth(name, exactly(time)) for name, time in sorted(created.items()) if time),
    )


def exactly(time: datetime) -> str:
    """Write a time as precisely as it is known here (RFC 3339, UTC)."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def missing(before: Source, view: View) -> list[str]:
    """List what was counted before and is not in this view."""
    accounts = [
        account
        for account in view.accounts
        if account.key == before.account_id or (not before.account_id and account.name == before.account)
    ]
    return [name for name in before.consumers if not any(view.has(account, name) for account in accounts)]


def deleted(names: Iterable[str], told: Told) -> set[str]:
    """List those of these that NATS says it does not have."""
    return {
        name
        for name in names
        if told.get(name) is NotTold.NO_STREAM or ("/" in name and told.get(name) is NotTold.NO_CONSUMER)
    }


def interrupted(
    former: Former, found: Source, selection: Selection, view: View, told: Told
) -> Unknown | None:
    """Say why what is found is not what was counted before; None: it is, or all that it lacks was deleted."""
    before, field = former.source, former.by.field
    if before.account_id and before.account_id != found.account_id:
        return Unknown(
            Reason.AMBIGUOUS_ACCOUNT,
            f"{listed(before.consumers)} of account {before.account} was counted so far, and what matches now"
            f" is in another one: name {found.account} in {field}.account if it is meant",
        )
    out_of_sight = missing(before, view)
    gone = deleted(out_of_sight, told)
    lost = [name for name in out_of_sight if name not in gone]
    if lost:
        return Unknown(
            Reason.CONSUMER_GONE,
            f"{listed(lost)}, which was counted so far, is missing, and NATS has not said that it is deleted:"
            f" create it again, or name the consumer that takes its place in {field}.consumer",
        )
    dropped = {*before.consumers}.difference(found.consumers, gone)
    if dropped:
        dropped -= _covered(selection)
    if dropped:
        return Unknown(
            Reason.AMBIGUOUS_CONSUMER,
            f"{listed(found.consumers)} matches as well or better, but {listed(dropped)}, which was counted"
            f" so far, still exists: name the one of the workers in {field}.consumer",
        )
    others = [name for name in _others(former, found) if name not in gone]
    if others:
        return Unknown(
            Reason.CONSUMER_GONE,
            f"{listed(others)} is another one of that name than was counted so far, and did not come in its"
            f" place: if no other server answers there, name it in {field}.consumer"
            f" (and {field}.stream)",
        )
    if found.match.rank > before.match.rank:
        return Unknown(
            Reason.CONSUMER_GONE,
            f"{listed(before.consumers)} no longer exists, and what is left matches the subject less well:"
            f" create it again, or name {field}.consumer",
        )
    return None


def _covered(selection: Selection) -> set[str]:
    """Name the work queues all of whose messages wait for consumers that are chosen."""
    taken: dict[str, list[str]] = {}
    for one in selection.candidates:
        taken.setdefault(one.stream.name, []).extend(one.filters)
    return {
        stream.name
        for _, stream in selection.streams
        if stream.name in taken and all_within(published_subjects(stream), taken[stream.name])
    }


def _others(former: Former, found: Source) -> list[str]:
    """Name what was created at another time than what was counted, and not after that was last seen."""
    times, last = found.births, exactly(former.seen) if former.seen else None
    return [
        name
        for name, time in former.source.births.items()
        if times.get(name, time) != time and (last is None or times[name] <= last)
    ]
