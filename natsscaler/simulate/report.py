"""Tells of simulations: a table and a chart for people, a document for programs, and whether to fail."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import Struct

from natsscaler.core.errors import SettingsError
from natsscaler.simulate.columns import columns
from natsscaler.simulate.outcome import Figures, Moment, Simulated

VERSION = 1
LABELS = MappingProxyType(
    {
        "messages": "messages",
        "messages_left": "still waiting at the end",
        "p50_wait_seconds": "wait, p50 (s)",
        "p95_wait_seconds": "wait, p95 (s)",
        "p99_wait_seconds": "wait, p99 (s)",
        "worst_wait_seconds": "wait, worst (s)",
        "replica_hours": "replica-hours",
        "steps": "steps",
        "highest_replicas": "most replicas",
        "seconds_above_threshold": "above scaleUpThreshold (s)",
        "seconds_at_max_replicas": "at maxReplicas (s)",
    }
)
STEPS_SHOWN = 20
HEIGHT = 6
WIDEST = 100
COMPARISONS: MappingProxyType[str, Callable[[float, float], bool]] = MappingProxyType(
    {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
)


class Document(Struct, frozen=True, kw_only=True):
    """What programs are given; fields are only ever added to a version."""

    version: int = VERSION
    start: float
    """Seconds since the epoch."""
    seconds: float
    replica_rate: float
    results: tuple[Simulated, ...]
    failed: tuple[str, ...]
    """What --fail-if found."""
    assumptions: tuple[str, ...]


class Ceiling(NamedTuple):
    """A figure that must not be so."""

    figure: str
    comparison: str
    number: float
    text: str

    def exceeded(self, figures: Figures) -> str:
        """Say that it is so; "": it is not."""
        value: float = getattr(figures, self.figure)
        if not COMPARISONS[self.comparison](value, self.number):
            return ""
        return f"{self.figure} is {value:g}, and must not be {self.comparison} {self.number:g}"


def limit(text: str) -> Ceiling:
    """Read a condition such as `p99_wait_seconds > 60`. Raises SettingsError."""
    found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\d+(?:\.\d+)?)\s*", text)
    if not found or found[1] not in LABELS:
        told = f"--fail-if {text!r} is not FIGURE > NUMBER (or >=, <, <=)"
        raise SettingsError(f"{told}; figures are {', '.join(LABELS)}")
    return Ceiling(found[1], found[2], float(found[3]), text)


def document(made: Document) -> str:
    """Write it as JSON."""
    return msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n"


def table(made: Document, width: int) -> str:
    """Write it for people, in lines of about this width."""
    first = made.results[0]
    margin = max(map(len, LABELS.values()))
    wide = [max(len(one.name), 10) for one in made.results]
    lines = [" " * margin + "".join(f"  {one.name:>{w}}" for one, w in zip(made.results, wide, strict=True))]
    for figure, label in LABELS.items():
        values = (f"{getattr(one.figures, figure):,.10g}" for one in made.results)
        lines.append(f"{label:<{margin}}" + "".join(f"  {v:>{w}}" for v, w in zip(values, wide, strict=True)))
    for one in made.results:
        lines += ["", *_chart(one, min(width, WIDEST))]
    lines += ["", f"Steps of {first.name}:"]
    for step in first.steps[:STEPS_SHOWN]:
        lines.append(f"  {_clock(step.time)}  {step.before} → {step.after}  {step.message}")
    more = len(first.steps) - STEPS_SHOWN
    if more > 0:
        lines.append(f"  and {more} more, which --output json has")
    lines += ["", "What a simulation cannot know:", *(f"  {one}" for one in made.assumptions)]
    return "\n".join(lines) + "\n"


def _chart(one: Simulated, width: int) -> list[str]:
    slots = _slots(one.series, max(10, width - 12))
    backlogs = [max(moment.backlog for moment in slot) for slot in slots]
    replicas = [max(moment.replicas for moment in slot) for slot in slots]
    lines = []
    for title, values in ((f"{one.name}: backlog", backlogs), ("replicas", replicas)):
        top = max(1, *values)
        drawn = columns(values, HEIGHT // 2, top)
        lines.append(f"{title}, up to {top:,}")
        lines += [f"  {line}" for line in drawn]
    return lines


def _slots(series: Sequence[Moment], most: int) -> list[Sequence[Moment]]:
    size = max(1, math.ceil(len(series) / most))
    return [series[index : index + size] for index in range(0, len(series), size)]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
