"""A simulation does what the operator does, and counts what came of it."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import Rule
from natsscaler.simulate.arrivals import Arrivals, of_rows, pattern, read_csv
from natsscaler.simulate.loop import Loop
from natsscaler.simulate.plant import Plant, Speed
from natsscaler.simulate.run import simulate
from tests.support.factories import rule
from tests.support.simulating import DELAYS, PlantWorld
from tests.support.waking import in_virtual_time

NEAR = 0.5
"""Seconds by which the same step may differ: less than from one read to the next while messages come."""

SPECS: dict[str, dict[str, Any]] = {
    "one by one": {},
    "proportional": {"messagesPerReplica": 50},
    "short window": {
        "messagesPerReplica": 20,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 20}},
    },
    "policies": {
        "messagesPerReplica": 20,
        "behavior": {
            "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}]},
            "scaleDown": {
                "stabilizationWindowSeconds": 10,
                "policies": [{"type": "Percent", "value": 50, "periodSeconds": 20}],
            },
        },
    },
    "steady up": {"messagesPerReplica": 30, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 12}}},
    "busy": {
        "messagesPerReplica": 20,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5, "busyWorkers": "UntilIdle"}},
    },
    "polled": {"messagesPerReplica": 20, "events": [], "pollIntervalSeconds": 7},
    "to zero": {
        "minReplicas": 0,
        "idleSeconds": 15,
        "messagesPerReplica": 20,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
    },
    "drain time": {"drainTime": {"targetSeconds": 20, "replicaRate": 10}},
    "pending": {"messagesPerReplica": 20, "backlog": "Pending"},
}


def by_the_operator(made: Rule, plant: Plant, seconds: float) -> list[tuple[float, int, int]]:
    found: list[tuple[float, int, int]] = []

    async def scenario() -> None:
        async with PlantWorld(made, plant) as world:
            await asyncio.sleep(seconds)
            found.extend(world.steps)

    in_virtual_time(scenario)
    return found


def by_the_simulation(made: Rule, plant: Plant, seconds: float) -> list[tuple[float, int, int]]:
    loop = Loop(made, plant, DELAYS)
    loop.run(seconds)
    return [(step.time, step.before, step.after) for step in loop.steps]


def assert_same_steps(made: Rule, arrivals: Arrivals, speed: Speed) -> None:
    operators = by_the_operator(made, Plant(arrivals, speed, 1), arrivals.seconds)
    simulations = by_the_simulation(made, Plant(arrivals, speed, 1), arrivals.seconds)
    assert [step[1:] for step in simulations] == [step[1:] for step in operators]
    for (at, *_), (really_at, *_) in zip(simulations, operators, strict=True):
        assert at == pytest.approx(really_at, abs=NEAR)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("shape", ["burst", "sawtooth"])
def test_the_operator_takes_the_same_steps(shape: str, spec: dict[str, Any]) -> None:
    made = rule(**spec)
    assert_same_steps(made, pattern(shape, 37.3, 240), Speed(10.0, 3.3))


COUNTS = st.lists(st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 900)), min_size=1, max_size=40)


@given(
    COUNTS, st.sampled_from(sorted(SPECS)), st.sampled_from([3.7, 11.3, 53.1]), st.sampled_from([0.0, 4.7])
)
@settings(max_examples=40, deadline=None)
def test_the_operator_takes_the_same_steps_whatever_comes(
    counts: list[int], spec: str, rate: float, startup: float
) -> None:
    arrivals = of_rows((5.03 * index, float(count)) for index, count in enumerate(counts))
    assert_same_steps(rule(**SPECS[spec]), arrivals, Speed(rate, startup))


@given(COUNTS, st.sampled_from(sorted(SPECS)), st.sampled_from([3.7, 53.1]))
@settings(max_examples=50, deadline=None)
def test_looks_that_are_passed_over_change_nothing(counts: list[int], spec: str, rate: float) -> None:
    """A simulation asks `decide` only if the backlog, or time, may lead to something else than before."""
    arrivals = of_rows((5.03 * index, float(count)) for index, count in enumerate(counts))
    loops = []
    for shortcut in (True, False):
        loop = Loop(rule(**SPECS[spec]), Plant(arrivals, Speed(rate, 2.0), 1))
        loop._by_backlog &= shortcut
        loop.run(arrivals.seconds)
        loops.append(loop)
    assert loops[0].steps == loops[1].steps
    assert loops[0].decisions <= 2 * loops[1].decisions


def test_a_backlog_that_a_replica_works_off_waits_as_long_as_that_takes() -> None:
    """100 messages in the first second, at 10 a second: 10 s in all, so the last one waits for 9."""
    arrivals = of_rows([(0, 100), (1, 0), (30, 0)])
    found = simulate(rule(maxReplicas=1), arrivals, Speed(10.0)).figures
    assert found.messages == 100
    assert found.messages_left == 0
    assert found.worst_wait_seconds == pytest.approx(9.0)
    assert found.p50_wait_seconds == pytest.approx(4.5, abs=0.3)
    assert found.p99_wait_seconds == pytest.approx(8.91, abs=0.3)
    assert found.replica_hours == pytest.approx(59 / 3600, abs=1e-3)
    assert found.seconds_above_threshold == pytest.approx(5.0 - 50 / 90, abs=0.1)
    assert found.seconds_at_max_replicas == pytest.approx(59.0)


def test_what_waits_at_the_end_counts_until_then() -> None:
    found = simulate(rule(maxReplicas=1), of_rows([(0, 100), (1, 0), (2, 0)]), Speed(10.0)).figures
    assert found.messages_left == 70
    assert found.worst_wait_seconds == pytest.approx(3.0 - 0.3, abs=0.01)


def test_replicas_work_only_once_they_are_ready_and_no_faster_than_the_limit() -> None:
    arrivals = of_rows([(0, 1000), (1, 0), (60, 0)])
    made = rule(messagesPerReplica=10)

    def worst(speed: Speed) -> float:
        return simulate(made, arrivals, speed).figures.worst_wait_seconds

    assert worst(Speed(10.0)) == pytest.approx(9.1, abs=0.2)
    assert worst(Speed(10.0, startup_seconds=20.0)) == pytest.approx(27.1, abs=0.2)
    assert worst(Speed(10.0, limit_rate=50.0)) == pytest.approx(19.1, abs=0.2)


def test_each_step_has_its_reason_and_the_series_shows_it() -> None:
    found = simulate(rule(messagesPerReplica=50), pattern("burst", 100.0, 600), Speed(10.0, 5.0))
    first = found.steps[0]
    assert (first.before, first.after) == (1, 2)
    assert first.reason == "BacklogAboveThreshold"
    assert "at 50 per replica wants 2" in first.message
    at = [moment.replicas for moment in found.series]
    assert len(at) == 600
    assert at[int(first.time) - 1 : int(first.time) + 1] == [1, 2]
    assert max(at) == found.figures.highest_replicas == 10
    assert max(moment.backlog for moment in found.series) > 50
    assert max(moment.wait for moment in found.series) == pytest.approx(
        found.figures.worst_wait_seconds, abs=1
    )


def test_the_same_arguments_give_the_same_answer() -> None:
    def once() -> object:
        return simulate(rule(messagesPerReplica=50), pattern("daily", 60.0, 7200), Speed(10.0, 20.0))

    assert once() == once()


def test_a_pause_and_a_dry_run_do_not_keep_it_from_telling_what_the_rule_would_do() -> None:
    arrivals = pattern("burst", 100.0, 600)
    usual = simulate(rule(messagesPerReplica=50), arrivals, Speed(10.0))
    assert simulate(rule(paused=True, messagesPerReplica=50), arrivals, Speed(10.0)) == usual
    assert simulate(rule(messagesPerReplica=50, dryRun=True), arrivals, Speed(10.0)) == usual


def test_a_drain_time_is_kept_to() -> None:
    made = rule(drainTime={"targetSeconds": 30, "replicaRate": 10}, maxReplicas=20)
    found = simulate(made, pattern("burst", 80.0, 1800), Speed(10.0)).figures
    assert 0 < found.worst_wait_seconds < 45
    assert found.messages_left == 0


def test_a_day_second_by_second_takes_no_more_decisions_than_it_needs() -> None:
    """The time that it takes depends on the machine; how often it decides does not."""
    arrivals = pattern("daily", 60.0, 86_400)
    loop = Loop(rule(messagesPerReplica=50, maxReplicas=20), Plant(arrivals, Speed(10.0, 20.0), 1))
    loop.run(arrivals.seconds)
    assert loop.decisions < 20_000


def test_arrivals_are_read_from_rows_of_time_and_messages() -> None:
    rows = ["# made by hand", "time,messages", "2026-01-01T00:00:00Z,10", "2026-01-01T00:00:10+00:00,0", ""]
    found = read_csv(rows)
    assert found.start == 1_767_225_600
    assert (found.seconds, found.messages) == (20.0, 10.0)
    assert found.by(5.0) == 5.0
    assert found.when(10.0) == 10.0
    assert found.when(10.5) == math.inf
    assert read_csv(["0,5", "0.5,7"]).seconds == 1.0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["0,1", "x,2"], "line 2: 'x,2' is not time,messages"),
        (["0,1", "2026-01-01T00:00:00,2"], "line 2"),
        (["0,1,2", "1,2,3"], "line 2"),
        (["0,1", "0,2"], "row 2: its time is not later"),
        (["0,-1"], "row 1: -1 messages at 0 cannot be"),
        (["0,inf"], "row 1"),
        (["time,messages"], "there is no row"),
        (["0,1", "9e9,1"], "longer than 31 days"),
    ],
)
def test_rows_that_cannot_be_are_refused_with_their_place(rows: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_csv(rows)
