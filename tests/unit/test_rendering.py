"""Steps as people read them, and as programs do."""

import json

from natsscaler.core.explain.steps import Step
from natsscaler.core.explain.text import document, text, worst
from natsscaler.core.reasons import Fix, State

STEPS = {
    "ScalingRule shop/orders": (
        Step("Rule", "shop/orders asks for 1 to 10 replicas"),
        Step(
            "NATS",
            "it cannot be reached",
            State.BLOCKED,
            Fix("Ask from inside", ("kubectl exec -n somewhere pod -- a long command",)),
        ),
    )
}


def test_plain_text_has_one_line_for_each_step_fix_and_command() -> None:
    assert text(STEPS, colour=False, width=None) == (
        "ScalingRule shop/orders\n"
        " ✓ Rule  shop/orders asks for 1 to 10 replicas\n"
        " ✗ NATS  it cannot be reached\n"
        "         → Ask from inside\n"
        "           kubectl exec -n somewhere pod -- a long command\n"
    )


def test_on_a_terminal_sentences_are_wrapped_and_commands_are_not() -> None:
    lines = text(STEPS, colour=False, width=32).splitlines()
    assert lines[1:3] == [" ✓ Rule  shop/orders asks for 1", "         to 10 replicas"]
    assert lines[-1] == "           kubectl exec -n somewhere pod -- a long command"


def test_colours_are_for_the_marks_alone() -> None:
    assert "\x1b[31m✗\x1b[0m NATS" in text(STEPS, colour=True, width=None)


def test_a_name_cannot_command_the_terminal() -> None:
    hostile = {
        "ScalingRule": (Step("Consumer", "ORDERS/\x1b]0;owned\x07", fix=Fix("\x1b[2J", ("\x1b[2J",))),)
    }
    assert "\x1b" not in text(hostile, colour=False, width=None)


def test_json_has_the_worst_state_and_every_step() -> None:
    made = json.loads(document(STEPS))
    assert made["state"] == "blocked"
    assert made["sections"]["ScalingRule shop/orders"] == [
        {"title": "Rule", "text": "shop/orders asks for 1 to 10 replicas", "state": "ok", "fix": None},
        {
            "title": "NATS",
            "text": "it cannot be reached",
            "state": "blocked",
            "fix": {
                "text": "Ask from inside",
                "commands": ["kubectl exec -n somewhere pod -- a long command"],
            },
        },
    ]


def test_nothing_is_well() -> None:
    assert worst({}) is State.OK
