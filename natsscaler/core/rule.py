"""ScalingRule objects, typed: what a user may write, with the bounds and words that the CRD shows too.

The structs below are the one source of truth for the schema of `spec`: `crd.py` turns them into the
CustomResourceDefinition, so that what the API server accepts is what this parser accepts.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from natsscaler.core.access import (
    DNS_SUBDOMAIN,
    Access,
    MonitoringAccess,
    NamespacedName,
    Nats,
    SecretKey,
    servers,
)
from natsscaler.core.errors import InvalidRule, excerpt
from natsscaler.core.pause import Pause, pause
from natsscaler.core.schedules import MOST_SCHEDULES, Bounds, Schedule, bounds, check
from natsscaler.core.selector import (
    INT32_MAX,
    MOST_SOURCES,
    Account,
    BacklogMode,
    Combine,
    MessagesPerReplica,
    Name,
    Selector,
    SourceSpec,
    Subject,
    check_sources,
)

GROUP, VERSION, PLURAL, KIND = "scaling.example.com", "v1", "scalingrules", "ScalingRule"
DEFAULT_STABILIZATION_SECONDS = 300
"""The HorizontalPodAutoscaler's default (Kubernetes API reference, autoscaling/v2 HPAScalingRules)."""
DEFAULT_IDLE_SECONDS = 300
"""KEDA's default (its `cooldownPeriod`)."""
LONGEST_PERIOD_SECONDS = 1800
"""Of a policy, as for a HorizontalPodAutoscaler (autoscaling/v2 HPAScalingPolicy)."""
LONGEST_WINDOW_SECONDS = 3600
"""For stabilization, as for a HorizontalPodAutoscaler (autoscaling/v2 HPAScalingRules)."""
LONGEST_STARTUP_SECONDS = 3600
"""Of a replica, with drainTime."""
LONGEST_FALLBACK_SECONDS = 86_400
LONGEST_WAIT_SECONDS = 86_400
"""For busy workers."""
MOST_POLICIES = 10
"""Of one direction."""

Threshold = Annotated[int, Meta(ge=0, le=INT32_MAX)]
Replicas = Annotated[int, Meta(ge=1, le=INT32_MAX)]
FewestReplicas = Annotated[int, Meta(ge=0, le=INT32_MAX)]
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"
DOCUMENT_PATH = "/(accountz|accstatz|connz|gatewayz|healthz|jsz|leafz|raftz|routez|subsz|varz)/*$"
API_VERSION = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+\Z"
OBJECT_KIND = r"^[A-Z][A-Za-z0-9]*\Z"
JOBS = "^batch/"
NO_JOB = "must not be of batch: a Job or CronJob has no replicas, so name what runs the workers on"
ONE_BACKLOG = "subject or sources must be set, and only one of them"
WITH_SUBJECT = (
    "stream, consumer, account and messagesPerReplica belong to subject: set them in each of sources"
)
ONE_TARGET = "deploymentName or scaleTargetRef must be set, and only one of them"
NO_DOCUMENT = "must be the address alone: leave out /jsz, /varz and the like at its end"
FALLBACK_NEEDS = "fallback.replicas must be given, unless fallback.behavior is Hold"
TOLERANCE_NEEDS = "tolerance needs messagesPerReplica: set that, or use the thresholds as a tolerance"
DRAIN_TIME_NEEDS = (
    "drainTime needs replicaRate, or messagesPerReplica to decide by until that is learnt: add one of them"
)
NO_DRAIN_TIME = (
    "drainTime does not go with sources, which need a replicaRate of their own: remove it, and set"
    " messagesPerReplica in each of sources"
)


class EventSource(StrEnum):
    """What may wake a rule before its poll interval has passed."""

    ADVISORIES = "Advisories"
    DOORBELL = "Doorbell"


class PolicyType(StrEnum):
    """What the value of a policy is."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the replicas may change within a period."""

    type: Annotated[
        PolicyType,
        Meta(description="Pods: value is a number of replicas. Percent: of those at the period's start."),
    ]
    value: Annotated[int, Meta(ge=1, le=INT32_MAX, description="How many Pods, or how many Percent.")]
    period_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=LONGEST_PERIOD_SECONDS,
            description="So much within this many seconds, counting the steps already taken. 1 to 1800.",
        ),
    ] = field(name="periodSeconds")

    def __str__(self) -> str:
        return f"{self.value} {self.type} in {self.period_seconds} s"


class Direction(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How scaling one way behaves."""

    policies: Annotated[
        Annotated[tuple[Policy, ...], Meta(max_length=MOST_POLICIES)],
        Meta(description="How far one may go within a period. Default: as far as the backlog asks for."),
    ] = ()
    select_policy: Annotated[
        SelectPolicy,
        Meta(
            description="Of several policies, the one that allows the greatest change (Max), or the smallest"
            " (Min). Disabled: no step this way."
        ),
    ] = field(default=SelectPolicy.MAX, name="selectPolicy")
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="With messagesPerReplica: no step while the backlog differs from that of the present"
            " replicas by no more than this share. 0 to 1, such as 0.1. Default: 0."
        ),
    ] = None


class ScaleUp(Direction, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How scaling up behaves."""

    stabilization_window_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_WINDOW_SECONDS,
            description="Scale up no higher than the lowest number of replicas wanted in this many seconds."
            " 0 to 3600.",
        ),
    ] = field(default=0, name="stabilizationWindowSeconds")


class BusyWorkers(StrEnum):
    """What steps down do about messages that workers have not yet acknowledged."""

    IGNORE = "Ignore"
    FLOOR = "Floor"
    UNTIL_IDLE = "UntilIdle"


class ScaleDown(Direction, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How scaling down behaves."""

    stabilization_window_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_WINDOW_SECONDS,
            description="Scale down no lower than the highest number of replicas wanted in this many"
            " seconds. 0 to 3600.",
        ),
    ] = field(default=DEFAULT_STABILIZATION_SECONDS, name="stabilizationWindowSeconds")
    busy_workers: Annotated[
        BusyWorkers,
        Meta(
            description="What to do about messages delivered but not yet acknowledged. Ignore: nothing."
            " Floor: keep one replica for every messagesInFlightPerReplica of them. UntilIdle: scale down"
            " only while there are none, or after maxWaitSeconds."
        ),
    ] = field(default=BusyWorkers.IGNORE, name="busyWorkers")
    messages_in_flight_per_replica: Annotated[
        int,
        Meta(ge=1, le=INT32_MAX, description="With Floor: how many messages a replica works on at a time."),
    ] = field(default=1, name="messagesInFlightPerReplica")
    max_wait_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=LONGEST_WAIT_SECONDS,
            description="With UntilIdle: scale down all the same once fewer replicas have been wanted for"
            " this many seconds without an idle moment. 1 to 86400.",
        ),
    ] = field(default=3600, name="maxWaitSeconds")


class Behavior(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How scaling behaves over time, in the fields of a HorizontalPodAutoscaler."""

    scale_up: Annotated[
        ScaleUp,
        Meta(
            description="How scaling up behaves. Without messagesPerReplica, anything but the defaults here"
            " replaces the pace of one step up per pollIntervalSeconds."
        ),
    ] = field(default=ScaleUp(), name="scaleUp")
    scale_down: Annotated[
        ScaleDown,
        Meta(
            description="How scaling down behaves. Without messagesPerReplica, anything but the defaults"
            " here replaces the pace of one step down per pollIntervalSeconds."
        ),
    ] = field(default=ScaleDown(), name="scaleDown")


class Activation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What wakes a Deployment that its rule has scaled to zero."""

    messages: Annotated[
        Threshold, Meta(description="It wakes when the backlog is greater than this many messages.")
    ] = 0
    max_age_seconds: Annotated[
        Replicas | None,
        Meta(description="It also wakes when fewer messages have waited for this many seconds."),
    ] = field(default=None, name="maxAgeSeconds")


class FallbackBehavior(StrEnum):
    """What to do about the replicas while the backlog is unknown."""

    HOLD = "Hold"
    STATIC = "Static"
    AT_LEAST = "AtLeast"
    AT_MOST = "AtMost"


class Fallback(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many replicas there are to be once the backlog has been unknown for some time."""

    after_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=LONGEST_FALLBACK_SECONDS,
            description="For how many seconds the backlog must not have been known. 1 to 86400.",
        ),
    ] = field(default=180, name="afterSeconds")
    behavior: Annotated[
        FallbackBehavior,
        Meta(
            description="Hold: the replicas stay as they are. Static: as many as replicas. AtLeast: no fewer"
            " than replicas. AtMost: no more than replicas."
        ),
    ]
    replicas: Annotated[
        Replicas | None,
        Meta(description="How many, within the bounds. Required unless behavior is Hold."),
    ] = None

    @property
    def is_whole(self) -> bool:
        """Whether replicas are given, where they are needed."""
        return self.behavior is FallbackBehavior.HOLD or self.replicas is not None

    def wanted(self, present: int) -> int:
        """Say how many replicas there are to be in place of the present ones."""
        number = present if self.replicas is None else self.replicas
        if self.behavior is FallbackBehavior.AT_LEAST:
            return max(present, number)
        if self.behavior is FallbackBehavior.AT_MOST:
            return min(present, number)
        return present if self.behavior is FallbackBehavior.HOLD else number

    def __str__(self) -> str:
        words = {"Static": "", "AtLeast": "at least ", "AtMost": "at most "}
        return f"{words[self.behavior]}{self.replicas}" if self.behavior in words else "the present ones"


class ScaleTargetRef(Struct, frozen=True, forbid_unknown_fields=True):
    """Names what to scale, as a HorizontalPodAutoscaler does."""

    api_version: Annotated[
        str,
        Meta(
            pattern=API_VERSION,
            max_length=317,
            description="API group and version of the kind, such as apps/v1. Only the group counts:"
            " natsscaler uses the version that the cluster prefers.",
        ),
    ] = field(name="apiVersion")
    kind: Annotated[
        str,
        Meta(
            pattern=OBJECT_KIND,
            max_length=63,
            description="Its kind, such as StatefulSet: any that has a scale subresource.",
        ),
    ]
    name: Annotated[str, Meta(pattern=DNS_SUBDOMAIN, max_length=253, description="Its name.")]

    @property
    def group(self) -> str:
        """The API group; "" for the core group."""
        return self.api_version.rpartition("/")[0]


class DrainTime(Struct, frozen=True, forbid_unknown_fields=True):
    """How long messages may wait."""

    target_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="A message is to wait no longer than about so many seconds. 1 to 86400.",
        ),
    ] = field(name="targetSeconds")
    utilization_percent: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="How much of what the replicas can process the messages that keep coming are to take:"
            " the rest is for bursts. 1 to 100.",
        ),
    ] = field(default=80, name="utilizationPercent")
    replica_rate: Annotated[
        Annotated[float, Meta(gt=0, le=1_000_000)] | None,
        Meta(
            description="Messages that one ready replica processes per second. Default: learnt from workers"
            " that pull, while they have all that they can do; until then messagesPerReplica decides."
        ),
    ] = field(default=None, name="replicaRate")
    startup_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=LONGEST_STARTUP_SECONDS)] | None,
        Meta(
            description="Seconds until a new replica is ready. A step up allows for what arrives meanwhile."
            " Default: as long as the replicas of the last step up took. 0 to 3600."
        ),
    ] = field(default=None, name="startupSeconds")


class RuleSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the user wants."""

    deployment_name: Annotated[
        Annotated[str, Meta(pattern=DNS_SUBDOMAIN, max_length=253)] | None,
        Meta(description="Name of the Deployment to scale. Required, unless scaleTargetRef is set."),
    ] = field(default=None, name="deploymentName")
    scale_target_ref: Annotated[
        ScaleTargetRef | None,
        Meta(
            description="What to scale, if that is no Deployment: anything with a scale subresource, such as"
            " a StatefulSet. In place of deploymentName."
        ),
    ] = field(default=None, name="scaleTargetRef")
    namespace: Annotated[
        str,
        Meta(
            pattern=DNS_LABEL,
            max_length=63,
            description="Namespace of what is scaled. Another one than the rule's own is refused"
            " unless natsscaler runs with --allow-cross-namespace.",
        ),
    ]
    min_replicas: Annotated[
        FewestReplicas,
        Meta(
            description="Lower bound of the replicas. 0: the Deployment goes to zero after idleSeconds, and"
            " wakes again by activation."
        ),
    ] = field(name="minReplicas")
    max_replicas: Annotated[Replicas, Meta(description="Upper bound of the replicas, 1 or more.")] = field(
        name="maxReplicas"
    )
    nats_monitoring_url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^ \t\r\n\f\v/?#@,]+(/[^ \t\r\n\f\v?#@]*)?\Z",
            max_length=2048,
            description="Monitoring endpoint of NATS (its http_port), such as http://nats:8222.",
        ),
    ] = field(name="natsMonitoringURL")
    subject: Annotated[
        Subject | None,
        Meta(
            description="NATS subject whose backlog decides, such as orders.processing;"
            " * stands for one token, a final > for one or more. Required, unless sources is set."
        ),
    ] = None
    scale_up_threshold: Annotated[
        Threshold, Meta(description="Scale up when the backlog is greater than this many messages.")
    ] = field(name="scaleUpThreshold")
    scale_down_threshold: Annotated[
        Threshold, Meta(description="Scale down when the backlog is less than this many messages.")
    ] = field(name="scaleDownThreshold")
    poll_interval_seconds: Annotated[
        Replicas,
        Meta(
            description="Longest time between two evaluations, in seconds; events cause earlier ones."
            " Without messagesPerReplica also the least time between two steps."
        ),
    ] = field(name="pollIntervalSeconds")
    stream: Annotated[
        Name | None,
        Meta(description="Only look at this JetStream stream. Default: found by the subject."),
    ] = None
    consumer: Annotated[
        Name | None,
        Meta(
            description="Count what waits for this consumer, of whatever kind it is and whatever it takes."
            " Default: the durable consumers whose filters are the subject, or lie within it."
        ),
    ] = None
    account: Annotated[
        Account | None,
        Meta(
            description="Name or id of the NATS account that has the stream."
            " Default: the one account that has a matching stream.",
        ),
    ] = None
    backlog: Annotated[
        BacklogMode,
        Meta(
            description="Which messages count: those not yet delivered and those delivered but not yet"
            " acknowledged (PendingAndUnacknowledged), or only the former (Pending)."
        ),
    ] = BacklogMode.PENDING_AND_UNACKNOWLEDGED
    messages_per_replica: Annotated[
        MessagesPerReplica | None,
        Meta(
            description="Scale to backlog divided by this, rounded up, in one go."
            " Default: one replica per step."
        ),
    ] = field(default=None, name="messagesPerReplica")
    drain_time: Annotated[
        DrainTime | None,
        Meta(
            description="Scale so that a message waits no longer than about this, by how fast messages come"
            " and replicas process them. It needs replicaRate or messagesPerReplica."
        ),
    ] = field(default=None, name="drainTime")
    sources: Annotated[
        Annotated[tuple[SourceSpec, ...], Meta(max_length=MOST_SOURCES)],
        Meta(
            description="Several subjects whose messages the same workers take, in place of subject, stream,"
            " consumer, account and messagesPerReplica. Their backlogs add up. All are of the NATS server at"
            " natsMonitoringURL. 1 to 8."
        ),
    ] = ()
    combine: Annotated[
        Combine,
        Meta(
            description="With sources that have messagesPerReplica: scale to the Sum of what each asks for,"
            " or to the Max."
        ),
    ] = Combine.SUM
    idle_seconds: Annotated[
        Replicas,
        Meta(
            description="With minReplicas 0: to zero only after nothing has waited, and no message has been"
            " delivered, for this many seconds."
        ),
    ] = field(default=DEFAULT_IDLE_SECONDS, name="idleSeconds")
    activation: Annotated[
        Activation, Meta(description="With minReplicas 0: what wakes a Deployment that is at zero.")
    ] = Activation()
    behavior: Annotated[Behavior, Meta(description="How scaling behaves over time.")] = Behavior()
    fallback: Annotated[
        Fallback | None,
        Meta(
            description="What to do once the backlog has been unknown for some time."
            " Default: the replicas stay as they are."
        ),
    ] = None
    schedules: Annotated[
        Annotated[tuple[Schedule, ...], Meta(max_length=MOST_SCHEDULES)],
        Meta(
            description="Other bounds for a part of the time. The first one that is active counts; it is"
            " active while its last start is later than its last end."
        ),
    ] = ()
    events: Annotated[
        tuple[EventSource, ...],
        Meta(
            description="What may wake the rule before its poll interval has passed: Advisories of"
            " JetStream, and the Doorbell, a subscription that counts messages. [] for polling only."
        ),
    ] = (EventSource.ADVISORIES, EventSource.DOORBELL)
    dry_run: Annotated[bool, Meta(description="Decide and record, but never change the replicas.")] = field(
        default=False, name="dryRun"
    )
    nats: Annotated[Nats | None, Meta(description="How to reach NATS itself, for events.")] = None
    monitoring: Annotated[
        MonitoringAccess | None, Meta(description="How to identify oneself to the monitoring endpoint.")
    ] = None

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """What the backlog of each source is looked for by; a rule with a subject is its own source."""
        own = (("spec", self),) if self.subject else ()
        listed = ((f"spec.sources[{index}]", one) for index, one in enumerate(self.sources))
        return tuple(
            Selector(
                field=field,
                subject=one.subject or "",
                stream=one.stream,
                consumer=one.consumer,
                account=one.account,
                backlog=self.backlog,
                messages_per_replica=one.messages_per_replica,
            )
            for field, one in (*own, *listed)
        )

    @property
    def sized(self) -> bool:
        """Whether it is given how many messages one replica is for."""
        return self.selectors[0].messages_per_replica is not None

    @property
    def one_by_one(self) -> bool:
        """Whether the backlog asks for one replica more or fewer at a time."""
        return not self.sized and self.drain_time is None

    @property
    def goes_to_zero(self) -> bool:
        """Whether the rule itself may scale to zero; a schedule never allows it where the rule does not."""
        return self.min_replicas == 0


class RuleKey(NamespacedName):
    """Names a ScalingRule."""

    __slots__ = ()


class Target(NamedTuple):
    """Names what is scaled, whatever version of its API a rule names it by."""

    namespace: str
    name: str
    kind: str = "Deployment"
    group: str = "apps"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def shown(self) -> str:
        """Name it with its kind, for people."""
        return f"{self.kind} {self}"

    @property
    def is_deployment(self) -> bool:
        return (self.kind, self.group) == ("Deployment", "apps")

    @property
    def resource(self) -> str:
        """What kubectl calls its kind."""
        return self.kind.lower() if self.group == "apps" else f"{self.kind.lower()}.{self.group}"


class Rule(Struct, frozen=True, kw_only=True):
    """A ScalingRule that can be acted upon. Equal rules ask for the same."""

    key: RuleKey
    uid: str
    generation: int
    created: str
    """creationTimestamp, RFC 3339: the older of two rules for one target owns it."""
    pause: Pause | None
    """What annotations ask for, also when it has run out; None: nothing."""
    spec: RuleSpec
    operator_dry_run: bool = False
    """The operator runs with --dry-run, so every rule is one."""

    @property
    def dry_run(self) -> str:
        """What makes it a dry run: a field or a flag; "": it is none."""
        return "--dry-run of the operator" if self.operator_dry_run else "spec.dryRun" * self.spec.dry_run

    def bounds(self, at: float) -> Bounds:
        """Say how many replicas are allowed at this time (seconds since the epoch)."""
        spec = self.spec
        return bounds(spec.min_replicas, spec.max_replicas, spec.schedules, at)

    def paused(self, at: float) -> Pause | None:
        """Say how a person has paused the rule, if so at this time (seconds since the epoch)."""
        return self.pause if self.pause and at < self.pause.until else None

    @property
    def target(self) -> Target:
        found = self.spec.scale_target_ref
        if found:
            return Target(self.spec.namespace, found.name, found.kind, found.group)
        return Target(self.spec.namespace, self.spec.deployment_name or "")

    @property
    def target_field(self) -> str:
        """The field that names the target."""
        return "spec.scaleTargetRef" if self.spec.scale_target_ref else "spec.deploymentName"

    @property
    def monitoring(self) -> Access:
        """How to get at the monitoring endpoint; in a path, unlike before it, case matters."""
        return Access(_normal(self.spec.nats_monitoring_url), self._secret(self.spec.monitoring))

    def nats(self, otherwise: str) -> Access:
        """How to get at NATS itself; `otherwise`: at which address if the rule names none."""
        own = self.spec.nats and self.spec.nats.url
        return Access(",".join(servers(own)) if own else otherwise, self._secret(self.spec.nats))

    def _secret(self, part: Nats | MonitoringAccess | None) -> SecretKey | None:
        return SecretKey(self.key.namespace, part.secret_ref.name) if part and part.secret_ref else None

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """What the backlog of each source is looked for by."""
        return self.spec.selectors

    @property
    def subjects(self) -> str:
        """Name its subjects, for people."""
        return ", ".join(by.subject for by in self.selectors)


def parse(body: Mapping[str, Any]) -> Rule:
    """Turn a ScalingRule object, as the Kubernetes API gives it, into a Rule.

    Raises InvalidRule naming the field and the fix. Unknown fields are refused: the API server prunes
    them, so one that is still there comes from a newer CRD and would silently be ignored.
    """
    metadata = body["metadata"]
    try:
        spec = msgspec.convert(body.get("spec") or {}, RuleSpec)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise InvalidRule(excerpt(f"spec{path.removesuffix('`')}: {problem}")) from error
    _check_target(spec)
    _check_sources(spec)
    if len(set(spec.events)) < len(spec.events):
        raise InvalidRule("spec.events names a source twice: remove one")
    for name, url, read in (
        ("natsMonitoringURL", spec.nats_monitoring_url, lambda text: urlsplit(text).port),
        ("nats.url", (spec.nats and spec.nats.url) or "nats://nats", servers),
    ):
        try:
            read(url)
        except ValueError as error:
            raise InvalidRule(f"spec.{name} is no usable URL: {excerpt(str(error))}") from error
    if re.search(DOCUMENT_PATH, spec.nats_monitoring_url):
        raise InvalidRule(f"spec.natsMonitoringURL {NO_DOCUMENT}")
    _check_together(spec)
    return Rule(
        key=RuleKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created=metadata["creationTimestamp"],
        pause=pause(metadata.get("annotations") or {}),
        spec=spec,
    )


def _check_together(spec: RuleSpec) -> None:
    """Raise InvalidRule if fields contradict each other, as the API server does by the same rules."""
    if spec.min_replicas > spec.max_replicas:
        raise InvalidRule(
            f"spec.minReplicas ({spec.min_replicas}) is greater than spec.maxReplicas"
            f" ({spec.max_replicas}): lower the one or raise the other"
        )
    check(spec.min_replicas, spec.max_replicas, spec.schedules)
    drain = spec.drain_time
    if drain and drain.replica_rate is None and spec.messages_per_replica is None:
        raise InvalidRule(f"spec.{DRAIN_TIME_NEEDS}")
    if spec.fallback and not spec.fallback.is_whole:
        raise InvalidRule(f"spec.{FALLBACK_NEEDS}")
    for name, side in (("scaleUp", spec.behavior.scale_up), ("scaleDown", spec.behavior.scale_down)):
        if not spec.sized and side.tolerance is not None:
            raise InvalidRule(f"spec.behavior.{name}.{TOLERANCE_NEEDS}")
    if spec.scale_down_threshold > spec.scale_up_threshold:
        raise InvalidRule(
            f"spec.scaleDownThreshold ({spec.scale_down_threshold}) is greater than spec.scaleUpThreshold"
            f" ({spec.scale_up_threshold}): lower the one or raise the other"
        )


def _check_sources(spec: RuleSpec) -> None:
    if (spec.subject is None) == (not spec.sources):
        raise InvalidRule(f"spec.{ONE_BACKLOG}")
    if spec.sources and any((spec.stream, spec.consumer, spec.account, spec.messages_per_replica)):
        raise InvalidRule(f"spec.{WITH_SUBJECT}")
    if spec.sources and spec.drain_time:
        raise InvalidRule(f"spec.{NO_DRAIN_TIME}")
    check_sources(spec.sources, spec.combine)


def _check_target(spec: RuleSpec) -> None:
    if (spec.deployment_name is None) == (spec.scale_target_ref is None):
        raise InvalidRule(f"spec.{ONE_TARGET}")
    if spec.scale_target_ref and re.search(JOBS, spec.scale_target_ref.api_version):
        raise InvalidRule(f"spec.scaleTargetRef.apiVersion {NO_JOB}")


@lru_cache(maxsize=10_000)
def _normal(url: str) -> str:
    """Write a URL that is the same place in the same way."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()
