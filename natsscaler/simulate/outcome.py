"""What came of a simulated time: how long messages waited, what that cost, and the series to draw."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.simulate.loop import Stepped
from natsscaler.simulate.plant import NEARLY, Plant

MOST_POINTS = 1440
"""Of a series: one a minute for a day."""
PIECE_SECONDS = 0.5
"""Waits are told apart to this much, or to a thousandth where many messages wait in one straight line."""
MOST_PIECES = 1000


class Figures(Struct, frozen=True, kw_only=True):
    """A simulated time in figures. A wait lasts from a message's coming until it is worked off."""

    messages: Annotated[int, Meta(description="Messages that came, with those that waited from the start.")]
    messages_left: Annotated[
        int, Meta(description="Messages that waited at the end; their waits count until then.")
    ]
    p50_wait_seconds: Annotated[float, Meta(description="Half of the messages waited no longer.")]
    p95_wait_seconds: float
    p99_wait_seconds: float
    worst_wait_seconds: float
    replica_hours: Annotated[float, Meta(description="Replicas asked for, added up over time.")]
    steps: Annotated[int, Meta(description="Changes of the replicas.")]
    highest_replicas: int
    seconds_above_threshold: Annotated[
        float, Meta(description="How long the backlog was above scaleUpThreshold.")
    ]
    seconds_at_max_replicas: float


class Moment(Struct, frozen=True, array_like=True):
    """A slot of time, from `time` on."""

    time: float
    """Seconds since the start."""
    arriving: float
    """Messages per second, a mean."""
    backlog: int
    """The highest of the slot."""
    replicas: int
    """The highest of the slot."""
    wait: float
    """How long the messages that came at its end waited, in seconds."""


class Simulated(Struct, frozen=True, kw_only=True):
    """One way to scale, and what came of it."""

    name: str
    figures: Figures
    steps: tuple[Stepped, ...]
    series: Annotated[
        tuple[Moment, ...],
        Meta(description="Slots of [time, arriving per second, backlog, replicas, wait in seconds]."),
    ]


def simulated(name: str, plant: Plant, steps: Sequence[Stepped], threshold: int, most: int) -> Simulated:
    """Sum up a plant at the end of its time; `threshold`: scaleUpThreshold, `most`: maxReplicas."""
    waits = _Waits(plant)
    figures = Figures(
        messages=plant.ever,
        messages_left=plant.waiting,
        p50_wait_seconds=waits.quantile(0.5),
        p95_wait_seconds=waits.quantile(0.95),
        p99_wait_seconds=waits.quantile(0.99),
        worst_wait_seconds=waits.quantile(1.0),
        replica_hours=round(plant.replica_seconds / 3600, 3),
        steps=len(steps),
        highest_replicas=max(replicas for _, replicas in plant.changes),
        seconds_above_threshold=round(_above(plant, threshold), 1),
        seconds_at_max_replicas=round(_at_least(plant, most), 1),
    )
    return Simulated(name=name, figures=figures, steps=tuple(steps), series=tuple(_series(plant)))


def _come(plant: Plant) -> tuple[list[float], list[float]]:
    """Give the corners of the messages that came: times and messages, with those from the start."""
    times, totals = [0.0], [0.0]
    if plant.before:
        times.append(0.0)
        totals.append(plant.before)
    for time, total in zip(plant.arrivals.times[1:], plant.arrivals.totals[1:], strict=True):
        times.append(time)
        totals.append(plant.before + total)
    return times, totals


class _Waits:
    """How long messages waited: pieces of equal wait, each with its number of messages."""

    def __init__(self, plant: Plant) -> None:
        self._pieces: list[tuple[float, float]] = []
        self._worst = self._none = 0.0
        come_at, come = _come(plant)
        left_at, left = [time for time, _ in plant.curve], [done for _, done in plant.curve]
        if left[-1] < come[-1] - NEARLY:  # what is left, is cut off at the end
            left_at.append(plant.now)
            left.append(come[-1])
        first = second = 1
        count = before = 0.0
        while first < len(come) and second < len(left):
            if come[first] <= count:
                first += 1
                continue
            if left[second] <= count:
                second += 1
                continue
            upto = min(come[first], left[second])
            begin = _at(left_at, left, second, count) - _at(come_at, come, first, count)
            before = _at(left_at, left, second, upto) - _at(come_at, come, first, upto)
            self._add(max(0.0, begin), max(0.0, before), upto - count)
            count = upto
        self._pieces.sort()

    def _add(self, begin: float, end: float, messages: float) -> None:
        self._worst = max(self._worst, begin, end)
        if begin < 1e-3 and end < 1e-3:  # noqa: PLR2004 - nobody tells a wait below a millisecond from none
            self._none += messages
            return
        parts = min(MOST_PIECES, math.ceil(abs(end - begin) / PIECE_SECONDS) or 1)
        for part in range(parts):
            self._pieces.append((begin + (end - begin) * (part + 0.5) / parts, messages / parts))

    def quantile(self, share: float) -> float:
        """Return the wait that this share of the messages did not exceed, in seconds."""
        if share >= 1:
            return round(self._worst, 3)
        wanted = share * (self._none + sum(messages for _, messages in self._pieces))
        counted = self._none
        if counted >= wanted:
            return 0.0
        for wait, messages in self._pieces:
            counted += messages
            if counted >= wanted:
                return round(wait, 3)
        return round(self._worst, 3)


def _at(times: Sequence[float], totals: Sequence[float], index: int, count: float) -> float:
    """Say when a curve passes a count, between the corner before `index` and that one."""
    before, after = totals[index - 1], totals[index]
    share = (count - before) / (after - before)
    return times[index - 1] + (times[index] - times[index - 1]) * share


def _backlogs(plant: Plant) -> Iterator[tuple[float, float]]:
    """Give the corners of the backlog, in the order of time."""
    come_at, come = _come(plant)
    first, (last_at, last) = 1, plant.curve[0]
    yield 0.0, plant.before
    for time, done in plant.curve[1:]:
        while first < len(come_at) and come_at[first] < time:
            share = (come_at[first] - last_at) / (time - last_at) if time > last_at else 1.0
            yield come_at[first], come[first] - last - (done - last) * share
            first += 1
        if first < len(come_at) and come_at[first] > come_at[first - 1]:
            share = (time - come_at[first - 1]) / (come_at[first] - come_at[first - 1])
            came = come[first - 1] + (come[first] - come[first - 1]) * share
        else:
            came = come[min(first, len(come) - 1)]
        yield time, max(0.0, came - done)
        last_at, last = time, done


def _above(plant: Plant, threshold: int) -> float:
    """Say for how many seconds more messages waited than this."""
    seconds = 0.0
    for (begin, before), (end, after) in pairwise(_backlogs(plant)):
        low, high = min(before, after), max(before, after)
        if low > threshold:
            seconds += end - begin
        elif high > threshold:
            seconds += (end - begin) * (high - threshold) / (high - low)
    return seconds


def _at_least(plant: Plant, replicas: int) -> float:
    changes = [*plant.changes, (plant.now, 0)]
    return sum(end - begin for (begin, number), (end, _) in pairwise(changes) if number >= replicas)


def _series(plant: Plant) -> Iterator[Moment]:
    slot = max(1.0, math.ceil(plant.now / MOST_POINTS))
    slots = math.ceil(plant.now / slot)
    highest = [0.0] * slots
    for (begin, before), (end, after) in pairwise(_backlogs(plant)):
        for index, backlog in ((begin, before), (end, after)):
            place = min(slots - 1, int(index / slot))
            highest[place] = max(highest[place], backlog)
        for index in range(int(begin / slot) + 1, min(slots, int(end / slot) + 1)):
            highest[index] = max(
                highest[index], before + (after - before) * (index * slot - begin) / (end - begin)
            )
    times, done = [time for time, _ in plant.curve], [left for _, left in plant.curve]
    change, replicas = 0, plant.changes[0][1]
    for index in range(slots):
        begin, end = index * slot, min(plant.now, (index + 1) * slot)
        most = replicas
        while change < len(plant.changes) and plant.changes[change][0] < end:
            replicas = plant.changes[change][1]
            most = max(most, replicas)
            change += 1
        came_before, came = (plant.arrivals.by(min(at, plant.arrivals.seconds)) for at in (begin, end))
        yield Moment(
            begin,
            round((came - came_before) / (end - begin), 3),
            math.floor(highest[index] + NEARLY),
            most,
            round(max(0.0, _left_at(times, done, plant.before + came) - end), 1),
        )


def _left_at(times: Sequence[float], done: Sequence[float], count: float) -> float:
    index = bisect_right(done, count - NEARLY)
    if index == 0:
        return times[0]
    return times[-1] if index == len(done) else _at(times, done, index, count - NEARLY)
