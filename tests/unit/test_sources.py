"""Several sources of a rule: what they ask for together, and what one of them that is unknown leaves."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.commands.simulate import run_simulation
from natsscaler.core.conditions import Facts, compose
from natsscaler.core.decision.pipeline import Decision, decide, messages_until_change
from natsscaler.core.decision.situation import Memory, Observation, Want
from natsscaler.core.errors import InvalidRule, SettingsError
from natsscaler.core.explain.story import explain
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.snapshot import Reading, View
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.jetstream.together import together
from natsscaler.core.jetstream.trust import Trust, Trusts
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import restore_trusts
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus, noticeable, read_back
from natsscaler.reactor.leader_query import Draft, draft
from tests.support.factories import (
    FREE,
    NOW,
    SOURCE,
    account,
    backlog,
    consumer,
    node,
    rule,
    stream,
    view,
    view_of,
)

LOST = Unknown(Reason.CONSUMER_GONE, "The consumer is missing")


def of_sizes(*sizes: int | None, **spec: Any) -> Rule:
    """Make a rule of so many sources; for how many messages of each a replica is, None: step by step."""
    sources = [
        {"subject": f"s{index}", **({"messagesPerReplica": size} if size else {})}
        for index, size in enumerate(sizes)
    ]
    down = {"scaleDown": {"stabilizationWindowSeconds": 0}} if sizes[0] else {}
    defaults: dict[str, Any] = {"scaleUpThreshold": 0, "scaleDownThreshold": 0, "maxReplicas": 1000}
    return rule(subject=None, sources=sources, **{**defaults, "behavior": down, **spec})


def part(made: Rule, index: int, messages: int, **changed: Any) -> Backlog:
    source = replace(SOURCE, selector=str(made.selectors[index]), consumers=(f"S{index}/w",))
    return replace(backlog(messages, source=source), **changed)


def observed(
    made: Rule, waiting: Sequence[int | Unknown | Backlog], replicas: int, *, asleep: bool = False
) -> Observation:
    measured = [part(made, index, one) if isinstance(one, int) else one for index, one in enumerate(waiting)]
    whole, least = together(made.selectors, measured)
    return Observation(whole, replicas, NOW, asleep=asleep, least=least)


def decided(
    made: Rule, waiting: Sequence[int | Unknown | Backlog], replicas: int, memory: Memory = FREE
) -> Decision:
    return decide(made, observed(made, waiting, replicas, asleep=replicas == 0), memory, NOW)


@pytest.mark.parametrize(
    ("sizes", "waiting", "spec", "expected"),
    [
        pytest.param((10, 100), (50, 50), {}, 6, id="one-ceil-for-the-sum"),
        pytest.param((10, 10), (11, 9), {}, 2, id="not-one-ceil-each"),
        pytest.param((3, 3, 3), (1, 1, 1), {}, 1, id="exact-thirds"),
        pytest.param((10, 100), (50, 900), {"combine": "Max"}, 9, id="max"),
        pytest.param((10, 100), (50, 50), {"scaleUpThreshold": 100}, 1, id="thresholds-are-of-the-sum"),
        pytest.param((None, None), (30, 30), {"scaleUpThreshold": 50}, 2, id="step-up-by-the-sum"),
        pytest.param((None, None), (50, 1), {"scaleUpThreshold": 51}, 1, id="step-not-above"),
        pytest.param((10,), (25,), {}, 3, id="a-list-of-one"),
    ],
)
def test_the_work_of_sources_adds_up(
    sizes: Sequence[int | None], waiting: Sequence[int], spec: dict[str, Any], expected: int
) -> None:
    assert decided(of_sizes(*sizes, **spec), waiting, 1).desired == expected


def test_steps_down_are_by_the_sum_too() -> None:
    made = of_sizes(None, None, scaleUpThreshold=50, scaleDownThreshold=10)
    assert decided(made, (4, 5), 3).desired == 2
    assert decided(made, (5, 5), 3).desired == 3


def test_a_decision_names_each_source_with_its_backlog() -> None:
    made = of_sizes(10, 100)
    assert decided(made, (50, 50), 1).message == "Backlog 100 (s0 50 at 10, s1 50 at 100 per replica) wants 6"
    unknown = decided(made, (50, LOST), 1).message
    assert unknown.startswith("Backlog 50 (s0 50 at 10, s1 unknown at 100 per replica) wants 5, at the least")
    assert "spec.sources[1] (s1): The consumer is missing" in unknown


sizes = st.lists(st.integers(1, 50), min_size=1, max_size=4)
counts = st.integers(0, 400)
rules = st.builds(
    lambda found, combine, up, tolerance: of_sizes(
        *found,
        combine=combine,
        scaleUpThreshold=up,
        behavior={"scaleUp": {"tolerance": tolerance}, "scaleDown": {"stabilizationWindowSeconds": 0}},
    ),
    sizes,
    st.sampled_from(["Sum", "Max"]),
    st.integers(0, 200),
    st.sampled_from([0, 0.1, 0.25]),
) | st.builds(lambda number, up: of_sizes(*[None] * number, scaleUpThreshold=up), st.integers(1, 4), counts)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Rule, list[int], int]:
    made = draw(rules)
    return made, [draw(counts) for _ in made.selectors], draw(st.integers(1, 60))


@given(situations())
def test_the_recommendation_is_the_exact_sum_or_maximum(given: tuple[Rule, list[int], int]) -> None:
    made, waiting, replicas = given
    asked = decided(made, waiting, replicas).recommendation
    if made.spec.one_by_one:
        assert asked == replicas + (sum(waiting) > made.spec.scale_up_threshold)
    else:
        shares = [
            Fraction(one, by.messages_per_replica or 0)
            for one, by in zip(waiting, made.selectors, strict=True)
        ]
        work = max(shares) if made.spec.combine == "Max" else sum(shares)
        tolerance = Fraction(str(made.spec.behavior.scale_up.tolerance or 0))
        tolerated = replicas < work <= replicas * (1 + tolerance)
        assert asked == (replicas if tolerated else math.ceil(work))


@given(situations(), st.data())
def test_the_doorbell_rings_exactly_in_time(given: tuple[Rule, list[int], int], data: st.DataObject) -> None:
    """One message fewer, of whatever sources, changes nothing; so many of one source do."""
    made, waiting, replicas = given

    def rises(further: Sequence[int]) -> bool:
        more = [one + other for one, other in zip(waiting, further, strict=True)]
        return decided(made, more, replicas).desired > replicas

    missing = messages_until_change(made, observed(made, waiting, replicas))
    number = len(waiting)
    if missing is None:
        assert rises([0] * number)
        return
    assert any(rises([missing * (one == index) for one in range(number)]) for index in range(number))
    cuts = sorted(data.draw(st.lists(st.integers(0, missing - 1), min_size=number - 1, max_size=number - 1)))
    mix = [after - before for before, after in zip([0, *cuts], [*cuts, missing - 1], strict=True)]
    assert not rises(mix)


@given(situations(), st.data())
def test_what_is_unknown_never_lowers_and_what_is_known_is_the_least(
    given: tuple[Rule, list[int], int], data: st.DataObject
) -> None:
    made, waiting, replicas = given
    lost = data.draw(st.sets(st.integers(0, len(waiting) - 1), min_size=1))
    partly = [LOST if index in lost else one for index, one in enumerate(waiting)]
    memory = Memory(wants=(Want(NOW - 10, data.draw(st.integers(1, 60))),))
    found, whole = decided(made, partly, replicas, memory), decided(made, waiting, replicas, memory)
    assert replicas <= found.desired <= max(replicas, whole.desired)
    if len(lost) == len(waiting):
        assert found.desired == replicas


@given(situations(), st.data())
def test_a_doorbell_for_what_is_known_is_never_late(
    given: tuple[Rule, list[int], int], data: st.DataObject
) -> None:
    made, waiting, replicas = given
    lost = data.draw(st.integers(0, len(waiting) - 1))
    partly: list[int | Unknown] = [LOST if index == lost else one for index, one in enumerate(waiting)]
    missing = messages_until_change(made, observed(made, partly, replicas))
    if missing is not None and missing > 1:
        index = data.draw(st.sampled_from([one for one in range(len(waiting)) if one != lost]))
        more = [
            one + missing - 1 if isinstance(one, int) and at == index else one
            for at, one in enumerate(partly)
        ]
        assert decided(made, more, replicas).desired == replicas


@given(counts, st.integers(1, 50), st.integers(1, 60))
def test_a_list_of_one_source_is_a_rule_with_a_subject(messages: int, size: int, replicas: int) -> None:
    several = of_sizes(size)
    spec: dict[str, Any] = {"scaleUpThreshold": 0, "scaleDownThreshold": 0, "maxReplicas": 1000}
    down = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    one = rule(subject="s0", messagesPerReplica=size, behavior=down, **spec)
    found, same = (decided(made, [messages], replicas) for made in (several, one))
    assert found.desired == same.desired
    assert str(several.selectors[0]) == str(one.selectors[0]), "so the choice of consumers is kept"


def test_an_unknown_source_keeps_a_rule_from_zero_and_the_known_one_wakes_it() -> None:
    made = of_sizes(10, 10, minReplicas=0, activation={"messages": 5})
    long_idle = Memory(active_at=NOW - 10_000, delivered=0)
    assert decided(made, (0, LOST), 1, long_idle).desired == 1
    assert decided(made, (5, LOST), 0).desired == 0
    assert decided(made, (5, LOST), 0).reason is Reason.CONSUMER_GONE
    woken = decided(made, (25, LOST), 0)
    assert (woken.desired, woken.reason) == (3, Reason.ACTIVATED)
    assert messages_until_change(made, observed(made, (2, LOST), 0, asleep=True)) == 4


@pytest.mark.parametrize(
    ("waiting", "fallback", "expected"),
    [
        pytest.param((200, LOST), 2, 20, id="known-is-more"),
        pytest.param((30, LOST), 2, 3, id="no-lower-than-what-is-known"),
        pytest.param((200, LOST), 40, 40, id="fallback-is-more"),
        pytest.param((LOST, LOST), 2, 2, id="nothing-is-known"),
    ],
)
def test_a_fallback_never_goes_below_what_is_known(
    waiting: Sequence[int | Unknown], fallback: int, expected: int
) -> None:
    spec = {"afterSeconds": 10, "behavior": "Static", "replicas": fallback}
    made = of_sizes(10, 10, fallback=spec)
    found = decided(made, waiting, 5, Memory(unknown_since=NOW - 60))
    assert found.desired == expected
    assert Reason.FALLBACK in {note.reason for note in found.trace}


def test_a_window_for_steps_up_counts_for_what_is_known_too() -> None:
    made = of_sizes(10, 10, behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})
    memory = Memory(lows=(Want(NOW - 10, 2),))
    assert decided(made, (200, LOST), 2, memory).desired == 2


def test_what_is_known_scales_up_only_above_the_threshold() -> None:
    made = of_sizes(10, 10, scaleUpThreshold=300)
    assert decided(made, (300, LOST), 2).desired == 2
    assert decided(made, (301, LOST), 2).desired == 31


def test_a_paused_source_has_no_work_while_others_have() -> None:
    made = of_sizes(10, 10)
    paused = part(made, 0, 500, paused=True)
    assert decided(made, (paused, 20), 1).desired == 2
    assert decided(made, (paused, replace(part(made, 1, 20), paused=True)), 3).desired == 3
    assert decided(made, (paused, LOST), 3).desired == 3


def test_what_two_sources_count_alike_counts_once() -> None:
    made = of_sizes(10, 10)
    twice = replace(part(made, 1, 50), source=part(made, 0, 0).source)
    whole, least = together(made.selectors, [part(made, 0, 50), twice])
    assert isinstance(whole, Unknown)
    assert whole.reason is Reason.AMBIGUOUS_CONSUMER
    assert "spec.sources[1] (s1): S0/w is counted for spec.sources[0] already" in whole.message
    assert least is not None
    assert least.messages == 50


def test_a_server_that_cannot_be_read_is_told_once() -> None:
    made = of_sizes(10, 10)
    assert together(made.selectors, [LOST, LOST]) == (LOST, None)


def told(made: Rule, waiting: Sequence[int | Unknown | Backlog], replicas: int = 1) -> Facts:
    seen = observed(made, waiting, replicas)
    return Facts(made, seen, decide(made, seen, FREE, NOW), None, None, False, None, NOW)


def test_ready_names_the_source_that_is_unknown() -> None:
    made = of_sizes(10, 10)
    for waiting in [(30, LOST), (5, LOST)]:
        ready = compose(told(made, waiting), RuleStatus()).condition("Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "ConsumerGone")
        assert ready.message.startswith("A part of the backlog is unknown, so the replicas may rise")
        assert "spec.sources[1] (s1)" in ready.message


def test_explain_tells_each_source() -> None:
    made = of_sizes(10, 20)
    steps = explain(told(made, (30, 40)))
    assert "10 messages of s0, 20 messages of s1, added up" in steps[0].text
    assert [step.text.split()[0] for step in steps if step.title == "Consumer"] == ["S0/w", "S1/w"]
    (waits,) = (step.text for step in steps if step.title == "Backlog")
    assert waits.startswith("70 messages in all. s0: 30 messages: 30 not yet delivered")
    partly = explain(told(made, (30, LOST)))
    assert [step.state for step in partly if step.title == "Consumer"] == ["ok", "blocked"]
    (waits,) = (step.text for step in partly if step.title == "Backlog")
    assert waits.startswith("At least 30 messages in all")


def test_the_status_keeps_what_each_source_is_counted_on() -> None:
    made = of_sizes(10, 20)
    first = compose(told(made, (30, 40)), RuleStatus())
    assert first.backlog_source is None
    assert [one.source.consumers for one in first.backlog_sources] == [("S0/w",), ("S1/w",)]
    assert first.last_decision is not None
    assert [(one.subject, one.backlog) for one in first.last_decision.sources] == [("s0", 30), ("s1", 40)]
    partly = compose(told(made, (LOST, 40)), first)
    assert partly.backlog_sources == first.backlog_sources, "a source that is unknown is not forgotten"
    assert partly.pending_messages is None
    assert partly.last_decision is not None
    assert [one.backlog for one in partly.last_decision.sources] == [None, 40]
    assert compose(told(made, (LOST, LOST)), first).backlog_sources == first.backlog_sources
    trusts = restore_trusts(through_kubernetes(first))
    assert {by: trust.source and trust.source.consumers for by, trust in trusts.items()} == {
        "subject s0": ("S0/w",),
        "subject s1": ("S1/w",),
    }


def through_kubernetes(status: RuleStatus) -> RuleStatus:
    return read_back(msgspec.to_builtins(status))


def test_a_status_of_a_rule_with_one_subject_is_understood() -> None:
    """So to name the subject in a list changes nothing of what is trusted."""
    one = rule(subject="s0")
    before = compose(told(one, (30,)), RuleStatus())
    made = of_sizes(10, 20)
    assert restore_trusts(before)["subject s0"].source == before.backlog_source
    after = compose(told(made, (LOST, 40)), before)
    assert [entry.source.consumers for entry in after.backlog_sources] == [("S0/w",), ("S1/w",)]
    assert after.backlog_source is None
    back = compose(told(one, (LOST,)), after)
    assert back.backlog_source == before.backlog_source
    assert back.backlog_sources == ()
    assert not noticeable(before, compose(told(one, (31,)), before))


TWO = rule(subject=None, sources=[{"subject": "orders.a"}, {"subject": "orders.b"}])


def drafted(read: View, trusts: Trusts, *, falls: bool = True) -> Draft:
    reading = Reading(read, node("n1").server, "", ())
    return draft(TWO, trusts, reading, None, lambda _: falls)


def orders(*names: str) -> View:
    return view(stream("ORDERS", ["orders.>"], *(consumer(name, f"orders.{name}") for name in names)))


def test_a_step_down_is_confirmed_for_all_sources() -> None:
    found = drafted(orders("a", "b"), {})
    assert found.wanted is not None
    assert found.wanted.there == ("ORDERS/a", "ORDERS/b")
    assert drafted(orders("a", "b"), {}, falls=False).wanted is None
    reading = Reading(orders("a", "b"), node("n1").server, "", ())
    silent = {"ORDERS/a": NotTold.NO_ANSWER}
    first, second = found.completed(TWO, reading, silent)
    assert isinstance(first, Unknown)
    assert isinstance(second, Backlog)


def test_what_lets_a_doubt_end_confirms_the_other_sources_too() -> None:
    """Once the lost one is said to be deleted the sum may be known, and lower than before."""
    measured = drafted(orders("a", "b"), {}).measured
    trusts = {
        str(by): Trust(one.source)
        for by, one in zip(TWO.selectors, measured, strict=True)
        if isinstance(one, Backlog)
    }
    found = drafted(orders("a"), trusts, falls=False)
    assert found.wanted is not None
    assert (found.wanted.there, found.wanted.gone) == (("ORDERS/a",), ("ORDERS/b",))


def test_answers_count_only_for_sources_that_were_asked_for() -> None:
    """Two accounts may have consumers of one name, and a connection leads to one of them."""
    made = rule(subject=None, sources=[{"subject": "x", "account": "A"}, {"subject": "x", "account": "B"}])
    accounts = [account(name, stream("S", ["x"], consumer("w", "x", pending=5))) for name in ("A", "B")]
    read = view_of(*accounts)
    server = node("n1").server

    class Elsewhere:
        cluster, server_id, account = "", server.server_id, "A"

    reading = Reading(read, server, "", ())
    found = draft(made, {}, reading, Elsewhere(), lambda _: True)  # type: ignore[arg-type]
    assert found.wanted is not None
    assert found.wanted.there == ("S/w",)
    told_of = found.completed(made, reading, {"S/w": NotTold.NO_CONSUMER})
    assert isinstance(told_of[0], Unknown)
    assert isinstance(told_of[1], Backlog)
    whole = together(made.selectors, found.measured).backlog
    assert isinstance(whole, Backlog)
    assert whole.messages == 10, "the same name in two accounts is not the same consumer"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"sources": None}, "subject or sources must be set", id="neither"),
        pytest.param({"subject": "a"}, "subject or sources must be set", id="both"),
        pytest.param({"consumer": "a"}, "set them in each of sources", id="companion"),
        pytest.param({"messagesPerReplica": 5}, "set them in each of sources", id="size"),
        pytest.param({"combine": "Max"}, "combine Max needs sources", id="max-by-steps"),
        pytest.param(
            {"drainTime": {"targetSeconds": 60, "replicaRate": 1}},
            "does not go with sources",
            id="drain-time",
        ),
        pytest.param({"sources": [{"subject": "a"}] * 2}, "must differ", id="alike"),
        pytest.param(
            {"sources": [{"subject": "a", "messagesPerReplica": 1}, {"subject": "b"}]},
            "must all have messagesPerReplica",
            id="mixed",
        ),
        pytest.param({"sources": [{"subject": "a b"}]}, "spec.sources[0].subject: ", id="subject"),
        pytest.param({"sources": [{"subject": f"s{one}"} for one in range(9)]}, "length <= 8", id="nine"),
        pytest.param(
            {"behavior": {"scaleUp": {"tolerance": 0.1}}},
            "tolerance needs messagesPerReplica",
            id="tolerance",
        ),
    ],
)
def test_contradictions_name_the_field_and_the_fix(spec: dict[str, Any], words: str) -> None:
    given = {"subject": None, "sources": [{"subject": "a"}, {"subject": "b"}], **spec}
    if given["sources"] is None:
        del given["sources"]
    with pytest.raises(InvalidRule, match=words.replace("[", r"\[").replace("]", r"\]")):
        rule(**given)


def test_a_simulation_refuses_several_sources() -> None:
    """It knows one rate at which messages come, and not how they are spread over sources."""
    sample = Path("config/samples/scaling_v1_scalingrule_sources.yaml")
    with pytest.raises(SettingsError, match="several sources cannot be simulated"):
        run_simulation("natsscaler simulate", [str(sample), "--pattern", "daily", "--replica-rate", "5"], 80)
