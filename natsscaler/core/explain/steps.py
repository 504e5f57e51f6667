"""The steps that a decision is told in, and the words that every teller shares.

The process that has decided knows all of the steps; one that stands by has only what the status says of them.
Both use the same words.
"""

import shlex

from msgspec import Struct

from natsscaler.core.decision.situation import StepKind
from natsscaler.core.reasons import REASONS, Finding, Fix, Reason, State
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.words import amount


class Step(Struct, frozen=True):
    """One step of the way from a rule to its replicas."""

    title: str
    """A StepKind, or what else it is about: a condition, a server, a rule."""
    text: str
    state: State = State.OK
    fix: Fix | None = None
    """What to do about it."""


def explain_invalid(finding: Finding, key: RuleKey) -> tuple[Step, ...]:
    """Tell what becomes of a rule that cannot be used."""
    fix = Reason.INVALID_RULE.about.fix
    edit = fix and fix.filled(name=key.name, namespace=key.namespace)
    nothing = "The replicas do not change until the rule is fixed"
    return (
        Step(StepKind.RULE, f"{key} cannot be used: {finding.message}", State.BLOCKED, edit),
        Step(StepKind.OUTCOME, nothing, State.BLOCKED),
    )


def next_change(*, unable: bool, inactive: str | None, further: int | None, at: str | None) -> Step:
    """Tell what would change the replicas next.

    `unable`: the Deployment cannot be scaled; `inactive`: why ScalingActive is false, if it is; `further`:
    messages until more replicas are wanted; `at`: when time alone may change what is wanted.
    """
    if unable:
        text = "once the Deployment can be scaled, which is tried repeatedly"
    elif inactive:
        reason = REASONS.get(inactive)
        holds = reason.about.holds if reason else ""
        text = f"none {holds}" if holds else "once the backlog is known"
    else:
        ways = [f"possible at {at}, even without a further message"] if at else []
        ways += [f"{amount(further, 'further message')} would ask for more replicas"] if further else []
        text = "; ".join(ways) or "only if the backlog falls: no number of messages asks for more replicas"
    return Step(StepKind.NEXT_CHANGE, text)


def fix(reason: str, rule: Rule) -> Fix | None:
    """Say what to do about a reason of this rule, if it is known and there is something."""
    known = REASONS.get(reason)
    if known is None or known.about.fix is None:
        return None
    return known.about.fix.filled(
        name=rule.key.name,
        namespace=rule.key.namespace,
        target=f"{rule.target.resource} {rule.target.name}",
        resource=rule.target.resource + ("s" if rule.target.group == "apps" else ""),
        field=rule.target_field,
        target_namespace=rule.target.namespace,
        minimum=max(1, rule.spec.min_replicas),
        url=rule.spec.nats_monitoring_url,
        subject=shlex.quote(rule.spec.subject or "SUBJECT"),
        stream=rule.spec.stream or "STREAM",
        consumer=rule.spec.consumer or "NAME",
    )


def blocked(title: StepKind, finding: Finding, rule: Rule) -> Step:
    """Tell of what is wrong, with its fix."""
    return Step(title, finding.message, State.BLOCKED, fix(finding.reason, rule))
