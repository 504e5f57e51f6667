"""Bounds by schedule: other minReplicas and maxReplicas from a start to an end, which are cron expressions.

These are read on the clock of the schedule's zone as if it were never set; what that clock shows is turned
into a moment here. A time that it shows twice counts the first time, one that it skips counts when it has
skipped it. So moments never come in another order than what the clock shows (docs/decisions/0022).
"""

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec import Meta, Struct, field

from natsscaler.core.errors import InvalidRule, excerpt
from natsscaler.core.pause import MOST_REPLICAS

CRON = r"^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}\Z"
"""Five fields; what they may be, cronsim knows."""
ZONE = r"^[A-Za-z0-9_+/-]+\Z"
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"
MOST_SCHEDULES = 20
SET_BACK = timedelta(hours=3)
"""Further than a clock is set back."""
SOME_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - what a clock shows

Cron = Annotated[str, Meta(pattern=CRON, max_length=100)]
Replicas = Annotated[int, Meta(ge=1, le=MOST_REPLICAS)]


class Schedule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds for a part of the time."""

    name: Annotated[
        Annotated[str, Meta(pattern=NAME, max_length=63)], Meta(description="What messages call it.")
    ]
    time_zone: Annotated[
        Annotated[str, Meta(pattern=ZONE, max_length=64)],
        Meta(description="Whose clock start and end are read on, such as Europe/Berlin (tz database)."),
    ] = field(default="UTC", name="timeZone")
    start: Annotated[
        Cron,
        Meta(
            description="When these bounds begin, as a cron expression: minute, hour, day of the month,"
            " month, day of the week, such as 0 8 * * MON-FRI."
        ),
    ]
    end: Annotated[Cron, Meta(description="When they end, likewise.")]
    min_replicas: Annotated[
        Replicas | None, Meta(description="Lower bound between start and end. Default: spec.minReplicas.")
    ] = field(default=None, name="minReplicas")
    max_replicas: Annotated[
        Replicas | None, Meta(description="Upper bound between start and end. Default: spec.maxReplicas.")
    ] = field(default=None, name="maxReplicas")


class Bounds(NamedTuple):
    """The fewest and the most replicas that a rule allows at a time."""

    low: int
    high: int
    schedule: Schedule | None = None
    """Whose bounds these are; None: those of the rule itself."""
    until: float = math.inf
    """When others may apply, in seconds since the epoch."""

    @property
    def lowest(self) -> str:
        """Name the lower bound."""
        own = self.schedule is not None and self.schedule.min_replicas is not None
        return f"minReplicas {self.low}{self._of if own else ''}"

    @property
    def highest(self) -> str:
        """Name the upper bound."""
        own = self.schedule is not None and self.schedule.max_replicas is not None
        return f"maxReplicas {self.high}{self._of if own else ''}"

    @property
    def _of(self) -> str:
        return f" of schedule {self.schedule.name}" if self.schedule else ""


def bounds(low: int, high: int, schedules: tuple[Schedule, ...], at: float) -> Bounds:
    """Say which bounds apply at a time (seconds since the epoch); `low`, `high`: without a schedule.

    The first schedule that is active counts.
    """
    until = math.inf
    for schedule in schedules:
        active, changes_at = _state(schedule, math.floor(at / 60))
        until = min(until, changes_at)
        if active:
            low = low if schedule.min_replicas is None else schedule.min_replicas
            high = high if schedule.max_replicas is None else schedule.max_replicas
            return Bounds(low, high, schedule, until)
    return Bounds(low, high, None, until)


def check(low: int, high: int, schedules: tuple[Schedule, ...]) -> None:
    """Raise InvalidRule, naming field and fix, if a schedule cannot be used with these bounds of the rule."""
    if len({schedule.name for schedule in schedules}) < len(schedules):
        raise InvalidRule("spec.schedules has a name twice: give each its own")
    for index, schedule in enumerate(schedules):
        place = f"spec.schedules[{index}]"
        _check_times(schedule, place)
        if schedule.min_replicas is None and schedule.max_replicas is None:
            raise InvalidRule(f"{place} has neither minReplicas nor maxReplicas: set one or both")
        lowest = low if schedule.min_replicas is None else schedule.min_replicas
        highest = high if schedule.max_replicas is None else schedule.max_replicas
        if lowest > highest:
            raise InvalidRule(
                f"{place}: minReplicas ({lowest}) is greater than maxReplicas ({highest}), one of which may"
                " be the rule's own: lower the one or raise the other"
            )


def _check_times(schedule: Schedule, place: str) -> None:
    try:
        ZoneInfo(schedule.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidRule(
            f"{place}.timeZone {excerpt(schedule.time_zone)!r} is no time zone: use a name of the tz"
            " database, such as Europe/Berlin"
        ) from error
    for name, cron in (("start", schedule.start), ("end", schedule.end)):
        try:
            comes = next(CronSim(cron, SOME_DAY), None)
        except CronSimError as error:
            raise InvalidRule(f"{place}.{name} {cron!r} is no cron expression: {error}") from error
        if comes is None:
            raise InvalidRule(f"{place}.{name} {cron!r} never comes: name a day that exists")
    if schedule.start == schedule.end:
        raise InvalidRule(f"{place}.start and end are the same, so it would never be active: change one")


@lru_cache(maxsize=10_000)
def _state(schedule: Schedule, minute: int) -> tuple[bool, float]:
    """Say whether a schedule is active in a minute since the epoch, and when that changes.

    It is if its last start is later than its last end; where the clock skips both, they fall together.
    """
    zone, at = ZoneInfo(schedule.time_zone), 60.0 * minute
    active = latest(schedule.start, zone, at) > latest(schedule.end, zone, at)
    return active, following(schedule.end if active else schedule.start, zone, at)


def latest(cron: str, zone: ZoneInfo, at: float) -> float:
    """Return the last moment of a cron expression that is not later than this; -infinite: none.

    The search begins beyond what the clock shows twice, as the later of two such times may have passed.
    """
    moments = (_moment(local, zone) for local in CronSim(cron, _shown(at, zone) + SET_BACK, reverse=True))
    return next((moment for moment in moments if moment <= at), -math.inf)


def following(cron: str, zone: ZoneInfo, at: float) -> float:
    """Return the first moment of a cron expression that is later than this; infinite: none.

    The clock may show what is over: the second time that it shows an hour, the first one counted.
    """
    moments = (_moment(local, zone) for local in CronSim(cron, _shown(at, zone)))
    return next((moment for moment in moments if moment > at), math.inf)


def _shown(at: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def _moment(local: datetime, zone: ZoneInfo) -> float:
    while True:
        moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if _shown(moment.timestamp(), zone) == local:
            return moment.timestamp()
        local += timedelta(minutes=1)
