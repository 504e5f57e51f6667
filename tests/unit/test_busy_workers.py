"""What steps down do about workers that have messages in hand."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.errors import InvalidRule
from natsscaler.core.explain.story import explain
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import Rule
from natsscaler.core.selector import BacklogMode
from natsscaler.core.status import RuleStatus, read_back
from tests.support.factories import FREE, NOW, UNKNOWN, backlog, facts, rule, seen


def protecting(kind: str, window: int = 0, **spec: Any) -> Rule:
    down = {"stabilizationWindowSeconds": window, "busyWorkers": kind}
    down |= {
        name: spec.pop(name) for name in ("messagesInFlightPerReplica", "maxWaitSeconds") if name in spec
    }
    made = {"messagesPerReplica": 10, "scaleDownThreshold": 0, "backlog": "Pending", **spec}
    return rule(behavior={"scaleDown": down}, **made)


def busy(unacknowledged: int, replicas: int, pending: int = 0) -> Observation:
    found = backlog(pending, unacknowledged=unacknowledged, mode=BacklogMode.PENDING)
    return seen(found, replicas)


def once(made: Rule, observed: Observation, memory: Memory = FREE, now: float = NOW) -> Decision:
    return decide(made, observed, memory, now)


@pytest.mark.parametrize(
    ("kind", "unacknowledged", "in_flight", "desired", "reason"),
    [
        ("Ignore", 100, 1, 1, Reason.FEWER_REPLICAS_SUFFICE),
        ("Floor", 0, 1, 1, Reason.FEWER_REPLICAS_SUFFICE),
        ("Floor", 3, 1, 3, Reason.FEWER_REPLICAS_SUFFICE),
        ("Floor", 5, 1, 5, Reason.BUSY_WORKERS),
        ("Floor", 100, 1, 5, Reason.BUSY_WORKERS),
        ("Floor", 100, 50, 2, Reason.FEWER_REPLICAS_SUFFICE),
        ("Floor", 101, 50, 3, Reason.FEWER_REPLICAS_SUFFICE),
        ("UntilIdle", 0, 1, 1, Reason.FEWER_REPLICAS_SUFFICE),
        ("UntilIdle", 1, 1, 5, Reason.BUSY_WORKERS),
    ],
)
def test_how_far_five_replicas_go_down_without_a_backlog(
    kind: str, unacknowledged: int, in_flight: int, desired: int, reason: Reason
) -> None:
    made = protecting(kind, messagesInFlightPerReplica=in_flight)
    decision = once(made, busy(unacknowledged, 5))
    assert (decision.desired, decision.reason) == (desired, reason)
    if desired > 1:
        assert f"{unacknowledged} messages are delivered and not yet acknowledged" in decision.message


def test_until_idle_waits_no_longer_than_it_is_told_to() -> None:
    made = protecting("UntilIdle", maxWaitSeconds=60)
    first = once(made, busy(1, 5))
    assert (first.desired, first.next_change) == (5, NOW + 60)
    held = once(made, busy(9, 5), first.memory, NOW + 59.5)
    assert (held.desired, held.next_change) == (5, NOW + 60)
    over = once(made, busy(9, 5), held.memory, NOW + 60)
    assert over.desired == 1
    further = once(made, busy(9, 3), over.memory, NOW + 70)
    assert further.desired == 1, "the wait is over for the whole way down"


@pytest.mark.parametrize("between", [busy(0, 5), busy(5, 5, pending=50), busy(5, 5, pending=80)])
def test_an_idle_moment_or_a_need_for_the_replicas_begins_the_wait_anew(between: Observation) -> None:
    made = protecting("UntilIdle", maxWaitSeconds=60)
    first = once(made, busy(1, 5))
    assert first.memory.busy_since == NOW
    assert once(made, between, first.memory, NOW + 30).memory.busy_since is None
    unknown = once(made, seen(UNKNOWN, 5), first.memory, NOW + 30)
    assert unknown.memory.busy_since == NOW, "nobody knows, so the time runs on"


def test_steps_up_and_bounds_are_not_held_back() -> None:
    made = protecting("UntilIdle", maxReplicas=8)
    assert once(made, busy(500, 2, pending=51)).desired == 6
    assert once(made, busy(500, 12)).desired == 8


@pytest.mark.parametrize("kind", ["Floor", "UntilIdle"])
def test_the_pace_of_single_steps_stays(kind: str) -> None:
    made = rule(behavior={"scaleDown": {"busyWorkers": kind}}, backlog="Pending")
    memory = FREE.acted(5, 4, NOW - 10)
    assert once(made, busy(0, 4), memory).reason is Reason.WAITING_TO_STEP_DOWN
    assert once(made, busy(0, 4)).desired == 3
    assert once(made, busy(4, 4)).desired == 4


@given(
    st.sampled_from(["Ignore", "Floor", "UntilIdle"]),
    st.lists(
        st.tuples(st.sampled_from([1, 10, 59, 60]), st.integers(0, 100), st.integers(0, 20), st.booleans()),
        max_size=30,
    ),
)
def test_busy_workers_stay_through_any_restart(kind: str, run: list[tuple[int, int, int, bool]]) -> None:
    made, free = protecting(kind, maxWaitSeconds=60), protecting("Ignore")
    memory, replicas, now, since = Memory(), 3, NOW, math.inf
    for seconds, pending, unacknowledged, restarts in run:
        now += seconds
        if restarts:
            memory = _restarted(memory, replicas, now)
        observed = busy(unacknowledged, replicas, pending)
        decision, wanted = once(made, observed, memory, now), once(free, observed, memory, now).desired
        waits = wanted < replicas and unacknowledged > 0
        since = min(since, now) if waits else math.inf
        assert min(wanted, replicas) <= decision.desired <= max(wanted, replicas)
        if wanted >= replicas or not unacknowledged or kind == "Ignore":
            assert decision.desired == wanted
        elif kind == "Floor":
            assert decision.desired == max(wanted, min(unacknowledged, replicas))
        elif now - since < 60:
            assert decision.desired == replicas
        memory = decision.memory.acted(replicas, decision.desired, now - 5)
        replicas = decision.desired


def _restarted(memory: Memory, replicas: int, now: float) -> Memory:
    status = RuleStatus(memory=remembered(memory, now, now), current_replicas=replicas, pending_messages=5)
    back = restore(read_back(json.loads(msgspec.json.encode(status))), replicas, now, now)
    assert back.busy_since == (memory.busy_since and pytest.approx(memory.busy_since, abs=1e-3))
    return msgspec.structs.replace(memory, busy_since=memory.busy_since)


def test_an_explanation_says_what_holds_it_and_until_when() -> None:
    found = backlog(0, unacknowledged=4, mode=BacklogMode.PENDING)
    steps = {one.title: one.text for one in explain(facts(found, 5, made=protecting("UntilIdle")))}
    assert steps["Busy workers"] == (
        "Not yet: 4 messages are delivered and not yet acknowledged, and behavior.scaleDown waits"
        " for none, for 3600 s at most, until 2026-01-01T01:00:00Z"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("busyWorkers", "Wait"),
        ("messagesInFlightPerReplica", 0),
        ("maxWaitSeconds", 0),
        ("maxWaitSeconds", 86_401),
    ],
)
def test_what_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidRule) as refused:
        rule(behavior={"scaleDown": {name: value}})
    assert f"spec.behavior.scaleDown.{name}" in refused.value.message
