"""A rule's state in a few words, for a person who has never seen the page."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.core.decision.situation import StepKind
from natsscaler.core.errors import Finding, Reason
from natsscaler.core.explain.steps import State, Step, explain_invalid, fix, next_change
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.status import Condition, RuleStatus


class Headline(Struct, frozen=True, kw_only=True):
    """A rule's state."""

    state: Annotated[
        State,
        Meta(
            description="ok; waiting: held by time, passes by itself; attention: a person's switch or a"
            " bound; blocked: something must be fixed."
        ),
    ]
    title: Annotated[str, Meta(description="In a few words.")]
    text: Annotated[str, Meta(description="Why, in a sentence.")]
    fix: Annotated[str | None, Meta(description="What to do about it.")] = None


SWITCHES: Mapping[str, str] = {
    Reason.SCALING_DISABLED: "Not scaling: switched off, the Deployment has 0 replicas",
    Reason.PAUSED: "Not scaling: paused",
    Reason.DRY_RUN: "Not scaling: dry run only",
}
OBSTACLES: Mapping[str, str] = {
    Reason.TARGET_NOT_FOUND: "Not scaling: no such Deployment",
    Reason.TARGET_OWNED_BY_ANOTHER: "Not scaling: another scaler owns the Deployment",
    Reason.CROSS_NAMESPACE_NOT_ALLOWED: "Not scaling: the Deployment's namespace is not allowed",
    Reason.NAMESPACE_NOT_WATCHED: "Not scaling: the namespace is not watched",
    Reason.CONFLICT: "Not scaling: something else keeps changing the replicas",
    Reason.FORBIDDEN: "Not scaling: the operator lacks a permission",
    Reason.DENIED: "Not scaling: a policy of the cluster refuses it",
    Reason.KUBERNETES_UNAVAILABLE: "Not scaling: Kubernetes does not answer",
    Reason.CONSUMER_PAUSED: "Not scaling: the consumer is paused in NATS",
    Reason.NOT_YET_READ: "Not scaling: the backlog has not been read yet",
    Reason.MONITORING_UNREACHABLE: "Not scaling: NATS cannot be reached",
    Reason.MONITORING_CERTIFICATE: "Not scaling: the certificate of NATS's monitoring port is not accepted",
    Reason.MONITORING_TIMEOUT: "Not scaling: NATS does not answer",
    Reason.MONITORING_HTTP_STATUS: "Not scaling: NATS's monitoring port answers with an error",
    Reason.MONITORING_UNREADABLE: "Not scaling: what answers is not NATS's monitoring port",
    Reason.MONITORING_TOO_LARGE: "Not scaling: what NATS answers is too large",
    Reason.MONITORING_STALE: "Not scaling: what NATS answers is out of date",
    Reason.MONITORING_INCOMPLETE: "Not scaling: a part of NATS does not answer",
    Reason.IMPLAUSIBLE_COUNT: "Not scaling: NATS counts what cannot be",
    Reason.SECRET_NOT_FOUND: "Not scaling: the Secret for NATS does not exist",
    Reason.SECRET_NOT_LABELLED: "Not scaling: the Secret for NATS lacks its label",
    Reason.SECRET_UNUSABLE: "Not scaling: the Secret for NATS cannot be used",
    Reason.CREDENTIALS_REFUSED: "Not scaling: NATS refuses the credentials",
    Reason.ADDRESS_NOT_ALLOWED: "Not scaling: the address of NATS is not allowed",
    Reason.JETSTREAM_DISABLED: "Not scaling: JetStream is off in NATS",
    Reason.ACCOUNT_NOT_FOUND: "Not scaling: no such NATS account",
    Reason.STREAM_NOT_FOUND: "Not scaling: no such stream",
    Reason.CONSUMER_NOT_FOUND: "Not scaling: no consumer takes the subject",
    Reason.CONSUMER_GONE: "Not scaling: the consumer is gone",
    Reason.AMBIGUOUS_CONSUMER: "Not scaling: several consumers match, name one",
    Reason.AMBIGUOUS_ACCOUNT: "Not scaling: several accounts match, name one",
    Reason.LEADER_UNCLEAR: "Not scaling: the consumer's leader in NATS is unclear",
}
"""All else is summed up: what keeps the backlog from being known, and the Deployment from being scaled."""
NOT_YET = "The operator has not evaluated this rule yet"
UNABLE = "Not scaling: the Deployment cannot be scaled"
UNKNOWN = "Not scaling: the backlog is not known"
DECISIONS: Mapping[str, tuple[State, str]] = {
    Reason.WITHIN_THRESHOLDS: (State.OK, "Steady: the backlog asks for no change"),
    Reason.AT_MIN_REPLICAS: (State.OK, "Steady: at minReplicas"),
    Reason.AT_MAX_REPLICAS: (State.ATTENTION, "At maxReplicas: more are wanted, none are allowed"),
    Reason.BACKLOG_ABOVE_THRESHOLD: (State.OK, "Scaling up"),
    Reason.BACKLOG_BELOW_THRESHOLD: (State.OK, "Scaling down"),
    Reason.FEWER_REPLICAS_SUFFICE: (State.OK, "Scaling down"),
    Reason.BELOW_MIN_REPLICAS: (State.OK, "Scaling up to minReplicas"),
    Reason.ABOVE_MAX_REPLICAS: (State.OK, "Scaling down to maxReplicas"),
    Reason.WAITING_TO_STEP_UP: (State.WAITING, "Waiting for the next step up"),
    Reason.WAITING_TO_STEP_DOWN: (State.WAITING, "Waiting for the next step down"),
    Reason.STABILIZING: (State.WAITING, "Waiting to scale down: stabilization window"),
}


def headline(key: RuleKey, rule: Rule | None, status: RuleStatus) -> Headline:
    """Say how a rule is, the gravest first; None: it is invalid."""
    if rule is None:
        why = _invalid(key, status)[0]
        return Headline(state=why.state, title="Not scaling: the rule is invalid", text=why.text, fix=why.fix)
    for kind, otherwise in (("AbleToScale", UNABLE), ("ScalingActive", UNKNOWN)):
        found = status.condition(kind)
        if found and found.status == "False":
            switch = SWITCHES.get(found.reason)
            return Headline(
                state=State.ATTENTION if switch else State.BLOCKED,
                title=switch or OBSTACLES.get(found.reason, otherwise),
                text=found.message,
                fix=_fix(found.reason, rule),
            )
    last = status.last_decision
    if last is None:
        return Headline(state=State.WAITING, title="Not looked at yet", text=NOT_YET)
    state, title = DECISIONS.get(last.reason, (State.BLOCKED, UNKNOWN))
    more = fix(Reason.TOO_MANY_REPLICAS, rule) if last.reason == Reason.AT_MAX_REPLICAS else None
    return Headline(state=state, title=title, text=last.message, fix=more)


def retell(key: RuleKey, rule: Rule | None, status: RuleStatus) -> tuple[Step, ...]:
    """Tell a decision that another process has made, as far as it wrote that down; or why there is none."""
    if rule is None:
        return _invalid(key, status)
    steps = [
        Step(
            one.type,
            one.message,
            State.ATTENTION if one.type == "EventDriven" or one.reason in SWITCHES else State.BLOCKED,
            _fix(one.reason, rule),
        )
        for one in bad_conditions(status)
    ]
    last, said = status.last_decision, headline(key, rule, status)
    if last is None:
        return (*steps, Step(StepKind.OUTCOME, said.text, said.state))
    false = {one.type: one.reason for one in status.conditions if one.status == "False"}
    following = next_change(
        unable="AbleToScale" in false,
        inactive=false.get("ScalingActive"),
        further=last.messages_until_change,
        at=last.next_change_time,
    )
    return (*steps, following, Step(StepKind.OUTCOME, last.message, said.state))


def bad_conditions(status: RuleStatus) -> list[Condition]:
    """List the conditions that are not as they should be, one for each reason; Ready only sums up others."""
    bad = [one for one in status.conditions if one.is_bad]
    bad.sort(key=lambda one: one.type == "Ready")
    return [one for index, one in enumerate(bad) if one.reason not in {other.reason for other in bad[:index]}]


def _invalid(key: RuleKey, status: RuleStatus) -> tuple[Step, ...]:
    ready = status.condition("Ready")
    return explain_invalid(Finding(Reason.INVALID_RULE, ready.message if ready else NOT_YET), key)


def _fix(reason: str, rule: Rule) -> str | None:
    known = reason in set(Reason)  # another version may have written it
    return fix(Reason(reason), rule) if known else None
