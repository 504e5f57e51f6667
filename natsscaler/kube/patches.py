"""What is written to the Kubernetes API: patches of scales and statuses, and Events. Pure.

Each patch first tests that the object is still the one that was decided on: the replicas of a Deployment,
the uid of a rule. Neither a stale table nor a second writer can lead to a change that nobody decided.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from natsscaler.core.rule import GROUP, KIND, VERSION, RuleKey
from natsscaler.core.status import RuleStatus

NOTE_BYTES = 1024
"""The longest note of an Event that the API server accepts."""
NAME_LENGTH = 200
"""How much of the rule's name goes into that of an Event, which has room for 253 with its own suffix."""

JsonPatch = list[dict[str, Any]]


def scale_patch(before: int, after: int) -> JsonPatch:
    """Change a Scale's replicas if they still are `before`."""
    if before == 0:  # a Scale leaves out replicas that are 0
        return [
            {"op": "test", "path": "/spec", "value": {}},
            {"op": "add", "path": "/spec/replicas", "value": after},
        ]
    return [
        {"op": "test", "path": "/spec/replicas", "value": before},
        {"op": "replace", "path": "/spec/replicas", "value": after},
    ]


def status_patch(uid: str, status: RuleStatus) -> JsonPatch:
    """Replace a rule's whole status, whatever stood there, if the rule still is the one with this uid."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": msgspec.to_builtins(status)},
    ]


def event(
    key: RuleKey, uid: str, *, warning: bool, reason: str, action: str, note: str, when: float, reporter: str
) -> dict[str, Any]:
    """Make an Event about a rule (events.k8s.io/v1); `when` in seconds since the epoch."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{key.name[:NAME_LENGTH].rstrip('.-')}.{uuid.uuid4().hex[:16]}",
            "namespace": key.namespace,
        },
        "eventTime": datetime.fromtimestamp(when, UTC).isoformat(timespec="microseconds"),
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "action": action,
        "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "reportingController": "natsscaler",
        "reportingInstance": reporter,
        "regarding": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
        },
    }
