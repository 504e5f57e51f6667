"""All policies at once, over long traces: backlog, unknown, clock, pauses, schedules, restarts."""

import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Memory, Observation, StepKind
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.pause import PAUSED_ANNOTATION, UNTIL_ANNOTATION
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import FallbackBehavior, Rule
from natsscaler.core.status import RuleStatus, read_back, rfc3339
from tests.support.factories import NOW, UNKNOWN, backlog, rule

TICK = 0.125
"""Between moments that a status can tell apart, and exact in floats."""


@st.composite
def made_rules(draw: st.DrawFn) -> Rule:
    """Make rules with any of the policies; schedules change every few minutes."""
    low, high = sorted(draw(st.tuples(st.integers(1, 8), st.integers(1, 20))))
    spec: dict[str, Any] = {
        "minReplicas": low,
        "maxReplicas": high,
        "pollIntervalSeconds": draw(st.sampled_from([5, 30])),
        "scaleDownThreshold": 5,
        "scaleUpThreshold": draw(st.sampled_from([5, 50])),
    }
    if draw(st.booleans()):
        spec["messagesPerReplica"] = draw(st.sampled_from([1, 10]))
    if draw(st.booleans()):
        policy = {"type": draw(st.sampled_from(["Pods", "Percent"])), "value": 20, "periodSeconds": 60}
        spec["behavior"] = {
            "scaleUp": {"policies": draw(st.sampled_from([[], [policy]]))},
            "scaleDown": {
                "stabilizationWindowSeconds": draw(st.sampled_from([0, 60, 300])),
                "policies": draw(st.sampled_from([[], [policy]])),
                "busyWorkers": draw(st.sampled_from(["Ignore", "Floor", "UntilIdle"])),
                "maxWaitSeconds": 120,
            },
        }
    if draw(st.booleans()):
        behavior = draw(st.sampled_from([*FallbackBehavior]))
        spec["fallback"] = {"afterSeconds": 60, "behavior": behavior, "replicas": draw(st.integers(1, 25))}
    if draw(st.booleans()):
        least = draw(st.integers(1, 20))
        bounds = {"minReplicas": least, "maxReplicas": draw(st.integers(least, 25))}
        spec["schedules"] = [{"name": "a", "start": "*/4 * * * *", "end": "2-59/4 * * * *", **bounds}]
    annotations = {"other": ""}
    if draw(st.booleans()):
        annotations[PAUSED_ANNOTATION] = draw(
            st.sampled_from(["true", "scale-up", "scale-down", "?", "false"])
        )
        if draw(st.booleans()):
            annotations[UNTIL_ANNOTATION] = rfc3339(NOW + draw(st.sampled_from([-1, 60, 300])))
    return rule(annotations=annotations, **spec)


seconds = st.sampled_from([TICK, 0.5, 1.0, 5.0, 29.5, 30.0, 60.0, 120.0, 301.0])
founds = st.one_of(
    st.tuples(st.sampled_from([0, 3, 20, 60, 300]), st.integers(0, 15)), st.just(None), st.just(None)
)
events = st.lists(st.tuples(seconds, founds, st.booleans(), st.none() | st.integers(1, 25)), max_size=25)


def observed(found: tuple[int, int] | None, replicas: int, now: float) -> Observation:
    return Observation(backlog(found[0], unacknowledged=found[1]) if found else UNKNOWN, replicas, now)


def restarted(memory: Memory, replicas: int, known: bool, now: float) -> Memory:
    status = RuleStatus(
        memory=remembered(memory, now, now),
        current_replicas=replicas,
        pending_messages=1 if known else None,
    )
    return restore(read_back(json.loads(msgspec.json.encode(status))), replicas, now, now)


@settings(max_examples=300)
@given(made_rules(), events)
def test_what_always_holds(
    made: Rule, run: list[tuple[float, tuple[int, int] | None, bool, int | None]]
) -> None:
    memory, replicas, now = Memory(), 3, NOW
    for passed, found, restarts, by_hand in run:
        now += passed
        if by_hand:
            memory = memory.acted(replicas, by_hand, now).stepped(replicas, by_hand, now)
            replicas = by_hand
        seen = observed(found, replicas, now)
        decision = decide(made, seen, memory, now)
        _is_within_bounds(made, seen, decision)
        _is_explained(seen, decision)
        _holds_until_its_next_change(made, seen, decision, now)
        _respects_people(made, seen, decision)
        memory = decision.memory.acted(replicas, decision.permitted, now)
        memory = memory.stepped(replicas, decision.permitted, now)
        replicas = decision.permitted
        if restarts and (memory.wants or found):
            _survives_a_restart(made, found, memory, replicas, now)


def _survives_a_restart(
    made: Rule, found: tuple[int, int] | None, memory: Memory, replicas: int, now: float
) -> None:
    """A process that begins anew decides the same, and waits for the same moment."""
    anew = restarted(memory, replicas, found is not None, now)
    for later in (0.0, 1.0, 30.0):
        seen = observed(found, replicas, now + later)
        went_on, began = decide(made, seen, memory, now + later), decide(made, seen, anew, now + later)
        assert (began.permitted, began.reason) == (went_on.permitted, went_on.reason)
        assert began.next_change == went_on.next_change


def _is_within_bounds(made: Rule, seen: Observation, decision: Decision) -> None:
    bounds = made.bounds(seen.at)
    assert bounds.low <= decision.desired <= bounds.high
    if made.paused(seen.at) is None:
        assert decision.permitted == decision.desired


def _is_explained(seen: Observation, decision: Decision) -> None:
    """Each note that moves the number says why; that minReplicas is the least goes without saying."""
    for before, after in pairwise(decision.trace):
        moved = before.replicas != after.replicas
        assert after.text or not moved or after.step is StepKind.BOUNDS
    assert all(note.text in decision.message for note in decision.trace)
    if isinstance(seen.backlog, Unknown) and decision.desired < seen.replicas:
        assert {note.step for note in decision.trace} & {StepKind.FALLBACK, StepKind.OUT_OF_BOUNDS}


def _holds_until_its_next_change(made: Rule, seen: Observation, decision: Decision, now: float) -> None:
    if decision.permitted != seen.replicas:
        return
    until = decision.next_change
    assert until is None or until > now
    for later in (TICK, 1.0, 45.0, 400.0):
        if until is None or now + later < until:
            then = msgspec.structs.replace(seen, at=now + later)
            again = decide(made, then, decision.memory, now + later)
            assert again.permitted == seen.replicas, "time alone changed it, and nobody was told when"


def _respects_people(made: Rule, seen: Observation, decision: Decision) -> None:
    pause = made.paused(seen.at)
    if pause:
        assert decision.permitted in (seen.replicas, decision.desired)
        assert decision.permitted <= seen.replicas or pause.reason is Reason.PAUSED_SCALE_DOWN
        assert decision.permitted >= seen.replicas or pause.reason is Reason.PAUSED_SCALE_UP


@settings(max_examples=200)
@given(made_rules(), st.integers(1, 25), founds)
def test_nothing_flaps_at_constant_input(made: Rule, replicas: int, found: tuple[int, int] | None) -> None:
    """Without schedules and the end of a pause, replicas go one way and stay there."""
    made = msgspec.structs.replace(made, pause=None, spec=msgspec.structs.replace(made.spec, schedules=()))
    memory, now, path = Memory(), NOW, [replicas]
    for _ in range(60):
        decision = decide(made, observed(found, path[-1], now), memory, now)
        memory = decision.memory.acted(path[-1], decision.desired, now)
        memory = memory.stepped(path[-1], decision.desired, now)
        path.append(decision.desired)
        now += 30
    begun = path[1:]  # replicas out of bounds are brought back first, whichever way that is
    assert begun in (sorted(begun), sorted(begun, reverse=True))
