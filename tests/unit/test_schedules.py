"""Bounds by schedule: which apply when, above all on the days on which clocks are changed."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.conditions import compose
from natsscaler.core.decision.pipeline import decide, messages_until_change
from natsscaler.core.decision.situation import Memory
from natsscaler.core.errors import InvalidRule
from natsscaler.core.explain.story import explain
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.schedules import following, latest
from natsscaler.core.status import RuleStatus, epoch
from natsscaler.observe.rule_metrics import RuleSeries
from tests.support.factories import FREE, UNKNOWN, facts, proportional, rule, seen

DAY: dict[str, Any] = {
    "name": "day",
    "timeZone": "Europe/Berlin",
    "start": "0 8 * * MON-FRI",
    "end": "0 18 * * MON-FRI",
    "minReplicas": 5,
}


def at(text: str) -> float:
    found = epoch(text)
    assert found is not None
    return found


def daily(start: str, end: str, zone: str = "UTC") -> Rule:
    """Make a rule with 5 replicas at the least from one time of day to another."""
    minute, hour = start.split(":")[::-1], end.split(":")[::-1]
    given = {"name": "day", "timeZone": zone, "minReplicas": 5}
    return rule(schedules=[{**given, "start": f"{' '.join(minute)} * * *", "end": f"{' '.join(hour)} * * *"}])


# Which bounds apply.


@pytest.mark.parametrize(
    ("moment", "low", "until"),
    [
        ("2026-01-05T06:59:59Z", 1, "2026-01-05T07:00:00Z"),
        ("2026-01-05T07:00:00Z", 5, "2026-01-05T17:00:00Z"),
        ("2026-01-05T16:59:59Z", 5, "2026-01-05T17:00:00Z"),
        ("2026-01-05T17:00:00Z", 1, "2026-01-06T07:00:00Z"),
        ("2026-01-09T17:00:00Z", 1, "2026-01-12T07:00:00Z"),
        ("2026-03-27T17:00:00Z", 1, "2026-03-30T06:00:00Z"),
    ],
)
def test_a_schedule_is_active_from_its_start_to_its_end(moment: str, low: int, until: str) -> None:
    bounds = rule(schedules=[DAY]).bounds(at(moment))
    assert (bounds.low, bounds.high, bounds.until) == (low, 10, at(until))
    assert (bounds.schedule is not None) == (low == 5)


def test_the_first_that_is_active_wins() -> None:
    sale = {"name": "sale", "start": "0 0 6 1 *", "end": "0 0 7 1 *", "maxReplicas": 50}
    made = rule(schedules=[sale, DAY])
    for moment, low, high, name in (
        ("2026-01-05T12:00:00Z", 5, 10, "day"),
        ("2026-01-06T12:00:00Z", 1, 50, "sale"),
        ("2026-01-07T12:00:00Z", 5, 10, "day"),
    ):
        bounds = made.bounds(at(moment))
        assert bounds.schedule
        assert (bounds.low, bounds.high, bounds.schedule.name) == (low, high, name)
    later = rule(schedules=[DAY, sale]).bounds(at("2026-01-06T12:00:00Z"))
    assert (later.low, later.high) == (5, 10)


def test_over_midnight_and_over_the_weekend() -> None:
    night = daily("22:00", "06:00")
    assert [night.bounds(at(f"2026-01-05T{hour}:00:00Z")).low for hour in ("21", "22", "23")] == [1, 5, 5]
    assert [night.bounds(at(f"2026-01-06T0{hour}:00:00Z")).low for hour in (0, 5, 6)] == [5, 5, 1]
    weekend = rule(schedules=[{**DAY, "start": "0 18 * * FRI", "end": "0 8 * * MON"}])
    assert weekend.bounds(at("2026-01-11T00:00:00Z")).low == 5
    assert weekend.bounds(at("2026-01-14T00:00:00Z")).low == 1


def test_a_day_that_is_seldom() -> None:
    leap = rule(schedules=[{"name": "leap", "start": "0 0 29 2 *", "end": "0 0 1 3 *", "minReplicas": 5}])
    assert leap.bounds(at("2028-02-29T12:00:00Z")).low == 5
    bounds = leap.bounds(at("2026-02-28T12:00:00Z"))
    assert (bounds.low, bounds.until) == (1, at("2028-02-29T00:00:00Z"))


# The days of changing clocks.

CHANGES = [
    ("Europe/Berlin", "2026-03-29", "2026-10-25"),
    ("America/New_York", "2026-03-08", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-10-04", "2026-04-05"),  # by half an hour
    ("Africa/Cairo", "2026-04-24", "2026-10-30"),  # at midnight
    ("America/Santiago", "2026-09-06", "2026-04-05"),  # at midnight, and back to the day before
]
CRONS = ["0 2 * * *", "30 1 * * *", "15 2 * * *", "0 0 * * *", "30 23 * * *", "*/20 * * * *", "45 * * * *"]


def moments(cron: str, zone: str, begin: datetime, end: datetime) -> list[float]:
    """Find when a cron expression comes by going from one minute to the next one, in UTC."""
    clock, found, minute = ZoneInfo(zone), [], begin
    before = None
    while minute < end:
        local = minute.astimezone(clock)
        shown = local.replace(tzinfo=None, fold=0)
        passed = [shown]
        if before is not None and shown - before > timedelta(minutes=1):
            skipped = int((shown - before) / timedelta(minutes=1))
            passed = [before + timedelta(minutes=one) for one in range(1, skipped + 1)]
        if not local.fold and any(comes(cron, one) for one in passed):
            found.append(minute.timestamp())
        before, minute = shown, minute + timedelta(minutes=1)
    return found


def comes(cron: str, shown: datetime) -> bool:
    return next(CronSim(cron, shown - timedelta(seconds=1))) == shown


@pytest.mark.parametrize("cron", CRONS)
@pytest.mark.parametrize(("name", "day"), [(zone, day) for zone, *days in CHANGES for day in days])
def test_edges_on_days_of_changing_clocks(name: str, day: str, cron: str) -> None:
    """Compared with what a clock shows, minute by minute: each moment comes once, and none is missed."""
    noon, zone = datetime.fromisoformat(f"{day}T12:00:00+00:00"), ZoneInfo(name)
    expected = moments(cron, name, noon - timedelta(hours=40), noon + timedelta(hours=40))
    assert len(expected) > 2
    found = [expected[0]]
    while found[-1] < expected[-1]:
        found.append(following(cron, zone, found[-1]))
        assert found[-1] > found[-2], "a moment that is past: a busy loop"
    assert found == expected
    for before, after in pairwise(expected):
        step = max((after - before) // 40, 60)
        for number in range(int((after - before) / step)):
            moment = before + number * step
            assert (latest(cron, zone, moment), following(cron, zone, moment)) == (before, after)
        assert latest(cron, zone, after - 0.001) == before


def test_where_the_clock_skips_both_edges_it_is_not_active() -> None:
    skipped = daily("02:15", "02:45", "Europe/Berlin")
    assert skipped.bounds(at("2026-03-29T00:59:59Z")).low == 1
    assert skipped.bounds(at("2026-03-29T01:00:00Z")).low == 1
    assert skipped.bounds(at("2026-03-30T00:15:00Z")).low == 5
    half = daily("01:30", "02:30", "Europe/Berlin")
    assert half.bounds(at("2026-03-29T00:59:59Z")).low == 5
    assert half.bounds(at("2026-03-29T01:00:00Z")).low == 1


def test_what_the_clock_shows_twice_counts_once() -> None:
    twice = daily("02:15", "02:45", "Europe/Berlin")
    times = [(0, 14, 1), (0, 15, 5), (0, 44, 5), (0, 45, 1), (1, 14, 1), (1, 15, 1), (1, 59, 1)]
    for hour, minute, low in times:
        assert twice.bounds(at(f"2026-10-25T{hour:02}:{minute:02}:00Z")).low == low, (hour, minute)
    long = daily("02:15", "03:15", "Europe/Berlin")
    assert [long.bounds(at(f"2026-10-25T0{hour}:20:00Z")).low for hour in (0, 1, 2)] == [5, 5, 1]


zones = st.sampled_from([zone for zone, *_ in CHANGES])
times_of_day = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))


@given(zones, times_of_day, times_of_day, st.integers(0, 2 * 365 * 24 * 60), st.booleans())
def test_a_schedule_changes_exactly_at_its_edges(
    name: str, start: tuple[int, int], end: tuple[int, int], minutes: int, second: bool
) -> None:
    """Nothing changes before the edge that is told, and what is told lies ahead."""
    if start == end:
        end = ((end[0] + 1) % 24, end[1])
    made = rule(
        schedules=[
            {
                "name": "a",
                "timeZone": name,
                "start": f"{start[1]} {start[0]} * * *",
                "end": f"{end[1]} {end[0]} * * *",
                "minReplicas": 5,
            }
        ]
    )
    moment = at("2026-01-01T00:00:00Z") + 60 * minutes + (59.9 if second else 0)
    bounds = made.bounds(moment)
    assert bounds.until > moment
    assert bounds.until % 60 == 0
    for share in (0.25, 0.5, 0.75, 0.99):
        again = made.bounds(moment + share * (bounds.until - moment))
        assert (again.low, again.until) == (bounds.low, bounds.until)
    after = made.bounds(bounds.until)
    assert after.until > bounds.until


# What the decision makes of them.


MORNING = at("2026-01-05T07:00:00Z")
EVENING = at("2026-01-05T17:00:00Z")


def test_the_bounds_are_those_of_the_moment() -> None:
    made = proportional(window=0, schedules=[{**DAY, "maxReplicas": 8}])
    low = decide(made, seen(0, 1, MORNING), FREE, 0.0)
    assert (low.desired, low.reason) == (5, Reason.BELOW_MIN_REPLICAS)
    assert "1 replicas are below minReplicas 5 of schedule day" in low.message
    high = decide(made, seen(500, 5, MORNING), FREE, 0.0)
    assert (high.desired, high.limited_by) == (8, Reason.TOO_MANY_REPLICAS)
    assert "more than maxReplicas 8 of schedule day" in high.message
    free = decide(made, seen(500, 5, EVENING), FREE, 0.0)
    assert (free.desired, "of schedule" in free.message) == (10, False)
    assert "more than maxReplicas 10" in free.message


@pytest.mark.parametrize("backlog", [0, 30, 500, UNKNOWN])
def test_an_edge_is_a_deadline_to_the_second(backlog: Any) -> None:
    made = proportional(schedules=[DAY])
    decision = decide(made, seen(backlog, 5, EVENING - 3.25), FREE, 1000.0)
    assert decision.next_change == 1003.25


def test_the_fall_at_the_end_goes_through_behavior() -> None:
    made = proportional(window=300, schedules=[DAY])
    memory, now = Memory(), 0.0
    for seconds in (-20.0, -10.0, 0.0):
        decision = decide(made, seen(10, 5, EVENING + seconds), memory, now + seconds)
        memory = decision.memory
        assert decision.desired == 5
    assert decision.reason is Reason.STABILIZING
    after = decide(made, seen(10, 5, EVENING + 290.0), memory, 290.0)
    assert after.desired == 1


@pytest.mark.parametrize(("moment", "further"), [(MORNING, 51), (MORNING - 1, 51)])
def test_the_doorbell_goes_by_the_bounds_of_the_moment(moment: float, further: int) -> None:
    made = proportional(schedules=[DAY])
    assert messages_until_change(made, seen(0, 2, moment)) == further
    full = proportional(schedules=[{**DAY, "maxReplicas": 5}])
    assert (messages_until_change(full, seen(0, 5, moment)) is None) == (moment == MORNING)


@given(
    st.integers(0, 300) | st.just(UNKNOWN),
    st.integers(1, 15),
    st.integers(0, 7 * 24 * 3600),
    st.sampled_from([rule, proportional]),
)
def test_replicas_stay_within_the_bounds_of_the_moment(
    messages: Any, replicas: int, seconds: int, make: Any
) -> None:
    made, moment = make(schedules=[{**DAY, "maxReplicas": 7}]), MORNING + seconds
    bounds = made.bounds(moment)
    decision = decide(made, seen(messages, replicas, moment), FREE, 0.0)
    assert bounds.low <= decision.desired <= bounds.high


def test_it_is_told_in_status_explanation_and_metrics() -> None:
    made = proportional(schedules=[DAY])
    during, after = facts(0, 5, made=made, now=MORNING), facts(0, 5, made=made, now=EVENING)
    last = compose(during, RuleStatus()).last_decision
    assert last
    assert last.schedule == "day"
    over = compose(after, RuleStatus()).last_decision
    assert over
    assert over.schedule is None
    told = {step.title: step.text for step in explain(during)}
    assert told["Rule"].startswith("default/my-app-scaling asks for 5 to 10 replicas (schedule day):")
    assert told["Schedule"] == "day is active until 2026-01-05T17:00:00Z"
    assert told["Bounds"] == "Never fewer than minReplicas 5 of schedule day"
    told = {step.title: step.text for step in explain(after)}
    assert told["Schedule"] == "None is active until 2026-01-06T07:00:00Z"
    series = RuleSeries("")
    series.evaluated(made, during.seen, during.decision, None, MORNING)
    assert (series.min_replicas, series.max_replicas) == (5, 10)


# What is refused.


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"start": "0 8 * *"}, "spec.schedules[0].start"),
        ({"start": "0 0 8 * * *"}, "spec.schedules[0].start"),
        ({"start": "0 25 * * *"}, "spec.schedules[0].start '0 25 * * *' is no cron expression: Bad hour"),
        ({"end": "0 0 31 2 *"}, "spec.schedules[0].end '0 0 31 2 *' is no cron expression: Bad day-of-month"),
        ({"end": "0 8 * * MON-FRI"}, "start and end are the same"),
        ({"timeZone": "Mars/Olympus"}, "spec.schedules[0].timeZone 'Mars/Olympus' is no time zone"),
        ({"timeZone": "../etc/passwd"}, "spec.schedules[0].timeZone"),
        ({"timeZone": "Europe"}, "spec.schedules[0].timeZone 'Europe' is no time zone"),
        ({"minReplicas": None}, "neither minReplicas nor maxReplicas"),
        ({"minReplicas": 11}, "minReplicas (11) is greater than maxReplicas (10)"),
        ({"minReplicas": 0}, "spec.schedules[0].minReplicas"),
        ({"minReplicas": 5, "maxReplicas": 4}, "minReplicas (5) is greater than maxReplicas (4)"),
        ({"name": "A b"}, "spec.schedules[0].name"),
        ({"zone": "UTC"}, "zone"),
    ],
)
def test_a_schedule_that_cannot_be_used_is_refused_and_the_field_named(
    changed: dict[str, Any], told: str
) -> None:
    given = {key: value for key, value in {**DAY, **changed}.items() if value is not None}
    with pytest.raises(InvalidRule) as refused:
        rule(schedules=[given])
    assert told in refused.value.message


def test_names_are_given_once() -> None:
    with pytest.raises(InvalidRule) as refused:
        rule(schedules=[DAY, DAY])
    assert "spec.schedules has a name twice" in refused.value.message
