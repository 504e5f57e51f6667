"""How far the policies of spec.behavior let the replicas go, as those of a HorizontalPodAutoscaler do.

A policy allows a change from the replicas at the start of its period: the present ones without the rule's own
steps since. Whole numbers all the way, where Kubernetes goes through binary fractions, by which 50 and 10 %
make 56 (kubernetes pkg/controller/podautoscaler/horizontal.go calculateScaleUpLimitWithScalingRules).
"""

from collections.abc import Iterable
from typing import NamedTuple

from natsscaler.core.decision.situation import Taken
from natsscaler.core.rule import Policy, PolicyType, ScaleDown, ScaleUp, SelectPolicy


class Limit(NamedTuple):
    """How far one may go now."""

    replicas: int
    policy: Policy
    """The one that says so."""
    until: float | None
    """When time alone may change it: the first step leaves the period of a policy."""


def limit(direction: ScaleUp | ScaleDown, replicas: int, steps: Iterable[Taken], now: float) -> Limit | None:
    """Say how far the policies of a direction allow to go from these replicas; None: as far as one likes.

    Never to the other side of the present replicas: steps that policies would not allow any more stay.
    """
    up = isinstance(direction, ScaleUp)
    allowed = [(_allowed(policy, replicas, steps, now, up=up), policy) for policy in direction.policies]
    if not allowed:
        return None
    furthest = (max if up else min) if direction.select_policy is SelectPolicy.MAX else (min if up else max)
    number, policy = furthest(allowed, key=lambda pair: pair[0])
    ends = [
        step.time + policy.period_seconds
        for policy in direction.policies
        for step in _counted(policy, steps, now)
    ]
    return Limit((max if up else min)(number, replicas), policy, min(ends, default=None))


def _counted(policy: Policy, steps: Iterable[Taken], now: float) -> list[Taken]:
    return [step for step in steps if step.time + policy.period_seconds > now]


def _allowed(policy: Policy, replicas: int, steps: Iterable[Taken], now: float, *, up: bool) -> int:
    start = replicas - sum(step.after - step.before for step in _counted(policy, steps, now))
    if policy.type is PolicyType.PODS:
        return start + policy.value if up else start - policy.value
    if up:
        return -(-start * (100 + policy.value) // 100)
    return start * (100 - policy.value) // 100
