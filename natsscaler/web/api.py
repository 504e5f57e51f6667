"""What the page and the API say about a rule; `openapi.py` describes the API from these structs."""

from typing import Annotated

from msgspec import Meta, Raw, Struct, field, json
from msgspec.structs import asdict

from natsscaler.core.explain.headline import Headline, bad_conditions, headline, retell
from natsscaler.core.explain.steps import Step
from natsscaler.core.explain.story import explain
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.status import (
    Action,
    Condition,
    LastDecision,
    RuleStatus,
    Time,
    WorkRates,
    epoch,
    rfc3339,
)
from natsscaler.core.waking import WakeSource
from natsscaler.observe.feed import Seen
from natsscaler.observe.timeline import Point


class Leader(Struct, frozen=True, kw_only=True):
    """Which of several processes acts."""

    identity: Annotated[str | None, Meta(description="Its pod and a random suffix; null while nobody leads.")]
    is_self: Annotated[
        bool, Meta(description="Whether it is the one that answers; others show what the leader has written.")
    ] = field(name="self")


class DeploymentName(Struct, frozen=True, kw_only=True):
    """Names a Deployment, or what is scaled in its place."""

    namespace: str
    name: str
    kind: str


class Events(Struct, frozen=True, kw_only=True):
    """Whether events wake a rule."""

    listening: Annotated[bool | None, Meta(description="null: not yet known.")]
    reason: str
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """A condition that is not as it should be."""

    type: str
    reason: str
    message: str


class RuleSummary(Struct, frozen=True, kw_only=True, rename="camel"):
    """A rule in the table of all. What is null is unknown."""

    namespace: str
    name: str
    deployment: Annotated[DeploymentName | None, Meta(description="null: the rule is invalid.")]
    subject: Annotated[str | None, Meta(description="Its subject, or those of its sources between commas.")]
    replicas: Annotated[int | None, Meta(description="Replicas that the target asks for.")]
    ready_replicas: Annotated[int | None, Meta(description="Replicas that are ready.")]
    desired: Annotated[int | None, Meta(description="Replicas that the last decision wants.")]
    min_replicas: int | None
    max_replicas: int | None
    backlog: Annotated[int | None, Meta(description="Messages that wait; null is not zero.")]
    scale_up_threshold: int | None
    scale_down_threshold: int | None
    messages_per_replica: int | None
    drain_target_seconds: Annotated[int | None, Meta(description="spec.drainTime.targetSeconds.")]
    state: Headline
    events: Events
    problems: tuple[Problem, ...]
    last_action: Action | None
    since: Annotated[
        Time | None,
        Meta(description="Since when it is not ready; null: it is, or that is unknown."),
    ]
    rates: Annotated[WorkRates | None, Meta(description="null: unknown.")]
    trend: Annotated[
        list[tuple[int, int | None]],
        Meta(
            description="Steps of [time, backlog] of the last ten minutes in maxima of 30 seconds,"
            " oldest first. Time in seconds since the epoch; null: unknown."
        ),
    ]
    nats_monitoring_url: Annotated[str | None, Meta(description="Where NATS is asked for the backlog.")] = (
        field(name="natsMonitoringURL")
    )
    nats_servers: Annotated[tuple[str, ...], Meta(description="NATS servers whose word the last backlog is.")]


class WakeUp(Struct, frozen=True, kw_only=True):
    """When something last caused an evaluation."""

    source: WakeSource
    time: Time


class RuleCondition(Condition, frozen=True, kw_only=True):
    """A condition."""

    bad: Annotated[bool, Meta(description="Whether it says that something is not as it should be.")]


class RuleDetail(Struct, frozen=True, kw_only=True, rename="camel"):
    """All about one rule."""

    summary: RuleSummary
    steps: Annotated[
        tuple[Step, ...],
        Meta(
            description="The last decision step by step, what would change it next, and what comes of it;"
            " where another process decides, what it has written down."
        ),
    ]
    consumers: Annotated[tuple[str, ...], Meta(description="STREAM/CONSUMER that it was last counted on.")]
    poll_interval_seconds: int | None
    evaluated_at: Annotated[Time | None, Meta(description="When it was last evaluated.")]
    last_decision: LastDecision | None
    rates: Annotated[WorkRates | None, Meta(description="null: unknown.")]
    spec: Annotated[
        Raw | None,
        Meta(description="The rule's spec with its defaults, as the CRD describes it; null: it is invalid."),
    ]
    conditions: tuple[RuleCondition, ...]
    wake_ups: Annotated[tuple[WakeUp, ...], Meta(description="Newest first; of the process that answers.")]
    actions: Annotated[tuple[Action, ...], Meta(description="The last ones of this rule, newest first.")]
    history: Annotated[
        list[Point],
        Meta(
            description="Steps of [time, backlog, replicas, ready], oldest first, each until the next."
            " Time in seconds since the epoch; null: unknown. The last ten minutes to the second, the hour in"
            " maxima of 10 seconds, the day before it in maxima of 5 minutes."
        ),
    ]
    history_from: Annotated[
        int,
        Meta(description="The history begins here: in a stream, replaces what was given from this time on."),
    ]


def summary(seen: Seen, now: float) -> RuleSummary:
    """Sum up a rule in a row; `now` in seconds since the epoch."""
    return _summary(seen, seen.status, now)


def detail(seen: Seen, now: float, since: int = 0) -> RuleDetail:
    """Tell all about a rule, with the history from `since` on; `now` in seconds since the epoch."""
    status, rule, facts = seen.status, seen.rule, seen.facts
    last = status.last_decision
    woken = sorted(seen.woken.items(), key=lambda item: item[1], reverse=True)
    return RuleDetail(
        summary=_summary(seen, status, now),
        steps=explain(facts) if facts else retell(seen.key, rule, status),
        consumers=tuple(name for one in status.counted for name in one.source.consumers),
        poll_interval_seconds=rule.spec.poll_interval_seconds if rule else None,
        evaluated_at=rfc3339(facts.now) if facts else last.time if last else None,
        last_decision=last,
        rates=status.rates,
        spec=Raw(json.encode(rule.spec)) if rule else None,
        conditions=tuple(RuleCondition(**asdict(one), bad=one.is_bad) for one in status.conditions),
        wake_ups=tuple(WakeUp(source=source, time=rfc3339(time)) for source, time in woken),
        actions=seen.actions,
        history=seen.history.points(now, since),
        history_from=since,
    )


def _summary(seen: Seen, status: RuleStatus, now: float) -> RuleSummary:
    spec, last = seen.rule.spec if seen.rule else None, status.last_decision
    at = seen.facts.now if seen.facts else epoch(last.time) if last else None
    ready = status.condition("Ready")
    bounds = seen.rule.bounds(at or 0.0) if seen.rule else None
    return RuleSummary(
        namespace=seen.key.namespace,
        name=seen.key.name,
        deployment=_deployment(seen.rule) if seen.rule else None,
        subject=seen.rule.subjects if seen.rule else None,
        replicas=status.current_replicas,
        ready_replicas=status.ready_replicas,
        desired=last.desired if last else None,
        min_replicas=bounds.low if bounds else None,
        max_replicas=bounds.high if bounds else None,
        backlog=status.pending_messages,
        scale_up_threshold=spec.scale_up_threshold if spec else None,
        scale_down_threshold=spec.scale_down_threshold if spec else None,
        messages_per_replica=spec.messages_per_replica if spec else None,
        drain_target_seconds=spec.drain_time.target_seconds if spec and spec.drain_time else None,
        state=headline(seen.key, seen.rule, status),
        events=_events(status),
        problems=tuple(
            Problem(type=one.type, reason=one.reason, message=one.message) for one in bad_conditions(status)
        ),
        last_action=seen.actions[0] if seen.actions else None,
        since=ready.last_transition_time if ready and ready.status == "False" else None,
        rates=status.rates,
        trend=seen.history.trend(now),
        nats_monitoring_url=spec.nats_monitoring_url if spec else None,
        nats_servers=(last.leaders if last else None) or (),
    )


def _deployment(rule: Rule) -> DeploymentName:
    target = rule.target
    return DeploymentName(namespace=target.namespace, name=target.name, kind=target.kind)


def _events(status: RuleStatus) -> Events:
    found = status.condition("EventDriven")
    if found is None:
        return Events(listening=None, reason=Reason.NOT_YET_READ, message="not yet known")
    return Events(listening=found.status == "True", reason=found.reason, message=found.message)
