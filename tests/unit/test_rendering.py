"""Steps as people read them, and as programs do."""

import json

import pytest

from natsscaler.core.explain.steps import Step
from natsscaler.core.explain.text import RULES, SERVERS, Style, document, explanation, summary, worst
from natsscaler.core.reasons import Fix, State

NOW = 1_772_355_600.0  # 2026-03-01T09:00:00Z
COMMAND = (
    "kubectl exec -n scaling-operator-system deployment/scaling-operator-controller-manager -- natsscaler"
)
HEADING = "ScalingRule shop/orders"
INSIDE = Fix("Ask from inside", (COMMAND, "b"))
STEPS = (
    Step("Rule", "shop/orders asks for 1 to 10 replicas"),
    Step(
        "NATS", "http://nats:8222 refuses connections", State.BLOCKED, Fix("Ask from inside", (COMMAND, "b"))
    ),
    Step("Next change", "once the backlog is known"),
    Step("Outcome", "shop/orders keeps 2 replicas, because the backlog is unknown", State.BLOCKED),
)
PLAIN = Style(NOW)


def rules(*states: State) -> dict[str, tuple[Step, ...]]:
    """Give the sections of `check`, with rules that are so; what is wrong is one and the same."""
    fix = Fix("Create it", ("kubectl get deployments",))
    each = [
        Step(f"shop/r{number}", "No Deployment" if state is State.BLOCKED else "All is well", state, fix)
        for number, state in enumerate(states)
    ]
    blocked = any(state is State.BLOCKED for state in states)
    total = Step("Sum", "", State.BLOCKED if blocked else State.OK)
    return {
        "Installation": (Step("CRD", "It is of this version"),),
        SERVERS: (Step("http://nats:8222", "nats answered, for 3 rules"),),
        RULES: (*each, total),
    }


def test_an_explanation_begins_with_the_verdict_and_the_fix() -> None:
    assert explanation(HEADING, STEPS, PLAIN) == (
        "✗ ScalingRule shop/orders: shop/orders keeps 2 replicas, because the backlog is unknown\n"
        "\n"
        "Fix  Ask from inside\n"
        f"     $ {COMMAND}\n"
        "     $ b\n"
        "\n"
        "Checks\n"
        " ✓ Rule         shop/orders asks for 1 to 10 replicas\n"
        " ✗ NATS         http://nats:8222 refuses connections\n"
        "   Next change  Once the backlog is known\n"
    )


def test_what_is_well_needs_no_fix() -> None:
    told = explanation(HEADING, (STEPS[0], Step("Outcome", "shop/orders keeps 2 replicas")), PLAIN)
    assert told.splitlines()[:3] == ["✓ ScalingRule shop/orders: shop/orders keeps 2 replicas", "", "Checks"]


def test_a_lesser_fault_keeps_its_fix_at_its_step() -> None:
    lesser = Step("Waking", "No message wakes it", State.ATTENTION, Fix("Permit it", ("nats pub",)))
    told = explanation(HEADING, (*STEPS[:2], lesser, STEPS[-1]), PLAIN)
    assert told.index("Ask from inside") < told.index("Checks") < told.index("→ Permit it")


@pytest.mark.parametrize("width", [80, 140])
def test_no_word_and_no_command_is_broken(width: int) -> None:
    long = Step("Consumer", "x" * 100 + " and " + "word-with-hyphens " * 20, State.BLOCKED, INSIDE)
    told = explanation(HEADING, (*STEPS[:3], long, STEPS[-1]), Style(NOW, width=width))
    wanted = explanation(HEADING, (*STEPS[:3], long, STEPS[-1]), PLAIN)
    assert told.split() == wanted.split()
    assert f"     $ {COMMAND}" in told.splitlines()
    assert all(len(line) <= width for line in told.splitlines() if COMMAND not in line and "xxx" not in line)


def test_times_are_told_as_ages() -> None:
    said = "It has reported no problem since 2026-03-01T08:53:00Z. Not yet, until 2026-03-01T09:00:07Z"
    told = explanation(HEADING, (Step("Operator", said), STEPS[-1]), PLAIN)
    assert "It has reported no problem for 7 min. Not yet, for another 7 s" in told


def test_colours_are_for_the_marks_alone() -> None:
    told = explanation(HEADING, STEPS, Style(NOW, colour=True))
    assert "\x1b[31m✗\x1b[0m NATS" in told
    assert told.startswith("\x1b[31m✗\x1b[0m ScalingRule")


def test_a_name_cannot_command_the_terminal() -> None:
    hostile = Step("Consumer", "ORDERS/\x1b]0;owned\x07", fix=Fix("\x1b[2J", ("\x1b[2J",)))
    assert "\x1b" not in explanation(HEADING, (hostile, STEPS[-1]), PLAIN)


def test_a_check_begins_with_what_needs_action_and_tells_each_cause_once() -> None:
    found = rules(*[State.BLOCKED] * 7, State.OK, State.WAITING)
    told = summary(found, PLAIN, everything=False)
    assert told.startswith("✗ Needs action: 7 of 9 rules\n")
    assert told.count("No Deployment") == told.count("$ kubectl get deployments") == 1
    assert "shop/r0, shop/r1, shop/r2, shop/r3, shop/r4 and 2 more\n" in told
    assert told.endswith(" ✓ 2 rules are OK; --all lists them\n")


def test_all_rules_are_listed_if_that_is_asked_for() -> None:
    told = summary(rules(*[State.BLOCKED] * 7, State.OK), PLAIN, everything=True)
    assert [number for number in range(8) if f"shop/r{number}" not in told] == []


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ([State.OK], "✓ Nothing needs action"),
        ([], "✓ Nothing needs action"),
        ([State.WAITING], "… Nothing needs action"),
        ([State.OK, State.ATTENTION], "! Nothing needs action, but see the !"),
        ([State.BLOCKED], "✗ Needs action: 1 of 1 rule"),
    ],
)
def test_the_verdict_is_red_if_anything_is(states: list[State], verdict: str) -> None:
    assert summary(rules(*states), PLAIN, everything=False).splitlines()[0] == verdict


def test_the_verdict_names_what_is_wrong_besides_rules() -> None:
    found = rules(State.BLOCKED, State.OK)
    found["Installation"] = (Step("CRD", "It is not installed", State.BLOCKED),)
    found[SERVERS] = (*found[SERVERS], Step("http://other", "It refuses connections", State.BLOCKED))
    verdict = summary(found, PLAIN, everything=False).splitlines()[0]
    assert verdict == "✗ Needs action: 1 of 2 rules, 1 of 2 NATS servers, CRD"


def test_json_has_the_worst_state_and_every_step() -> None:
    made = json.loads(document({HEADING: STEPS[:2]}))
    assert made["state"] == "blocked"
    assert made["sections"][HEADING] == [
        {"title": "Rule", "text": "shop/orders asks for 1 to 10 replicas", "state": "ok", "fix": None},
        {
            "title": "NATS",
            "text": "http://nats:8222 refuses connections",
            "state": "blocked",
            "fix": {"text": "Ask from inside", "commands": [COMMAND, "b"]},
        },
    ]


def test_nothing_is_well() -> None:
    assert worst({}) is State.OK
