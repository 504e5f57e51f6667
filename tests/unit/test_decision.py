"""What is decided: the contract's steps, proportional scaling, and what holds for every input."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.decision.pipeline import (
    MIN_SECONDS_BETWEEN_STEPS,
    Decision,
    decide,
    messages_until_change,
)
from natsscaler.core.decision.situation import Memory, Observation, StepKind, Want
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.selector import BacklogMode
from tests.support.factories import UNKNOWN, backlog, proportional, rule, seen

NOW = 1_000.0
FREE = Memory()


def one(messages: int | Backlog | Unknown, replicas: int, memory: Memory = FREE, **spec: Any) -> Decision:
    """Decide by the contract's sample: 1 to 10 replicas, up above 50, down below 10, every 30 s."""
    return decide(rule(**spec), seen(messages, replicas), memory, NOW)


# The default: one replica at a time.


@pytest.mark.parametrize(
    ("messages", "replicas", "desired", "reason"),
    [
        pytest.param(51, 3, 4, Reason.BACKLOG_ABOVE_THRESHOLD, id="above-is-one-up"),
        pytest.param(10**9, 3, 4, Reason.BACKLOG_ABOVE_THRESHOLD, id="far-above-is-one-up"),
        pytest.param(50, 3, 3, Reason.WITHIN_THRESHOLDS, id="on-the-upper-threshold-is-not-above"),
        pytest.param(30, 3, 3, Reason.WITHIN_THRESHOLDS, id="between-is-no-action"),
        pytest.param(10, 3, 3, Reason.WITHIN_THRESHOLDS, id="on-the-lower-threshold-is-not-below"),
        pytest.param(9, 3, 2, Reason.BACKLOG_BELOW_THRESHOLD, id="below-is-one-down"),
        pytest.param(0, 10, 9, Reason.BACKLOG_BELOW_THRESHOLD, id="empty-is-one-down"),
        pytest.param(51, 9, 10, Reason.BACKLOG_ABOVE_THRESHOLD, id="up-to-the-maximum"),
        pytest.param(51, 10, 10, Reason.AT_MAX_REPLICAS, id="no-further-up"),
        pytest.param(9, 2, 1, Reason.BACKLOG_BELOW_THRESHOLD, id="down-to-the-minimum"),
        pytest.param(9, 1, 1, Reason.AT_MIN_REPLICAS, id="no-further-down"),
    ],
)
def test_a_step_is_one_replica(messages: int, replicas: int, desired: int, reason: Reason) -> None:
    decision = one(messages, replicas)
    assert (decision.desired, decision.reason) == (desired, reason)
    assert decision.message
    assert decision.memory == FREE


def test_equal_thresholds_leave_one_number_that_moves_nothing() -> None:
    equal: dict[str, Any] = {"scaleUpThreshold": 10, "scaleDownThreshold": 10}
    assert [one(messages, 3, **equal).desired for messages in (9, 10, 11)] == [2, 3, 4]


def test_a_maximum_that_bites_is_said() -> None:
    assert one(51, 10).limited_by is Reason.TOO_MANY_REPLICAS
    assert one(51, 10).recommendation == 11
    assert one(51, 9).limited_by is None
    assert one(30, 10).limited_by is None


def test_the_trace_has_what_each_step_made_of_it() -> None:
    memory = Memory(last_down=NOW - 0.5, wants=(Want(NOW - 100, 7),))
    decision = decide(proportional(minReplicas=3), seen(20, 9), memory, NOW)
    assert [(note.step, note.replicas, note.reason) for note in decision.trace] == [
        (StepKind.RECOMMENDATION, 2, Reason.FEWER_REPLICAS_SUFFICE),
        (StepKind.BOUNDS, 3, Reason.FEWER_REPLICAS_SUFFICE),
        (StepKind.STABILIZATION, 7, Reason.FEWER_REPLICAS_SUFFICE),
        (StepKind.PACE, 9, Reason.WAITING_TO_STEP_DOWN),
    ]
    assert decision.message == (
        "Backlog 20 at 10 per replica wants 2, fewer than minReplicas 3;"
        " up to 7 were wanted in the last 300 s; the last step down was less than 1 s ago"
    )
    assert [note.until for note in decision.trace] == [None, None, NOW + 200, NOW + 0.5]
    assert decision.next_change == NOW + 0.5


def test_an_empty_queue_at_the_minimum_is_no_limitation() -> None:
    assert one(0, 1).limited_by is None


@pytest.mark.parametrize(
    ("memory", "desired", "next_change"),
    [
        pytest.param(FREE, 4, NOW + 30, id="first-one-at-once"),
        pytest.param(Memory(last_up=NOW - 30), 4, NOW + 30, id="interval-has-passed"),
        pytest.param(Memory(last_up=NOW - 29.9), 3, NOW + 0.1, id="interval-has-not-passed"),
        pytest.param(Memory(last_up=NOW), 3, NOW + 30, id="just-stepped-up"),
        pytest.param(Memory(last_down=NOW), 4, NOW + 30, id="a-step-down-does-not-gate"),
        pytest.param(Memory(last_up=NOW - 40, last_down=NOW), 4, NOW + 30, id="only-the-last-up-gates"),
    ],
)
def test_a_step_up_waits_for_the_last_step_up_only(memory: Memory, desired: int, next_change: float) -> None:
    decision = one(51, 3, memory)
    assert decision.desired == desired
    assert decision.next_change == pytest.approx(next_change)
    expected = Reason.BACKLOG_ABOVE_THRESHOLD if desired == 4 else Reason.WAITING_TO_STEP_UP
    assert decision.reason is expected
    assert decision.recommendation == 4, "what the backlog asks for does not depend on the memory"


@pytest.mark.parametrize(
    ("memory", "desired", "next_change"),
    [
        pytest.param(FREE, 2, NOW + 30, id="first-one-at-once"),
        pytest.param(Memory(last_down=NOW - 30), 2, NOW + 30, id="interval-since-down-has-passed"),
        pytest.param(Memory(last_down=NOW - 29), 3, NOW + 1, id="interval-since-down-has-not-passed"),
        pytest.param(Memory(last_up=NOW - 29), 3, NOW + 1, id="interval-since-up-has-not-passed"),
        pytest.param(Memory(last_up=NOW - 5, last_down=NOW - 20), 3, NOW + 25, id="up-was-last"),
        pytest.param(Memory(last_up=NOW - 20, last_down=NOW - 5), 3, NOW + 25, id="down-was-last"),
        pytest.param(Memory(last_up=NOW - 31, last_down=NOW - 32), 2, NOW + 30, id="both-have-passed"),
    ],
)
def test_a_step_down_waits_for_the_last_action_in_either_direction(
    memory: Memory, desired: int, next_change: float
) -> None:
    decision = one(9, 3, memory)
    assert decision.desired == desired
    assert decision.next_change == pytest.approx(next_change)
    expected = Reason.BACKLOG_BELOW_THRESHOLD if desired == 2 else Reason.WAITING_TO_STEP_DOWN
    assert decision.reason is expected
    assert decision.recommendation == 2


def test_where_only_messages_can_change_it_no_time_is_given() -> None:
    for messages, replicas in ((30, 3), (51, 10), (9, 1)):
        assert one(messages, replicas, Memory(last_up=NOW, last_down=NOW)).next_change is None


def test_a_burst_climbs_once_per_interval() -> None:
    steps = run(rule(), [(NOW + tenth / 10, 100) for tenth in range(1_000)], replicas=1)
    assert [round(time - NOW) for time, *_ in steps] == [0, 30, 60, 90]
    assert [after for *_, after in steps] == [2, 3, 4, 5]


# Bounds come first.


@pytest.mark.parametrize(
    ("messages", "replicas", "desired"),
    [
        pytest.param(UNKNOWN, 1, 3, id="below-and-unknown"),
        pytest.param(UNKNOWN, 9, 5, id="above-and-unknown"),
        pytest.param(30, 1, 3, id="below-and-within-thresholds"),
        pytest.param(30, 9, 5, id="above-and-within-thresholds"),
        pytest.param(0, 1, 3, id="below-and-an-empty-queue"),
        pytest.param(51, 9, 5, id="above-and-a-full-queue"),
        pytest.param(backlog(51, paused=True), 1, 3, id="below-and-paused"),
        pytest.param(backlog(0, paused=True), 9, 5, id="above-and-paused"),
    ],
)
def test_replicas_outside_the_bounds_are_brought_back(
    messages: int | Backlog | Unknown, replicas: int, desired: int
) -> None:
    decision = one(messages, replicas, minReplicas=3, maxReplicas=5)
    assert decision.desired == desired
    low = replicas < desired
    assert decision.reason is (Reason.BELOW_MIN_REPLICAS if low else Reason.ABOVE_MAX_REPLICAS)
    assert decision.limited_by is (Reason.TOO_FEW_REPLICAS if low else Reason.TOO_MANY_REPLICAS)
    assert ("minReplicas 3" if low else "maxReplicas 5") in decision.message


def test_the_bounds_wait_for_no_interval() -> None:
    busy = Memory(last_up=NOW, last_down=NOW)
    assert one(51, 1, busy, minReplicas=3, maxReplicas=5).desired == 3
    assert one(0, 9, busy, minReplicas=3, maxReplicas=5).desired == 5


def test_a_step_starts_from_the_bound() -> None:
    assert one(51, 1, minReplicas=3, maxReplicas=5).desired == 4
    assert one(0, 9, minReplicas=3, maxReplicas=5).desired == 4


# Holding.


@pytest.mark.parametrize("messages", [0, 51, UNKNOWN, backlog(51, paused=True)])
@pytest.mark.parametrize("made", [rule(), proportional()])
def test_zero_replicas_switch_the_rule_off(made: Rule, messages: int | Backlog | Unknown) -> None:
    decision = decide(made, seen(messages, 0), FREE, NOW)
    assert (decision.desired, decision.reason) == (0, Reason.SCALING_DISABLED)
    assert decision.memory == FREE
    assert decision.next_change is None
    assert "0 replicas" in decision.message


@pytest.mark.parametrize("made", [rule(), proportional(window=0)])
def test_an_unknown_backlog_holds_and_says_why(made: Rule) -> None:
    decision = decide(made, seen(UNKNOWN, 4), FREE, NOW)
    assert (decision.desired, decision.recommendation) == (4, 4)
    assert decision.reason is Reason.MONITORING_TIMEOUT
    assert UNKNOWN.message in decision.message
    assert decision.memory == FREE, "an unknown backlog wants nothing"


@pytest.mark.parametrize("made", [rule(), proportional(window=0)])
@pytest.mark.parametrize("messages", [0, 1_000])
def test_a_paused_consumer_holds_in_both_directions(made: Rule, messages: int) -> None:
    decision = decide(made, seen(backlog(messages, paused=True), 4), FREE, NOW)
    assert (decision.desired, decision.reason) == (4, Reason.CONSUMER_PAUSED)
    assert "ORDERS/workers" in decision.message
    assert decision.memory == FREE


def test_a_paused_or_rehearsing_rule_decides_all_the_same() -> None:
    """Whoever acts on a decision looks at these; the status shows what would be done."""
    assert decide(rule(paused=True), seen(51, 3), FREE, NOW).desired == 4
    assert one(51, 3, dryRun=True).desired == 4


def test_the_mode_says_which_messages_decide() -> None:
    assert one(backlog(0, unacknowledged=51), 3).desired == 4
    assert one(backlog(0, unacknowledged=51, mode=BacklogMode.PENDING), 3).desired == 2


# In proportion: messagesPerReplica.


@pytest.mark.parametrize(
    ("messages", "replicas", "desired", "reason"),
    [
        pytest.param(100, 1, 10, Reason.BACKLOG_ABOVE_THRESHOLD, id="up-in-one-go"),
        pytest.param(61, 1, 7, Reason.BACKLOG_ABOVE_THRESHOLD, id="rounded-up"),
        pytest.param(60, 1, 6, Reason.BACKLOG_ABOVE_THRESHOLD, id="exactly"),
        pytest.param(51, 5, 6, Reason.BACKLOG_ABOVE_THRESHOLD, id="one-message-more-is-one-replica-more"),
        pytest.param(50, 1, 1, Reason.WITHIN_THRESHOLDS, id="not-above-the-threshold-is-no-up"),
        pytest.param(10**9, 1, 10, Reason.BACKLOG_ABOVE_THRESHOLD, id="no-more-than-the-maximum"),
        pytest.param(10**9, 10, 10, Reason.AT_MAX_REPLICAS, id="the-maximum-is-reached"),
        pytest.param(60, 6, 6, Reason.WITHIN_THRESHOLDS, id="as-many-as-wanted"),
        pytest.param(41, 8, 5, Reason.FEWER_REPLICAS_SUFFICE, id="down-in-one-go"),
        pytest.param(9, 8, 1, Reason.BACKLOG_BELOW_THRESHOLD, id="below-the-threshold-is-the-minimum"),
        pytest.param(0, 1, 1, Reason.AT_MIN_REPLICAS, id="the-minimum-is-reached"),
        pytest.param(10, 8, 1, Reason.FEWER_REPLICAS_SUFFICE, id="on-the-lower-threshold-counts"),
    ],
)
def test_replicas_in_proportion_to_the_backlog(
    messages: int, replicas: int, desired: int, reason: Reason
) -> None:
    decision = decide(proportional(10, window=0), seen(messages, replicas), FREE, NOW)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_below_the_down_threshold_the_minimum_is_wanted_whatever_the_proportion() -> None:
    made = proportional(1, window=0, minReplicas=2)
    assert decide(made, seen(9, 8), FREE, NOW).desired == 2
    assert decide(made, seen(10, 8), FREE, NOW).desired == 8


def test_at_the_minimum_a_low_backlog_is_no_contradiction() -> None:
    assert decide(proportional(10, minReplicas=2), seen(0, 2), FREE, NOW).message == (
        "Backlog 0 is below scaleDownThreshold 10, and minReplicas 2 is reached"
    )


def test_bounds_that_bite_are_said() -> None:
    made = proportional(10, window=0, minReplicas=3)
    assert decide(made, seen(101, 5), FREE, NOW).limited_by is Reason.TOO_MANY_REPLICAS
    assert decide(made, seen(101, 5), FREE, NOW).recommendation == 11
    assert decide(made, seen(20, 5), FREE, NOW).limited_by is Reason.TOO_FEW_REPLICAS
    assert decide(made, seen(20, 5), FREE, NOW).recommendation == 2
    assert decide(made, seen(60, 5), FREE, NOW).limited_by is None


def test_the_maximum_counts_as_biting_for_as_long_as_the_window_holds_the_replicas_there() -> None:
    made = proportional(10, window=60)
    beyond = decide(made, seen(101, 10), FREE, NOW)
    for messages in (100, 95, 50, 0):
        soon = decide(made, seen(messages, 10), beyond.memory, NOW + 59)
        assert (soon.desired, soon.limited_by) == (10, Reason.TOO_MANY_REPLICAS)
    assert decide(made, seen(100, 10), beyond.memory, NOW + 60).limited_by is None
    raised = proportional(10, window=60, maxReplicas=20)
    assert decide(raised, seen(95, 10), beyond.memory, NOW + 1).limited_by is None


@pytest.mark.parametrize(("ago", "desired"), [(0.0, 2), (0.99, 2), (1.0, 8), (5.0, 8)])
def test_steps_up_are_a_second_apart(ago: float, desired: int) -> None:
    decision = decide(proportional(), seen(80, 2), Memory(last_up=NOW - ago), NOW)
    assert decision.desired == desired
    if desired == 2:
        assert decision.reason is Reason.WAITING_TO_STEP_UP
        assert decision.next_change == pytest.approx(NOW - ago + MIN_SECONDS_BETWEEN_STEPS)


@pytest.mark.parametrize(("ago", "desired"), [(0.0, 8), (0.99, 8), (1.0, 2), (5.0, 2)])
def test_steps_down_are_a_second_apart(ago: float, desired: int) -> None:
    decision = decide(proportional(window=0), seen(20, 8), Memory(last_down=NOW - ago), NOW)
    assert decision.desired == desired
    if desired == 8:
        assert decision.reason is Reason.WAITING_TO_STEP_DOWN
        assert decision.next_change == pytest.approx(NOW - ago + MIN_SECONDS_BETWEEN_STEPS)


def test_the_poll_interval_gates_nothing() -> None:
    memory = Memory(last_up=NOW - 2, last_down=NOW - 2)
    made = proportional(window=0, pollIntervalSeconds=3600)
    assert decide(made, seen(80, 2), memory, NOW).desired == 8
    assert decide(made, seen(20, 8), memory, NOW).desired == 2


def test_down_goes_to_the_highest_want_of_the_window() -> None:
    memory = Memory(wants=(Want(NOW - 200, 7), Want(NOW - 100, 4)))
    decision = decide(proportional(), seen(0, 9), memory, NOW)
    assert decision.desired == 7
    assert decision.next_change == NOW + 100, "when the 7 leave the window"
    assert "up to 7 were wanted in the last 300 s" in decision.message
    later = decide(proportional(), seen(0, 7), decision.memory, NOW + 99.9)
    assert (later.desired, later.reason, later.next_change) == (7, Reason.STABILIZING, NOW + 100)
    assert "up to 7" in later.message
    assert decide(proportional(), seen(0, 7), later.memory, NOW + 100).desired == 4
    assert decide(proportional(), seen(0, 7), later.memory, NOW + 200).desired == 1


def test_a_restart_holds_the_present_replicas_for_a_window() -> None:
    restarted = Memory(wants=(Want(NOW, 6),))
    decision = decide(proportional(), seen(0, 6), restarted, NOW)
    assert (decision.desired, decision.reason, decision.next_change) == (6, Reason.STABILIZING, NOW + 300)
    later = decide(proportional(), seen(0, 6), decision.memory, NOW + 300)
    assert (later.desired, later.reason) == (1, Reason.BACKLOG_BELOW_THRESHOLD)


def test_a_window_of_zero_goes_down_at_once() -> None:
    restarted = Memory(wants=(Want(NOW, 6),))
    assert decide(proportional(window=0), seen(0, 6), restarted, NOW).desired == 1


def test_a_gap_of_unknown_reads_adds_no_wants() -> None:
    made = proportional()
    before = decide(made, seen(80, 8), FREE, NOW)
    gap = decide(made, seen(UNKNOWN, 8), before.memory, NOW + 100)
    assert gap.memory == before.memory
    assert decide(made, seen(0, 8), gap.memory, NOW + 200).desired == 8


# Memory.


def test_only_the_direction_of_an_action_is_kept() -> None:
    assert FREE.acted(1, 3, NOW) == Memory(last_up=NOW)
    assert FREE.acted(3, 1, NOW) == Memory(last_down=NOW)
    assert FREE.acted(3, 3, NOW) == FREE


def test_an_older_want_counts_only_while_it_is_higher() -> None:
    memory = FREE.wanted(5, 0, 300).wanted(3, 10, 300)
    assert memory.wants == (Want(0, 5), Want(10, 3))
    assert memory.wanted(4, 20, 300).wants == (Want(0, 5), Want(20, 4))
    assert memory.wanted(5, 20, 300).wants == (Want(20, 5),)
    assert memory.wanted(1, 300, 300).wants == (Want(10, 3), Want(300, 1))


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10)), max_size=60), st.sampled_from([0, 10, 300]))
def test_wants_stay_few_and_strictly_falling_and_keep_the_highest(
    asked: list[tuple[float, int]], window: int
) -> None:
    memory, now, all_wants = FREE, 0.0, list[Want]()
    for passed, replicas in asked:
        now += passed
        memory = memory.wanted(replicas, now, window)
        all_wants.append(Want(now, replicas))
        assert all(older.replicas > newer.replicas for older, newer in pairwise(memory.wants))
        assert len(memory.wants) <= 10
        remembered = [want for want in all_wants[:-1] if want.time + window > now] + all_wants[-1:]
        assert memory.wants[0].replicas == max(want.replicas for want in remembered)


# For every input.

replica_counts = st.integers(0, 12)
messages_of_a_read = st.one_of(st.integers(0, 130), st.integers(0, 10**7))
times = st.sampled_from([-math.inf, NOW - 400, NOW - 31, NOW - 30, NOW - 15.5, NOW - 1, NOW - 0.3, NOW])
observed = st.one_of(
    messages_of_a_read.map(backlog),
    messages_of_a_read.map(backlog),
    st.just(UNKNOWN),
    messages_of_a_read.map(lambda messages: backlog(messages, paused=True)),
)


@st.composite
def made_rules(draw: st.DrawFn) -> Rule:
    low, high = sorted(draw(st.tuples(st.integers(1, 10), st.integers(1, 10))))
    down, up = sorted(draw(st.tuples(st.integers(0, 100), st.integers(0, 100))))
    spec: dict[str, Any] = {
        "minReplicas": low,
        "maxReplicas": high,
        "scaleDownThreshold": down,
        "scaleUpThreshold": up,
        "pollIntervalSeconds": draw(st.sampled_from([1, 2, 30, 3600])),
    }
    if draw(st.booleans()):
        return rule(**spec)
    return proportional(draw(st.integers(1, 40)), window=draw(st.sampled_from([0, 1, 60, 300])), **spec)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    memory = Memory(last_up=draw(times), last_down=draw(times))
    ago = draw(st.lists(st.sampled_from([400, 300, 299, 120, 60, 59, 1, 0.5]), max_size=4, unique=True))
    for seconds in sorted(ago, reverse=True):
        memory = memory.wanted(draw(st.integers(1, 12)), NOW - seconds, 3600)
    return memory


def bounded(made: Rule, replicas: int) -> int:
    return min(max(replicas, made.spec.min_replicas), made.spec.max_replicas)


@given(made_rules(), observed, replica_counts, memories())
def test_desired_is_within_the_bounds_unless_scaling_is_off(
    made: Rule, messages: Backlog | Unknown, replicas: int, memory: Memory
) -> None:
    decision = decide(made, Observation(messages, replicas, NOW), memory, NOW)
    assert decision.message
    if replicas == 0:
        assert decision.desired == 0
    else:
        assert made.spec.min_replicas <= decision.desired <= made.spec.max_replicas


@given(made_rules(), observed, replica_counts, memories())
def test_every_number_is_explained_by_a_note(
    made: Rule, messages: Backlog | Unknown, replicas: int, memory: Memory
) -> None:
    decision = decide(made, Observation(messages, replicas, NOW), memory, NOW)
    base, so_far = bounded(made, replicas) if replicas else 0, decision.recommendation
    for note in decision.trace[1:]:
        assert note.text or note.until or note.limits or note.replicas != so_far, "a note says something"
        if note.step is not StepKind.BOUNDS:
            assert abs(note.replicas - base) <= abs(so_far - base), "no step goes beyond what is asked for"
            assert note.replicas == so_far or note.text, "whoever moves the number says why"
        assert note.text in decision.message
        so_far = note.replicas
    assert so_far == decision.desired
    assert [note.step for note in decision.trace] == list(dict.fromkeys(note.step for note in decision.trace))


@given(made_rules(), messages_of_a_read, messages_of_a_read, replica_counts, memories())
def test_a_higher_backlog_never_means_fewer_replicas(
    made: Rule, some: int, others: int, replicas: int, memory: Memory
) -> None:
    fewer, more = sorted((some, others))
    few = decide(made, seen(fewer, replicas), memory, NOW)
    many = decide(made, seen(more, replicas), memory, NOW)
    assert few.desired <= many.desired
    if replicas > 0:
        assert few.recommendation <= many.recommendation


@given(made_rules(), observed, replica_counts, memories())
def test_deciding_again_after_acting_moves_nothing(
    made: Rule, messages: Backlog | Unknown, replicas: int, memory: Memory
) -> None:
    first = decide(made, Observation(messages, replicas, NOW), memory, NOW)
    after = first.memory.acted(replicas, first.desired, NOW)
    again = decide(made, Observation(messages, first.desired, NOW), after, NOW)
    assert again.desired == first.desired
    once_more = decide(made, Observation(messages, first.desired, NOW), again.memory, NOW)
    assert once_more == again


@given(made_rules(), observed, replica_counts, memories())
def test_the_same_question_has_the_same_answer(
    made: Rule, messages: Backlog | Unknown, replicas: int, memory: Memory
) -> None:
    question = made, Observation(messages, replicas, NOW), memory, NOW
    assert decide(*question) == decide(*question)


@given(made_rules(), replica_counts, memories(), st.booleans())
def test_an_unknown_or_paused_backlog_never_moves_replicas_within_the_bounds(
    made: Rule, replicas: int, memory: Memory, paused: bool
) -> None:
    messages = backlog(0, paused=True) if paused else UNKNOWN
    decision = decide(made, Observation(messages, replicas, NOW), memory, NOW)
    assert decision.desired == (bounded(made, replicas) if replicas else 0)
    assert decision.memory == memory


@given(made_rules(), observed, replica_counts, memories())
def test_the_next_change_lies_ahead_and_nothing_changes_before_it(
    made: Rule, messages: Backlog | Unknown, replicas: int, memory: Memory
) -> None:
    decision = decide(made, Observation(messages, replicas, NOW), memory, NOW)
    until = math.inf if decision.next_change is None else decision.next_change
    assert until > NOW
    for later in (
        NOW + 0.001,
        NOW + 0.9,
        NOW + 15,
        NOW + 59,
        NOW + 299,
        NOW + 10_000,
        math.nextafter(until, 0),
    ):
        if NOW < later < until:
            unchanged = decide(made, Observation(messages, replicas, NOW), decision.memory, later)
            assert unchanged.desired == decision.desired


@given(made_rules(), messages_of_a_read, st.integers(1, 12), memories())
def test_following_next_changes_ends_where_only_messages_move_it(
    made: Rule, messages: int, replicas: int, memory: Memory
) -> None:
    now: float = NOW
    for _ in range(60):
        decision = decide(made, seen(messages, replicas), memory, now)
        memory = decision.memory.acted(replicas, decision.desired, now)
        replicas = decision.desired
        if decision.next_change is None:
            break
        assert decision.next_change > now
        now = decision.next_change
    else:
        pytest.fail("it went on and on")
    at_last = decide(made, seen(messages, replicas), memory, now + 100_000)
    assert at_last.desired == replicas


# How many messages until it would go up.


@pytest.mark.parametrize(
    ("made", "messages", "replicas", "expected"),
    [
        pytest.param(rule(), 0, 3, 51, id="threshold"),
        pytest.param(rule(), 50, 3, 1, id="the-next-one"),
        pytest.param(rule(), 51, 3, None, id="above-already"),
        pytest.param(rule(), 0, 10, None, id="at-the-maximum"),
        pytest.param(rule(), 0, 11, None, id="above-the-maximum"),
        pytest.param(rule(), 0, 0, None, id="switched-off"),
        pytest.param(rule(minReplicas=3), 0, 1, 51, id="below-the-minimum"),
        pytest.param(rule(paused=True), 0, 3, None, id="paused-by-a-person"),
        pytest.param(rule(dryRun=True), 0, 3, 51, id="a-rehearsal-rings-too"),
        pytest.param(rule(), UNKNOWN, 3, None, id="unknown"),
        pytest.param(rule(), backlog(0, paused=True), 3, None, id="consumer-paused"),
        pytest.param(rule(), backlog(20, unacknowledged=20), 3, 11, id="unacknowledged-count"),
        pytest.param(
            rule(), backlog(20, unacknowledged=20, mode=BacklogMode.PENDING), 3, 31, id="only-pending-counts"
        ),
        pytest.param(proportional(10), 0, 1, 51, id="the-threshold-is-more-than-the-replicas-bear"),
        pytest.param(proportional(10), 0, 7, 71, id="the-replicas-bear-more-than-the-threshold"),
        pytest.param(proportional(10), 70, 7, 1, id="the-replicas-bear-just-this"),
        pytest.param(proportional(10), 71, 7, None, id="more-than-the-replicas-bear-already"),
    ],
)
def test_messages_until_change(
    made: Rule, messages: int | Backlog | Unknown, replicas: int, expected: int | None
) -> None:
    assert messages_until_change(made, seen(messages, replicas)) == expected


@given(made_rules(), messages_of_a_read, replica_counts)
def test_it_goes_up_after_exactly_so_many_messages(made: Rule, messages: int, replicas: int) -> None:
    missing = messages_until_change(made, seen(messages, replicas))
    now_bounded = bounded(made, replicas)

    def desired(more: int) -> int:
        return decide(made, seen(messages + more, replicas), FREE, NOW).desired

    if missing is None:
        if replicas == 0:
            assert desired(10**7) == 0
        elif desired(0) <= now_bounded:
            assert desired(10**7) <= now_bounded
    else:
        assert missing >= 1
        assert desired(missing - 1) <= now_bounded < desired(missing)


@given(made_rules(), messages_of_a_read, replica_counts, memories())
def test_fewer_messages_than_that_never_bring_it_up(
    made: Rule, messages: int, replicas: int, memory: Memory
) -> None:
    missing = messages_until_change(made, seen(messages, replicas))
    for more in {0, missing // 2, missing - 1} if missing else ():
        decision = decide(made, seen(messages + more, replicas), memory, NOW)
        assert decision.desired <= bounded(made, replicas)


# Over time, whatever the backlog does.

Step = tuple[float, int, int]


def run(made: Rule, reads: Sequence[tuple[float, int | Unknown]], replicas: int) -> list[Step]:
    """Decide and act at each of these times; return the steps: when, from, to."""
    memory, steps = FREE, []
    for now, messages in reads:
        decision = decide(made, seen(messages, replicas), memory, now)
        memory = decision.memory
        if decision.desired != replicas:
            steps.append((now, replicas, decision.desired))
            memory = memory.acted(replicas, decision.desired, now)
            replicas = decision.desired
    return steps


@st.composite
def reads(draw: st.DrawFn) -> list[tuple[float, int | Unknown]]:
    now, made = NOW, list[tuple[float, int | Unknown]]()
    for passed, messages in draw(
        st.lists(
            st.tuples(
                st.sampled_from([0.02, 0.5, 1.0, 7.0, 29.0, 30.0, 61.0]),
                st.one_of(st.sampled_from([0, 9, 10, 50, 51, 75, 1_000]), st.just(UNKNOWN)),
            ),
            max_size=60,
        )
    ):
        now += passed
        made.append((now, messages))
    return made


@given(reads(), st.integers(1, 10))
def test_steps_never_flap_within_the_interval(
    sequence: list[tuple[float, int | Unknown]], replicas: int
) -> None:
    steps = run(rule(), sequence, replicas)
    assert all(abs(after - before) == 1 for _, before, after in steps)
    for (earlier, *_), (later, before, after) in pairwise(steps):
        assert after > before or later - earlier >= 30, "a step down within the interval of any step"
    ups = [time for time, before, after in steps if after > before]
    assert all(later - earlier >= 30 for earlier, later in pairwise(ups))


@given(reads(), st.integers(1, 10), st.sampled_from([0, 60, 300]))
def test_in_proportion_it_never_goes_below_what_the_window_wanted(
    sequence: list[tuple[float, int | Unknown]], replicas: int, window: int
) -> None:
    made = proportional(10, window=window)
    steps = run(made, sequence, replicas)
    ups = [time for time, before, after in steps if after > before]
    assert all(later - earlier >= 1 for earlier, later in pairwise(ups))
    for time, before, after in steps:
        if after < before:
            wanted = [
                1 if messages < 10 else bounded(made, math.ceil(messages / 10))
                for read_at, messages in sequence
                if read_at == time or time - window < read_at < time
                if not isinstance(messages, Unknown)
            ]
            assert after == max(wanted)


@given(reads(), st.integers(1, 10))
def test_a_step_is_never_made_on_an_unknown_backlog(
    sequence: list[tuple[float, int | Unknown]], replicas: int
) -> None:
    for made in (rule(), proportional(10, window=0)):
        unknown_at = {time for time, messages in sequence if isinstance(messages, Unknown)}
        assert not unknown_at & {time for time, *_ in run(made, sequence, replicas)}


@given(made_rules(), reads())
def test_the_wants_of_a_rule_stay_bounded(made: Rule, sequence: list[tuple[float, int | Unknown]]) -> None:
    memory = FREE
    for now, messages in sequence:
        memory = decide(made, seen(messages, 3), memory, now).memory
        assert len(memory.wants) <= made.spec.max_replicas
        assert all(older.replicas > newer.replicas for older, newer in pairwise(memory.wants))


def test_a_lower_maximum_takes_effect_whatever_was_wanted_before() -> None:
    wanted = decide(proportional(), seen(100, 10), FREE, NOW).memory
    lower = proportional(maxReplicas=4)
    assert decide(lower, seen(0, 10), replace(wanted, last_up=NOW), NOW + 1).desired == 4
