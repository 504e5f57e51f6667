"""Tables: what `kubectl get` asks for, so that the server says which columns a kind has.

Columns and cells are those of kube-apiserver's printers (pkg/printers/internalversion/printers.go), as far as
they can be known without pods.
"""

import calendar
import time
from collections.abc import Callable, Iterable
from typing import Any

from natsscaler.demo.kubernetes import jsonpath
from natsscaler.demo.kubernetes.errors import Object
from natsscaler.demo.kubernetes.resources import Resource

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 31_536_000
Cells = Callable[[Object, float], list[Any]]


def table(
    resource: Resource, objects: Iterable[Object], metadata: Object, include: str, now: float
) -> Object:
    """Return the Table of `objects`; `include` is the request's includeObject, `now` in Unix seconds."""
    columns, cells = _layout(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": [{"cells": cells(obj, now), "object": _row_object(obj, include)} for obj in objects],
    }


def _row_object(obj: Object, include: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _column(name: str, type_: str = "string", priority: int = 0) -> Object:
    kind = "name" if name == "Name" else ""
    return {"name": name, "type": type_, "format": kind, "description": name, "priority": priority}


def _layout(resource: Resource) -> tuple[list[Object], Cells]:
    if resource.custom:
        columns = [_column("Name")] + [_column(c.name, c.type, c.priority) for c in resource.columns]
        return columns, lambda obj, now: _custom_cells(resource, obj, now)
    names, cells = BUILT_IN.get(resource.kind, ("Name|Age", _plain_cells))
    return [_column(name.lstrip("+"), priority=int(name.startswith("+"))) for name in names.split("|")], cells


def _custom_cells(resource: Resource, obj: Object, now: float) -> list[Any]:
    cells: list[Any] = [obj["metadata"]["name"]]
    for column in resource.columns:
        value = jsonpath.first(obj, column.json_path)
        if column.type == "date" and value is not None:
            value = age(value, now)
        elif column.type == "string" and value is not None and not isinstance(value, str):
            value = str(value).lower() if isinstance(value, bool) else str(value)
        cells.append(value)
    return cells


def _plain_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], _age_of(obj, now)]


def _namespace_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("status", {}).get("phase", "Active"), _age_of(obj, now)]


def _lease_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("spec", {}).get("holderIdentity") or "", _age_of(obj, now)]


def _secret_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", "Opaque"), len(obj.get("data") or {}), _age_of(obj, now)]


def _crd_cells(obj: Object, _: float) -> list[Any]:
    return [obj["metadata"]["name"], obj["metadata"]["creationTimestamp"]]


def _deployment_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    containers = spec.get("template", {}).get("spec", {}).get("containers") or []
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age_of(obj, now),
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
        ",".join(f"{k}={v}" for k, v in (spec.get("selector") or {}).get("matchLabels", {}).items()),
    ]


def _hpa_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    target = spec.get("scaleTargetRef", {})
    return [
        obj["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        "<unknown>",
        str(spec.get("minReplicas", "<unset>")),
        spec.get("maxReplicas", 0),
        obj.get("status", {}).get("currentReplicas", 0),
        _age_of(obj, now),
    ]


def _event_cells(obj: Object, now: float) -> list[Any]:
    about, source = obj.get("involvedObject", {}), obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        age(last, now) if last else "<unknown>",
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        component,
        (obj.get("message") or "").strip(),
        age(first, now) if first else "<unknown>",
        series.get("count") or obj.get("count") or 1,
        obj["metadata"]["name"],
    ]


BUILT_IN: dict[str, tuple[str, Cells]] = {
    "Namespace": ("Name|Status|Age", _namespace_cells),
    "Secret": ("Name|Type|Data|Age", _secret_cells),
    "Lease": ("Name|Holder|Age", _lease_cells),
    "CustomResourceDefinition": ("Name|Created At", _crd_cells),
    "Deployment": ("Name|Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector", _deployment_cells),
    "HorizontalPodAutoscaler": ("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age", _hpa_cells),
    "Event": (
        "Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name",
        _event_cells,
    ),
}
"""Columns and cells by kind; `+` marks the columns of `-o wide`."""


def _age_of(obj: Object, now: float) -> str:
    return age(obj["metadata"]["creationTimestamp"], now)


def age(timestamp: str, now: float) -> str:
    """Return the time since an RFC 3339 timestamp (UTC) as kubectl shows it: `45s`, `3m8s`, `5d`."""
    try:
        then = calendar.timegm(time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return "<invalid>"
    return duration(int(now - then))


def duration(seconds: int) -> str:
    """Two units while the larger one is small, as in k8s.io/apimachinery duration.HumanDuration."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * MINUTE:
        return f"{max(seconds, 0)}s"
    for limit, unit, letter, smaller, smaller_letter in (
        (10 * MINUTE, MINUTE, "m", 1, "s"),
        (3 * HOUR, MINUTE, "m", 0, ""),
        (8 * HOUR, HOUR, "h", MINUTE, "m"),
        (2 * DAY, HOUR, "h", 0, ""),
        (8 * DAY, DAY, "d", HOUR, "h"),
        (2 * YEAR, DAY, "d", 0, ""),
        (8 * YEAR, YEAR, "y", DAY, "d"),
    ):
        if seconds < limit:
            rest = seconds % unit // smaller if smaller else 0
            return f"{seconds // unit}{letter}" + (f"{rest}{smaller_letter}" if rest else "")
    return f"{seconds // YEAR}y"
