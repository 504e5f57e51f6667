"""The series of each rule: what they are called, and how they are written out.

They are by far the most: 5,000 rules have some 80,000. So they are plain fields of one record per rule,
written out by a loop (docs/decisions/0008), and they go as soon as the record is dropped, whatever is still
under way for that rule. Names follow the Prometheus conventions; a value of None is no series.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from natsscaler.core.conditions import rates
from natsscaler.core.decision.pipeline import Decision
from natsscaler.core.decision.situation import Observation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.status import WorkRates

PREFIX = "natsscaler_"
GAUGES = {
    "backlog_messages": "Messages that wait; no series while the backlog is unknown",
    "backlog_timestamp_seconds": "When the backlog was last known, in Unix time",
    "arriving_messages_per_second": "Messages that come, a mean over the last minute",
    "processed_messages_per_second": "Messages that are done with, a mean over the last minute",
    "replica_processed_messages_per_second": "Messages that are done with per ready replica",
    "drain_seconds": "How long the backlog takes at the present rate of processing",
    "replicas": "Replicas that the Deployment asks for",
    "desired_replicas": "Replicas that the last decision wants",
    "min_replicas": "The fewest replicas allowed now: spec.minReplicas, or by a schedule",
    "max_replicas": "The most replicas allowed now: spec.maxReplicas, or by a schedule",
    "scale_up_threshold_messages": "spec.scaleUpThreshold",
    "scale_down_threshold_messages": "spec.scaleDownThreshold",
}
STATES = {
    "backlog_known": "1 if the backlog is known, 0 if the replicas are held because it is not",
    "able_to_scale": "1 if the Deployment can be scaled by this rule, 0 if something keeps it from that",
    "event_driven": "1 if messages wake the rule, 0 if it is only polled",
    "paused": "1 if an annotation pauses the rule, in one direction or both",
}
COUNTERS = {
    "decisions": "Evaluations by the reason of their decision",
    "scaling_actions": "Changes of replicas by direction and reason",
}
USUAL_ACTIONS = (("up", Reason.BACKLOG_ABOVE_THRESHOLD), ("down", Reason.BACKLOG_BELOW_THRESHOLD))
"""Told as 0 before the first one: Prometheus sees no increase in a series that begins with 1."""
State = tuple[bool, Reason]
"""How it is, and the reason that the condition in the rule's status gives for it."""


@dataclass(slots=True)
class RuleSeries:
    """What is told of one rule: nothing before its first evaluation, so only who leads tells anything."""

    labels: str
    backlog_messages: int | None = None
    backlog_timestamp_seconds: float | None = None
    arriving_messages_per_second: float | None = None
    processed_messages_per_second: float | None = None
    replica_processed_messages_per_second: float | None = None
    drain_seconds: float | None = None
    replicas: int | None = None
    desired_replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_up_threshold_messages: int | None = None
    scale_down_threshold_messages: int | None = None
    backlog_known: State | None = None
    able_to_scale: State | None = None
    event_driven: State | None = None
    paused: State | None = None
    decisions: Counter[str] = field(default_factory=Counter)
    scaling_actions: Counter[str] = field(default_factory=Counter)

    def evaluated(
        self,
        rule: Rule,
        seen: Observation | None,
        decision: Decision | None,
        events: Finding | None,
        wall: float,
    ) -> None:
        """Tell of an evaluation at `wall` (Unix time); `events`: Listening, or what else; None: unknown."""
        spec, bounds = rule.spec, rule.bounds(wall)
        self.min_replicas, self.max_replicas = bounds.low, bounds.high
        self.scale_up_threshold_messages = spec.scale_up_threshold
        self.scale_down_threshold_messages = spec.scale_down_threshold
        self.event_driven = (events.reason is Reason.LISTENING, events.reason) if events else None
        pause = rule.paused(wall)
        self.paused = pause is not None, pause.reason if pause else Reason.NOT_PAUSED
        self.replicas = seen.replicas if seen else None
        self.desired_replicas = decision.desired if decision else None
        self.backlog_known = self.backlog_messages = None
        backlog = seen.backlog if seen else None
        if isinstance(backlog, Unknown):
            self.backlog_known = False, backlog.reason
        elif backlog:
            self.backlog_known = True, Reason.VALID_METRIC_FOUND
            self.backlog_messages, self.backlog_timestamp_seconds = backlog.messages, round(wall, 3)
        self._work(backlog, decision)
        for direction, reason in USUAL_ACTIONS:
            self.scaling_actions.setdefault(_action(direction, reason), 0)
        if decision:
            self.decisions[f'reason="{decision.reason}"'] += 1

    def _work(self, backlog: Backlog | Unknown | None, decision: Decision | None) -> None:
        known = rates(backlog, decision) if isinstance(backlog, Backlog) and decision else None
        found = known or WorkRates()
        self.arriving_messages_per_second = found.arriving_per_second
        self.processed_messages_per_second = found.processing_per_second
        self.replica_processed_messages_per_second = found.processing_per_ready_replica
        self.drain_seconds = found.drain_seconds

    def unable(self, finding: Finding | None) -> None:
        """Tell what keeps the Deployment from being scaled by this rule, if anything does."""
        self.able_to_scale = finding is None, finding.reason if finding else Reason.READY_FOR_NEW_SCALE

    def scaled(self, before: int, after: int, reason: Reason) -> None:
        """Tell of a change of the replicas."""
        self.replicas = after
        self.scaling_actions[_action("up" if after > before else "down", reason)] += 1


def of_rule(key: RuleKey) -> RuleSeries:
    """Make the series of a rule; the names of Kubernetes objects need no escaping."""
    return RuleSeries(f'namespace="{key.namespace}",rule="{key.name}"')


def write(rules: Iterable[RuleSeries], *, openmetrics: bool) -> Iterator[str]:
    """Write each family, in the text format of Prometheus or in OpenMetrics without its end."""
    rules = list(rules)
    for name, text in GAUGES.items():
        yield _head(name, "gauge", text, openmetrics=openmetrics)
        yield "".join(
            f"{PREFIX}{name}{{{rule.labels}}} {value}\n"
            for rule in rules
            if (value := getattr(rule, name)) is not None
        )
    for name, text in STATES.items():
        yield _head(name, "gauge", text, openmetrics=openmetrics)
        yield "".join(
            f'{PREFIX}{name}{{{rule.labels},reason="{state[1]}"}} {state[0]:d}\n'
            for rule in rules
            if (state := getattr(rule, name)) is not None
        )
    for name, text in COUNTERS.items():
        yield _head(name if openmetrics else f"{name}_total", "counter", text, openmetrics=openmetrics)
        yield "".join(
            f"{PREFIX}{name}_total{{{rule.labels},{labels}}} {count}\n"
            for rule in rules
            for labels, count in getattr(rule, name).items()
        )


def _action(direction: str, reason: Reason) -> str:
    return f'direction="{direction}",reason="{reason}"'


def _head(name: str, kind: str, text: str, *, openmetrics: bool) -> str:
    head = f"# HELP {PREFIX}{name} {text}\n# TYPE {PREFIX}{name} {kind}\n"
    unit = name.rpartition("_")[2]
    if openmetrics and unit in ("messages", "seconds"):
        head += f"# UNIT {PREFIX}{name} {unit}\n"
    return head
