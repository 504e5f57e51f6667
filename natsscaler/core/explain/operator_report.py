"""What only the operator can know: its last word on a rule, and where a look from elsewhere differs.

`natsscaler explain` and `natsscaler check` run elsewhere than the operator, as somebody else. Where NATS is
reached from here and not from there, or the other way round, that is most often the answer. Pure.
"""

import re
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from natsscaler.core.decision.pipeline import Decision
from natsscaler.core.decision.situation import StepKind
from natsscaler.core.explain.steps import Step
from natsscaler.core.reasons import REASONS, Finding, Fix, Reason, State
from natsscaler.core.rule import Rule, Target
from natsscaler.core.status import RuleStatus, rfc3339

SKEW_SECONDS = 60.0
"""How far the clock here may be ahead of the one that renewed the Lease."""


class Lease(NamedTuple):
    """Who leads. Times in seconds since the epoch."""

    holder: str
    renewed: float
    duration: float


def last_word(status: RuleStatus, kind: str) -> Finding | None:
    """Return what the operator said in one of its conditions."""
    condition = status.condition(kind)
    reason = REASONS.get(condition.reason) if condition else None
    return Finding(reason, condition.message) if condition and reason else None


def remembered(status: RuleStatus, decision: Decision, now: float) -> float | None:
    """Say until when the operator stabilizes, in seconds since the epoch: its status keeps not all wants.

    None if it is not stabilizing as `decision` does, or if what it said is over.
    """
    last = status.last_decision
    if not last or not last.next_change_time or not last.reason == decision.reason == Reason.STABILIZING:
        return None
    try:
        until = datetime.fromisoformat(last.next_change_time).timestamp()
    except ValueError:
        return None
    return until if until > now else None


def at_work(
    rule: Rule, status: RuleStatus, lease: Lease | None, *, here: Reason | None, operator: Target, now: float
) -> Step:
    """Tell what the operator says of a rule, and whether it acts; `here`: what is wrong from here."""
    ready, last, known = status.condition("Ready"), status.last_decision, status.observed_generation
    problem = led(lease, now)
    if ready is None or known is None:
        problem = "No operator has evaluated this rule yet"
    elif known < rule.generation:
        problem = (
            f"It has evaluated generation {known} of this rule, but not yet generation {rule.generation}"
        )
    if problem or ready is None:
        pods = f"kubectl get pods -n {operator.namespace}"
        runs = Fix(f"Check that it runs and watches namespace {rule.key.namespace}", (pods,))
        return Step(StepKind.OPERATOR, problem, State.BLOCKED, runs)
    if ready.status == "False":
        said = f"{ready.reason}: {ready.message}"
        if here and here == ready.reason:
            said = f"{here}, as seen from here"
        elif here is None:
            said += ". This is not so from here: check what lies between the operator and NATS"
        logs = Fix("See its log", (f"kubectl logs -n {operator.namespace} deployment/{operator.name}",))
        text = f"Since {ready.last_transition_time} it has reported {said}"
        return Step(StepKind.OPERATOR, text, State.BLOCKED, None if here == ready.reason else logs)
    since = f"It has reported no problem since {ready.last_transition_time}"
    return Step(
        StepKind.OPERATOR, f"{since}. Its last decision, at {last.time}: {last.message}" if last else since
    )


def led(lease: Lease | None, now: float) -> str:
    """Say that nobody leads any more, if the Lease says so; "" otherwise, and without a Lease."""
    if lease is None or (lease.holder and lease.renewed + lease.duration + SKEW_SECONDS > now):
        return ""
    if not lease.holder:
        return f"Nobody leads: the Lease was released at {rfc3339(lease.renewed)}"
    return f"Nobody leads: {lease.holder} last renewed the Lease at {rfc3339(lease.renewed)}"


def from_outside(step: Step, url: str, operator: Target, command: str) -> Step:
    """Say how to look again where NATS cannot be reached from outside of the cluster."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return step  # the operator would find itself there
    service, _, rest = host.partition(".")
    namespace = rest.partition(".")[0] or operator.namespace
    inside = f"kubectl exec -n {operator.namespace} deployment/{operator.name} -- natsscaler {command}"
    if re.fullmatch(r"[\d.]+|.*:.*", host):  # an address tells no name
        namespace, service = "NAMESPACE", "NAME"
    forward = f"kubectl port-forward -n {namespace} service/{service} 8222"
    explain = command if command.startswith("explain ") else "explain NAMESPACE/NAME"
    here = f"natsscaler {explain} --monitoring-url http://127.0.0.1:8222"
    return replace(
        step,
        text=f"{step.text}. Names and addresses of a cluster work inside it only",
        fix=Fix("Run this inside the cluster, or forward the port to this machine", (inside, forward, here)),
    )
