"""Events have two shapes, core `v1` and `events.k8s.io/v1`, and are one set of objects.

Stored is the core shape; the other one is the same under different names.
"""

from natsscaler.demo.kubernetes.errors import Object, cause, invalid
from natsscaler.demo.kubernetes.resources import Resource

NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
CORE_NAMES = {new: core for core, new in NEW_NAMES.items()}
DEFAULTS: Object = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
REQUIRED = ("eventTime", "reportingController", "reportingInstance", "action", "reason", "type")


def to_core(event: Object) -> Object:
    """Return an event of either shape in the stored one."""
    return {**DEFAULTS, **{CORE_NAMES.get(key, key): value for key, value in event.items()}}


def to_shape_of(resource: Resource, event: Object) -> Object:
    """Return a stored event in the shape of the API group through which it is read."""
    if not resource.group:
        return event
    return {NEW_NAMES.get(key, key): value for key, value in event.items()}


def check(resource: Resource, event: Object) -> None:
    """Raise a 422 for a new event (in the shape of its group) that the real API would refuse."""
    name = event["metadata"]["name"]
    causes = []
    if resource.group:
        causes = [cause(f, "Required value", "FieldValueRequired") for f in REQUIRED if not event.get(f)]
    about = event.get("regarding" if resource.group else "involvedObject") or {}
    if about.get("namespace", "default" if resource.group else "") != event["metadata"]["namespace"]:
        causes.append(cause("involvedObject.namespace", "Invalid value: does not match event.namespace"))
    if causes:
        raise invalid("", "Event", name, causes)
