"""Whether a count may decide: what each read leaves behind, and what the next one must go on from.

`backlog.py` says what a single read proves. This module adds what only a sequence of reads can prove: that
the leader is not new, that what is counted is what was counted before, and when a doubt is worth another
read. Times are seconds on the clock of `now`.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog, former
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.sources import Former, Source
from natsscaler.core.jetstream.together import Measured
from natsscaler.core.reasons import Reason
from natsscaler.core.selector import Selector

LED_SECONDS = 1.0
"""How long a node must have led before its count is believed. A new leader reports itself before it has
counted: nats-server 2.15.1 gave 0 for up to 30 ms."""
QUIET_SECONDS = 3.0
"""How long reads wait in silence for leaders that are new again and again, before the backlog is unknown."""
DOUBT_SECONDS = (1.0, 8.0)
"""The first and the longest wait before a backlog that may become known by itself is read again."""
ELECTION_DOUBTS = 10
"""After so many reads that wait doubles: an election takes up to 10 s, and its end may go unheard."""


class Trust(Struct, frozen=True):
    """What the reads so far leave for the next one."""

    source: Source | None = None
    """What was counted last."""
    seen: datetime | None = None
    """When that was, by the clock of NATS."""
    leaders: tuple[str, ...] = ()
    led_since: float = -math.inf
    """Since when these have been seen to lead."""
    waits_since: float = math.inf
    """Since when reads have waited for a leader that is not new; infinite: they do not."""
    doubts: int = 0
    """How many reads in a row left the backlog unknown for a reason that may pass."""

    def former(self, by: Selector) -> Former | None:
        """Return what was counted last, if the rule still selects by the same words."""
        return former(by, self.source, self.seen)

    def without_leaders(self) -> "Trust":
        """Return it with every leader new again, as an election may have gone unheard."""
        return replace(self, leaders=())


Trusts = Mapping[str, Trust]
"""What the reads so far leave for each source of a rule, by its selector."""


class Verdict(NamedTuple):
    """What a read is worth."""

    backlog: Backlog | Unknown | None
    """The backlog to decide by; None: the next read decides, as the leader is new."""
    trust: Trust
    again_at: float = math.inf
    """When to read again; infinite: this verdict needs no further read."""


def judge(trust: Trust, measured: Backlog | Unknown, began: float, now: float) -> Verdict:
    """Say what a read is worth that began at `began` and ended `now`."""
    if isinstance(measured, Unknown):
        return _doubt(replace(trust, waits_since=math.inf), measured, now)
    if measured.leaders != trust.leaders:
        trust = replace(trust, leaders=measured.leaders, led_since=now)
    if measured.led_seconds >= LED_SECONDS or began - trust.led_since >= LED_SECONDS:
        source, seen = measured.source, measured.at or trust.seen
        return Verdict(measured, replace(trust, source=source, seen=seen, waits_since=math.inf, doubts=0))
    trust = replace(trust, waits_since=min(trust.waits_since, now))
    if now - trust.waits_since <= QUIET_SECONDS:
        return Verdict(None, trust, began + LED_SECONDS)
    names = ", ".join(measured.leaders)
    again = f"The consumer's leader changes again and again; now it is {names}"
    return _doubt(trust, Unknown(Reason.LEADER_UNCLEAR, again), now)


def judge_each(
    trusts: Trusts, selectors: Sequence[Selector], measured: Measured, began: float, now: float
) -> dict[str, Verdict]:
    """Say what a read is worth for each source, by its selector; see `judge`."""
    return {
        str(by): judge(trusts.get(str(by), Trust()), one, began, now)
        for by, one in zip(selectors, measured, strict=True)
    }


def _doubt(trust: Trust, unknown: Unknown, now: float) -> Verdict:
    if not unknown.reason.about.passes:
        return Verdict(unknown, replace(trust, doubts=0))
    first, last = DOUBT_SECONDS
    doubts = trust.doubts + 1
    wait = min(first * 2.0 ** max(0, doubts - ELECTION_DOUBTS), last)
    return Verdict(unknown, replace(trust, doubts=doubts), now + wait)
