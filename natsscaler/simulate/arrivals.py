"""When messages come: a curve of how many have come by each moment, straight between its corners."""

import csv
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

from natsscaler.core.errors import SettingsError

HOUR, DAY = 3600.0, 86_400.0
LONGEST_SECONDS = 31 * DAY
MOST_MESSAGES = 1e15
"""Floats count to more than that without a gap."""


class Arrivals(NamedTuple):
    """Messages over time."""

    start: float
    """When it begins, in seconds since the epoch."""
    times: Sequence[float]
    """Corners in seconds since the start: 0 first, rising."""
    totals: Sequence[float]
    """Messages that have come by each corner: 0 first, never falling."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.times[-1]

    @property
    def messages(self) -> float:
        """How many come in all."""
        return self.totals[-1]

    def by(self, time: float) -> float:
        """Say how many messages have come by a time."""
        index = bisect_right(self.times, time) - 1
        if index >= len(self.times) - 1:
            return self.totals[-1]
        begin, end = self.times[index], self.times[index + 1]
        before, after = self.totals[index], self.totals[index + 1]
        return before + (after - before) * (time - begin) / (end - begin)

    def when(self, total: float) -> float:
        """Say when so many messages have come; infinite: never."""
        if total <= 0:
            return 0.0
        index = bisect_left(self.totals, total)
        if index == len(self.totals):
            return math.inf
        before, after = self.totals[index - 1], self.totals[index]
        begin, end = self.times[index - 1], self.times[index]
        return begin + (end - begin) * (total - before) / (after - before)


def of_rows(rows: Iterable[tuple[float, float]]) -> Arrivals:
    """Make arrivals of rows (time, messages that come from then until the next row).

    The last row lasts as long as the one before it, a single one for a second. Raises SettingsError.
    """
    times, counts = list[float](), list[float]()
    for time, messages in rows:
        if not (math.isfinite(time) and math.isfinite(messages)) or messages < 0:
            raise SettingsError(
                f"row {len(times) + 1}: {messages:g} messages at {time:g} cannot be, use 0 or more"
            )
        if times and time <= times[-1]:
            raise SettingsError(
                f"row {len(times) + 1}: its time is not later than that of the row before: sort them"
            )
        times.append(time)
        counts.append(messages)
    if not times:
        raise SettingsError("there is no row: a trace needs one row of time and messages at least")
    last = times[-1] - times[-2] if len(times) > 1 else 1.0
    times.append(times[-1] + last)
    totals = list(accumulate(counts, initial=0.0))
    if times[-1] - times[0] > LONGEST_SECONDS or totals[-1] > MOST_MESSAGES:
        raise SettingsError(
            "the trace is longer than 31 days or has more than 1e15 messages: use a part of it"
        )
    return Arrivals(times[0], [time - times[0] for time in times], totals)


def read_csv(lines: Iterable[str]) -> Arrivals:
    """Read rows of time (seconds or RFC 3339) and messages, after a header or not. Raises SettingsError."""
    rows = list[tuple[float, float]]()
    for number, row in enumerate(csv.reader(line for line in lines if line.strip()[:1] not in ("", "#")), 1):
        try:
            time, messages = row
            rows.append((_time(time), float(messages)))
        except ValueError as error:
            if number > 1:
                told = (
                    f"line {number}: {','.join(row)!r} is not time,messages such as 2026-01-01T00:00:00Z,120"
                )
                raise SettingsError(told) from error
    return of_rows(rows)


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            raise
        return moment.timestamp()


def _steady(_: float) -> float:
    return 0.6


def _burst(share: float) -> float:
    return 1.0 if 0.2 <= share < 0.3 else 0.05  # noqa: PLR2004 - a tenth of the time, early


def _ramp(share: float) -> float:
    return share


def _daily(share: float) -> float:
    """Rise from night to noon and fall again."""
    return 0.05 + 0.95 * (0.5 - 0.5 * math.cos(2 * math.pi * share)) ** 2


def _sawtooth(share: float) -> float:
    return share * 6 % 1


PATTERNS: MappingProxyType[str, Callable[[float], float]] = MappingProxyType(
    {"steady": _steady, "burst": _burst, "ramp": _ramp, "daily": _daily, "sawtooth": _sawtooth}
)
"""The share of the highest rate at each share of the time."""


def pattern(name: str, peak: float, seconds: float) -> Arrivals:
    """Make arrivals of a pattern, second by second; `peak`: its highest rate, in messages per second."""
    shape = PATTERNS[name]
    return of_rows((float(at), peak * shape(at / seconds)) for at in range(math.ceil(seconds)))
