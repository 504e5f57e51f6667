"""The one vocabulary of reasons, and the failures that carry them.

Every outcome of natsscaler has a Reason: the same word stands in conditions, Events, metrics and logs,
so that what a person reads in one place can be searched for in another.

    NatsscalerError
    ├── SettingsError      flags or environment: the process does not start
    ├── InvalidRule        a ScalingRule that the CRD let pass and the parser did not
    ├── NotAllowed         an address that the allow-list forbids
    ├── CredentialsError   credentials cannot be had, or cannot be used
    ├── MonitoringError    the backlog could not be read: Unknown, never zero
    └── KubernetesError    the Kubernetes API refused, failed or did not answer
        ├── LeadershipLost     another process may lead by now: this one must not write
        ├── SecretNotFound     no such Secret
        ├── TargetNotFound     no such Deployment
        └── ReplicasChanged    somebody else changed the replicas between reading and writing
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a decision is what it is, or why a condition has its status. Stable: users alert on these."""

    # A step up or down, or why there is none.
    BACKLOG_ABOVE_THRESHOLD = "BacklogAboveThreshold"
    BACKLOG_BELOW_THRESHOLD = "BacklogBelowThreshold"
    FEWER_REPLICAS_SUFFICE = "FewerReplicasSuffice"
    WITHIN_THRESHOLDS = "WithinThresholds"
    AT_MAX_REPLICAS = "AtMaxReplicas"
    AT_MIN_REPLICAS = "AtMinReplicas"
    BELOW_MIN_REPLICAS = "BelowMinReplicas"
    ABOVE_MAX_REPLICAS = "AboveMaxReplicas"
    WAITING_TO_STEP_UP = "WaitingToStepUp"
    WAITING_TO_STEP_DOWN = "WaitingToStepDown"
    STABILIZING = "Stabilizing"

    # A person switched it off, or asked for a rehearsal.
    SCALING_DISABLED = "ScalingDisabled"
    PAUSED = "Paused"
    DRY_RUN = "DryRun"

    # The backlog is not known.
    NOT_YET_READ = "NotYetRead"
    MONITORING_UNREACHABLE = "MonitoringUnreachable"
    MONITORING_TIMEOUT = "MonitoringTimeout"
    MONITORING_HTTP_STATUS = "MonitoringHTTPStatus"
    MONITORING_UNREADABLE = "MonitoringUnreadable"
    MONITORING_CERTIFICATE = "MonitoringCertificate"
    MONITORING_TOO_LARGE = "MonitoringTooLarge"
    MONITORING_STALE = "MonitoringStale"
    MONITORING_INCOMPLETE = "MonitoringIncomplete"
    IMPLAUSIBLE_COUNT = "ImplausibleCount"
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    JETSTREAM_DISABLED = "JetStreamDisabled"
    ACCOUNT_NOT_FOUND = "AccountNotFound"
    AMBIGUOUS_ACCOUNT = "AmbiguousAccount"
    STREAM_NOT_FOUND = "StreamNotFound"
    CONSUMER_NOT_FOUND = "ConsumerNotFound"
    CONSUMER_GONE = "ConsumerGone"
    AMBIGUOUS_CONSUMER = "AmbiguousConsumer"
    LEADER_UNCLEAR = "LeaderUnclear"
    CONSUMER_PAUSED = "ConsumerPaused"

    # Credentials cannot be had, or do not help.
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_NOT_LABELLED = "SecretNotLabelled"
    SECRET_UNUSABLE = "SecretUnusable"
    CREDENTIALS_REFUSED = "CredentialsRefused"

    # The Deployment cannot be scaled, or not by this rule.
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_OWNED_BY_ANOTHER = "TargetOwnedByAnother"
    CROSS_NAMESPACE_NOT_ALLOWED = "CrossNamespaceNotAllowed"
    NAMESPACE_NOT_WATCHED = "NamespaceNotWatched"
    CONFLICT = "Conflict"
    FORBIDDEN = "Forbidden"
    DENIED = "DeniedByPolicy"
    KUBERNETES_UNAVAILABLE = "KubernetesUnavailable"
    LEADERSHIP_LOST = "LeadershipLost"
    INVALID_RULE = "InvalidRule"

    # Events reach the rule, or why they do not.
    LISTENING = "Listening"
    SWITCHED_OFF = "SwitchedOff"
    NOT_CONNECTED = "NotConnected"
    OTHER_ACCOUNT = "OtherAccount"
    OTHER_SERVER = "OtherServer"
    PERMISSION_DENIED = "PermissionDenied"
    SUBSCRIPTION_LIMIT = "SubscriptionLimit"
    SOURCED_STREAM = "SourcedStream"
    SUBJECT_TOO_WIDE = "SubjectTooWide"
    SUBJECT_UNUSABLE = "SubjectUnusable"

    # Conditions that are as they should be, in the words of the HorizontalPodAutoscaler.
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    VALID_METRIC_FOUND = "ValidMetricFound"
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    ADMISSION_LIMITED = "AdmissionLimited"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    SCALING = "Scaling"

    # Events of their own.
    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    BACKLOG_SOURCE_CHANGED = "BacklogSourceChanged"


class Finding(NamedTuple):
    """A reason with its sentence."""

    reason: Reason
    message: str


class NatsscalerError(Exception):
    """Base of all failures that natsscaler raises itself; the message is a sentence for the user."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class SettingsError(Exception):
    """A flag or an environment variable cannot be used; the message names it and the fix."""


class InvalidRule(NatsscalerError):
    """A ScalingRule cannot be used; the message names the field and the fix."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.INVALID_RULE, message)


class NotAllowed(NatsscalerError):
    """The allow-list forbids the address that a rule leads to."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.ADDRESS_NOT_ALLOWED, message)


class CredentialsError(NatsscalerError):
    """Credentials cannot be had, or cannot be used; the message names the Secret, the key and the fix."""


class MonitoringError(NatsscalerError):
    """The monitoring endpoint gave no trustworthy answer."""


class KubernetesError(NatsscalerError):
    """The Kubernetes API refused, failed or did not answer in time."""

    retry_after = 0.0
    """Seconds that the API server has asked to be left alone for."""


class LeadershipLost(KubernetesError):
    """Another process may lead by now, so this one must not write."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.LEADERSHIP_LOST, message)


class SecretNotFound(KubernetesError):
    """There is no such Secret."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.SECRET_NOT_FOUND, message)


class TargetNotFound(KubernetesError):
    """There is no such Deployment."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.TARGET_NOT_FOUND, message)


class ReplicasChanged(KubernetesError):
    """The replicas are no longer those that the decision was made on (HTTP 422 on the patch's test)."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.CONFLICT, message)


EXCERPT_LENGTH = 120


def excerpt(text: str, length: int = EXCERPT_LENGTH) -> str:
    """Make text from elsewhere fit for a condition: printable, on one line, at most so long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= length else printable[: length - 1] + "…"
