"""People's pauses: what annotations are read as, and what becomes of a decision under each."""

import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.conditions import compose
from natsscaler.core.decision.pipeline import decide, messages_until_change
from natsscaler.core.explain.headline import headline
from natsscaler.core.explain.story import explain
from natsscaler.core.pause import PAUSED_ANNOTATION, Pause, pause
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus, changed_conditions
from natsscaler.observe.rule_metrics import RuleSeries
from tests.support.factories import FREE, NOW, UNKNOWN, facts, rule, seen

SOON = "2026-01-01T01:00:00+01:00"
"""Of the time NOW."""
LATER = "2026-01-01T00:00:10Z"
"""10 s later."""


def annotations(paused: str | None = None, **others: str) -> dict[str, str]:
    asked = {} if paused is None else {PAUSED_ANNOTATION: paused}
    return asked | {f"{PAUSED_ANNOTATION}-{name}": value for name, value in others.items()}


def made(paused: str | None = None, **others: str) -> Rule:
    return rule(minReplicas=2, annotations=annotations(paused, **others) or {"other": "x"})


def found(given: dict[str, str]) -> Pause:
    read = pause(given)
    assert read
    return read


# What annotations are read as.


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"other": "true"},
        annotations("false"),
        annotations(" False"),
        annotations(reason="a reason alone is no pause"),
        annotations("false", replicas="3", until=LATER),
        annotations("false", until="nonsense"),
    ],
)
def test_a_rule_that_is_not_paused(given: dict[str, str]) -> None:
    assert pause(given) is None


@pytest.mark.parametrize(
    ("given", "reason", "replicas", "message"),
    [
        (
            annotations("true"),
            Reason.PAUSED,
            None,
            "The rule is paused by annotation: remove it or set it to false",
        ),
        (
            annotations(" True "),
            Reason.PAUSED,
            None,
            "The rule is paused by annotation: remove it or set it to false",
        ),
        (
            annotations("scale-up"),
            Reason.PAUSED_SCALE_UP,
            None,
            "Scaling up is paused by annotation: remove it or set it to false",
        ),
        (
            annotations("Scale-Down", reason="a sale"),
            Reason.PAUSED_SCALE_DOWN,
            None,
            'Scaling down is paused by annotation ("a sale"): remove it or set it to false',
        ),
        (
            annotations("true", replicas="3"),
            Reason.PAUSED_AT_REPLICAS,
            3,
            "The rule is paused at 3 replicas by annotation: remove it or set it to false",
        ),
        (
            annotations(replicas=" 12 ", until=LATER),
            Reason.PAUSED_AT_REPLICAS,
            12,
            f"The rule is paused at 12 replicas until {LATER} by annotation: remove it or set it to false",
        ),
        (
            annotations(until=LATER),
            Reason.PAUSED,
            None,
            f"The rule is paused until {LATER} by annotation: remove it or set it to false",
        ),
        (
            annotations("true", reason="a\nb" + "c" * 200),
            Reason.PAUSED,
            None,
            f'The rule is paused by annotation ("a b{"c" * 116}…"): remove it or set it to false',
        ),
    ],
)
def test_a_rule_that_is_paused(
    given: dict[str, str], reason: Reason, replicas: int | None, message: str
) -> None:
    read = found(given)
    assert (read.reason, read.replicas, read.message) == (reason, replicas, message)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (annotations(""), "paused is '' and must be true, scale-up, scale-down or false"),
        (annotations("yes"), "paused is 'yes' and must be true"),
        (annotations("scaleup"), "paused is 'scaleup' and must be true"),
        (annotations(replicas="0"), "paused-replicas is '0' and must be a whole number of 1 or more"),
        (annotations(replicas="-1"), "paused-replicas is '-1'"),
        (annotations(replicas="3.0"), "paused-replicas is '3.0'"),
        (annotations(replicas="2147483648"), "paused-replicas is '2147483648'"),
        (annotations(replicas="٣"), "paused-replicas is '٣'"),
        (annotations("true", replicas=""), "paused-replicas is ''"),
        (
            annotations("scale-up", replicas="3"),
            "paused 'scale-up' and scaling.example.com/paused-replicas contra",
        ),
        (annotations("true", until="tomorrow"), "paused-until is 'tomorrow' and must be a time"),
        (annotations("true", until="2026-01-01"), "paused-until is '2026-01-01'"),
        (annotations("true", until="2026-01-01T00:00:00"), "paused-until is '2026-01-01T00:00:00'"),
    ],
)
def test_what_cannot_be_read_pauses_fully_and_names_the_annotation(given: dict[str, str], told: str) -> None:
    read = found(given)
    assert (read.reason, read.until, read.replicas) == (Reason.PAUSED_UNREADABLE, math.inf, None)
    assert told in read.message
    assert (read.permits(3, 5), read.permits(3, 1)) == (3, 3)


@given(st.text(), st.text(), st.text())
def test_no_value_makes_a_rule_unusable(paused: str, replicas: str, until: str) -> None:
    read = found(annotations(f"!{paused}", replicas=replicas, until=until))
    assert read.reason is Reason.PAUSED_UNREADABLE


def test_the_end_is_a_moment_whatever_its_zone() -> None:
    assert found(annotations("true", until=SOON)).until == NOW
    assert found(annotations("true", until="2025-12-31T19:00:00.5-05:00")).until == NOW + 0.5


# What becomes of a decision.


@pytest.mark.parametrize(
    ("given", "above", "below"),
    [
        (made(), 4, 2),
        (made("true"), 3, 3),
        (made("scale-up"), 3, 2),
        (made("scale-down"), 4, 3),
        (made("true", replicas="7"), 7, 7),
        (made("true", replicas="1"), 1, 1),
        (made("maybe"), 3, 3),
        (made("true", until=LATER), 3, 3),
        (made("true", until=SOON), 4, 2),
    ],
)
def test_each_pause_permits_what_it_says(given: Rule, above: int, below: int) -> None:
    up, down = decide(given, seen(51, 3), FREE, NOW), decide(given, seen(9, 3), FREE, NOW)
    assert (up.permitted, down.permitted) == (above, below)
    assert (up.desired, down.desired) == (4, 2), "what would be done is told all the same"


@pytest.mark.parametrize("given", [made("true"), made("scale-up"), made("maybe")])
def test_a_pause_keeps_even_replicas_that_are_out_of_bounds(given: Rule) -> None:
    assert decide(given, seen(51, 1), FREE, NOW).permitted == 1


@pytest.mark.parametrize("given", [made("true"), made("scale-down"), made("true", replicas="7")])
def test_a_deployment_that_a_person_stopped_stays_stopped(given: Rule) -> None:
    decision = decide(given, seen(51, 0), FREE, NOW)
    assert (decision.permitted, decision.reason) == (0, Reason.SCALING_DISABLED)


def test_a_number_is_gone_to_while_the_backlog_is_unknown_too() -> None:
    decision = decide(made("true", replicas="7"), seen(UNKNOWN, 3), FREE, NOW)
    assert (decision.permitted, decision.cause.reason) == (7, Reason.PAUSED_AT_REPLICAS)


def test_the_end_of_a_pause_is_a_deadline() -> None:
    for asked in (made("true", until=LATER), made("scale-up", until=LATER)):
        decision = decide(asked, seen(51, 3, at=NOW + 3.5), FREE, 100.0)
        assert decision.next_change == 106.5
        after = decide(asked, seen(51, 3, at=NOW + 10), FREE, 106.5)
        assert (after.permitted, after.switch) == (4, None)


@pytest.mark.parametrize(
    ("given", "further"),
    [
        (made(), 21),
        (made("true"), None),
        (made("scale-up"), None),
        (made("scale-down"), 21),
        (made("true", replicas="7"), None),
        (made("true", until=SOON), 21),
    ],
)
def test_the_doorbell_rings_only_for_what_may_be_done(given: Rule, further: int | None) -> None:
    assert messages_until_change(given, seen(30, 3)) == further


@given(
    st.sampled_from(["true", "scale-up", "scale-down", "maybe"]),
    st.integers(0, 200) | st.just(UNKNOWN),
    st.integers(0, 15),
)
def test_no_replicas_move_against_a_pause(kind: str, messages: int, replicas: int) -> None:
    decision = decide(made(kind), seen(messages, replicas), FREE, NOW)
    free = decide(made(), seen(messages, replicas), FREE, NOW)
    assert (decision.trace, decision.memory) == (free.trace, free.memory)
    assert decision.permitted <= replicas or kind == "scale-down"
    assert decision.permitted >= replicas or kind == "scale-up"
    assert decision.permitted in (replicas, free.desired)


# How it is told.


@pytest.mark.parametrize(
    ("given", "ready", "active", "told", "title"),
    [
        (made("true"), "Paused", "False Paused", "True Paused", "Not scaling: paused"),
        (
            made("scale-up"),
            "PausedScaleUp",
            "True ValidMetricFound",
            "True PausedScaleUp",
            "Not scaling up: that is paused",
        ),
        (
            made("scale-down"),
            "PausedScaleDown",
            "True ValidMetricFound",
            "True PausedScaleDown",
            "Not scaling down: that is paused",
        ),
        (
            made(replicas="3"),
            "PausedAtReplicas",
            "False PausedAtReplicas",
            "True PausedAtReplicas",
            "Not scaling: paused at a number of replicas",
        ),
        (
            made("maybe"),
            "PausedUnreadable",
            "False PausedUnreadable",
            "True PausedUnreadable",
            "Not scaling: paused, by an annotation that cannot be read",
        ),
        (
            made("true", until=SOON),
            "Scaling",
            "True ValidMetricFound",
            "False NotPaused",
            "Steady: the backlog asks for no change",
        ),
    ],
)
def test_each_pause_has_its_word(given: Rule, ready: str, active: str, told: str, title: str) -> None:
    status = compose(facts(30, made=given), RuleStatus())
    conditions = {one.type: f"{one.status} {one.reason}" for one in status.conditions}
    assert (conditions["Ready"], conditions["ScalingActive"], conditions["Paused"]) == (
        f"True {ready}",
        active,
        told,
    )
    assert headline(given.key, given, status).title == title


def test_a_rule_that_was_never_paused_has_no_condition_for_it() -> None:
    assert compose(facts(30), RuleStatus()).condition("Paused") is None


def test_a_pause_gets_an_event_when_it_begins_and_one_when_it_ends() -> None:
    before = compose(facts(30), RuleStatus())
    during = compose(facts(30, made=made("scale-up", until=LATER)), before)
    after = compose(facts(30, made=made("scale-up", until=LATER), now=NOW + 10), during)
    removed = compose(facts(30, now=NOW + 20), after)
    assert [one.reason for one in changed_conditions(before, during)] == ["PausedScaleUp"]
    assert [one.reason for one in changed_conditions(during, after)] == ["NotPaused"]
    assert not changed_conditions(after, removed)
    assert "remove the annotations" in next(one.message for one in after.conditions if one.type == "Paused")


@pytest.mark.parametrize(
    ("given", "messages", "outcome"),
    [
        (
            made("scale-up"),
            51,
            (
                "default/my-app keeps 3 replicas while scaling up is paused;"
                " otherwise default/my-app is scaled from 3 to 4"
            ),
        ),
        (
            made("scale-up"),
            9,
            "default/my-app is scaled from 3 to 2: Backlog 9 is below scaleDownThreshold 10",
        ),
        (
            made("true", replicas="7", reason="a sale"),
            9,
            (
                "default/my-app is scaled from 3 to 7: The rule is paused at 7 replicas by annotation"
                ' ("a sale"): remove it or set it to false'
            ),
        ),
        (
            made("true", replicas="3"),
            9,
            (
                "default/my-app keeps 3 replicas while the rule is paused;"
                " otherwise default/my-app is scaled from 3 to 2"
            ),
        ),
    ],
)
def test_an_explanation_says_what_is_done_and_what_would_be(given: Rule, messages: int, outcome: str) -> None:
    steps = explain(facts(messages, made=given))
    assert steps[-1].text == outcome
    assert given.pause
    assert given.pause.message in steps[0].text


def test_a_metric_tells_of_it() -> None:
    series = RuleSeries("")
    for asked, state in (
        (made("scale-up"), (True, Reason.PAUSED_SCALE_UP)),
        (made("true", until=SOON), (False, Reason.NOT_PAUSED)),
        (made(), (False, Reason.NOT_PAUSED)),
    ):
        series.evaluated(asked, None, None, None, NOW)
        assert series.paused == state


def test_the_times_of_these_tests() -> None:
    assert datetime.fromisoformat(SOON).timestamp() == NOW
    assert datetime.fromisoformat(LATER).timestamp() == NOW + 10
