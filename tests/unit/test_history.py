"""The past of a rule: nothing that matters is lost, and nothing grows without bound."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.observe.timeline import DAY, HOUR, HOUR_SLOT, RECENT, Point, Series, Timeline

BEGIN = 1_767_225_600
Change = tuple[int, int, int]
CHANGES = st.lists(st.tuples(st.integers(0, 900), st.integers(-1, 1000), st.integers(-1, 20)), max_size=60)
"""Seconds since the change before, backlog and replicas; -1: not known."""


def dated(changes: list[Change]) -> list[Change]:
    time, found = BEGIN, []
    for gap, backlog, replicas in changes:
        time += gap
        found.append((time, backlog, replicas))
    return found


def filled(changes: list[Change], slot: int = HOUR_SLOT, span: int = 3600) -> Series:
    series = Series(slot, span)
    for change in changes:
        series.add(*change)
    return series


def value(points: list[Point], time: int) -> tuple[int | None, int | None]:
    return next((point.backlog, point.replicas) for point in reversed(points) if point.time <= time)


def known(count: int) -> int | None:
    return None if count < 0 else count


@given(CHANGES)
def test_times_rise_and_the_last_point_is_what_holds_now(changes: list[Change]) -> None:
    told = dated(changes)
    now = told[-1][0] + 5 if told else BEGIN
    points = list(filled(told).points(now))
    assert all(one.time < other.time for one, other in pairwise(points))
    if told:
        assert points[-1][1:3] == tuple(map(known, told[-1][1:]))


@given(CHANGES)
def test_no_peak_of_the_last_hour_is_lost(changes: list[Change]) -> None:
    told = dated(changes)
    now = told[-1][0] if told else BEGIN
    points = list(filled(told).points(now))
    recent = [change for change in told if change[0] > now - HOUR]
    for column in (1, 2):
        peak = max((change[column] for change in recent), default=-1)
        assert max((point[column] or 0 for point in points), default=-1) >= peak


@given(CHANGES, st.integers(0, HOUR // HOUR_SLOT))
def test_a_time_whose_slot_saw_no_change_shows_what_held_then(changes: list[Change], back: int) -> None:
    told = dated(changes)
    if not told:
        return
    now = told[-1][0] + HOUR_SLOT
    asked = max(now - back * HOUR_SLOT, told[0][0])
    if any(asked // HOUR_SLOT == time // HOUR_SLOT for time, *_ in told):
        return
    _, backlog, replicas = next(change for change in reversed(told) if change[0] <= asked)
    assert value(list(filled(told).points(now)), asked) == (known(backlog), known(replicas))


@given(CHANGES, st.integers(0, 3600))
def test_what_held_until_the_first_change_of_a_slot_is_shown(changes: list[Change], back: int) -> None:
    told = dated(changes)
    if not told:
        return
    now = told[-1][0] + HOUR_SLOT
    asked = max(now - back, told[0][0])
    begin = asked - asked % HOUR_SLOT
    if any(begin <= time <= asked for time, *_ in told):
        return
    _, backlog, replicas = next(change for change in reversed(told) if change[0] <= asked)
    assert value(list(filled(told).points(now)), asked) == (known(backlog), known(replicas))


def test_a_phase_between_two_slots_with_changes_is_not_lost() -> None:
    series = filled([(BEGIN, 800, 10), (BEGIN + 11, 1, 10), (BEGIN + 13, 1, 1), (BEGIN + 19, 190, 4)], 5)
    assert value(list(series.points(BEGIN + 20)), BEGIN + 18) == (1, 1)


def test_the_last_ten_minutes_are_exact_to_the_second() -> None:
    history = Timeline()
    told = [(BEGIN + second, 900 - second, 1 + second % 7) for second in range(RECENT)]
    for change in told:
        history.add(*change)
    assert history.points(told[-1][0]) == [Point(*change) for change in told]


def test_the_trend_of_a_busy_rule_is_short_and_keeps_its_peak() -> None:
    history = Timeline()
    for second in range(3 * RECENT):
        history.add(BEGIN + second, 5000 if second == 2 * RECENT else second % 100, 1)
    trend = history.trend(BEGIN + 3 * RECENT)
    assert len(trend) <= 60
    assert max(backlog or 0 for _, backlog in trend) == 5000
    assert trend[-1][1] == 99


@given(CHANGES)
def test_what_a_page_asks_for_later_continues_what_it_has(changes: list[Change]) -> None:
    history, page, settled = Timeline(), list[Point](), 0
    for time, backlog, replicas in dated(changes):
        history.add(time, known(backlog), known(replicas))
        news = history.points(time, since=settled)
        page = [point for point in page if point.time < settled] + news
        settled = history.settled_until
        assert page[-len(news) :] == news
        whole = history.points(time)
        assert [point for point in page if point.time >= whole[-1].time - 600] == [
            point for point in whole if point.time >= whole[-1].time - 600
        ]


def test_each_step_is_exact_while_changes_are_few() -> None:
    told = [(BEGIN + 10 * number, number, 1) for number in range(100)]
    assert list(filled(told).points(told[-1][0])) == [Point(*change) for change in told]


def test_a_peak_within_a_slot_stays_visible_and_ends_with_it() -> None:
    series = filled([(BEGIN, 0, 1), (BEGIN + 11, 801, 1), (BEGIN + 12, 801, 10), (BEGIN + 13, 3, 10)])
    peak = [Point(BEGIN, 0, 1), Point(BEGIN + 11, 801, 10)]
    assert list(series.points(BEGIN + 14)) == [*peak, Point(BEGIN + 14, 3, 10)]
    series.add(BEGIN + 60, 4, 10)
    assert list(series.points(BEGIN + 60)) == [*peak, Point(BEGIN + 20, 3, 10), Point(BEGIN + 60, 4, 10)]


def test_what_does_not_change_needs_one_point_for_ever() -> None:
    history = Timeline()
    for minute in range(3 * 24 * 60):
        history.add(BEGIN + 60 * minute, 7, 2)
    assert history.points(BEGIN + 3 * DAY) == [Point(BEGIN, 7, 2)]


def test_a_day_is_kept_in_five_minute_maxima_and_its_last_hour_in_detail() -> None:
    history = Timeline()
    now = BEGIN + 2 * DAY
    for time in range(BEGIN, now + 1):
        history.add(time, time % 1000, 1 + time % 3)
    points = history.points(now)
    hour = [point for point in points if point.time > now - HOUR]
    day = [point for point in points if point.time <= now - HOUR]
    assert RECENT + (HOUR - RECENT) // HOUR_SLOT - 1 <= len(hour) <= RECENT + (HOUR - RECENT) // HOUR_SLOT + 1
    assert 275 <= len(day) <= 288
    assert all(point.backlog and point.backlog >= 299 and point.replicas == 3 for point in day)


@pytest.mark.parametrize("pace", [1, 5, 7, 299])
def test_a_busy_rule_costs_at_most_48_kb_and_a_quiet_one_3_kb(pace: int) -> None:
    quiet, busy = Timeline(), Timeline()
    quiet.add(BEGIN, 7, 2)
    for number in range(DAY // pace):
        busy.add(BEGIN + pace * number, number % 1000, 1 + number % 3)
    assert size(busy) <= 48_000
    assert size(quiet) <= 3_000


def size(history: Timeline) -> int:
    series = (history._trend, history._recent, history._hour, history._day)
    arrays = [column for one in series for column in (one._times, *one._values)]
    objects = (history, *series, *(one._last for one in series), *arrays)
    return sum(map(sys.getsizeof, objects))


def test_a_clock_that_goes_back_and_counts_beyond_all_bounds_do_no_harm() -> None:
    history = Timeline()
    history.add(BEGIN, 2**64 - 1, 1)
    history.add(BEGIN - 500, 3, 1)
    points = history.points(BEGIN + 60)
    assert points == [Point(BEGIN, 2**63 - 1, 1), Point(BEGIN + 1, 3, 1)]


def test_not_known_is_not_zero() -> None:
    history = Timeline()
    history.add(BEGIN, 5, 1)
    history.add(BEGIN + 60, None, 1)
    history.add(BEGIN + 120, 0, None)
    assert history.points(BEGIN + 120) == [
        Point(BEGIN, 5, 1),
        Point(BEGIN + 60, None, 1),
        Point(BEGIN + 120, 0, None),
    ]
