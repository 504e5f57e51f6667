"""A rule's state in a few words, for a person who has never seen the page."""

from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.core.decision.situation import StepKind
from natsscaler.core.explain.steps import Step, explain_invalid, fix, next_change
from natsscaler.core.reasons import REASONS, Finding, Fix, Reason, State
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
    fix: Annotated[Fix | None, Meta(description="What to do about it.")] = None


NOT_YET = "The operator has not evaluated this rule yet"
OTHERWISE = {
    "AbleToScale": "Not scaling: the Deployment cannot be scaled",
    "ScalingActive": "Not scaling: the backlog is unknown",
}
"""What a condition says that is false for a reason of another version."""


def headline(key: RuleKey, rule: Rule | None, status: RuleStatus) -> Headline:
    """Say how a rule is, the gravest first; None: it is invalid."""
    if rule is None:
        why = _invalid(key, status)[0]
        title = Reason.INVALID_RULE.about.title
        return Headline(state=why.state, title=title, text=why.text, fix=why.fix)
    for kind, otherwise in OTHERWISE.items():
        found = status.condition(kind)
        if found and found.status == "False":
            return _headline(found.reason, found.message, otherwise, rule)
    last, pause = status.last_decision, status.condition("Paused")
    if last and pause and pause.status == "True":
        return _headline(pause.reason, pause.message, "Paused", rule)
    if last is None:
        return Headline(state=State.WAITING, title="Not evaluated yet", text=NOT_YET)
    said = _headline(last.reason, last.message, OTHERWISE["ScalingActive"], rule)
    return _polled(said, status, rule) if said.state in (State.OK, State.WAITING) else said


def _polled(said: Headline, status: RuleStatus, rule: Rule) -> Headline:
    """Say first that a rule reacts slower than it should, if it does."""
    events = status.condition("EventDriven")
    reason = REASONS.get(events.reason) if events and events.status == "False" and events.is_bad else None
    if events is None or reason is None or reason.about.state is State.OK:
        return said
    title = reason.about.headline
    return Headline(
        state=State.ATTENTION,
        title=title[:1].upper() + title[1:],
        text=f"Polled every {rule.spec.poll_interval_seconds} s: {events.message}. {said.title}: {said.text}",
        fix=fix(events.reason, rule),
    )


def _headline(word: str, text: str, otherwise: str, rule: Rule) -> Headline:
    reason = REASONS.get(word)
    return Headline(
        state=reason.about.state if reason else State.BLOCKED,
        title=reason.about.title if reason else otherwise,
        text=text,
        fix=fix(word, rule),
    )


def retell(key: RuleKey, rule: Rule | None, status: RuleStatus) -> tuple[Step, ...]:
    """Tell a decision that another process has made, as far as it wrote that down; or why there is none."""
    if rule is None:
        return _invalid(key, status)
    steps = [
        Step(one.type, one.message, _state(one), fix(one.reason, rule)) for one in bad_conditions(status)
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


def _state(condition: Condition) -> State:
    reason = REASONS.get(condition.reason)
    if condition.type == "EventDriven":
        return State.ATTENTION  # whatever it is, the rule is polled all the same
    return reason.about.state if reason else State.BLOCKED
