"""How fast messages come and are worked off: from the counters of NATS at several moments to rates.

A rate is unknown rather than wrong. A counter that fell, as with a new leader or after a restart of NATS,
and a loss that looks like work, as by a purge, make the interval between two moments tell nothing.

Where each message of the stream is for the consumer, the stream's last sequence counts what came, and that
tells how many deliveries were repeated. Elsewhere a repeated delivery cannot be told from that of a new
message, nor a small purge from none: such rates are estimates, and not known while any unacknowledged message
is seen to have been delivered again.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.counters import Counters

SHOWN_SECONDS = 60.0
"""Rates are means over this time, or over the last interval if that is longer."""
KNOWN_SHARE = 0.5
"""The share of that time that must be known."""
MIN_SECONDS = 5.0
"""The shortest interval that is kept."""
MOST_LEARNT = 9
"""Rates of one replica whose median counts."""
MOST_REPEATED = 0.1
"""The share of repeated deliveries above which nothing is learnt."""
KEPT = 8
"""Moments of a rule that are kept: all intervals but the last are a sixth of the time looked at, or more."""
SLACK = 0.05
"""The share by which counters may contradict each other: those of the stream are read a moment earlier."""


class Workers(Struct, frozen=True):
    """The pods of a target."""

    ready: int
    """Pods that are ready."""
    template: str
    """Which template all of them were made of; "": unknown, as during a rollout."""


class Tally(Struct, frozen=True, kw_only=True):
    """What was counted at one moment."""

    at: float
    """When, in seconds since the epoch by the clock of NATS."""
    counters: tuple[Counters, ...]
    workers: Workers | None = None
    """None: unknown."""
    follows: bool = False
    """Whether all counters went on from the tally before."""
    saturated: bool = False
    """Whether the workers had all that they can do, ever since the tally before."""


class Flow(NamedTuple):
    """What happened between two tallies, in messages; None: unknown."""

    arrived: int | None
    processed: int | None
    repeated: int | None
    """Deliveries of messages that had been delivered before."""


NO_FLOW = Flow(None, None, None)


class Rates(Struct, frozen=True):
    """Means over the last minute; None: unknown."""

    arriving: float | None = None
    """Messages that came, per second."""
    processing: float | None = None
    """Messages that were done with, per second: acknowledged, terminated, or given up."""
    per_replica: float | None = None
    """The latter, per ready replica."""
    estimated: bool = False
    """Whether repeated deliveries may count as new messages."""

    def drain_seconds(self, backlog: Backlog) -> float | None:
        """Say how long the backlog takes at this rate: about how long a message waits that comes now."""
        if backlog.messages == 0:
            return 0.0
        return backlog.messages / self.processing if self.processing else None


class Work(Struct, frozen=True):
    """What is remembered of the work on a rule's messages."""

    tallies: tuple[Tally, ...] = ()
    """Oldest first; the last one is replaced until it is far enough from the one before."""

    learnt: tuple[float, ...] = ()
    """What one ready replica processed per second, in intervals in which it had all that it can do; oldest
    first. What it did while it had less to do is among these only where that was more."""
    template: str = ""
    """The pod template that this was learnt of."""

    @property
    def replica_rate(self) -> float | None:
        """What one ready replica processes per second; None: unknown."""
        return median(self.learnt) if self.learnt else None

    def observed(self, backlog: Backlog, workers: Workers | None, window: float = SHOWN_SECONDS) -> "Work":
        """Take in what was read; `window`: how many seconds are to be looked back."""
        if backlog.at is None or not backlog.counters:
            return self
        new = Tally(at=backlog.at.timestamp(), counters=backlog.counters, workers=workers)
        if not self.tallies:
            return replace(self, tallies=(new,))
        last = self.tallies[-1]
        if new.at <= last.at:
            return self if new.at > last.at - window else replace(self, tallies=(new,))
        steady = new.workers == last.workers
        saturated = steady and _saturated(last) and _saturated(new)
        new = replace(new, follows=_follows(last, new), saturated=saturated)
        kept = self.tallies
        least = max(MIN_SECONDS, window / (KEPT - 2))
        if len(kept) > 1 and last.at - kept[-2].at < least:
            kept = kept[:-1]
            new = replace(
                new, follows=new.follows and last.follows, saturated=new.saturated and last.saturated
            )
        found = replace(self, tallies=(*kept, new)[-KEPT:])
        return found.learn() if new.at - kept[-1].at >= least else found

    def learn(self) -> "Work":
        """Learn from the interval that ends with the last tally what one replica can do."""
        first, last = self.tallies[-2:]
        flow, workers = between(first, last), last.workers
        if workers is None or not workers.template or not workers.ready or first.workers != workers:
            return self
        processed, repeated = flow.processed, flow.repeated
        if processed is None or repeated is None or repeated > MOST_REPEATED * (processed + repeated):
            return self
        learnt = self.learnt if self.template == workers.template else ()
        rate = processed / (workers.ready * (last.at - first.at))
        if (last.saturated and rate > 0) or (learnt and rate > median(learnt)):
            learnt = (*learnt, rate)
        return replace(self, learnt=learnt[-MOST_LEARNT:], template=workers.template)

    def arriving(self, window: float) -> float:
        """Say how many messages came per second, as a mean over the whole window, however little was seen.

        What was seen of it and is unknown counts as the rest.
        """
        mean = _Mean(window, self.tallies)
        unknown = 0.0
        for first, last in pairwise(self.tallies):
            arrived = between(first, last).arrived
            mean.add(first, last, arrived)
            unknown += mean.inside(first, last) if arrived is None else 0.0
        return mean.count / (window - unknown) if unknown < window else 0.0

    def rates(self, window: float = SHOWN_SECONDS) -> Rates:
        """Say how fast messages come and are worked off, as means over so many seconds."""
        arrived, processed, each = (_Mean(window, self.tallies) for _ in range(3))
        for first, last in pairwise(self.tallies):
            flow = between(first, last)
            arrived.add(first, last, flow.arrived)
            processed.add(first, last, flow.processed)
            each.add(first, last, flow.processed, _ready(first, last))
        estimated = any(one.delivered is not None and one.ever is None for one in self._newest)
        return Rates(arrived.rate, processed.rate, each.rate, estimated)

    @property
    def unconsumed(self) -> bool:
        """Whether messages wait that nobody has asked for in the last seconds, nor works on."""
        for first, last in reversed(list(pairwise(self.tallies))):
            if not last.follows or not all(map(_ignored, first.counters, last.counters)):
                return False
            if self.tallies[-1].at - first.at >= MIN_SECONDS:
                return True
        return False

    @property
    def fruitless(self) -> bool:
        """Whether all that workers did in the time looked at was to be given messages again.

        That nothing is done alone is no sign: so it is with long jobs, too.
        """
        flows = [between(first, last) for first, last in pairwise(self.tallies)]
        return all(flow.processed == 0 for flow in flows) and any(flow.repeated for flow in flows)

    @property
    def most_replicas(self) -> int | None:
        """How many replicas fill max_ack_pending, each with as many messages as one has now.

        None: unknown, or no limit. Never fewer than are ready.
        """
        if len(self._newest) != 1 or (workers := self.tallies[-1].workers) is None:
            return None
        one = self._newest[0]
        if not (one.most_unacknowledged and one.unacknowledged and workers.ready):
            return None
        return max(workers.ready, one.most_unacknowledged * workers.ready // one.unacknowledged)

    @property
    def _newest(self) -> tuple[Counters, ...]:
        return self.tallies[-1].counters if self.tallies else ()


class _Mean:
    """Adds up what happened in a window that ends with the last tally."""

    def __init__(self, window: float, tallies: Sequence[Tally]) -> None:
        self._begin = tallies[-1].at - window if tallies else 0.0
        self._window = window
        self.count = self._weight = self._known = 0.0

    def inside(self, first: Tally, last: Tally) -> float:
        """Say how many seconds of an interval lie in the window."""
        return max(0.0, last.at - max(first.at, self._begin))

    def add(self, first: Tally, last: Tally, count: int | None, weight: float | None = 1.0) -> None:
        """Add what happened between two tallies; `weight`: by how many it was done."""
        inside = self.inside(first, last)
        if count is None or weight is None or not inside:
            return
        self.count += count * inside / (last.at - first.at)
        self._weight += weight * inside
        self._known += inside

    @property
    def rate(self) -> float | None:
        """The mean per second and weight, if enough of the window is known."""
        enough = self._known >= KNOWN_SHARE * self._window and self._weight > 0
        return self.count / self._weight if enough else None


def between(first: Tally, last: Tally) -> Flow:
    """Say what happened between two tallies."""
    if not last.follows:
        return NO_FLOW
    flows = [_flow(one, other) for one, other in zip(first.counters, last.counters, strict=True)]
    return Flow(
        _sum(flow.arrived for flow in flows),
        _sum(flow.processed for flow in flows),
        _sum(flow.repeated for flow in flows),
    )


def _flow(first: Counters, last: Counters) -> Flow:
    pending, in_work = last.pending - first.pending, last.unacknowledged - first.unacknowledged
    delivered = _rise(first.delivered, last.delivered)
    arrived = _rise(first.ever, last.ever)
    if delivered is None:  # without a consumer, work cannot be told from a purge
        return Flow(arrived, None, None)
    if arrived is None:
        repeats = first.redelivered or last.redelivered
        if repeats or delivered < in_work:
            return NO_FLOW
        return Flow(delivered + pending, delivered - in_work, 0)
    slack = 1 + math.ceil(SLACK * max(arrived, delivered))
    taken = arrived - pending
    repeated, processed = delivered - taken, taken - in_work
    if repeated < -slack or processed < -slack:  # some were lost that nobody was given
        return Flow(arrived, None, None)
    return Flow(arrived, max(0, processed), max(0, repeated))


def _ignored(first: Counters, last: Counters) -> bool:
    """Tell whether between two looks nobody took any of the messages that waited."""
    still = first.delivered is not None and first.delivered == last.delivered
    waits = first.pending > 0 and last.pending > 0
    return still and waits and not (last.waiting or last.unacknowledged)


def _rise(first: int | None, last: int | None) -> int | None:
    return None if first is None or last is None else last - first


def _follows(first: Tally, last: Tally) -> bool:
    """Tell whether these are the same counters, and none has fallen that only rises."""
    same = [_identity(one) for one in first.counters] == [_identity(one) for one in last.counters]
    return same and all(
        later >= earlier
        for one, other in zip(first.counters, last.counters, strict=True)
        for earlier, later in zip(_rising(one), _rising(other), strict=True)
    )


def _identity(counters: Counters) -> tuple[object, ...]:
    return counters.name, counters.born, counters.delivered is None, counters.ever is None


def _rising(counters: Counters) -> Iterator[int]:
    yield counters.ever or 0
    yield counters.delivered or 0
    yield counters.floor
    if counters.ever is None and counters.delivered is not None:  # falls when messages are lost undelivered
        yield counters.delivered + counters.pending


def _saturated(tally: Tally) -> bool:
    """Tell whether no worker waits for messages, while messages wait for workers."""
    return all(
        one.delivered is not None
        and not one.pushed
        and one.pending > 0
        and one.waiting == 0
        and (not one.most_unacknowledged or one.unacknowledged < one.most_unacknowledged)
        for one in tally.counters
    )


def _ready(first: Tally, last: Tally) -> float | None:
    """Say how many replicas were ready between two tallies; None: that is unknown, or none was."""
    if first.workers is None or last.workers is None:
        return None
    return (first.workers.ready + last.workers.ready) / 2 or None


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(one for one in known if one is not None)
