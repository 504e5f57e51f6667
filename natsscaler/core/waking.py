"""What wakes a rule."""

from enum import StrEnum


class WakeSource(StrEnum):
    """What asks for an evaluation of a rule. Stable: metrics, the API and the page name these."""

    RULE = "rule"
    """It was created or edited, or another one of the same Deployment was."""
    DEPLOYMENT = "deployment"
    """Its Deployment changed, or a HorizontalPodAutoscaler of it."""
    CONNECTION = "connection"
    """The connection to NATS came or went."""
    ADVISORY = "advisory"
    """JetStream told of a stream or consumer."""
    DOORBELL = "doorbell"
    """Messages were published."""
    SCALED = "scaled"
    """It has changed the replicas itself."""
    LATE = "late"
    """A decision waited too long for the Kubernetes API to be carried out."""
    DEADLINE = "deadline"
    """The poll interval, or the time of the next change."""
