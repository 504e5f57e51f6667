"""Policies, windows and tolerances of spec.behavior: the results of a HorizontalPodAutoscaler, and its traps.

Cases and numbers are those of kubernetes pkg/controller/podautoscaler/horizontal_test.go
(TestConvertDesiredReplicasWithRules) and of the Kubernetes page on horizontal pod autoscaling.
"""

import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.decision.pipeline import Decision, decide, messages_until_change
from natsscaler.core.decision.situation import Memory, StepKind, Taken, Want
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import Policy, PolicyType, Rule, SelectPolicy
from natsscaler.core.status import RuleStatus, read_back
from tests.support.factories import FREE, UNKNOWN, rule, seen

NOW, WALL = 10_000.0, 1_767_225_600.0


def pods(value: int, seconds: int) -> dict[str, Any]:
    return {"type": "Pods", "value": value, "periodSeconds": seconds}


def percent(value: int, seconds: int) -> dict[str, Any]:
    return {"type": "Percent", "value": value, "periodSeconds": seconds}


def asking(
    *, up: dict[str, Any] | None = None, down: dict[str, Any] | None = None, low: int = 1, high: int = 1000
) -> Rule:
    """Make a rule that asks for as many replicas as messages wait."""
    behavior = {name: side for name, side in (("scaleUp", up), ("scaleDown", down)) if side is not None}
    return rule(
        messagesPerReplica=1,
        minReplicas=low,
        maxReplicas=high,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
        behavior=behavior,
    )


def stepped(ups: Sequence[int] = (), downs: Sequence[int] = (), seconds: float = 120) -> Memory:
    """Remember steps up and down by these numbers, evenly spread over the last seconds."""
    steps = []
    for changes, sign in ((ups, 1), (downs, -1)):
        for index, change in enumerate(changes):
            ago = seconds * (index + 0.5) / len(changes)
            steps.append(Taken(NOW - ago, 1000, 1000 + sign * change))
    return Memory(steps=tuple(sorted(steps, key=lambda step: step.time)))


UP, DOWN, MANY, FEW = (
    *(Reason.SCALE_UP_LIMIT, Reason.SCALE_DOWN_LIMIT, Reason.TOO_MANY_REPLICAS, Reason.TOO_FEW_REPLICAS),
)


@pytest.mark.parametrize(
    ("policies", "replicas", "wanted", "memory", "high", "expected", "limited"),
    [
        pytest.param([pods(100, 60), percent(100, 60)], 10, 500, FREE, 1000, 110, UP, id="pods-allow-more"),
        pytest.param([pods(2, 60), percent(100, 60)], 10, 500, FREE, 1000, 20, UP, id="percent-allows-more"),
        pytest.param([pods(100, 60)], 10, 50, FREE, 1000, 50, None, id="pods-allow-all-of-it"),
        pytest.param([pods(30, 60)], 10, 50, FREE, 1000, 40, UP, id="pods"),
        pytest.param([percent(200, 60)], 10, 50, FREE, 1000, 30, UP, id="percent"),
        pytest.param([percent(900, 60)], 1, 999, FREE, 1000, 10, UP, id="tenfold"),
        pytest.param([percent(10, 60)], 50, 500, FREE, 1000, 55, UP, id="ten-percent-of-fifty-are-five"),
        pytest.param([percent(10, 60)], 1, 500, FREE, 1000, 2, UP, id="rounded-up"),
        pytest.param([pods(300, 60)], 100, 500, stepped([1, 5, 9]), 200, 200, MANY, id="pods-beyond-maximum"),
        pytest.param(
            *([percent(10000, 60)], 100, 500, stepped([1, 5, 9]), 200, 200, MANY),
            id="percent-beyond-maximum",
        ),
        pytest.param([pods(5, 120)], 100, 500, stepped([1, 5, 9]), 1000, 100, UP, id="never-below-present"),
        pytest.param([pods(150, 120)], 100, 500, stepped([1, 5, 9]), 1000, 235, UP, id="pods-after-steps"),
        pytest.param(
            [percent(200, 120)], 100, 500, stepped([1, 5, 9]), 1000, 255, UP, id="percent-after-steps"
        ),
        pytest.param(
            [percent(300, 300)], 6, 24, stepped([4], [2]), 1000, 16, UP, id="percent-after-ups-and-downs"
        ),
        pytest.param(
            *([pods(1000, 30), percent(100, 60)], 100, 200, stepped([8, 12, 9, 11]), 1000, 200, None),
            id="each-policy-by-its-own-period",
        ),
    ],
)
def test_steps_up_are_those_of_an_autoscaler(
    *,
    policies: list[dict[str, Any]],
    replicas: int,
    wanted: int,
    memory: Memory,
    high: int,
    expected: int,
    limited: Reason | None,
) -> None:
    made = asking(up={"policies": policies}, high=high)
    decision = decide(made, seen(wanted, replicas), memory, NOW)
    assert (decision.desired, decision.limited_by) == (expected, limited)


@pytest.mark.parametrize(
    ("policies", "replicas", "wanted", "memory", "low", "expected", "limited"),
    [
        pytest.param([pods(20, 60), percent(1, 60)], 100, 2, FREE, 1, 80, DOWN, id="pods-allow-more"),
        pytest.param([pods(2, 60), percent(1, 60)], 100, 2, FREE, 1, 98, DOWN, id="pods-allow-a-bit-more"),
        pytest.param([pods(4, 60), percent(10, 60)], 80, 1, FREE, 1, 72, DOWN, id="ten-percent-of-80-are-8"),
        pytest.param([pods(4, 60), percent(10, 60)], 72, 1, FREE, 1, 64, DOWN, id="7.2-are-8"),
        pytest.param([pods(4, 60), percent(10, 60)], 39, 1, FREE, 1, 35, DOWN, id="below-40-four-at-a-time"),
        pytest.param([pods(100, 60)], 10, 0, FREE, 1, 1, FEW, id="pods-to-the-minimum"),
        pytest.param([percent(100, 60)], 10, 2, FREE, 5, 5, FEW, id="percent-to-the-minimum"),
        pytest.param([pods(5, 60)], 10, 2, FREE, 1, 5, DOWN, id="pods"),
        pytest.param([percent(50, 60)], 10, 5, FREE, 1, 5, None, id="percent-allows-all-of-it"),
        pytest.param([], 10, 5, stepped([], [1, 5, 9]), 1, 5, None, id="no-policies"),
        pytest.param(
            [pods(115, 120)], 100, 0, stepped([], [1, 5, 9]), 1, 1, FEW, id="pods-to-the-minimum-after-steps"
        ),
        pytest.param([pods(5, 120)], 100, 2, stepped([], [1, 5, 9]), 1, 100, DOWN, id="pods-used-up"),
        pytest.param([percent(50, 120)], 100, 0, stepped([], [2, 4, 6]), 1, 56, DOWN, id="percent-later"),
        pytest.param([percent(50, 180)], 10, 1, stepped([2], [4]), 1, 6, DOWN, id="percent-after-both"),
        pytest.param([percent(10, 120)], 100, 0, stepped([], [10] * 3), 1, 100, DOWN, id="never-above"),
        pytest.param([percent(1000, 120)], 10, 5, stepped([], [10] * 3), 1, 5, None, id="to-below-zero"),
    ],
)
def test_steps_down_are_those_of_an_autoscaler(
    *,
    policies: list[dict[str, Any]],
    replicas: int,
    wanted: int,
    memory: Memory,
    low: int,
    expected: int,
    limited: Reason | None,
) -> None:
    made = asking(down={"policies": policies}, low=low)
    decision = decide(made, seen(wanted, replicas), memory, NOW)
    assert (decision.desired, decision.limited_by) == (expected, limited)


@pytest.mark.parametrize(
    ("select", "replicas", "wanted", "expected"),
    [
        pytest.param("Max", 1, 100, 3, id="up-the-greatest-change"),
        pytest.param("Min", 1, 100, 2, id="up-the-smallest-change"),
        pytest.param("Max", 5, 1, 2, id="down-the-greatest-change"),
        pytest.param("Min", 5, 1, 3, id="down-the-smallest-change"),
    ],
)
def test_the_policy_that_counts(select: str, replicas: int, wanted: int, expected: int) -> None:
    side = {"policies": [pods(2, 60), percent(50, 60)], "selectPolicy": select}
    decision = decide(asking(up=side, down=side), seen(wanted, replicas), FREE, NOW)
    assert decision.desired == expected


@pytest.mark.parametrize(
    ("wanted", "reason"), [(9, Reason.SCALE_UP_DISABLED), (1, Reason.SCALE_DOWN_DISABLED)]
)
def test_disabled_is_no_step_at_all(wanted: int, reason: Reason) -> None:
    off = {"selectPolicy": "Disabled", "policies": [pods(100, 60)]}
    made = asking(up=off, down=off)
    decision = decide(made, seen(wanted, 3), FREE, NOW)
    assert (decision.desired, decision.reason, decision.limited_by) == (3, reason, reason)
    assert decision.next_change is None
    assert messages_until_change(made, seen(1, 3)) is None, "no message makes it scale up"


def test_the_bounds_hold_whatever_the_policies_are() -> None:
    off = {"selectPolicy": "Disabled"}
    made = asking(up=off, down=off, low=3, high=5)
    assert [decide(made, seen(4, replicas), FREE, NOW).desired for replicas in (1, 9)] == [3, 5]


def test_what_limits_is_told_with_its_end() -> None:
    made = asking(up={"policies": [pods(4, 60)]})
    memory = Memory(steps=(Taken(NOW - 70, 1, 2), Taken(NOW - 40, 2, 4), Taken(NOW - 10, 4, 5)))
    partly = decide(made, seen(50, 5), memory, NOW)
    assert (partly.desired, partly.reason) == (6, Reason.BACKLOG_ABOVE_THRESHOLD)
    (note,) = (note for note in partly.trace if note.step is StepKind.POLICIES)
    assert note.text == "behavior.scaleUp allows no more than 6 yet: 4 Pods in 60 s"
    assert note.until == NOW + 20, "when the step by two is a period ago"
    full = decide(made, seen(50, 6), memory.stepped(5, 6, NOW - 2), NOW)
    assert (full.desired, full.reason, full.next_change) == (6, Reason.SCALE_UP_LIMIT, NOW + 20)


@pytest.mark.parametrize(("ago", "expected"), [(59.9, 5), (60.0, 9)])
def test_a_step_counts_while_it_is_younger_than_the_period(ago: float, expected: int) -> None:
    made = asking(up={"policies": [pods(4, 60)]})
    memory = Memory(steps=(Taken(NOW - ago, 1, 5),))
    assert decide(made, seen(50, 5), memory, NOW).desired == expected


# Windows.


@pytest.mark.parametrize(
    ("wants", "wanted", "expected", "reason", "until"),
    [
        pytest.param([], 9, 9, Reason.BACKLOG_ABOVE_THRESHOLD, None, id="nothing-before"),
        pytest.param([(30, 4)], 9, 4, Reason.BACKLOG_ABOVE_THRESHOLD, 30, id="to-the-lowest"),
        pytest.param([(30, 2)], 9, 3, Reason.STABILIZING_UP, 30, id="less-than-there-are"),
        pytest.param([(60, 2)], 9, 9, Reason.BACKLOG_ABOVE_THRESHOLD, None, id="out-of-the-window"),
        pytest.param([(50, 8), (30, 5), (10, 7)], 9, 5, Reason.BACKLOG_ABOVE_THRESHOLD, 30, id="several"),
        pytest.param([(30, 9)], 6, 6, Reason.BACKLOG_ABOVE_THRESHOLD, None, id="the-present-one-is-lowest"),
    ],
)
def test_up_goes_to_the_lowest_want_of_its_window(
    wants: list[tuple[float, int]], wanted: int, expected: int, reason: Reason, until: float | None
) -> None:
    memory = FREE
    for ago, replicas in wants:
        memory = memory.wanted_low(replicas, NOW - ago, 60)
    decision = decide(asking(up={"stabilizationWindowSeconds": 60}), seen(wanted, 3), memory, NOW)
    assert (decision.desired, decision.reason) == (expected, reason)
    assert decision.next_change == (None if until is None else NOW - until + 60)


def test_a_wish_that_falls_never_scales_up() -> None:
    """Kubernetes 96671: the highest want of the window is no reason to go above the present replicas."""
    made = asking(down={"stabilizationWindowSeconds": 300})
    memory = FREE
    for ago, wanted in ((50, 20), (40, 12), (30, 8)):
        memory = decide(made, seen(wanted, 20), memory, NOW - ago).memory
    assert decide(made, seen(3, 5), memory, NOW).desired == 5


# Tolerance.


@pytest.mark.parametrize(
    ("messages", "expected"),
    [(89, 9), (90, 10), (91, 10), (100, 10), (101, 10), (120, 10), (121, 13), (1000, 100)],
)
def test_within_the_tolerance_nothing_changes(messages: int, expected: int) -> None:
    made = rule(
        messagesPerReplica=10,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
        maxReplicas=100,
        behavior={"scaleUp": {"tolerance": 0.2}, "scaleDown": {"tolerance": 0.1}},
    )
    assert decide(made, seen(messages, 10), FREE, NOW).desired == expected


def test_a_tolerance_is_what_is_written() -> None:
    """In binary fractions, 70 · 1.1 is more than 77, so that 77 messages would be within."""
    made = rule(
        messagesPerReplica=7,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
        maxReplicas=100,
        behavior={"scaleUp": {"tolerance": 0.1}},
    )
    assert [decide(made, seen(messages, 10), FREE, NOW).desired for messages in (77, 78)] == [10, 12]
    assert messages_until_change(made, seen(70, 10)) == 8


# One replica at a time.


def test_what_names_nothing_keeps_its_interval() -> None:
    """The API server writes defaults into every rule: they must not be taken for a wish."""
    written = {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"}}
    written["scaleDown"] = {"stabilizationWindowSeconds": 300, "selectPolicy": "Max"}
    for made in (rule(), rule(behavior={}), rule(behavior=written)):
        for messages, memory in ((100, Memory(last_up=NOW - 29)), (0, Memory(last_down=NOW - 29))):
            assert decide(made, seen(messages, 3), memory, NOW).next_change == NOW + 1


def test_a_direction_that_names_something_replaces_its_interval_alone() -> None:
    made = rule(behavior={"scaleUp": {"policies": [pods(3, 60)]}})
    steps = run(made, [(NOW + second, 100) for second in range(100)], replicas=1)
    assert [(time - NOW, after) for time, _, after in steps] == [
        *((0, 2), (1, 3), (2, 4), (60, 5), (61, 6), (62, 7)),
    ]
    down = run(made, [(NOW + second, 0) for second in range(100)], replicas=9)
    assert [(time - NOW, after) for time, _, after in down] == [(0, 8), (30, 7), (60, 6), (90, 5)]


# Over time, whatever the backlog does.


def through_status(memory: Memory, replicas: int, messages: int | Unknown, now: float) -> Memory:
    """End the process, and begin anew."""
    status = RuleStatus(
        current_replicas=replicas,
        pending_messages=None if isinstance(messages, Unknown) else messages,
        memory=remembered(memory, now, WALL + now),
    )
    return restore(read_back(json.loads(msgspec.json.encode(status))), replicas, now, WALL + now)


def run(
    made: Rule,
    reads: Iterable[tuple[float, int | Unknown]],
    replicas: int,
    restarts: frozenset[int] = frozenset(),
    memory: Memory = FREE,
) -> list[tuple[float, int, int]]:
    """Decide and act at each of these times, and restart after some; return the steps: when, from, to."""
    steps = []
    for index, (now, messages) in enumerate(reads):
        decision = decide(made, seen(messages, replicas), memory, now)
        memory = decision.memory
        if decision.desired != replicas:
            steps.append((now, replicas, decision.desired))
            memory = memory.acted(replicas, decision.desired, now).stepped(replicas, decision.desired, now)
            replicas = decision.desired
        if index in restarts:
            memory = through_status(memory, replicas, messages, now)
    return steps


policy = st.builds(
    lambda kind, value, seconds: {"type": kind, "value": value, "periodSeconds": seconds},
    st.sampled_from(["Pods", "Percent"]),
    st.integers(1, 150),
    st.sampled_from([1, 15, 60, 100]),
)


@st.composite
def sides(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "policies": draw(st.lists(policy, max_size=3)),
        "selectPolicy": draw(st.sampled_from(["Max", "Min"])),
        "stabilizationWindowSeconds": draw(st.sampled_from([0, 10, 60])),
    }


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    tolerances = {"tolerance": draw(st.sampled_from([0.0, 0.1, 0.5]))}
    behavior = {"scaleUp": draw(sides()), "scaleDown": draw(sides())}
    if draw(st.booleans()):
        return rule(behavior=behavior, maxReplicas=60, pollIntervalSeconds=20)
    behavior["scaleUp"] |= tolerances
    return rule(behavior=behavior, maxReplicas=60, messagesPerReplica=draw(st.integers(1, 20)))


@st.composite
def traces(draw: st.DrawFn) -> list[tuple[float, int | Unknown]]:
    now, made = NOW, list[tuple[float, int | Unknown]]()
    backlogs: st.SearchStrategy[int | Unknown] = st.one_of(
        st.integers(0, 100), st.sampled_from([0, 50, 51, 1_000]), st.just(UNKNOWN)
    )
    for passed, messages in draw(
        st.lists(st.tuples(st.sampled_from([0.5, 1.0, 7.0, 15.0, 31.0, 61.0]), backlogs), max_size=50)
    ):
        now += passed
        made.append((now, messages))
    return made


def allowed(one: Policy, start: int, *, up: bool) -> float:
    """Say how many replicas a policy allows after its period, by the fractions of the definition."""
    if one.type is PolicyType.PODS:
        return start + one.value if up else start - one.value
    exact = start * (100 + one.value) / 100 if up else start * (100 - one.value) / 100
    return math.ceil(round(exact, 6)) if up else math.floor(round(exact, 6))


@given(rules(), traces(), st.integers(1, 60))
def test_no_policy_is_violated_in_any_window(
    made: Rule, trace: list[tuple[float, int | Unknown]], replicas: int
) -> None:
    steps = run(made, trace, replicas)

    def at(time: float) -> int:
        """Return the replicas just after a time."""
        return next((after for when, _, after in reversed(steps) if when <= time), replicas)

    for when, before, after in steps:
        up = after > before
        direction = made.spec.behavior.scale_up if up else made.spec.behavior.scale_down
        limits = [allowed(one, at(when - one.period_seconds), up=up) for one in direction.policies]
        if not limits:
            continue
        greatest = direction.select_policy is SelectPolicy.MAX
        limit = (max if up == greatest else min)(limits)
        assert after <= limit if up else after >= limit


@given(rules(), traces(), st.integers(1, 60), st.integers(0, 1_000), st.integers(0, 1_000))
def test_more_messages_never_mean_fewer_replicas(
    made: Rule, trace: list[tuple[float, int | Unknown]], replicas: int, some: int, others: int
) -> None:
    memory, now = FREE, NOW
    for now, messages in trace:
        memory = decide(made, seen(messages, replicas), memory, now).memory
    few, many = sorted((some, others))
    assert (
        decide(made, seen(few, replicas), memory, now).desired
        <= decide(made, seen(many, replicas), memory, now).desired
    )


@given(rules(), traces(), st.integers(1, 60))
def test_what_asks_for_no_more_never_scales_up_and_nothing_flaps(
    made: Rule, trace: list[tuple[float, int | Unknown]], replicas: int
) -> None:
    memory = FREE
    for now, messages in trace:
        decision = decide(made, seen(messages, replicas), memory, now)
        if decision.recommendation <= replicas:
            assert decision.desired <= replicas
        if decision.recommendation >= replicas:
            assert decision.desired >= replicas
        memory = decision.memory.acted(replicas, decision.desired, now)
        memory = memory.stepped(replicas, decision.desired, now)
        replicas = decision.desired


@given(rules(), st.integers(0, 700), st.integers(1, 60))
def test_a_backlog_that_stays_moves_the_replicas_one_way_only(
    made: Rule, messages: int, replicas: int
) -> None:
    steps = run(made, [(NOW + second, messages) for second in range(200)], replicas)
    rising = {after > before for _, before, after in steps}
    assert len(rising) <= 1 or made.spec.messages_per_replica is None
    assert all(later - earlier >= 1 for (earlier, *_), (later, *_) in pairwise(steps))


@given(rules(), traces(), st.integers(1, 60), st.frozensets(st.integers(0, 49)))
def test_a_restart_at_any_point_changes_no_later_decision(
    made: Rule, trace: list[tuple[float, int | Unknown]], replicas: int, restarts: frozenset[int]
) -> None:
    first = restore(RuleStatus(), replicas, NOW, WALL)
    assert run(made, trace, replicas, restarts, first) == run(made, trace, replicas, memory=first)


@given(rules(), traces(), st.integers(1, 60))
def test_nothing_changes_before_the_next_change(
    made: Rule, trace: list[tuple[float, int | Unknown]], replicas: int
) -> None:
    memory = FREE
    for now, messages in trace:
        decision: Decision = decide(made, seen(messages, replicas), memory, now)
        until = math.inf if decision.next_change is None else decision.next_change
        assert until > now
        for later in (now + 0.25, now + 9, now + 59.5, now + 4_000, math.nextafter(until, 0)):
            if now < later < until:
                again = decide(made, seen(messages, replicas), decision.memory, later)
                assert again.desired == decision.desired
        memory = decision.memory.acted(replicas, decision.desired, now)
        memory = memory.stepped(replicas, decision.desired, now)
        replicas = decision.desired


def test_the_wants_of_a_window_up_stay_few() -> None:
    memory = FREE
    for second in range(100):
        memory = memory.wanted_low(second % 7, NOW + second, 60)
    assert all(older.replicas < newer.replicas for older, newer in pairwise(memory.lows))
    assert memory.lows[-1] == Want(NOW + 99, 99 % 7)
