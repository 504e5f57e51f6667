"""Patches, and the views (`/status`, `/scale`) through which parts of an object are written."""

from typing import Any

import jsonpatch

from natsscaler.demo.kubernetes.errors import (
    ApiError,
    Object,
    bad_request,
    cause,
    invalid,
    patch_refused,
    unsupported_media_type,
)
from natsscaler.demo.kubernetes.resources import ScalePaths

JSON_PATCH = "application/json-patch+json"
MERGE_PATCHES = {"application/merge-patch+json", "application/strategic-merge-patch+json"}
"""A strategic merge is done as a plain one: the same for everything but lists with merge keys."""
KEPT = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation")
"""Metadata that a client cannot change."""


def apply_patch(content_type: str, document: Object, patch: Any) -> Object:
    """Return the patched document; raises a 422 for a JSON patch that does not fit (a failed `test` too)."""
    if content_type in MERGE_PATCHES:
        if not isinstance(patch, dict):
            raise bad_request("a merge patch must be an object")
        return dict(merge(document, patch))
    if content_type != JSON_PATCH:
        raise unsupported_media_type(content_type)
    try:
        patched = jsonpatch.apply_patch(document, patch)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(str(error)) from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise patch_refused() from error
    return dict(patched)


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7386): null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def scale_of(obj: Object, paths: ScalePaths) -> Object:
    """Return the Scale of an object; at 0 replicas its spec is `{}`, as the real API omits zeros.

    Raises a 500 where a custom object has no replicas, as the real API does.
    """
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = _at(obj, paths.spec)
    if replicas is None:
        message = f'Internal error occurred: the spec replicas field "{paths.spec}" does not exist'
        raise ApiError(500, "InternalError", message)
    labels = (obj["spec"].get("selector") or {}).get("matchLabels", {}) if not paths.selector else {}
    selector = _at(obj, paths.selector) or ",".join(f"{k}={v}" for k, v in labels.items())
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": _at(obj, paths.status) or 0, "selector": selector},
    }


def with_scale(obj: Object, scale: Object, paths: ScalePaths) -> Object:
    """Return the object with the replicas of a written Scale; raises a 4xx for a number that is none."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise ApiError(
            400, "BadRequest", "json: cannot unmarshal value into Go struct field ScaleSpec.spec.replicas"
        )
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("autoscaling", "Scale", obj["metadata"]["name"], [cause("spec.replicas", message)])
    patch: Any = replicas
    for name in reversed(paths.spec.strip(".").split(".")):
        patch = {name: patch}
    return dict(merge(obj, patch))


def _at(obj: Object, path: str) -> Any:
    """Return what is at a path such as .spec.replicas; None: nothing, or the path is empty."""
    found: Any = obj if path else None
    for name in path.strip(".").split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def with_status(current: Object, written: Object) -> Object:
    """Return the object with nothing but its status replaced."""
    rest = {key: value for key, value in current.items() if key != "status"}
    return {**rest, "status": written["status"]} if "status" in written else rest


def without_status(current: Object | None, written: Object) -> Object:
    """Return what was written with the status that was there before, if any."""
    rest = {key: value for key, value in written.items() if key != "status"}
    return {**rest, "status": current["status"]} if current and "status" in current else rest


def with_kept_metadata(current: Object, written: Object) -> Object:
    """Return what was written with the metadata that only the server may change."""
    metadata = {key: value for key, value in written["metadata"].items() if key not in KEPT}
    metadata |= {key: current["metadata"][key] for key in KEPT if key in current["metadata"]}
    metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
    return {**written, "metadata": metadata}
