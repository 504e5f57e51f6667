"""The one catalogue of reasons: why a decision is what it is, or why a condition has its status.

Every outcome of natsscaler has a Reason: the same word stands in conditions, Events, metrics and logs, so
that what a person reads in one place can be searched for in another. What a reason means and how to fix it
is here, once; docs/reasons.md is made from it. The message with names and numbers is written where the reason
is found: search for `Reason.CONSUMER_NOT_FOUND` and the like. A new reason is one entry.
"""

from enum import StrEnum
from typing import NamedTuple, Self

from msgspec import Struct


class State(StrEnum):
    """How something is, best first."""

    OK = "ok"
    WAITING = "waiting"
    """It waits for time to pass, as the rule asks for; it passes by itself."""
    ATTENTION = "attention"
    """A person's switch, a bound, or something that makes scaling slower."""
    BLOCKED = "blocked"
    """Something is wrong: the rule cannot do its work until it is fixed."""


class Topic(StrEnum):
    """What a reason speaks of."""

    DECISION = "What a rule does"
    SWITCH = "A person has switched the rule off"
    ONE_WAY = "A person has switched one direction off"
    READING = "The backlog is unknown: NATS cannot be read"
    SELECTION = "The backlog is unknown: nothing, or too much, matches the rule"
    CREDENTIALS = "Credentials cannot be had, or are refused"
    DEPLOYMENT = "The Deployment cannot be scaled by the rule"
    BOUNDS = "The bounds limit what is asked for"
    WAKING = "Whether messages wake the rule"
    WELL = "All is well"


SCALES_NOT = (Topic.SWITCH, Topic.READING, Topic.SELECTION, Topic.CREDENTIALS, Topic.DEPLOYMENT)
"""What keeps a rule from scaling."""


class Fix(Struct, frozen=True):
    """What a person can do."""

    text: str
    """In a sentence."""
    commands: tuple[str, ...] = ()
    """What to type for it."""

    def filled(self, **values: object) -> "Fix":
        """Return it with values for what stands in braces."""
        return Fix(self.text.format(**values), tuple(command.format(**values) for command in self.commands))


class About(NamedTuple):
    """What there is to say of a reason."""

    topic: Topic
    state: State
    headline: str
    """What it means, in a few words."""
    more: str = ""
    """What else it means, in sentences."""
    fix: Fix | None = None
    """What to do about it, with the names of a rule in braces."""
    holds: str = ""
    """For how long nothing changes, if that is not until the backlog is known."""
    passes: bool = False
    """It may pass by itself, so it is worth looking again soon."""
    lasts: bool = False
    """It holds until a read shows something else, also while the backlog is unknown."""
    unanswered: bool = False
    """Nobody has answered; somebody who did has more to say."""
    own_fault: bool = False
    """The rule itself has to be corrected, so it is none of the times that spec.fallback is for."""

    @property
    def title(self) -> str:
        """What it means for a rule."""
        return f"Not scaling: {self.headline}" if self.topic in SCALES_NOT else self.headline


EDIT = "kubectl edit scalingrule {name} -n {namespace}"
RESUME = (
    "kubectl annotate scalingrule {name} -n {namespace} scaling.example.com/paused-"
    " scaling.example.com/paused-replicas- scaling.example.com/paused-until-"
    " scaling.example.com/paused-reason-"
)
DESCRIBE = "kubectl describe scalingrule {name} -n {namespace}"
REACH = (
    "The operator must reach {url}. Check that spec.natsMonitoringURL names NATS as the operator's pod"
    " resolves it (http://nats.NAMESPACE:8222; with the official NATS chart"
    " http://nats-headless.NAMESPACE:8222, because its Service nats has no monitoring port), that the"
    " configuration of NATS sets http_port, and that no NetworkPolicy blocks it"
)
PORT = "{url}/jsz must reach the monitoring port of nats-server, 8222 by default"
MORE_ROOM = Fix(
    "Check that the workers make progress. If they do, and the cluster has room for more, raise"
    " spec.maxReplicas",
    (EDIT,),
)
POLLED = Fix("Nothing. If polling is too slow, set a shorter spec.pollIntervalSeconds", (EDIT,))


def _decided(headline: str, more: str = "", state: State = State.OK, fix: Fix | None = None) -> About:
    return About(Topic.DECISION, state, headline, more, fix, passes=state is State.WAITING)


def _switch(headline: str, holds: str, fix: str, command: str, more: str = "") -> About:
    return About(Topic.SWITCH, State.ATTENTION, headline, more, Fix(fix, (command,)), holds)


def _one_way(headline: str, holds: str, command: str) -> About:
    fix = Fix("Remove the annotations", (command,))
    return About(Topic.ONE_WAY, State.ATTENTION, headline, "The other direction goes on.", fix, holds)


def _wrong(
    topic: Topic,
    headline: str,
    more: str,
    fix: str,
    *commands: str,
    holds: str = "",
    passes: bool = False,
    unanswered: bool = False,
    own_fault: bool = False,
) -> About:
    """Make an entry for what has to be fixed."""
    return About(
        topic,
        State.BLOCKED,
        headline,
        more,
        Fix(fix, commands),
        holds,
        passes=passes,
        unanswered=unanswered,
        own_fault=own_fault,
    )


def _polled(headline: str, more: str, fix: Fix, *, lasts: bool = False) -> About:
    return About(Topic.WAKING, State.ATTENTION, headline, more, fix, lasts=lasts)


def _well(headline: str, topic: Topic = Topic.WELL) -> About:
    return About(topic, State.OK, headline)


class Reason(StrEnum):
    """Why something is as it is. Stable: users alert on these."""

    about: About

    def __new__(cls, word: str, about: About) -> Self:
        """Make a reason that is equal to its word."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.about = about
        return reason

    # A step up or down, or why there is none.
    BACKLOG_ABOVE_THRESHOLD = (
        "BacklogAboveThreshold",
        _decided("Scaling up", "The backlog is above scaleUpThreshold."),
    )
    BACKLOG_BELOW_THRESHOLD = (
        "BacklogBelowThreshold",
        _decided("Scaling down", "The backlog is below scaleDownThreshold."),
    )
    FEWER_REPLICAS_SUFFICE = (
        "FewerReplicasSuffice",
        _decided("Scaling down", "The backlog divided by messagesPerReplica is fewer replicas."),
    )
    WITHIN_THRESHOLDS = (
        "WithinThresholds",
        _decided(
            "Steady: the backlog asks for no change",
            "A step up needs a backlog above scaleUpThreshold, a step down one below scaleDownThreshold or,"
            " with messagesPerReplica, one that fewer replicas suffice for.",
        ),
    )
    AT_MAX_REPLICAS = (
        "AtMaxReplicas",
        _decided("At maxReplicas: the backlog asks for more", "", State.ATTENTION, MORE_ROOM),
    )
    AT_MIN_REPLICAS = "AtMinReplicas", _decided("Steady: at minReplicas")
    BELOW_MIN_REPLICAS = (
        "BelowMinReplicas",
        _decided("Scaling up to minReplicas", "The bounds apply whether or not the backlog is known."),
    )
    ABOVE_MAX_REPLICAS = (
        "AboveMaxReplicas",
        _decided("Scaling down to maxReplicas", "The bounds apply whether or not the backlog is known."),
    )
    WAITING_TO_STEP_UP = (
        "WaitingToStepUp",
        _decided(
            "Waiting for the next step up",
            "The last one was less than pollIntervalSeconds ago or, with messagesPerReplica, less than a"
            " second.",
            State.WAITING,
        ),
    )
    WAITING_TO_STEP_DOWN = (
        "WaitingToStepDown",
        _decided(
            "Waiting for the next step down",
            "The last step was less than pollIntervalSeconds ago or, with messagesPerReplica, the last one"
            " down less than a second.",
            State.WAITING,
        ),
    )
    STABILIZING = (
        "Stabilizing",
        _decided(
            "Waiting to scale down: stabilization window",
            "More replicas were wanted within stabilizationWindowSeconds (default 300 s).",
            State.WAITING,
        ),
    )

    NOT_CONSUMED = (
        "NotConsumed",
        _decided(
            "Replicas unchanged: no worker takes messages",
            "With drainTime: messages have waited for some seconds, but no worker asks for any or has one in"
            " hand. More or fewer replicas would change nothing.",
            State.ATTENTION,
            Fix("Check that the workers run, and that they use the consumer that is counted", (DESCRIBE,)),
        ),
    )
    MAX_ACK_PENDING = (
        "MaxAckPending",
        _decided(
            "Not scaling up: max_ack_pending is reached",
            "With drainTime: the present replicas hold about as many unacknowledged messages as"
            " max_ack_pending of the consumer allows. Another replica would get none.",
            State.ATTENTION,
            Fix(
                "Raise max_ack_pending of the consumer, or fetch fewer messages at a time in each worker",
                (DESCRIBE,),
            ),
        ),
    )
    NO_PROGRESS = (
        "NoProgress",
        _decided(
            "Replicas unchanged: workers finish nothing",
            "With drainTime: messages are delivered again and again and none is finished, as when workers"
            " crash. More or fewer replicas would change nothing.",
            State.ATTENTION,
            Fix("Read the workers' logs", (DESCRIBE,)),
        ),
    )
    STABILIZING_UP = (
        "StabilizingUp",
        _decided(
            "Waiting to scale up: stabilization window",
            "Fewer replicas were wanted at some time within behavior.scaleUp.stabilizationWindowSeconds.",
            State.WAITING,
        ),
    )
    SCALE_UP_LIMIT = (
        "ScaleUpLimit",
        _decided(
            "Waiting to scale up: a policy's period",
            "The steps within the period have used up what the policies of behavior.scaleUp allow.",
            State.WAITING,
        ),
    )
    SCALE_DOWN_LIMIT = (
        "ScaleDownLimit",
        _decided(
            "Waiting to scale down: a policy's period",
            "The steps within the period have used up what the policies of behavior.scaleDown allow.",
            State.WAITING,
        ),
    )
    SCALE_UP_DISABLED = (
        "ScaleUpDisabled",
        _decided(
            "Not scaling up: disabled by the rule",
            "The backlog asks for more replicas, but behavior.scaleUp.selectPolicy is Disabled.",
            State.ATTENTION,
            Fix("Set it to Max if you want steps up", (EDIT,)),
        ),
    )
    SCALE_DOWN_DISABLED = (
        "ScaleDownDisabled",
        _decided(
            "Not scaling down: disabled by the rule",
            "Fewer replicas would be enough, but behavior.scaleDown.selectPolicy is Disabled.",
            State.ATTENTION,
            Fix("Set it to Max if you want steps down", (EDIT,)),
        ),
    )

    IDLE = (
        "Idle",
        _decided(
            "At zero: nothing to do",
            "The rule has minReplicas 0, and no message has waited or been delivered for idleSeconds."
            " spec.activation says when it wakes.",
        ),
    )
    ACTIVATED = "Activated", _decided("Waking from zero", "More messages wait than activation allows.")
    AWAKE = "Awake", _decided("Not at zero")
    WAITING_FOR_IDLE = (
        "WaitingForIdle",
        _decided(
            "Steady: one replica until idle",
            "The last replica is removed once no message has waited or been delivered for idleSeconds."
            " A backlog that is unknown, even briefly, restarts that time.",
            State.WAITING,
        ),
    )
    CANNOT_SCALE_TO_ZERO = (
        "CannotScaleToZero",
        _decided(
            "Not scaling to zero: its consumer may vanish",
            "Without its workers the consumer, or what waits for it, would be deleted, and nothing could wake"
            " the rule. The message says why.",
            State.ATTENTION,
            Fix("Change the consumer or stream as the message says, or set spec.minReplicas to 1", (EDIT,)),
        ),
    )
    LEFT_AT_ZERO = (
        "LeftAtZero",
        _decided(
            "Deleted while its Deployment was at zero",
            "The Deployment stays at zero, because nothing scales it any more.",
            State.ATTENTION,
            Fix(
                "Start its workers by hand",
                ("kubectl scale {target} -n {target_namespace} --replicas=1",),
            ),
        ),
    )
    BUSY_WORKERS = (
        "BusyWorkers",
        _decided(
            "Waiting to scale down: workers are busy",
            "Messages are delivered and not yet acknowledged, and behavior.scaleDown.busyWorkers waits for"
            " them. Messages that were fetched ahead, refused with a delay, or left to expire count too.",
            State.WAITING,
        ),
    )
    FALLBACK = (
        "Fallback",
        _decided(
            "Fallback: the backlog has been unknown for too long",
            "spec.fallback decides until the backlog is known again. A rule that is itself at fault keeps"
            " its replicas.",
            State.ATTENTION,
            Fix("The condition Ready says why the backlog is unknown", (DESCRIBE,)),
        ),
    )

    # A person switched it off, or asked for a dry run.
    SCALING_DISABLED = (
        "ScalingDisabled",
        _switch(
            "switched off, the Deployment has 0 replicas",
            "while the Deployment has 0 replicas",
            "Set the replicas to 1 or more",
            "kubectl scale {target} -n {target_namespace} --replicas={minimum}",
        ),
    )
    PAUSED = (
        "Paused",
        _switch(
            "paused",
            "while the rule is paused",
            "Remove the annotations",
            RESUME,
        ),
    )
    PAUSED_AT_REPLICAS = (
        "PausedAtReplicas",
        _switch(
            "paused at a number of replicas",
            "while the rule is paused",
            "Remove the annotations",
            RESUME,
            "The Deployment is scaled to scaling.example.com/paused-replicas, whatever the bounds are, and"
            " kept there.",
        ),
    )
    PAUSED_UNREADABLE = (
        "PausedUnreadable",
        _switch(
            "paused, by an annotation that cannot be read",
            "while the rule is paused",
            "Fix the annotation that the message names, or remove all of them",
            RESUME,
            "The intent is to scale less, so both directions are paused.",
        ),
    )
    PAUSED_SCALE_UP = (
        "PausedScaleUp",
        _one_way("Not scaling up: that is paused", "while scaling up is paused", RESUME),
    )
    PAUSED_SCALE_DOWN = (
        "PausedScaleDown",
        _one_way("Not scaling down: that is paused", "while scaling down is paused", RESUME),
    )
    NOT_PAUSED = "NotPaused", _well("no annotation pauses the rule")
    DRY_RUN = (
        "DryRun",
        _switch(
            "dry run only",
            "while it is a dry run",
            "Set spec.dryRun to false, or run the operator without --dry-run, whichever the message names",
            "kubectl patch scalingrule {name} -n {namespace} --type=merge"
            ' -p \'{{"spec":{{"dryRun":false}}}}\'',
        ),
    )

    # NATS cannot be read, or not well enough.
    NOT_YET_READ = (
        "NotYetRead",
        _wrong(
            Topic.READING,
            "the backlog has not been read yet",
            "",
            "Wait a moment. If it lasts, the operator's log says what it waits for",
            passes=True,
        ),
    )
    MONITORING_UNREACHABLE = (
        "MonitoringUnreachable",
        _wrong(
            Topic.READING,
            "NATS cannot be reached",
            "The name does not resolve, or nothing listens at the address.",
            REACH,
            unanswered=True,
        ),
    )
    MONITORING_TIMEOUT = (
        "MonitoringTimeout",
        _wrong(
            Topic.READING,
            "NATS does not answer",
            "It accepts the connection, but does not answer in time (--monitoring-timeout, default 5 s).",
            REACH + ". If it can be reached, it is overloaded",
            unanswered=True,
        ),
    )
    MONITORING_HTTP_STATUS = (
        "MonitoringHTTPStatus",
        _wrong(
            Topic.READING,
            "NATS's monitoring port answers with an error",
            "",
            f"If it asks for credentials, name them in spec.monitoring.secretRef. Otherwise check what"
            f" answers: {PORT}",
            EDIT,
        ),
    )
    MONITORING_UNREADABLE = (
        "MonitoringUnreadable",
        _wrong(
            Topic.READING,
            "what answers is not NATS's monitoring port",
            "Another server answers, or one side speaks http and the other https.",
            f"Check what answers: {PORT} (4222 is for clients)",
        ),
    )
    MONITORING_CERTIFICATE = (
        "MonitoringCertificate",
        _wrong(
            Topic.READING,
            "the certificate of NATS's monitoring port is not accepted",
            "It is signed by an unknown authority, or is for another name.",
            "Put the authority's certificate as ca.crt into the Secret that spec.monitoring.secretRef names,"
            " and use a host name that the server's certificate covers",
        ),
    )
    MONITORING_TOO_LARGE = (
        "MonitoringTooLarge",
        _wrong(
            Topic.READING,
            "the answer of NATS is too large",
            "",
            "Check what answers at {url}. If it is NATS, spread the streams over several servers",
        ),
    )
    MONITORING_STALE = (
        "MonitoringStale",
        _wrong(
            Topic.READING,
            "the answer of NATS is out of date",
            "The answer is older than the request. After a clock was set back, two reads put this right.",
            "Remove the cache in front of {url}, or fix the server's clock",
        ),
    )
    MONITORING_INCOMPLETE = (
        "MonitoringIncomplete",
        _wrong(
            Topic.READING,
            "a part of NATS does not answer",
            "A node does not answer, or has not recovered all of its streams.",
            "Bring the missing node back, or name spec.stream and spec.consumer so that it does not matter",
            passes=True,
        ),
    )
    IMPLAUSIBLE_COUNT = (
        "ImplausibleCount",
        _wrong(
            Topic.READING,
            "NATS reports a count that cannot be",
            "It reports more messages than the stream has, fewer than none, or the like.",
            "Compare it with what NATS says of the consumer. If that count is wrong, NATS counts again after"
            " a restart of the server, or once the consumer's leader steps down",
            "nats consumer info STREAM CONSUMER",
            "nats consumer cluster step-down STREAM CONSUMER",
            passes=True,
        ),
    )
    ADDRESS_NOT_ALLOWED = (
        "AddressNotAllowed",
        _wrong(
            Topic.READING,
            "the address of NATS is not allowed",
            "The operator's allow-list forbids it.",
            "Ask an administrator to permit the host of {url} with --allow-hosts",
            own_fault=True,
        ),
    )
    JETSTREAM_DISABLED = (
        "JetStreamDisabled",
        _wrong(
            Topic.READING,
            "JetStream is off in NATS",
            "",
            "Put jetstream {{}} into the configuration of the NATS server, and restart it",
        ),
    )
    LEADER_UNCLEAR = (
        "LeaderUnclear",
        _wrong(
            Topic.READING,
            "the consumer's leader in NATS is unclear",
            "Only the leader knows the backlog, and it did not answer or was elected a moment ago.",
            "Wait for the election. If it lasts, check that the operator reaches the monitoring port of every"
            " node, as through a headless Service: {url}",
            passes=True,
        ),
    )

    # What is counted.
    ACCOUNT_NOT_FOUND = (
        "AccountNotFound",
        _wrong(
            Topic.SELECTION,
            "no such NATS account",
            "",
            "Set spec.account to an account that exists",
            EDIT,
            own_fault=True,
        ),
    )
    AMBIGUOUS_ACCOUNT = (
        "AmbiguousAccount",
        _wrong(
            Topic.SELECTION,
            "several accounts match",
            "Or a different account matches than the one counted so far.",
            "Set spec.account to the one you mean",
            EDIT,
            own_fault=True,
        ),
    )
    STREAM_NOT_FOUND = (
        "StreamNotFound",
        _wrong(
            Topic.SELECTION,
            "no such stream",
            "No stream has this subject; the message lists those that exist.",
            "Fix spec.subject, or name an existing stream in spec.stream. If none of them fits, create one",
            EDIT,
            "nats stream add STREAM --subjects {subject} --defaults",
            own_fault=True,
        ),
    )
    CONSUMER_NOT_FOUND = (
        "ConsumerNotFound",
        _wrong(
            Topic.SELECTION,
            "no consumer takes the subject",
            "No durable consumer takes the subject and nothing else; the message lists those that exist,"
            " and why they do not count.",
            "Start the workers, create their durable consumer, or name an existing one in spec.consumer",
            "nats consumer add {stream} {consumer} --pull --filter {subject} --defaults",
            EDIT,
            own_fault=True,
        ),
    )
    CONSUMER_GONE = (
        "ConsumerGone",
        _wrong(
            Topic.SELECTION,
            "the consumer is gone",
            "The consumer that was counted so far is missing, and NATS has not said that it was deleted; or"
            " another server answers with one of the same name.",
            "Start the workers, or create the consumer again. If it is gone for good, name the one to count"
            " in spec.consumer",
            EDIT,
            passes=True,
        ),
    )
    AMBIGUOUS_CONSUMER = (
        "AmbiguousConsumer",
        _wrong(
            Topic.SELECTION,
            "several consumers match",
            "They match equally well, or a different one matches while the one counted so far still exists.",
            "Set spec.consumer to the one that your workers use",
            EDIT,
            own_fault=True,
        ),
    )
    CONSUMER_PAUSED = (
        "ConsumerPaused",
        _wrong(
            Topic.SELECTION,
            "the consumer is paused in NATS",
            "NATS delivers nothing to its workers.",
            "Resume each consumer that the message names",
            "nats consumer resume STREAM CONSUMER --force",
            holds="while the consumer is paused",
        ),
    )

    # Credentials cannot be had, or do not help.
    SECRET_NOT_FOUND = (
        "SecretNotFound",
        _wrong(
            Topic.CREDENTIALS,
            "the Secret for NATS does not exist",
            "",
            "Create it, or name an existing one",
            "kubectl get secrets -n {namespace} -l scaling.example.com/use=nats",
            own_fault=True,
        ),
    )
    SECRET_NOT_LABELLED = (
        "SecretNotLabelled",
        _wrong(
            Topic.CREDENTIALS,
            "the Secret for NATS lacks its label",
            "The label says which Secrets natsscaler may use. Whoever may write Secrets sets it.",
            "If everyone who may create rules here may use the Secret, run the command in the message",
            own_fault=True,
        ),
    )
    SECRET_UNUSABLE = (
        "SecretUnusable",
        _wrong(
            Topic.CREDENTIALS,
            "the Secret for NATS cannot be used",
            "The message names the key that is wrong.",
            "Fix that key of the Secret. The operator reads it again by itself",
            own_fault=True,
        ),
    )
    CREDENTIALS_REFUSED = (
        "CredentialsRefused",
        _wrong(
            Topic.CREDENTIALS,
            "NATS refuses the credentials",
            "They are wrong, expired or revoked.",
            "Fix the Secret, or the users of the server. The operator tries again by itself",
        ),
    )

    # The Deployment cannot be scaled, or not by this rule.
    TARGET_NOT_FOUND = (
        "TargetNotFound",
        _wrong(
            Topic.DEPLOYMENT,
            "no such Deployment",
            "Once it exists, the rule scales it at once.",
            "Create it, or name an existing one in {field}",
            "kubectl get {resource} -n {target_namespace}",
            EDIT,
        ),
    )
    TARGET_NOT_SCALABLE = (
        "TargetNotScalable",
        _wrong(
            Topic.DEPLOYMENT,
            "what the rule names cannot be scaled",
            "Its kind has no scale subresource or does not exist, or another object sets its replicas. The"
            " message says which.",
            "Set spec.scaleTargetRef to what the message says",
            EDIT,
        ),
    )
    REPLICAS_NOT_SET = (
        "ReplicasNotSet",
        _wrong(
            Topic.DEPLOYMENT,
            "the target does not set its replicas",
            "Without a number to start from, nothing is decided.",
            "Set the replicas of the target",
            "kubectl edit {target} -n {target_namespace}",
        ),
    )
    TARGET_OWNED_BY_ANOTHER = (
        "TargetOwnedByAnother",
        _wrong(
            Topic.DEPLOYMENT,
            "another scaler owns the Deployment",
            "A HorizontalPodAutoscaler or an older rule scales it.",
            "Keep one of the two. To delete this rule",
            "kubectl delete scalingrule {name} -n {namespace}",
        ),
    )
    CROSS_NAMESPACE_NOT_ALLOWED = (
        "CrossNamespaceNotAllowed",
        _wrong(
            Topic.DEPLOYMENT,
            "the Deployment's namespace is not allowed",
            "It is not the rule's own.",
            "Create the rule in namespace {target_namespace}, or have natsscaler run with"
            " --allow-cross-namespace",
        ),
    )
    NAMESPACE_NOT_WATCHED = (
        "NamespaceNotWatched",
        _wrong(
            Topic.DEPLOYMENT,
            "the namespace is not watched",
            "",
            "Run natsscaler with --namespace {target_namespace} too, and give it its role there",
        ),
    )
    CONFLICT = (
        "Conflict",
        _wrong(
            Topic.DEPLOYMENT,
            "something else keeps changing the replicas",
            "The message names who wrote them last. The rule reports this after three changes within an"
            " hour. From then on its steps are 10 s apart, doubling to 10 minutes, until nobody has changed"
            " the replicas for as long. A restart of the operator begins again with 10 s.",
            "Find the other writer. A GitOps tool must leave spec.replicas out",
            "kubectl get {target} -n {target_namespace} -o yaml --show-managed-fields",
        ),
    )
    FORBIDDEN = (
        "Forbidden",
        _wrong(
            Topic.DEPLOYMENT,
            "the operator lacks a permission",
            "Or it may not get a Secret.",
            "Grant what the operator lacks. This command names all of it, and how to grant it",
            "natsscaler check",
        ),
    )
    DENIED = (
        "DeniedByPolicy",
        _wrong(
            Topic.DEPLOYMENT,
            "a policy of the cluster refuses the change",
            "",
            "Ask the owner of that policy, or keep the rule within what it allows",
        ),
    )
    KUBERNETES_UNAVAILABLE = (
        "KubernetesUnavailable",
        _wrong(
            Topic.DEPLOYMENT,
            "Kubernetes does not answer",
            "",
            "Wait. If it lasts, read the operator's log",
            passes=True,
        ),
    )
    LEADERSHIP_LOST = (
        "LeadershipLost",
        _wrong(
            Topic.DEPLOYMENT,
            "another replica of the operator leads now",
            "",
            "Nothing. The other replica takes over",
            passes=True,
        ),
    )
    INVALID_RULE = (
        "InvalidRule",
        _wrong(Topic.DEPLOYMENT, "the rule is invalid", "The message names the field.", "Fix the rule", EDIT),
    )

    # The bounds.
    TOO_MANY_REPLICAS = (
        "TooManyReplicas",
        About(
            Topic.BOUNDS,
            State.ATTENTION,
            "the backlog asks for more than maxReplicas",
            "Or it did so within the stabilization window.",
            MORE_ROOM,
        ),
    )
    TOO_FEW_REPLICAS = "TooFewReplicas", _well("fewer than minReplicas would be enough", Topic.BOUNDS)
    ADMISSION_LIMITED = (
        "AdmissionLimited",
        About(
            Topic.BOUNDS,
            State.ATTENTION,
            "a policy or webhook of the cluster changed the number that the rule asked for",
            "The changed number counts. The rule asks for the same number again after pollIntervalSeconds,"
            " and for a different one at once.",
            Fix(
                "Set spec.minReplicas and spec.maxReplicas within what the cluster admits, or find out what"
                " limits it",
                (EDIT, "kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations"),
            ),
        ),
    )

    # Events reach the rule, or why they do not.
    LISTENING = "Listening", _well("messages wake the rule", Topic.WAKING)
    SWITCHED_OFF = "SwitchedOff", _well("polled, as spec.events or --events asks for", Topic.WAKING)
    NOT_CONNECTED = (
        "NotConnected",
        _polled(
            "polled: there is no connection to NATS",
            "",
            Fix(
                "The operator must reach the client port of NATS too, 4222 by default. Name it in"
                " spec.nats.url, or in NATS_URL for all rules; otherwise the host of {url} is tried"
            ),
        ),
    )
    OTHER_ACCOUNT = (
        "OtherAccount",
        _polled(
            "polled: the events come from a different account than the stream's",
            "",
            Fix("Give the operator credentials of the stream's account"),
            lasts=True,
        ),
    )
    OTHER_SERVER = (
        "OtherServer",
        _polled(
            "polled: NATS and its monitoring endpoint are in different clusters",
            "Their servers differ, or NATS does not have the stream or consumer that the endpoint reports.",
            Fix("Name a server of the same cluster in spec.nats.url", (EDIT,)),
            lasts=True,
        ),
    )
    PERMISSION_DENIED = (
        "PermissionDenied",
        _polled(
            "polled: the NATS user may not use a subject that the message names",
            "Once the permission is granted, the operator uses it within seconds.",
            Fix("Permit the subject to the operator's user in the configuration of NATS"),
            lasts=True,
        ),
    )
    SUBSCRIPTION_LIMIT = (
        "SubscriptionLimit",
        _polled(
            "polled: NATS limits the subscriptions of a connection or account",
            "",
            Fix(
                "Raise max_subscriptions in the configuration of NATS, or the limit of subscriptions in the"
                " JWT of the account or user"
            ),
        ),
    )
    SOURCED_STREAM = (
        "SourcedStream",
        _polled(
            "polled: the stream is filled from other streams, which ring no doorbell", "", POLLED, lasts=True
        ),
    )
    SUBJECT_TOO_WIDE = (
        "SubjectTooWide",
        _polled("polled: the subject also covers traffic that feeds no stream", "", POLLED, lasts=True),
    )
    SUBJECT_UNUSABLE = (
        "SubjectUnusable",
        _polled(
            "polled: a filter cannot be subscribed to, or there are too many of them", "", POLLED, lasts=True
        ),
    )

    # Conditions that are as they should be, in the words of the HorizontalPodAutoscaler; Events of their own.
    SCALING = "Scaling", _well("the rule is evaluated and its decisions are carried out")
    READY_FOR_NEW_SCALE = "ReadyForNewScale", _well("the Deployment can be scaled by this rule")
    VALID_METRIC_FOUND = "ValidMetricFound", _well("the backlog is known")
    DESIRED_WITHIN_RANGE = "DesiredWithinRange", _well("the desired replicas are within the bounds")
    SCALED_UP = "ScaledUp", _well("the replicas were raised")
    SCALED_DOWN = "ScaledDown", _well("the replicas were lowered")
    BACKLOG_SOURCE_CHANGED = "BacklogSourceChanged", _well("the backlog is now counted on other consumers")
    LATE_STEP = (
        "LateStep",
        About(
            Topic.WELL,
            State.ATTENTION,
            "a step of the previous leader was carried out late",
            "This can happen when an API server was frozen while another process took over. The rule goes"
            " on.",
            Fix(
                "Nothing, if the leader changed a moment ago. Otherwise make sure that no second operator"
                " runs"
            ),
        ),
    )


class Finding(NamedTuple):
    """A reason with its sentence."""

    reason: Reason
    message: str


REASONS = {reason.value: reason for reason in Reason}
"""By their words: a status may have those of another version too."""
