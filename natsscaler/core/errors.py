"""The failures that natsscaler raises itself; each carries a reason.

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

from natsscaler.core.reasons import Reason


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
    """There is no such target."""

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
