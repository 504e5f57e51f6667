"""What a ScalingRule's status says, and when it is worth writing.

A status is made whole from what is true now and compared with the one written last: only what a person
would notice is worth a write at once, a mere new count can wait for the poll interval. Wall-clock times
are absolute, so that a status at rest never changes.
"""

import contextlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import astuple, replace

from natsscaler.core.decision.rates import KEPT, MOST_LEARNT
from natsscaler.core.jetstream.backlog import Via
from natsscaler.core.jetstream.counters import Counters
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.reasons import Reason
from natsscaler.core.selector import MOST_SOURCES

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
USUAL = {
    "Ready": "True",
    "AbleToScale": "True",
    "ScalingActive": "True",
    "EventDriven": "True",
    "ScalingLimited": "False",
    "Paused": "False",
    "ScaledToZero": "False",
}
"""The status that each condition has while there is nothing to tell."""
SCALED_TO_ZERO = "ScaledToZero"
"""The condition that says whose zero it is: True from before the rule scales to zero until that ends."""
NEUTRAL = ("ScalingLimited", "Paused", SCALED_TO_ZERO)
"""Conditions that are neither good nor bad."""

RECENT_ACTIONS = 5
"""How many actions of a rule outlive the process that took them, for people to read."""
REMEMBERED_STEPS = 20
"""How many steps of a rule outlive the process that took them, for the policies of spec.behavior to count."""
REMEMBERED_WANTS = 20
"""How many wants outlive the process, for the stabilization windows to look back at."""
TALLIED_COUNTERS = 16
"""Of so many consumers of a rule, counters are kept."""
YEARS = 1970, 9000
"""What a time may be of: nothing that is computed from it then leaves what a datetime can be."""
MOST_DELIVERED = 10**18
"""More than any stream has. The API server keeps bounds as floats, and gives this one back as it is."""
LearntRate = Annotated[float, Meta(ge=1e-9, le=1e9)]
NEW_RATE = 0.1
"""The share by which a rate must change to be told anew."""


class Condition(Struct, frozen=True, kw_only=True):
    """One of the standard conditions (Kubernetes API conventions, metav1.Condition)."""

    type: Annotated[str, Meta(max_length=316, description="What is asked.")]
    status: Annotated[str, Meta(description="True, False or Unknown.")]
    reason: Annotated[str, Meta(max_length=1024, description="Why, in one word.")]
    message: Annotated[str, Meta(max_length=32768, description="Why, in a sentence, with the fix.")]
    last_transition_time: Annotated[Time, Meta(description="When the status last changed.")] = field(
        name="lastTransitionTime"
    )
    observed_generation: Annotated[
        int, Meta(description="The generation of the rule that this speaks of.")
    ] = field(default=0, name="observedGeneration")

    @property
    def is_usual(self) -> bool:
        """Whether there is nothing to tell."""
        refused = self.reason == Reason.CANNOT_SCALE_TO_ZERO
        return USUAL.get(self.type, self.status) == self.status and not refused

    @property
    def is_bad(self) -> bool:
        """Whether something is not as it should be."""
        return self.type not in NEUTRAL and not self.is_usual


class LastScaling(Struct, frozen=True, kw_only=True):
    """The last change of replicas that this rule made."""

    time: Annotated[Time, Meta(description="When.")]
    before: Annotated[int, Meta(description="Replicas before.")] = field(name="from")
    after: Annotated[int, Meta(description="Replicas after.")] = field(name="to")


class Wanted(Struct, frozen=True, kw_only=True):
    """How many replicas the backlog asked for at a time."""

    time: Annotated[Time, Meta(description="When.")]
    replicas: Annotated[int, Meta(description="How many, within the bounds.")]


class Tallied(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What NATS counted at one moment; rates are made of the differences."""

    time: Annotated[Time, Meta(description="When, by the clock of NATS.")]
    counters: Annotated[
        Annotated[tuple[Counters, ...], Meta(max_length=TALLIED_COUNTERS)],
        Meta(description="Of each consumer."),
    ]
    ready_replicas: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Pods that were ready; absent if unknown.")
    ] = None
    template: Annotated[
        str, Meta(description="Which pod template all pods were made of; absent during a rollout.")
    ] = ""
    follows: Annotated[bool, Meta(description="Whether all counters went on from the tally before.")] = False
    saturated: Annotated[
        bool, Meta(description="Whether no worker waited for messages since the tally before.")
    ] = False


class Remembered(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What earlier decisions leave for later ones, for the operator to read after a restart."""

    last_up: Annotated[Time | None, Meta(description="When the replicas last rose, by whomever.")] = None
    last_down: Annotated[Time | None, Meta(description="When the replicas last fell, by whomever.")] = None
    last_beyond_max: Annotated[
        Time | None, Meta(description="When the backlog last asked for more than maxReplicas.")
    ] = None
    unknown_since: Annotated[
        Time | None, Meta(description="Since when the backlog has been unknown, if spec.fallback asks.")
    ] = None
    busy_since: Annotated[
        Time | None, Meta(description="Since when a step down waits for idle workers, if it does.")
    ] = None
    steps: Annotated[
        Annotated[tuple[LastScaling, ...], Meta(max_length=REMEMBERED_STEPS)],
        Meta(description="Steps that a policy of spec.behavior may still count, newest last."),
    ] = ()
    wants: Annotated[
        Annotated[tuple[Wanted, ...], Meta(max_length=REMEMBERED_WANTS)],
        Meta(description="What steps down look back at, newest last."),
    ] = ()
    last_active: Annotated[
        Time | None, Meta(description="With minReplicas 0: when a message last waited or moved.")
    ] = None
    delivered: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_DELIVERED)] | None,
        Meta(description="With minReplicas 0: how many messages had been delivered then."),
    ] = None
    waiting_since: Annotated[Time | None, Meta(description="At zero replicas: since when messages wait.")] = (
        None
    )
    lows: Annotated[
        Annotated[tuple[Wanted, ...], Meta(max_length=REMEMBERED_WANTS)],
        Meta(description="What steps up look back at, newest last."),
    ] = ()
    starting: Annotated[
        Wanted | None, Meta(description="With drainTime: the last step up, until its replicas are ready.")
    ] = None
    startup_seconds: Annotated[
        float | None,
        Meta(description="With drainTime: how long the replicas of the last step up took to be ready."),
    ] = None
    tallies: Annotated[
        Annotated[tuple[Tallied, ...], Meta(max_length=KEPT)],
        Meta(description="What rates are made of, newest last."),
    ] = ()
    replica_rates: Annotated[
        Annotated[tuple[LearntRate, ...], Meta(max_length=MOST_LEARNT)],
        Meta(description="What one ready replica was seen to process per second, newest last."),
    ] = ()
    replica_rates_of: Annotated[str, Meta(description="The pod template that this was seen of.")] = ""


class Action(Struct, frozen=True, kw_only=True, rename="camel"):
    """One change of replicas that a rule made, as `/scaling-activity` gives it too."""

    timestamp: Annotated[Time, Meta(description="When.")]
    """RFC 3339, UTC."""
    deployment: Annotated[str, Meta(description="Name of the Deployment, or of what is scaled in its place.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    from_replicas: Annotated[int, Meta(description="Replicas before.")]
    to_replicas: Annotated[int, Meta(description="Replicas after.")]
    reason: Annotated[str, Meta(description="Why, in one word and a sentence.")]
    pending_messages: Annotated[
        int | None,
        Meta(
            description="The backlog that decided; null if it was unknown (a bound was enforced).",
            extra_json_schema={"nullable": True},
        ),
    ]


class SourceBacklog(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What one of several sources has of the backlog."""

    subject: Annotated[str, Meta(description="Its subject.")]
    backlog: Annotated[int | None, Meta(description="Its backlog; absent if unknown.")] = None
    messages_per_replica: Annotated[
        int | None, Meta(description="How many of its messages one replica is for.")
    ] = None
    consumers: Annotated[
        tuple[str, ...], Meta(description="STREAM/CONSUMER that it is counted on, or STREAM.")
    ] = ()


class LastDecision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last decision, step by step; brought up to date when something a person would notice changes."""

    time: Annotated[Time, Meta(description="When this was decided.")]
    backlog: Annotated[int | None, Meta(description="The backlog that decided; absent if unknown.")] = None
    pending: Annotated[int | None, Meta(description="Messages not yet delivered.")] = None
    unacknowledged: Annotated[
        int | None, Meta(description="Messages delivered and not yet acknowledged.")
    ] = None
    source: Annotated[
        Via | None,
        Meta(description="Who was asked for the backlog: the Monitoring endpoint, or NATS (ConsumerInfo)."),
    ] = None
    leaders: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="NATS servers whose word the backlog is: in a cluster the leaders of the consumers."
        ),
    ] = None
    sources: Annotated[
        Annotated[tuple[SourceBacklog, ...], Meta(max_length=MOST_SOURCES)],
        Meta(description="With spec.sources, the backlog of each."),
    ] = ()
    recommendation: Annotated[int, Meta(description="Replicas that the backlog alone asks for.")]
    desired: Annotated[int, Meta(description="Replicas after bounds and stabilization.")]
    schedule: Annotated[
        str | None, Meta(description="The schedule whose bounds applied; absent if none was active.")
    ] = None
    reason: Annotated[str, Meta(description="Why, in one word.")]
    message: Annotated[str, Meta(description="Why, in a sentence.")]
    messages_until_change: Annotated[
        int | None,
        Meta(description="After how many further messages the rule would scale up; absent if none would do."),
    ] = field(default=None, name="messagesUntilChange")
    next_change_time: Annotated[
        Time | None, Meta(description="When time alone could change the decision.")
    ] = field(default=None, name="nextChangeTime")


class WorkRates(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """How fast messages come and are worked off, as means over the last minute; absent: unknown."""

    arriving_per_second: Annotated[float | None, Meta(description="Messages that come, per second.")] = None
    processing_per_second: Annotated[
        float | None,
        Meta(description="Messages that are acknowledged, terminated or given up, per second."),
    ] = None
    processing_per_ready_replica: Annotated[float | None, Meta(description="Those per ready replica.")] = None
    drain_seconds: Annotated[
        float | None,
        Meta(
            description="How long the backlog takes at this rate of processing, in seconds: about how long a"
            " message waits that comes now."
        ),
    ] = None
    estimated: Annotated[
        bool,
        Meta(
            description="A consumer takes only a part of its stream: then NATS does not tell messages that"
            " are delivered again from new ones, and the rates may be too high by these."
        ),
    ] = False


class Counted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the backlog of a source is counted on."""

    source: Annotated[Source, Meta(description="Where it is counted, and how that was found.")]
    seen: Annotated[
        Time | None, Meta(description="When it was counted there, at the least; by NATS's clock.")
    ] = None


class RuleStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of a ScalingRule."""

    observed_generation: Annotated[
        int | None, Meta(description="The generation of the rule that this speaks of.")
    ] = field(default=None, name="observedGeneration")
    current_replicas: Annotated[int | None, Meta(description="Replicas that the target asks for.")] = field(
        default=None, name="currentReplicas"
    )
    ready_replicas: Annotated[
        int | None, Meta(description="Replicas that are ready; absent if that is unknown.")
    ] = field(default=None, name="readyReplicas")
    pending_messages: Annotated[
        int | None, Meta(description="The backlog that decides; absent if it is unknown.")
    ] = field(default=None, name="pendingMessages")
    last_scaling_action: Annotated[
        Time | None, Meta(description="When this rule last changed the replicas.")
    ] = field(default=None, name="lastScalingAction")
    last_scaling_reason: Annotated[
        str | None, Meta(description="Why this rule last changed the replicas.")
    ] = field(default=None, name="lastScalingReason")
    last_scaling: Annotated[
        LastScaling | None, Meta(description="The last change of replicas that this rule made.")
    ] = field(default=None, name="lastScaling")
    recent_actions: Annotated[
        Annotated[tuple[Action, ...], Meta(max_length=RECENT_ACTIONS)],
        Meta(
            description="The last changes of replicas that this rule made, newest first, for people to read."
        ),
    ] = field(default=(), name="recentActions")
    backlog_source: Annotated[
        Source | None, Meta(description="Where the backlog is counted, and how that was found.")
    ] = field(default=None, name="backlogSource")
    backlog_source_seen: Annotated[
        Time | None, Meta(description="When the backlog was counted there, at the least; by NATS's clock.")
    ] = field(default=None, name="backlogSourceSeen")
    backlog_sources: Annotated[
        Annotated[tuple[Counted, ...], Meta(max_length=MOST_SOURCES)],
        Meta(description="In place of backlogSource, if spec.sources names several."),
    ] = field(default=(), name="backlogSources")
    last_decision: Annotated[LastDecision | None, Meta(description="The last decision, step by step.")] = (
        field(default=None, name="lastDecision")
    )
    rates: Annotated[
        WorkRates | None,
        Meta(description="How fast messages come and are worked off; absent if the backlog is unknown."),
    ] = None
    memory: Annotated[
        Remembered | None,
        Meta(description="What the operator must still know after a restart, as it was written last."),
    ] = None
    conditions: Annotated[
        tuple[Condition, ...], Meta(description="Ready, AbleToScale, ScalingActive and others.")
    ] = ()

    @property
    def claims_zero(self) -> bool:
        """Whether a Deployment with 0 replicas was scaled there by the rule itself, and not by a person."""
        condition = self.condition(SCALED_TO_ZERO)
        return condition is not None and condition.status == "True"

    @property
    def counted(self) -> tuple[Counted, ...]:
        """What the backlog of each source is counted on, as far as it ever was."""
        own = self.backlog_source and Counted(source=self.backlog_source, seen=self.backlog_source_seen)
        return (own, *self.backlog_sources) if own else self.backlog_sources

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of this type, if there is one."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


def rfc3339(epoch: float) -> str:
    """Write seconds since the epoch as the Kubernetes API writes a time: UTC, whole seconds."""
    return datetime.fromtimestamp(math.floor(epoch), UTC).isoformat().replace("+00:00", "Z")


def epoch(time: str) -> float | None:
    """Read a time of RFC 3339 as seconds since the epoch; None: it is none, or of no year within YEARS."""
    with contextlib.suppress(ValueError, OverflowError):
        read = datetime.fromisoformat(time)
        return read.timestamp() if read.tzinfo and YEARS[0] <= read.year <= YEARS[1] else None
    return None


def noticeable(old: RuleStatus, new: RuleStatus) -> bool:
    """Tell whether a person would notice the difference: anything but a mere new count."""
    return _without_counts(old) != _without_counts(new)


def new_count(old: RuleStatus, new: RuleStatus) -> bool:
    """Tell whether the counts differ; when the next change may come is no count."""

    def counts(status: RuleStatus) -> tuple[object, ...]:
        last = status.last_decision
        return (
            status.ready_replicas,
            status.pending_messages,
            last
            and (
                *(last.pending, last.unacknowledged, last.source, last.leaders, last.sources),
                *(last.recommendation, last.desired, last.reason),
            ),
        )

    return counts(old) != counts(new) or _other_rates(old.rates, new.rates)


def _other_rates(old: WorkRates | None, new: WorkRates | None) -> bool:
    """Tell whether rates differ by more than what they do all the time."""
    pairs = zip(astuple(old or WorkRates()), astuple(new or WorkRates()), strict=True)
    return any(
        (one is None) != (other is None) or not math.isclose(one or 0, other or 0, rel_tol=NEW_RATE)
        for one, other in pairs
    )


def _without_counts(status: RuleStatus) -> RuleStatus:
    """Strip what follows the backlog up and down while the rule stays in the same state."""
    return replace(
        status,
        ready_replicas=None,
        pending_messages=None if status.pending_messages is None else 0,
        backlog_source_seen=None,
        backlog_sources=tuple(replace(one, seen=None) for one in status.backlog_sources),
        last_decision=None,
        rates=None,
        memory=None,
    )


def changed_conditions(old: RuleStatus, new: RuleStatus) -> list[Condition]:
    """List the conditions that deserve an Event: changed ones, and new ones that are not as they should be.

    A condition that is Unknown deserves none, and one that was counts as new. One Event says why, however
    many conditions do; Ready only sums up others, so it gets none beside them.
    """
    kinds = {condition.type for condition in new.conditions}
    changed: list[Condition] = []
    for condition in new.conditions:
        if condition.status == "Unknown":
            continue
        before = old.condition(condition.type)
        before = None if before and before.status == "Unknown" else before
        same = before and (before.status, before.reason) == (condition.status, condition.reason)
        new_and_well = before is None and condition.is_usual
        repeats = condition.type == "Ready" and {"AbleToScale", "ScalingActive", "EventDriven"} & kinds
        said = any((one.reason, one.message) == (condition.reason, condition.message) for one in changed)
        if not (same or new_and_well or repeats or said):
            changed.append(condition)
    return changed


def read_back(raw: object) -> RuleStatus:
    """Read what stands in a rule's status; what another version or a person wrote there is left out."""
    found = raw if isinstance(raw, Mapping) else {}
    usable: dict[str, Any] = {}
    for known in msgspec.structs.fields(RuleStatus):
        with contextlib.suppress(msgspec.ValidationError, KeyError):
            usable[known.name] = msgspec.convert(found[known.encode_name], known.type)
    status = RuleStatus(**usable)
    last, decision = status.last_scaling, status.last_decision
    return replace(
        status,
        backlog_source_seen=status.backlog_source_seen if epoch(status.backlog_source_seen or "") else None,
        backlog_sources=tuple(
            one if epoch(one.seen or "") else replace(one, seen=None) for one in status.backlog_sources
        ),
        last_scaling=last if last and epoch(last.time) is not None else None,
        memory=status.memory if status.memory and _timely(status.memory) else None,
        last_decision=decision if decision and epoch(decision.time) is not None else None,
        recent_actions=tuple(
            action for action in status.recent_actions if epoch(action.timestamp) is not None
        ),
    )


def _timely(memory: Remembered) -> bool:
    """Tell whether all of its times can be read."""
    times = [memory.last_up, memory.last_down, memory.last_beyond_max, memory.unknown_since]
    times += [memory.last_active, memory.waiting_since, memory.busy_since]
    times += [step.time for step in memory.steps]
    times += [want.time for want in (*memory.wants, *memory.lows)]
    times += [tally.time for tally in memory.tallies]
    return all(time is None or epoch(time) is not None for time in times)


def of_no_deployment(status: RuleStatus) -> RuleStatus:
    """Leave out what is only true of the Deployment that was scaled so far."""
    conditions = tuple(one for one in status.conditions if one.type != SCALED_TO_ZERO)
    return replace(
        status,
        current_replicas=None,
        ready_replicas=None,
        last_scaling=None,
        memory=None,
        conditions=conditions,
    )
