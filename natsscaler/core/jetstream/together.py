"""The backlogs of several sources as one: what the same workers have to do.

What is unknown of a source is unknown of the whole. What is known of the others is then the least that there
is, on which a rule may scale up, and never down.
"""

import math
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import chain
from typing import NamedTuple

from natsscaler.core.jetstream.backlog import MOST_SUBJECTS, Backlog, Traffic, Via
from natsscaler.core.jetstream.documents import INT64_MAX
from natsscaler.core.jetstream.selection import Match, Unknown, listed
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.reasons import Reason
from natsscaler.core.selector import Selector

Measured = Sequence[Backlog | Unknown]
"""What each source of a rule has, in the rule's order."""


class Together(NamedTuple):
    """The backlog of a rule."""

    backlog: Backlog | Unknown
    least: Backlog | None = None
    """What is known of it, while the rest is unknown."""


def together(selectors: Sequence[Selector], measured: Measured) -> Together:
    """Make one backlog of those of all sources; of one source it is just that."""
    if len(measured) == 1:
        return Together(measured[0])
    first = measured[0]
    if isinstance(first, Unknown) and all(one == first for one in measured):
        return Together(first)  # NATS could not be read at all
    parts = _each_once(selectors, measured)
    known = [one for one in parts if isinstance(one, Backlog)]
    doubts = [(by, one) for by, one in zip(selectors, parts, strict=True) if isinstance(one, Unknown)]
    if sum(one.messages for one in known) > INT64_MAX:
        return Together(Unknown(Reason.IMPLAUSIBLE_COUNT, "The sources have more messages than there can be"))
    whole = _sum(known, parts) if known else None
    if not doubts and whole:
        return Together(whole)
    said = "; ".join(f"{by.field} ({by.subject}): {one.message}" for by, one in doubts)
    return Together(Unknown(doubts[0][1].reason, said), None if whole is None or whole.paused else whole)


def _each_once(selectors: Sequence[Selector], measured: Measured) -> tuple[Backlog | Unknown, ...]:
    """Doubt the later one of two sources that count the same."""
    counted: dict[tuple[str, str], Selector] = {}
    parts: list[Backlog | Unknown] = []
    for by, one in zip(selectors, measured, strict=True):
        if isinstance(one, Unknown):
            parts.append(one)
            continue
        names = [(one.account_key, name) for name in one.source.consumers]
        twice = [name for name in names if name in counted]
        if twice:
            what, other = listed(name for _, name in twice), counted[twice[0]].field
            text = f"{what} is counted for {other} already: remove one of the two, or name another consumer"
            parts.append(Unknown(Reason.AMBIGUOUS_CONSUMER, f"{text} in {by.field}.consumer"))
            continue
        counted |= dict.fromkeys(names, by)
        parts.append(one)
    return tuple(parts)


def _sum(known: Sequence[Backlog], parts: tuple[Backlog | Unknown, ...]) -> Backlog:
    """Add up what is known. A source whose consumers are paused has no work, unless all are paused."""
    active = [one for one in known if not one.paused]
    counted = active or known
    moments = [one.at for one in known if one.at]
    return Backlog(
        pending=sum(one.pending for one in counted),
        unacknowledged=sum(one.unacknowledged for one in counted),
        mode=known[0].mode,
        source=_source([one.source for one in known]),
        account_key=", ".join(_names(one.account_key for one in known)),
        feeds=tuple(nsmallest(MOST_SUBJECTS, set(chain.from_iterable(one.feeds for one in known)))),
        whole=_all(one.whole for one in known),
        leaders=_all(one.leaders for one in known),
        led_seconds=min(one.led_seconds for one in known),
        via=max((one.via for one in known), key=list(Via).index),
        sourced=any(one.sourced for one in known),
        paused=not active,
        at=min(moments) if len(moments) == len(known) else None,
        traffic=_traffic([one.traffic for one in known]),
        wider=_all(one.wider for one in known),
        counters=tuple(sorted(chain.from_iterable(one.counters for one in known), key=lambda one: one.name))
        if all(one.counters for one in known)
        else (),
        parts=parts,
    )


def _source(found: Sequence[Source]) -> Source:
    return Source(
        selector="; ".join(one.selector for one in found),
        account=", ".join(_names(one.account for one in found)),
        match=max((one.match for one in found), key=list(Match).index),
        consumers=_all(one.consumers for one in found),
        account_id=", ".join(_names(one.account_id for one in found)),
        created=tuple(sorted(set(chain.from_iterable(one.created for one in found)), key=str)),
    )


def _traffic(found: Sequence[Traffic | None]) -> Traffic | None:
    known = [one for one in found if one]
    if len(known) < len(found):
        return None
    return Traffic(
        waiting=sum(one.waiting for one in known),
        delivered=sum(one.delivered for one in known),
        quiet_seconds=min((one.quiet_seconds for one in known), default=math.inf),
        fleeting=next((one.fleeting for one in known if one.fleeting), ""),
    )


def _names(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))


def _all(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return _names(chain.from_iterable(found))
