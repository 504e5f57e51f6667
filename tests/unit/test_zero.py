"""To zero and back: when the last replica may go, what wakes it, and whose zero it is."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.conditions import compose, invalid
from natsscaler.core.decision.pipeline import Decision, decide, messages_until_change
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog, Traffic, measure
from natsscaler.core.jetstream.documents import ConsumerConfig, SequenceInfo
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import Rule
from natsscaler.core.selector import BacklogMode
from natsscaler.core.status import SCALED_TO_ZERO, RuleStatus, of_no_deployment
from tests.support.factories import FREE, NOW, UNKNOWN, backlog, consumer, facts, known, rule, stream, view

IDLE = 300


def sleepy(**spec: Any) -> Rule:
    """Make a rule that goes to zero, by a proportion and with no window, unless told otherwise."""
    usual = {"messagesPerReplica": 10, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    return rule(**{"minReplicas": 0, **usual, **spec})


def moving(
    pending: int = 0,
    unacknowledged: int = 0,
    *,
    delivered: int = 7,
    quiet: float = math.inf,
    fleeting: str = "",
    mode: BacklogMode = BacklogMode.PENDING_AND_UNACKNOWLEDGED,
) -> Backlog:
    """Make a backlog that tells what moves on its consumer."""
    waiting = pending + unacknowledged
    traffic = Traffic(waiting=waiting, delivered=delivered, quiet_seconds=quiet, fleeting=fleeting)
    return replace(backlog(pending, unacknowledged=unacknowledged, mode=mode), traffic=traffic)


def looks(
    made: Rule,
    found: Backlog | Unknown,
    replicas: int,
    memory: Memory = FREE,
    *,
    now: float = NOW,
    asleep: bool = False,
    heard: bool = False,
) -> Decision:
    return decide(made, Observation(found, replicas, now, asleep=asleep, heard=heard), memory, now)


def quiet_for(seconds: float, *, delivered: int = 7) -> Memory:
    return Memory(active_at=NOW - seconds, delivered=delivered)


@pytest.mark.parametrize(
    ("found", "memory", "heard", "desired"),
    [
        pytest.param(moving(), quiet_for(IDLE), False, 0, id="idle"),
        pytest.param(moving(), quiet_for(IDLE - 0.1), False, 1, id="not-yet"),
        pytest.param(moving(), FREE, False, 1, id="just-created"),
        pytest.param(moving(1), quiet_for(IDLE), False, 1, id="a-message-waits"),
        pytest.param(moving(0, 1), quiet_for(IDLE), False, 1, id="one-is-not-acknowledged"),
        pytest.param(
            moving(0, 1, mode=BacklogMode.PENDING), quiet_for(IDLE), False, 1, id="though-it-does-not-count"
        ),
        pytest.param(moving(delivered=8), quiet_for(IDLE), False, 1, id="a-worker-that-keeps-up"),
        pytest.param(moving(delivered=3), quiet_for(IDLE), False, 1, id="a-counter-that-fell"),
        pytest.param(moving(delivered=8, quiet=IDLE), quiet_for(IDLE), False, 0, id="it-was-long-ago"),
        pytest.param(moving(quiet=IDLE - 1), quiet_for(IDLE), False, 1, id="its-leader-knows-better"),
        pytest.param(moving(), quiet_for(IDLE), True, 1, id="the-doorbell-has-heard-one"),
        pytest.param(UNKNOWN, quiet_for(IDLE), False, 1, id="unknown"),
        pytest.param(replace(moving(), paused=True), quiet_for(IDLE), False, 1, id="paused-in-nats"),
        pytest.param(backlog(0), quiet_for(IDLE), False, 1, id="no-consumer"),
        pytest.param(moving(fleeting="it vanishes"), quiet_for(IDLE), False, 1, id="it-would-vanish"),
    ],
)
@pytest.mark.parametrize("proportion", [10, None])
def test_the_last_replica_goes_once_nothing_moves(
    proportion: int | None, found: Backlog | Unknown, memory: Memory, *, heard: bool, desired: int
) -> None:
    assert looks(sleepy(messagesPerReplica=proportion), found, 1, memory, heard=heard).desired == desired


def test_a_rule_that_names_none_of_it_never_goes_to_zero() -> None:
    for made in (rule(), rule(messagesPerReplica=10)):
        decision = looks(made, moving(), 1, quiet_for(10 * IDLE))
        assert decision.desired == 1
        assert decision.memory.active_at == NOW - 10 * IDLE, "and does not look at what moves"


def test_waiting_for_idle_is_told_with_its_end() -> None:
    decision = looks(sleepy(), moving(), 1, quiet_for(100))
    assert (decision.reason, decision.next_change) == (Reason.WAITING_FOR_IDLE, NOW + 200)
    assert "less than idleSeconds 300 have passed since the last message" in decision.message


def test_an_unknown_moment_begins_the_idle_time_anew() -> None:
    gap = looks(sleepy(), UNKNOWN, 1, quiet_for(IDLE - 1))
    assert looks(sleepy(), moving(), 1, gap.memory, now=NOW + IDLE - 1).desired == 1
    assert looks(sleepy(), moving(), 1, gap.memory, now=NOW + IDLE).desired == 0


def test_to_zero_through_behavior_like_any_step() -> None:
    window = {"scaleDown": {"stabilizationWindowSeconds": 600}}
    held = looks(sleepy(behavior=window), moving(), 1, quiet_for(IDLE).wanted(1, NOW - 100, 600))
    assert (held.desired, held.reason) == (1, Reason.STABILIZING)
    off = looks(sleepy(behavior={"scaleDown": {"selectPolicy": "Disabled"}}), moving(), 1, quiet_for(IDLE))
    assert (off.desired, off.reason) == (1, Reason.SCALE_DOWN_DISABLED)


def test_window_and_idle_time_pass_together() -> None:
    """The last replica is kept while the rule is not idle, but nothing asks for it."""
    made = sleepy(behavior={})
    decision = looks(made, moving(4), 1)
    for second in range(1, IDLE + 1):
        decision = looks(made, moving(), 1, decision.memory, now=NOW + second)
    assert (decision.desired, decision.reason) == (0, Reason.IDLE)


def test_several_replicas_go_to_one_while_it_is_not_idle() -> None:
    decision = looks(sleepy(), moving(), 5, quiet_for(100))
    assert (decision.desired, decision.reason) == (1, Reason.BACKLOG_BELOW_THRESHOLD)


# From zero.


@pytest.mark.parametrize(
    ("messages", "spec", "desired", "reason"),
    [
        pytest.param(0, {}, 0, Reason.IDLE, id="nothing"),
        pytest.param(1, {}, 1, Reason.ACTIVATED, id="below-all-thresholds"),
        pytest.param(45, {}, 5, Reason.ACTIVATED, id="the-whole-number-at-once"),
        pytest.param(1_000, {}, 10, Reason.ACTIVATED, id="within-the-bounds"),
        pytest.param(20, {"activation": {"messages": 20}}, 0, Reason.IDLE, id="not-above-activation"),
        pytest.param(21, {"activation": {"messages": 20}}, 3, Reason.ACTIVATED, id="above-activation"),
        pytest.param(1_000, {"messagesPerReplica": None}, 1, Reason.ACTIVATED, id="one-by-one"),
        pytest.param(
            45,
            {"behavior": {"scaleUp": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}}},
            5,
            Reason.ACTIVATED,
            id="a-percentage-of-nothing-does-not-hold-it",
        ),
    ],
)
def test_what_wakes_it(messages: int, spec: dict[str, Any], desired: int, reason: Reason) -> None:
    decision = looks(sleepy(**spec), moving(messages), 0, quiet_for(IDLE), asleep=True)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_more_than_the_maximum_is_told_from_zero_too() -> None:
    assert looks(sleepy(), moving(1_000), 0, asleep=True).limited_by is Reason.TOO_MANY_REPLICAS


def test_messages_that_have_waited_long_enough_wake_it() -> None:
    made = sleepy(activation={"messages": 20, "maxAgeSeconds": 60})
    first = looks(made, moving(3), 0, quiet_for(IDLE), asleep=True)
    assert (first.desired, first.next_change) == (0, NOW + 60)
    unknown = looks(made, UNKNOWN, 0, first.memory, now=NOW + 30, asleep=True)
    assert unknown.desired == 0
    assert looks(made, moving(4), 0, unknown.memory, now=NOW + 59, asleep=True).desired == 0
    assert looks(made, moving(4), 0, unknown.memory, now=NOW + 60, asleep=True).desired == 1
    drained = looks(made, moving(0), 0, unknown.memory, now=NOW + 50, asleep=True)
    assert looks(made, moving(1), 0, drained.memory, now=NOW + 60, asleep=True).desired == 0


def test_an_unknown_backlog_wakes_nobody() -> None:
    decision = looks(sleepy(), UNKNOWN, 0, asleep=True)
    assert (decision.desired, decision.reason) == (0, Reason.MONITORING_TIMEOUT)


@pytest.mark.parametrize("found", [moving(), moving(1_000), UNKNOWN])
def test_a_zero_that_the_rule_has_not_made_is_a_persons(found: Backlog | Unknown) -> None:
    decision = looks(sleepy(), found, 0)
    assert (decision.desired, decision.reason) == (0, Reason.SCALING_DISABLED)
    assert messages_until_change(sleepy(), Observation(found, 0, NOW)) is None


@pytest.mark.parametrize("found", [moving(), UNKNOWN])
def test_a_minimum_that_is_raised_is_reached_at_once(found: Backlog | Unknown) -> None:
    decision = looks(sleepy(minReplicas=2), found, 0, asleep=True)
    assert (decision.desired, decision.reason) == (2, Reason.BELOW_MIN_REPLICAS)


@given(
    st.integers(0, 200),
    st.integers(0, 100),
    st.sampled_from([10, None]),
    st.integers(0, 100),
    st.sampled_from(["Max", "Disabled"]),
)
def test_it_wakes_after_exactly_so_many_messages(
    messages: int, activation: int, proportion: int | None, threshold: int, up: str
) -> None:
    made = sleepy(
        messagesPerReplica=proportion,
        activation={"messages": activation},
        scaleUpThreshold=threshold,
        scaleDownThreshold=0,
        behavior={"scaleUp": {"selectPolicy": up}},
    )

    def desired(more: int) -> int:
        return looks(made, moving(messages + more), 0, asleep=True).desired

    missing = messages_until_change(made, Observation(moving(messages), 0, NOW, asleep=True))
    if missing is None:
        assert desired(0) > 0
    else:
        assert desired(missing - 1) == 0 < desired(missing)


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from([0, 0, 0, 5, 40, None]), st.booleans())))
def test_it_never_goes_to_zero_before_it_was_idle(trace: list[tuple[int, int | None, bool]]) -> None:
    """Whatever waits, is delivered, or is unknown; with a restart after each look."""
    made, memory, replicas, now, active, delivered = sleepy(), FREE, 1, NOW, NOW, 0
    for passed, messages, moves in trace:
        now += passed
        delivered += moves
        if messages is None or messages or moves:
            active = now
        found = UNKNOWN if messages is None else moving(messages, delivered=delivered)
        asleep = replicas == 0
        decision = decide(made, Observation(found, replicas, now, asleep=asleep), memory, now)
        if replicas > 0 and decision.desired == 0:
            assert now - active >= IDLE
        memory = decision.memory.acted(replicas, decision.desired, now)
        memory = memory.stepped(replicas, decision.desired, now)
        replicas = decision.desired
        status = RuleStatus(
            current_replicas=replicas, pending_messages=messages, memory=remembered(memory, now, now)
        )
        restarted = restore(status, replicas, now, now)
        assert restarted.active_at == memory.active_at
        memory = restarted


# What NATS tells.


def counted(retention: str = "limits", **config: Any) -> Traffic:
    made = consumer("workers", "orders.processing", **config)
    read = view(stream("ORDERS", ["orders.>"], made, retention=retention))
    traffic = known(measure(rule(), read)).traffic
    assert traffic
    return traffic


def test_a_durable_consumer_stays() -> None:
    assert counted(pending=3, unacknowledged=2) == Traffic(waiting=5, delivered=0)


@pytest.mark.parametrize(
    ("retention", "config", "why"),
    [
        pytest.param("limits", {"inactive_threshold": 5}, "inactive_threshold", id="inactive-threshold"),
        pytest.param("interest", {}, "interest retention", id="interest"),
    ],
)
def test_a_consumer_that_may_vanish_is_told(retention: str, config: dict[str, Any], why: str) -> None:
    assert why in counted(retention, **config).fleeting


def test_an_ephemeral_one_that_the_rule_names_is_told() -> None:
    made = consumer("workers", "orders.processing", durable=False)
    found = known(measure(rule(consumer="workers"), view(stream("ORDERS", ["orders.>"], made))))
    assert found.traffic
    assert "not durable" in found.traffic.fleeting


def test_when_it_last_delivered_is_told_by_its_own_clock() -> None:
    said = datetime(2026, 1, 1, tzinfo=UTC)
    last = SequenceInfo(consumer_seq=9, last_active=said - timedelta(seconds=40))
    made = replace(consumer("workers", "orders.processing"), ts=said, delivered=last)
    traffic = known(measure(rule(), view(stream("ORDERS", ["orders.>"], made)))).traffic
    assert traffic == Traffic(waiting=0, delivered=9, quiet_seconds=40)
    assert ConsumerConfig().inactive_threshold == 0


# Whose zero it is.


def zero_condition(status: RuleStatus) -> tuple[str, str] | None:
    condition = status.condition(SCALED_TO_ZERO)
    return (condition.status, condition.reason) if condition else None


def test_the_condition_says_whose_zero_it_is() -> None:
    assert zero_condition(compose(facts(0), RuleStatus())) is None
    awake = facts(0, 1, made=sleepy())
    assert zero_condition(compose(awake, RuleStatus())) == ("False", "CannotScaleToZero")
    asleep = compose(replace(awake, asleep=True), RuleStatus())
    assert zero_condition(asleep) == ("True", "Idle")
    raised = replace(facts(0, 1, made=rule()), asleep=True)
    assert zero_condition(compose(raised, asleep)) == ("True", "Idle"), "until it is awake"


def test_an_edit_that_makes_the_rule_invalid_does_not_forget_whose_zero_it_is() -> None:
    asleep = compose(replace(facts(0, 1, made=sleepy()), asleep=True), RuleStatus())
    wrong = invalid(Finding(Reason.INVALID_RULE, "spec.subject is wrong"), 4, asleep, NOW)
    assert zero_condition(wrong) == ("True", "Idle")


def test_another_deployment_of_that_name_has_a_zero_of_its_own() -> None:
    asleep = compose(replace(facts(0, 1, made=sleepy()), asleep=True), RuleStatus())
    assert zero_condition(of_no_deployment(asleep)) is None
