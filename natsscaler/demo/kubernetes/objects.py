"""Create, replace, patch and delete, with the rules on who may write what that clients rely on.

No HTTP here: tests and the demo can call this class directly.
"""

import copy
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from natsscaler.demo.kubernetes import errors, events, patches
from natsscaler.demo.kubernetes.deployments import default_deployment, settled_status
from natsscaler.demo.kubernetes.errors import Object
from natsscaler.demo.kubernetes.resources import (
    BUILT_IN,
    CRDS,
    EVENTS,
    NAMESPACES,
    Resource,
    defined_by,
)
from natsscaler.demo.kubernetes.schema import Findings, admit
from natsscaler.demo.kubernetes.store import Store

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
ESTABLISHED = (
    ("NamesAccepted", "NoConflicts", "no conflicts found"),
    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
)


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A kind (in a namespace, or in all), or one object of it, or its `part` ("status", "scale")."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    part: str = ""


class Objects:
    """All objects of one API; `clock` gives Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store, self._clock = store, clock
        self._resources = {(r.group, r.version, r.plural): r for r in BUILT_IN}
        self.unknown: list[str] = []
        """Fields of the last write that the schema does not know: they were dropped."""
        for name in ("default", "kube-system"):
            self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def rehearsal(self) -> "Objects":
        """Return the same objects for a dry run: writes are answered as ever, and seen by nobody."""
        other = copy.copy(self)
        other.store = self.store.copy()
        other._resources = dict(self._resources)  # noqa: SLF001 - of the same class
        return other

    @property
    def resources(self) -> list[Resource]:
        return list(self._resources.values())

    def resource(self, group: str, version: str, plural: str) -> Resource:
        """Return the resource served there; raises a 404."""
        found = self._resources.get((group, version, plural))
        if not found:
            raise errors.no_such_page()
        return found

    def add(self, obj: Object) -> Object:
        """Create an object given as it stands in a manifest, and its namespace if that is missing."""
        group, _, version = obj["apiVersion"].rpartition("/")
        resource = next(
            r for r in self.resources if (r.group, r.version, r.kind) == (group, version, obj["kind"])
        )
        namespace = obj["metadata"].get("namespace", "default") if resource.namespaced else ""
        if namespace and not self.store.get(NAMESPACES.bucket, "", namespace):
            self.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        return self.create(resource, namespace, copy.deepcopy(obj))

    def get(self, at: ObjectPath) -> Object:
        """Return the object, or its Scale, as it is read through the target's resource; raises a 404."""
        stored = self._stored(at)
        return self._part(at, stored)

    def _part(self, at: ObjectPath, stored: Object) -> Object:
        if at.part == "scale" and at.resource.scale:
            return patches.scale_of(stored, at.resource.scale)
        return self.shown(at.resource, stored)

    def shown(self, resource: Resource, stored: Object) -> Object:
        """Return a stored object as it is read through this resource."""
        obj = events.to_shape_of(resource, stored) if resource.kind == "Event" else stored
        return {**obj, "kind": resource.kind, "apiVersion": resource.group_version}

    def create(self, resource: Resource, namespace: str, obj: Object, *, strict: bool = False) -> Object:
        """Create; `strict` refuses fields that the schema does not know instead of dropping them."""
        metadata = self._new_metadata(resource, namespace, obj)
        name = metadata["name"]
        if namespace and not self.store.get(NAMESPACES.bucket, "", namespace):
            raise errors.not_found("", "namespaces", namespace)
        if self.store.get(resource.bucket, namespace, name):
            raise errors.already_exists(resource.group, resource.plural, name)
        new = {**obj, "metadata": metadata}
        new = patches.without_status(None, new) if resource.has_status else new
        return self.shown(resource, self._put(resource, self._admitted(resource, new, strict=strict)))

    def replace(self, at: ObjectPath, obj: Object, *, strict: bool = False) -> Object:
        """Replace the object or a part of it; a resource version in it must be the current one."""
        current = self._stored(at)
        written = {**obj, "metadata": obj.get("metadata") or {}}
        if at.resource.needs_version and not written["metadata"].get("resourceVersion"):
            message = "Invalid value: 0: must be specified for an update"
            causes = [errors.cause("metadata.resourceVersion", message)]
            raise errors.invalid(at.resource.group, at.resource.plural, at.name, causes)
        return self._write(at, current, written, strict=strict)

    def patch(self, at: ObjectPath, content_type: str, patch: Any, *, strict: bool = False) -> Object:
        """Patch the object or a part of it, by a JSON patch or a merge patch."""
        written = patches.apply_patch(content_type, self.get(at), patch)
        return self._write(at, self._stored(at), written, strict=strict)

    def delete(self, at: ObjectPath, preconditions: Mapping[str, str] | None = None) -> tuple[Object, bool]:
        """Delete; return the last state, and whether it is gone (False: it waits for its finalizers)."""
        current = self._stored(at)
        for key, value in (preconditions or {}).items():
            if current["metadata"].get(key) != value:
                why = f"the {key} in the precondition ({value}) does not match the {key} in record"
                raise errors.conflict(at.resource.group, at.resource.plural, at.name, why)
        if not current["metadata"].get("finalizers"):
            return self.shown(at.resource, self._remove(at.resource, current)), True
        if "deletionTimestamp" not in current["metadata"]:
            marks = {"deletionTimestamp": self.now(), "deletionGracePeriodSeconds": 0}
            marked = {**current, "metadata": {**current["metadata"], **marks}}
            current = self._put(at.resource, marked)
        return self.shown(at.resource, current), False

    def now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))

    def _stored(self, at: ObjectPath) -> Object:
        found = self.store.get(at.resource.bucket, at.namespace, at.name)
        if found is None:
            raise errors.not_found(at.resource.group, at.resource.plural, at.name)
        return found

    def _new_metadata(self, resource: Resource, namespace: str, obj: Object) -> Object:
        metadata = dict(obj.get("metadata") or {})
        if metadata.get("namespace", namespace) != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if obj.get("apiVersion", resource.group_version) != resource.group_version:
            raise errors.bad_request(
                f"the API version in the data ({obj['apiVersion']}) does not match the expected API version "
                f"({resource.group_version})"
            )
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata.get("name", "")
        if not NAME.fullmatch(name):
            why = f'Invalid value: "{name}": {NAME_RULE}' if name else "Required value: name is required"
            causes = [errors.cause("metadata.name", why)]
            raise errors.invalid(resource.group, resource.kind, name, causes)
        if namespace:
            metadata["namespace"] = namespace
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self.now()
        if resource.has_generation:
            metadata["generation"] = 1
        return metadata

    def _admitted(self, resource: Resource, obj: Object, *, strict: bool) -> Object:
        """Return the object with defaults, in the shape it is stored in; raises a 4xx if it is not valid."""
        name = obj["metadata"]["name"]
        self.unknown = []
        obj = {**obj, "kind": resource.kind, "apiVersion": resource.group_version}
        if resource.schema:
            findings = Findings()
            obj = admit(resource.schema, obj, findings)
            if strict and findings.unknown:
                unknown = ", ".join(f'unknown field "{path}"' for path in findings.unknown)
                kind = f'{resource.kind} in version "{resource.version}"'
                raise errors.bad_request(
                    f"{kind} cannot be handled as a {resource.kind}: strict decoding error: {unknown}"
                )
            self.unknown = findings.unknown
            if findings.causes:
                raise errors.invalid(resource.group, resource.kind, name, findings.causes)
        if resource.kind == "Event":
            events.check(resource, obj)
            return self.shown(EVENTS, events.to_core(obj))
        if resource.is_workload:
            return default_deployment(obj)
        if resource.bucket == NAMESPACES.bucket:
            return {**obj, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        if resource.bucket == CRDS.bucket:
            return self._established(obj)
        return obj

    def _write(self, at: ObjectPath, current: Object, written: Object, *, strict: bool) -> Object:
        resource = at.resource
        for key in ("resourceVersion", "uid"):
            if written["metadata"].get(key) not in {None, "", current["metadata"][key]}:
                raise errors.conflict(resource.group, resource.plural, at.name)
        new = self._normal(resource, _with_part(at, current, written), strict=strict)
        if new != current:
            if resource.has_generation and _beside_metadata(new) != _beside_metadata(current):
                new["metadata"] = {**new["metadata"], "generation": current["metadata"]["generation"] + 1}
            current = self._put(resource, new)
            if "deletionTimestamp" in current["metadata"] and not current["metadata"].get("finalizers"):
                current = self._remove(resource, current)
        return self._part(at, current)

    def _normal(self, resource: Resource, obj: Object, *, strict: bool) -> Object:
        if resource.kind == "Event":
            return self.shown(EVENTS, events.to_core(obj))
        if resource.custom or resource.is_workload:
            return self._admitted(resource, obj, strict=strict)
        return self.shown(resource, obj)

    def _put(self, resource: Resource, obj: Object) -> Object:
        stored = self.store.put(resource.bucket, obj)
        if resource.bucket == CRDS.bucket:
            self._serve(stored)
        if resource.is_workload:
            status = settled_status(stored, self.now())
            if status != stored.get("status"):
                self.store.put(resource.bucket, {**stored, "status": status})
        return stored

    def _remove(self, resource: Resource, obj: Object) -> Object:
        removed = self.store.remove(resource.bucket, obj)
        if resource.bucket == NAMESPACES.bucket:
            self._remove_all(self.resources, obj["metadata"]["name"])
        if resource.bucket == CRDS.bucket:
            gone = [self._resources.pop((r.group, r.version, r.plural)) for r in defined_by(obj)]
            self._remove_all(gone, "")
        return removed

    def _remove_all(self, resources: Iterable[Resource], namespace: str) -> None:
        for bucket in {r.bucket for r in resources if r.namespaced or not namespace}:
            for obj in self.store.all(bucket, namespace):
                self.store.remove(bucket, obj)

    def _serve(self, crd: Object) -> None:
        for resource in defined_by(crd):
            self._resources[resource.group, resource.version, resource.plural] = resource

    def _established(self, crd: Object) -> Object:
        names = {"singular": crd["spec"]["names"]["kind"].lower(), **crd["spec"]["names"]}
        conditions = [
            {
                "type": type_,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": self.now(),
            }
            for type_, reason, message in ESTABLISHED
        ]
        stored = [version["name"] for version in crd["spec"]["versions"] if version["storage"]]
        return {**crd, "status": {"acceptedNames": names, "conditions": conditions, "storedVersions": stored}}


def _with_part(at: ObjectPath, current: Object, written: Object) -> Object:
    """Return the object with that part replaced which a write to the target may change."""
    if at.part == "scale" and at.resource.scale:
        return patches.with_scale(current, written, at.resource.scale)
    if at.part == "status":
        return patches.with_status(current, written)
    new = patches.with_kept_metadata(current, written)
    return patches.without_status(current, new) if at.resource.has_status else new


def _beside_metadata(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}
