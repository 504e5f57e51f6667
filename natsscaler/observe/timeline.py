"""A rule's past for the page: backlog and replicas as steps, in bounded memory, whatever happens.

A point says what holds from its time on, and there is one only where something changed. Where more than one
change falls into a slot of time, its point has the highest backlog and replicas of the slot, so that no peak
is lost, and what was left in the end follows at the start of the next slot. No clock: whoever adds says when.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

RECENT, RECENT_SLOT = 600, 1
"""The last ten minutes, exact to the second."""
HOUR, HOUR_SLOT = 3600, 10
DAY, DAY_SLOT = 86400, 300
TREND_SLOT = 30
"""The last ten minutes in up to 40 points, for a sparkline."""
UNKNOWN = -1
MOST = 2**63 - 1
"""The largest count that is kept; nats-server counts to twice as much."""


class Point(NamedTuple):
    """What holds from this time on."""

    time: int
    """Whole seconds since the epoch."""
    backlog: int | None
    """None: unknown."""
    replicas: int | None
    """None: there is no such Deployment, or it has not been read yet."""
    ready: int | None = None
    """None: unknown."""


class Series:
    """The steps of the last `span` seconds, at most two for each `slot` of seconds.

    The first of two is what was left of the slot before; the second has the maxima since the first change.
    """

    __slots__ = ("_last", "_slot", "_span", "_times", "_values")

    def __init__(self, slot: int, span: int) -> None:
        self._slot, self._span = slot, span
        self._times, self._values = array("I"), (array("q"), array("i"), array("i"))
        self._last = (UNKNOWN, UNKNOWN, UNKNOWN)
        """What holds now; the last point has the maximum of its slot."""

    def add(self, time: int, backlog: int, replicas: int, ready: int = UNKNOWN) -> None:
        """Note what holds from `time` on; a time before the last point's counts as that."""
        values = (backlog, replicas, ready)
        if self._times and self._last == values:
            return
        if self._times and time < (carried := self._slot_end):
            for column, value in zip(self._values, values, strict=True):
                column[-1] = max(column[-1], value)
        else:
            if self._times and self._peaked and carried < time:
                self._append(carried, *self._last)
            self._append(time, *values)
        self._last = values

    def points(self, now: int, since: int = 0) -> Iterator[Point]:
        """Yield the points from `since` on; the last one says what holds now."""
        times = self._times
        for index in range(bisect_left(times, since), len(times)):
            yield _point(times[index], *(column[index] for column in self._values))
        if times and self._peaked:
            left_at = min(self._slot_end, now)
            if left_at > times[-1]:
                yield _point(left_at, *self._last)

    @property
    def start(self) -> int:
        """When the first point is; 0 if there is none."""
        return self._times[0] if self._times else 0

    @property
    def end(self) -> int:
        """When the last point is that was added; 0 if there is none."""
        return self._times[-1] if self._times else 0

    def __len__(self) -> int:
        return len(self._times)

    @property
    def _slot_end(self) -> int:
        return self._times[-1] - self._times[-1] % self._slot + self._slot

    @property
    def _peaked(self) -> bool:
        return tuple(column[-1] for column in self._values) != self._last

    def _append(self, time: int, *values: int) -> None:
        self._times.append(time)
        for column, value in zip(self._values, values, strict=True):
            column.append(value)
        past = bisect_right(self._times, time - self._span) - 1  # the last of them holds at the beginning
        surplus = max(past, len(self._times) - 2 * self._span // self._slot)
        if surplus > 0:
            for column in (self._times, *self._values):
                del column[:surplus]


class Timeline:
    """The last ten minutes of a rule exactly, the last hour in detail, and the day before it roughly."""

    __slots__ = ("_day", "_hour", "_recent", "_trend")

    def __init__(self) -> None:
        self._recent, self._trend = Series(RECENT_SLOT, RECENT), Series(TREND_SLOT, RECENT)
        self._hour, self._day = Series(HOUR_SLOT, HOUR), Series(DAY_SLOT, DAY)

    def add(self, time: float, backlog: int | None, replicas: int | None, ready: int | None = None) -> None:
        """Note what holds from `time` on, in seconds since the epoch; what has not changed costs nothing."""
        known = UNKNOWN if backlog is None else min(backlog, MOST)
        values = known, *(UNKNOWN if count is None else count for count in (replicas, ready))
        for series in (self._recent, self._trend, self._hour, self._day):
            series.add(int(time), *values)

    def points(self, now: float, since: int = 0) -> list[Point]:
        """List the points from `since` on, oldest first; with 0 all of them."""
        points: list[Point] = []
        for series, end in (
            (self._day, self._hour.start),
            (self._hour, self._recent.start),
            (self._recent, math.inf),
        ):
            points += (point for point in series.points(int(now), since) if point.time < end)
        return points

    def trend(self, now: float) -> list[tuple[int, int | None]]:
        """List times and backlogs of the last ten minutes in maxima of TREND_SLOT, oldest first."""
        return [(point.time, point.backlog) for point in self._trend.points(int(now))]

    @property
    def settled_until(self) -> int:
        """The time of the last point that was added: what `points` gives after it is only true for now."""
        return self._recent.end


def _point(time: int, *values: int) -> Point:
    return Point(time, *(None if value == UNKNOWN else value for value in values))
