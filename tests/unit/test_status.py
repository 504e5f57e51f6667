"""What is worth writing into a status, and what a restart reads out of it again."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.conditions import compose
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Taken, Want
from natsscaler.core.jetstream.selection import Match
from natsscaler.core.jetstream.sources import Birth, Source
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import restore, restore_trusts
from natsscaler.core.status import (
    NEUTRAL,
    USUAL,
    Condition,
    LastDecision,
    LastScaling,
    RuleStatus,
    changed_conditions,
    new_count,
    noticeable,
    read_back,
    rfc3339,
)
from tests.support.factories import SOURCE, UNKNOWN, backlog, facts, proportional, rule, seen

NOW, WALL = 5_000.0, 1_767_225_600.0
"""The clock of decisions and the wall clock, which have nothing to do with each other."""


def condition(kind: str, status: str, reason: str = "SomeReason", **changed: Any) -> Condition:
    made = Condition(
        type=kind,
        status=status,
        reason=reason,
        message="A sentence.",
        last_transition_time="2026-01-01T00:00:00Z",
        observed_generation=3,
    )
    return replace(made, **changed)


LAST = LastDecision(
    time="2026-01-01T00:00:00Z",
    backlog=30,
    pending=20,
    unacknowledged=10,
    recommendation=3,
    desired=3,
    reason="WithinThresholds",
    message="Backlog 30 is within the thresholds 10 to 50",
    messages_until_change=21,
    next_change_time="2026-01-01T00:00:30Z",
)
FULL = RuleStatus(
    observed_generation=3,
    current_replicas=3,
    pending_messages=30,
    last_scaling_action="2026-01-01T00:00:00Z",
    last_scaling_reason="Backlog 60 is above scaleUpThreshold 50",
    last_scaling=LastScaling(time="2026-01-01T00:00:00Z", before=2, after=3),
    backlog_source=SOURCE,
    last_decision=LAST,
    conditions=(condition("Ready", "True"), condition("ScalingLimited", "False")),
)


# On the wire.


def through_kubernetes(status: RuleStatus) -> RuleStatus:
    return msgspec.convert(json.loads(msgspec.json.encode(status)), RuleStatus)


def test_the_status_has_the_field_names_of_the_contract() -> None:
    written = msgspec.to_builtins(FULL)
    assert written["currentReplicas"] == 3
    assert written["pendingMessages"] == 30
    assert written["lastScalingAction"] == "2026-01-01T00:00:00Z"
    assert written["lastScalingReason"] == "Backlog 60 is above scaleUpThreshold 50"
    assert written["lastScaling"] == {"time": "2026-01-01T00:00:00Z", "from": 2, "to": 3}
    assert [one["type"] for one in written["conditions"]] == ["Ready", "ScalingLimited"]
    assert set(written["conditions"][0]) == {
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
        "observedGeneration",
    }
    assert set(written) == {
        "observedGeneration",
        "currentReplicas",
        "pendingMessages",
        "lastScalingAction",
        "lastScalingReason",
        "lastScaling",
        "backlogSource",
        "lastDecision",
        "conditions",
    }


def test_what_is_not_known_is_absent_and_what_is_zero_is_not() -> None:
    assert msgspec.to_builtins(RuleStatus()) == {}
    assert msgspec.to_builtins(RuleStatus(pending_messages=0, current_replicas=0)) == {
        "pendingMessages": 0,
        "currentReplicas": 0,
    }


def test_a_status_without_anything_is_understood() -> None:
    assert msgspec.convert({}, RuleStatus) == RuleStatus()


NOW_EXACTLY = "2026-01-01T00:00:00.123456Z"
optional_count = st.none() | st.integers(0, 2**40)
optional_time = st.none() | st.integers(0, 2**32).map(rfc3339)
sentences = st.text(max_size=20)
statuses = st.builds(
    RuleStatus,
    observed_generation=optional_count,
    current_replicas=optional_count,
    pending_messages=optional_count,
    last_scaling_action=optional_time,
    last_scaling_reason=st.none() | sentences,
    last_scaling=st.none()
    | st.builds(
        LastScaling,
        time=st.just("2026-01-01T00:00:00Z"),
        before=st.integers(0, 9),
        after=st.integers(0, 9),
    ),
    backlog_source=st.none()
    | st.builds(
        Source,
        selector=sentences,
        account=sentences,
        match=st.sampled_from(Match),
        consumers=st.lists(sentences, max_size=3).map(tuple),
        account_id=sentences,
        created=st.lists(st.builds(Birth, name=sentences, time=st.just(NOW_EXACTLY)), max_size=2).map(tuple),
    ),
    backlog_source_seen=optional_time,
    last_decision=st.none()
    | st.builds(
        LastDecision,
        time=st.just("2026-01-01T00:00:00Z"),
        backlog=optional_count,
        pending=optional_count,
        unacknowledged=optional_count,
        recommendation=st.integers(-1, 99),
        desired=st.integers(0, 99),
        reason=st.sampled_from(Reason),
        message=sentences,
        messages_until_change=optional_count,
        next_change_time=optional_time,
    ),
    conditions=st.lists(
        st.builds(
            condition,
            st.sampled_from(list(USUAL)),
            st.sampled_from(["True", "False"]),
            st.sampled_from(Reason),
        ),
        max_size=3,
        unique_by=lambda one: one.type,
    ).map(tuple),
)


@given(statuses)
def test_a_status_comes_back_from_kubernetes_as_it_was_written(status: RuleStatus) -> None:
    returned = through_kubernetes(status)
    assert returned == status
    assert not noticeable(returned, status)
    assert not new_count(returned, status)
    assert changed_conditions(returned, status) == []


def test_when_the_backlog_was_last_counted_outlives_a_restart_and_causes_no_write() -> None:
    """Else what was created again while nobody looked could not be told from another of its name."""
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    found = facts(replace(backlog(5), at=at))
    first = compose(found, RuleStatus())
    (trust,) = restore_trusts(through_kubernetes(first)).values()
    assert trust.seen == at
    later = compose(facts(replace(backlog(5), at=at + timedelta(hours=1))), first)
    assert not noticeable(first, later)
    unknown = compose(facts(UNKNOWN), later)
    assert unknown.backlog_source_seen == later.backlog_source_seen


def test_the_status_that_another_operator_left_is_understood() -> None:
    """Of a standard condition, `observedGeneration` alone is optional (metav1.Condition)."""
    left = {
        "currentReplicas": 2,
        "pendingMessages": 70,
        "lastScalingAction": "2026-01-01T00:00:00Z",
        "lastScalingReason": "Scaled up",
        "somethingElse": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Scaled",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    status = msgspec.convert(left, RuleStatus)
    assert status.current_replicas == 2
    assert status.conditions[0].reason == "Scaled"


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (WALL, "2026-01-01T00:00:00Z"),
        (WALL + 0.999, "2026-01-01T00:00:00Z"),
        (WALL + 1, "2026-01-01T00:00:01Z"),
    ],
)
def test_times_are_written_as_kubernetes_does(epoch: float, expected: str) -> None:
    assert rfc3339(epoch) == expected


def test_a_condition_is_found_by_its_type() -> None:
    found = FULL.condition("ScalingLimited")
    assert found is not None
    assert found.status == "False"
    assert FULL.condition("EventDriven") is None


# What a person would notice.


@pytest.mark.parametrize(
    ("changed", "is_noticeable", "is_count"),
    [
        pytest.param({}, False, False, id="nothing"),
        pytest.param({"pending_messages": 31}, False, True, id="another-count"),
        pytest.param({"pending_messages": 0}, False, True, id="a-count-of-zero"),
        pytest.param({"pending_messages": None}, True, True, id="no-longer-known"),
        pytest.param({"current_replicas": 4}, True, False, id="replicas"),
        pytest.param({"observed_generation": 4}, True, False, id="generation"),
        pytest.param({"last_scaling_action": "2026-01-01T00:00:01Z"}, True, False, id="scaled"),
        pytest.param({"last_scaling_reason": "other"}, True, False, id="another-reason"),
        pytest.param({"backlog_source": replace(SOURCE, consumers=("ORDERS/b",))}, True, False, id="source"),
        pytest.param({"conditions": ()}, True, False, id="conditions"),
        pytest.param(
            {"conditions": (condition("Ready", "False"), FULL.conditions[1])}, True, False, id="a-condition"
        ),
        pytest.param(
            {"last_decision": replace(LAST, time="2026-01-01T00:01:00Z")}, False, False, id="decided-again"
        ),
        pytest.param({"last_decision": replace(LAST, pending=21)}, False, True, id="pending"),
        pytest.param({"last_decision": replace(LAST, unacknowledged=11)}, False, True, id="unacknowledged"),
        pytest.param({"last_decision": replace(LAST, desired=4)}, False, True, id="desired"),
        pytest.param({"last_decision": replace(LAST, reason="Other")}, False, True, id="the-reason"),
        pytest.param(
            {"last_decision": replace(LAST, next_change_time=None, message="other")},
            False,
            False,
            id="when-it-may-change",
        ),
        pytest.param({"last_decision": None}, False, True, id="no-decision"),
    ],
)
def test_a_person_notices_all_but_a_mere_new_count(
    changed: dict[str, Any], is_noticeable: bool, is_count: bool
) -> None:
    new = replace(FULL, **changed)
    assert noticeable(FULL, new) is is_noticeable
    assert noticeable(new, FULL) is is_noticeable
    assert new_count(FULL, new) is is_count


def test_the_first_status_is_worth_writing() -> None:
    assert noticeable(RuleStatus(), FULL)


# What deserves an Event.


def with_conditions(**statuses: str) -> RuleStatus:
    return RuleStatus(conditions=tuple(condition(*found) for found in statuses.items()))


@pytest.mark.parametrize("kind", sorted(set(USUAL) - set(NEUTRAL)))
def test_a_new_condition_deserves_an_event_only_if_something_is_wrong(kind: str) -> None:
    assert changed_conditions(RuleStatus(), with_conditions(**{kind: "True"})) == []
    assert [one.type for one in changed_conditions(RuleStatus(), with_conditions(**{kind: "False"}))] == [
        kind
    ]


@pytest.mark.parametrize("kind", NEUTRAL)
def test_a_new_limit_or_pause_deserves_an_event_and_none_does_not(kind: str) -> None:
    assert changed_conditions(RuleStatus(), with_conditions(**{kind: "False"})) == []
    assert changed_conditions(RuleStatus(), with_conditions(**{kind: "True"}))


@pytest.mark.parametrize(
    ("changed", "deserves"),
    [
        pytest.param({"status": "False"}, True, id="status"),
        pytest.param({"reason": "OtherReason"}, True, id="reason"),
        pytest.param({"message": "Another sentence."}, False, id="message"),
        pytest.param({"observed_generation": 4}, False, id="generation"),
    ],
)
def test_a_changed_condition_deserves_an_event(changed: dict[str, Any], deserves: bool) -> None:
    before = condition("ScalingActive", "True")
    after = replace(before, **changed)
    found = changed_conditions(RuleStatus(conditions=(before,)), RuleStatus(conditions=(after,)))
    assert found == ([after] if deserves else [])


def test_coming_back_to_good_deserves_an_event() -> None:
    found = changed_conditions(with_conditions(ScalingActive="False"), with_conditions(ScalingActive="True"))
    assert [one.status for one in found] == ["True"]


def test_ready_has_an_event_of_its_own_only_if_it_stands_alone() -> None:
    new = with_conditions(Ready="False", ScalingActive="False", AbleToScale="True")
    assert [one.type for one in changed_conditions(RuleStatus(), new)] == ["ScalingActive"]
    assert [one.type for one in changed_conditions(RuleStatus(), with_conditions(Ready="False"))] == ["Ready"]


# After a restart.


def scaled(before: int, after: int, ago: float, *, current: int | None = None) -> RuleStatus:
    return RuleStatus(
        current_replicas=after if current is None else current,
        last_scaling=LastScaling(time=rfc3339(WALL - ago), before=before, after=after),
    )


@pytest.mark.parametrize(
    ("status", "replicas", "expected"),
    [
        pytest.param(RuleStatus(), 3, Memory(), id="no-status"),
        pytest.param(RuleStatus(current_replicas=3), 3, Memory(), id="nothing-happened"),
        pytest.param(scaled(2, 3, 10), 3, Memory(last_up=NOW - 10), id="an-up-before-the-restart"),
        pytest.param(scaled(3, 2, 10), 2, Memory(last_down=NOW - 10), id="a-down-before-the-restart"),
        pytest.param(
            scaled(1, 2, 100),
            3,
            Memory(last_up=NOW, steps=(Taken(NOW, 2, 3),)),
            id="crashed-between-scaling-up-and-writing-it-down",
        ),
        pytest.param(
            scaled(1, 2, 100),
            1,
            Memory(last_up=NOW - 100, last_down=NOW, steps=(Taken(NOW, 2, 1),)),
            id="crashed-between-scaling-down-and-writing-it-down",
        ),
        pytest.param(
            RuleStatus(current_replicas=2),
            5,
            Memory(last_up=NOW, steps=(Taken(NOW, 2, 5),)),
            id="somebody-else-scaled",
        ),
        pytest.param(scaled(2, 3, -3_600), 3, Memory(last_up=NOW), id="the-status-is-from-the-future"),
        pytest.param(RuleStatus(current_replicas=0), 0, Memory(), id="switched-off-all-along"),
    ],
)
def test_a_restart_restores_the_memory(status: RuleStatus, replicas: int, expected: Memory) -> None:
    restored = restore(through_kubernetes(status), replicas, NOW, WALL)
    present = (Want(NOW, replicas),)
    assert restored == replace(expected, wants=present, lows=present)


def test_a_time_with_fractions_or_an_offset_is_understood() -> None:
    for text in ("2026-01-01T00:59:50.5+01:00", "2025-12-31T23:59:50.500000Z", "2025-12-31T23:59:50.5Z"):
        status = RuleStatus(last_scaling=LastScaling(time=text, before=1, after=2))
        assert restore(status, 2, NOW, WALL).last_up == pytest.approx(NOW - 9.5)


def test_after_a_crash_no_step_is_taken_twice() -> None:
    """Scaled from 2 to 3, then crashed before the status said so: the backlog is still there."""
    restored = restore(scaled(1, 2, 100), 3, NOW, WALL)
    decision = decide(rule(), seen(100, 3), restored, NOW + 0.1)
    assert (decision.desired, decision.reason) == (3, Reason.WAITING_TO_STEP_UP)


def test_after_a_restart_the_present_replicas_are_held_for_a_window() -> None:
    restored = restore(RuleStatus(), 6, NOW, WALL)
    decision = decide(proportional(), seen(0, 6), restored, NOW + 1)
    assert (decision.desired, decision.next_change) == (6, NOW + 300)


@given(statuses, st.integers(0, 12), st.floats(0, 4e9))
def test_restoring_never_fails_and_never_lies_in_the_future(
    status: RuleStatus, replicas: int, wall: float
) -> None:
    restored = restore(status, replicas, NOW, wall)
    assert restored.last_up <= NOW
    assert restored.last_down <= NOW
    assert not math.isnan(restored.last_up)
    assert restored.wants == (Want(NOW, replicas),)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        pytest.param(None, RuleStatus(), id="none"),
        pytest.param("odd", RuleStatus(), id="no object"),
        pytest.param(
            {"currentReplicas": 3, "phase": "Odd"}, RuleStatus(current_replicas=3), id="unknown field"
        ),
        pytest.param(
            {"currentReplicas": 3, "pendingMessages": "many", "conditions": [{"type": "Ready"}]},
            RuleStatus(current_replicas=3),
            id="other types",
        ),
        pytest.param(
            {"lastScaling": {"time": "2026-01-01T23:59:60Z", "from": 1, "to": 2}},
            RuleStatus(),
            id="no such time",
        ),
        pytest.param(
            {"lastScaling": {"time": "2026-01-01T23:59:59", "from": 1, "to": 2}},
            RuleStatus(),
            id="no time zone",
        ),
    ],
)
def test_of_a_status_by_another_hand_what_can_be_used_is_read(raw: object, read: RuleStatus) -> None:
    assert read_back(raw) == read


def test_a_status_is_read_back_as_it_was_written() -> None:
    last = LastScaling(time="2026-01-01T00:00:00Z", before=1, after=2)
    written = RuleStatus(observed_generation=2, current_replicas=2, last_scaling=last)
    assert read_back(msgspec.to_builtins(written)) == written


@pytest.mark.parametrize(
    "memory",
    [
        {"lastUp": "0001-01-01T00:00:00+14:00"},
        {"lastUp": "9999-12-31T23:59:59-14:00"},
        {"replicaRates": [-1.0]},
        {"replicaRates": [5e-324]},
        {"replicaRates": [1e308]},
        {"delivered": -5},
        {"delivered": 2**63},
    ],
    ids=str,
)
def test_a_memory_that_cannot_be_is_left_out(memory: dict[str, Any]) -> None:
    assert read_back({"memory": memory}).memory is None
