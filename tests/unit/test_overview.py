"""`natsscaler top` and `natsscaler events`: what statuses say, at a glance and in order."""

from typing import Any

import pytest

from natsscaler.core.explain.overview import happenings, table, told
from natsscaler.core.explain.text import Style
from natsscaler.core.reasons import Reason
from tests.support.factories import body

NOW = 1_772_355_600.0  # 2026-03-01T09:00:00Z
PLAIN = Style(NOW)


def condition(kind: str, status: str, reason: str, message: str = "a message") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-01T08:53:00Z",
    }


def rule(name: str, **status: Any) -> dict[str, Any]:
    made = body()
    return {**made, "metadata": {**made["metadata"], "name": name, "namespace": "shop"}, "status": status}


def action(time: str, before: int, after: int) -> dict[str, Any]:
    return {
        "timestamp": time,
        "deployment": "my-app",
        "namespace": "shop",
        "fromReplicas": before,
        "toReplicas": after,
        "reason": "BacklogAboveThreshold: Backlog 100 is above scaleUpThreshold 50",
        "pendingMessages": 100,
    }


WELL = rule(
    "well",
    currentReplicas=4,
    pendingMessages=4300,
    lastScalingAction="2026-03-01T08:58:00Z",
    rates={"arrivingPerSecond": 190.0, "processingPerSecond": 48.25, "drainSeconds": 90.0},
    lastDecision={
        "time": "2026-03-01T08:59:00Z",
        "recommendation": 4,
        "desired": 4,
        "reason": "WithinThresholds",
        "message": "The backlog is within the thresholds",
    },
    recentActions=[action("2026-03-01T08:58:00Z", 1, 4), action("2026-03-01T08:00:00Z", 9, 1)],
)
BROKEN = rule("broken", conditions=[condition("AbleToScale", "False", Reason.TARGET_NOT_FOUND)])


def test_the_table_has_each_rule_the_gravest_first() -> None:
    head, first, second = table([WELL, BROKEN], PLAIN).splitlines()
    assert head.split()[:3] == ["RULE", "BACKLOG", "REPLICAS"]
    assert first.split()[:8] == ["✗", "shop/broken", *["-"] * 6]
    assert second.split()[:10] == [
        *("✓", "shop/well", "4,300", "4/10"),
        *("190.0", "48.2", "1", "min", "2", "min"),
    ]


def test_what_is_unknown_is_no_zero() -> None:
    assert " 0 " not in table([BROKEN], PLAIN)


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_a_terminal_and_breaks_no_word(width: int) -> None:
    lines = table([WELL, BROKEN], Style(NOW, width=width)).splitlines()
    assert max(map(len, lines)) <= width
    words = set(table([WELL, BROKEN], PLAIN).split()) | {"…"}
    assert {word for line in lines for word in line.split()} <= words


def test_without_rules_there_is_a_sentence() -> None:
    assert table([], PLAIN) == "There are no rules that you can see\n"


def test_what_happened_is_told_in_its_order_with_its_age() -> None:
    assert [told(one, PLAIN) for one in happenings([WELL, BROKEN])] == [
        "   1 h ago  ▼ shop/well  9 → 1  BacklogAboveThreshold: Backlog 100 is above scaleUpThreshold 50",
        " 7 min ago  ✗ shop/broken  TargetNotFound: a message",
        " 2 min ago  ▲ shop/well  1 → 4  BacklogAboveThreshold: Backlog 100 is above scaleUpThreshold 50",
    ]


def test_a_rule_that_cannot_be_read_is_shown_all_the_same() -> None:
    invalid = rule("invalid", conditions=[condition("Ready", "False", Reason.INVALID_RULE)])
    invalid["spec"]["maxReplicas"] = -1
    assert "✗ shop/invalid" in table([invalid], PLAIN)
