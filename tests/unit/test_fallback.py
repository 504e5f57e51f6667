"""What a rule does once the backlog has not been known for some time."""

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.conditions import compose
from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Memory
from natsscaler.core.errors import InvalidRule
from natsscaler.core.explain.headline import headline
from natsscaler.core.explain.story import explain
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason, Topic
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus, read_back
from tests.support.factories import FREE, NOW, UNKNOWN, backlog, facts, proportional, rule, seen

LONG_AGO = Memory(unknown_since=NOW - 180)
Seen = int | Backlog | Unknown


def falling_back(behavior: str, replicas: int | None = None, **spec: Any) -> Rule:
    number = {} if replicas is None else {"replicas": replicas}
    return proportional(window=300, fallback={"behavior": behavior, **number}, **spec)


def after(seconds: float, made: Rule, found: Seen = UNKNOWN, replicas: int = 3) -> Decision:
    return decide(made, seen(found, replicas), Memory(unknown_since=NOW - seconds), NOW)


@pytest.mark.parametrize(
    ("behavior", "number", "present", "desired"),
    [
        ("Hold", None, 3, 3),
        ("Hold", 7, 3, 3),
        ("Static", 7, 3, 7),
        ("Static", 2, 3, 2),
        ("Static", 3, 3, 3),
        ("AtLeast", 7, 3, 7),
        ("AtLeast", 2, 3, 3),
        ("AtMost", 2, 3, 2),
        ("AtMost", 7, 3, 3),
        ("Static", 70, 3, 10),
        ("AtLeast", 70, 10, 10),
        ("Static", 7, 0, 0),
    ],
)
def test_each_behavior_within_the_bounds(
    behavior: str, number: int | None, present: int, desired: int
) -> None:
    assert after(180, falling_back(behavior, number), replicas=present).desired == desired


@pytest.mark.parametrize("make", [rule, proportional])
def test_it_comes_when_the_time_has_passed_and_that_is_a_deadline(make: Any) -> None:
    made = make(fallback={"behavior": "Static", "replicas": 7, "afterSeconds": 60})
    first = decide(made, seen(UNKNOWN, 3), FREE, NOW)
    assert (first.desired, first.reason, first.next_change) == (3, UNKNOWN.reason, NOW + 60)
    assert first.memory.unknown_since == NOW
    later = decide(made, seen(UNKNOWN, 3), first.memory, NOW + 59.9)
    assert (later.desired, later.next_change) == (3, NOW + 60)
    due = decide(made, seen(UNKNOWN, 3), later.memory, NOW + 60)
    assert (due.desired, due.reason) == (7, Reason.FALLBACK)
    assert "for 60 s or longer, so spec.fallback asks for 7 replicas" in due.message
    assert UNKNOWN.message in due.message


def test_it_ends_with_the_first_known_backlog_and_counts_as_a_want() -> None:
    made = falling_back("AtLeast", 7)
    due = after(200, made)
    assert due.desired == 7
    known = decide(made, seen(10, 7), due.memory, NOW + 1)
    assert (known.desired, known.reason) == (7, Reason.STABILIZING)
    assert known.memory.unknown_since is None
    assert known.next_change == NOW + 300
    again = decide(made, seen(UNKNOWN, 7), known.memory, NOW + 2)
    assert again.memory.unknown_since == NOW + 2, "the time begins anew"
    assert decide(made, seen(10, 7), known.memory, NOW + 300).desired == 1


def test_down_goes_through_the_window_too() -> None:
    made = falling_back("AtMost", 2)
    wanted = decide(made, seen(80, 3), FREE, NOW - 190)
    assert wanted.desired == 8
    memory = msgspec.structs.replace(wanted.memory, unknown_since=NOW - 180)
    due = decide(made, seen(UNKNOWN, 8), memory, NOW)
    assert (due.desired, due.reason, due.next_change) == (8, Reason.STABILIZING, NOW + 110)
    assert decide(made, seen(UNKNOWN, 8), due.memory, NOW + 110).desired == 2


OWN = [reason for reason in Reason if reason.about.own_fault]


@pytest.mark.parametrize(
    "reason", [one for one in Reason if one.about.topic in (Topic.READING, Topic.SELECTION)]
)
def test_what_the_rule_has_wrong_itself_is_none_of_its_times(reason: Reason) -> None:
    made, found = falling_back("Static", 7), Unknown(reason, "so it is")
    decision = after(1000, made, found)
    own = reason in OWN
    assert decision.desired == (3 if own else 7)
    assert (decision.memory.unknown_since is None) == own


def test_a_typing_mistake_is_the_rules_own_fault_and_a_lost_consumer_is_not() -> None:
    assert {Reason.STREAM_NOT_FOUND, Reason.CONSUMER_NOT_FOUND, Reason.SECRET_NOT_FOUND} <= set(OWN)
    assert not {Reason.CONSUMER_GONE, Reason.MONITORING_UNREACHABLE, Reason.CREDENTIALS_REFUSED} & set(OWN)


@pytest.mark.parametrize("found", [0, 80, backlog(80, paused=True)])
def test_a_backlog_that_is_known_is_no_time_for_it(found: Seen) -> None:
    with_fallback, without = falling_back("Static", 7), proportional(window=300)
    decision = after(1000, with_fallback, found)
    assert (decision.trace, decision.memory.unknown_since) == (after(1000, without, found).trace, None)


def test_a_rule_without_it_remembers_nothing_of_it() -> None:
    assert decide(rule(), seen(UNKNOWN, 3), FREE, NOW).memory == FREE


founds = st.sampled_from([UNKNOWN, UNKNOWN, UNKNOWN, 0, 30, 80, 500])
moments = st.lists(st.tuples(st.sampled_from([0.5, 1, 10, 59, 60, 100]), founds, st.booleans()), max_size=30)


@given(
    moments,
    st.sampled_from(["Static", "AtLeast", "AtMost"]),
    st.integers(1, 12),
    st.sampled_from([rule, proportional]),
)
def test_only_after_its_time_and_through_any_restart(
    run: Iterable[tuple[float, Seen, bool]], behavior: str, number: int, make: Any
) -> None:
    """Unknown never moves replicas before; a process that begins anew at any moment decides the same."""
    made = make(fallback={"behavior": behavior, "replicas": number, "afterSeconds": 60})
    memory, replicas, now, since = Memory(), 3, NOW, math.inf
    for seconds, found, restarts in run:
        now += seconds
        if restarts:
            memory = _restarted(memory, replicas, now, found)
        since = min(since, now) if isinstance(found, Unknown) else math.inf
        decision = decide(made, seen(found, replicas, now), memory, now)
        if isinstance(found, Unknown) and now < since + 60:
            assert decision.desired == replicas
        if decision.reason is Reason.FALLBACK:
            assert now >= since + 60
            wanted = made.spec.fallback.wanted(replicas)
            assert min(replicas, wanted) <= decision.desired <= max(replicas, min(wanted, 10))
        assert 1 <= decision.desired <= 10
        memory = decision.memory.acted(replicas, decision.desired, now)
        memory = memory.stepped(replicas, decision.desired, now)
        replicas = decision.desired


def _restarted(memory: Memory, replicas: int, now: float, found: Seen) -> Memory:
    pending = None if isinstance(found, Unknown) else 5
    status = RuleStatus(
        memory=remembered(memory, now, now), current_replicas=replicas, pending_messages=pending
    )
    back = restore(read_back(json.loads(msgspec.json.encode(status))), replicas, now, now)
    if memory.unknown_since is None:
        assert back.unknown_since is None
    else:
        assert back.unknown_since == pytest.approx(memory.unknown_since, abs=1e-3)
    return msgspec.structs.replace(back, unknown_since=memory.unknown_since)


# How it is told.


def test_conditions_headline_and_explanation_say_that_it_decides() -> None:
    made = falling_back("AtLeast", 7)
    given = facts(UNKNOWN, made=made, memory=LONG_AGO)
    status = compose(given, RuleStatus())
    told = {one.type: (one.status, one.reason) for one in status.conditions}
    assert told["Ready"] == ("False", UNKNOWN.reason)
    assert told["ScalingActive"] == ("False", "Fallback")
    ready = status.condition("Ready")
    assert ready
    assert "spec.fallback decides" in ready.message
    said = headline(made.key, made, status)
    assert said.title == "Fallback: the backlog has been unknown for too long"
    steps = {one.title: one.text for one in explain(given)}
    assert steps["Fallback"] == (
        "The backlog has been unknown for 180 s or longer, so spec.fallback asks for at least 7 replicas"
    )
    assert steps["Outcome"].startswith("default/my-app is scaled from 3 to 7: The backlog is unknown. ")


def test_an_explanation_says_when_it_will_decide() -> None:
    given = facts(UNKNOWN, made=falling_back("AtMost", 2), memory=Memory(unknown_since=NOW - 60))
    steps = {one.title: one.text for one in explain(given)}
    assert steps["Fallback"] == (
        "spec.fallback asks for at most 2 replicas once that has lasted 180 s, at 2026-01-01T00:02:00Z"
    )


@pytest.mark.parametrize(
    ("fallback", "told"),
    [
        ({"behavior": "Static"}, "spec.fallback.replicas must be given"),
        ({"behavior": "AtLeast"}, "spec.fallback.replicas must be given"),
        ({"replicas": 3}, "spec.fallback"),
        ({"behavior": "Static", "replicas": 0}, "spec.fallback.replicas"),
        ({"behavior": "Static", "replicas": 3, "afterSeconds": 0}, "spec.fallback.afterSeconds"),
        ({"behavior": "currentReplicas", "replicas": 3}, "spec.fallback.behavior"),
    ],
)
def test_what_is_refused(fallback: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        rule(fallback=fallback)
    assert told in refused.value.message
