"""A rule on the page, and what may be seen of it."""

from typing import Any

from natsscaler.core.conditions import Facts
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, parse
from natsscaler.core.status import Action, rfc3339
from tests.support.factories import body

NOW = 1_767_225_600.0


LISTENING = Finding(Reason.LISTENING, "messages are listened to")


def named(name: str, **spec: Any) -> Rule:
    made = body(**spec)
    made["metadata"]["name"] = name
    return parse(made)


RULE = named("orders")


def facts(
    observation: Observation, *, rule: Rule = RULE, now: float = NOW, unable: Finding | None = None
) -> Facts:
    return Facts(
        rule=rule,
        seen=observation,
        decision=decide(rule, observation, Memory(), now),
        unable=unable,
        events=LISTENING,
        late=False,
        next_change=None,
        now=now,
    )


def action(number: int, deployment: str = "my-app") -> Action:
    return Action(
        timestamp=rfc3339(NOW + number),
        deployment=deployment,
        namespace="default",
        from_replicas=number,
        to_replicas=number + 1,
        reason="BacklogAboveThreshold: Backlog 51 is above scaleUpThreshold 50",
        pending_messages=51,
    )
