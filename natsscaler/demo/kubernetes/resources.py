"""Which resources are served: the built-in ones, those that CRDs define, and how discovery describes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from natsscaler.demo.kubernetes.errors import Object
from natsscaler.demo.kubernetes.store import Bucket

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


class Column(NamedTuple):
    """A column that a CRD defines (`additionalPrinterColumns`)."""

    name: str
    type: str
    json_path: str
    priority: int = 0


class ScalePaths(NamedTuple):
    """Where an object has what its Scale shows, as a CRD names it (`subresources.scale`); "": nowhere."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    custom: bool = False
    has_status: bool = False
    """A `/status` subresource: writes of the object itself leave the status alone."""
    scale: ScalePaths | None = None
    """A `/scale` subresource."""
    has_generation: bool = False
    needs_version: bool = False
    """A replacement must name the resource version that it replaces."""
    columns: tuple[Column, ...] = ()
    schema: Mapping[str, Any] | None = None

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_workload(self) -> bool:
        """Whether a controller keeps its replicas running."""
        return self.scale is not None and not self.custom

    @property
    def bucket(self) -> Bucket:
        """Events are one set of objects that two API groups show."""
        return ("", "events") if self.kind == "Event" else (self.group, self.plural)


NAMESPACES = Resource(
    plural="namespaces", kind="Namespace", short_names=("ns",), namespaced=False, has_status=True
)
EVENTS = Resource(plural="events", kind="Event", short_names=("ev",))
DEPLOYMENTS = Resource(
    group="apps", plural="deployments", kind="Deployment", short_names=("deploy",), categories=("all",),
    has_status=True, scale=ScalePaths(), has_generation=True,
)  # fmt: skip
STATEFUL_SETS = Resource(
    group="apps", plural="statefulsets", kind="StatefulSet", short_names=("sts",), categories=("all",),
    has_status=True, scale=ScalePaths(), has_generation=True,
)  # fmt: skip
CRDS = Resource(
    group="apiextensions.k8s.io", plural="customresourcedefinitions", kind="CustomResourceDefinition",
    short_names=("crd", "crds"), namespaced=False, has_status=True, has_generation=True, needs_version=True,
)  # fmt: skip
BUILT_IN = (
    NAMESPACES,
    EVENTS,
    Resource(plural="pods", kind="Pod", short_names=("po",), categories=("all",), has_status=True),
    Resource(plural="secrets", kind="Secret"),
    DEPLOYMENTS,
    Resource(
        group="apps", plural="replicasets", kind="ReplicaSet", short_names=("rs",), categories=("all",),
        has_status=True, scale=ScalePaths(), has_generation=True,
    ),
    STATEFUL_SETS,
    Resource(group="batch", plural="jobs", kind="Job", has_status=True, has_generation=True),
    Resource(
        group="autoscaling", version="v2", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler",
        short_names=("hpa",), categories=("all",), has_status=True,
    ),
    Resource(group="coordination.k8s.io", plural="leases", kind="Lease", needs_version=True),
    Resource(group="events.k8s.io", plural="events", kind="Event", short_names=("ev",)),
    CRDS,
)  # fmt: skip


def defined_by(crd: Object) -> list[Resource]:
    """Return one Resource for each served version of a CustomResourceDefinition (apiextensions.k8s.io/v1)."""
    spec, names = crd["spec"], crd["spec"]["names"]
    return [
        Resource(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            short_names=tuple(names.get("shortNames", ())),
            categories=tuple(names.get("categories", ())),
            namespaced=spec["scope"] == "Namespaced",
            custom=True,
            has_status="status" in version.get("subresources", {}),
            scale=_scale(version),
            has_generation=True,
            needs_version=True,
            columns=_columns(version),
            schema=version.get("schema", {}).get("openAPIV3Schema"),
        )
        for version in spec["versions"]
        if version["served"]
    ]


def _scale(version: Object) -> ScalePaths | None:
    found = version.get("subresources", {}).get("scale")
    if found is None:
        return None
    return ScalePaths(
        found["specReplicasPath"], found["statusReplicasPath"], found.get("labelSelectorPath", "")
    )


def _columns(version: Object) -> tuple[Column, ...]:
    defined = version.get("additionalPrinterColumns")
    if not defined:
        return (Column("Age", "date", ".metadata.creationTimestamp"),)
    return tuple(Column(c["name"], c["type"], c["jsonPath"], c.get("priority", 0)) for c in defined)


def group_list(resources: Iterable[Resource]) -> Object:
    """Answer `/apis`: every group with its versions, the first of each preferred."""
    groups: dict[str, list[str]] = {}
    for resource in resources:
        versions = groups.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    listed = [group_document(group, versions) for group, versions in groups.items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group_document(group: str, versions: Iterable[str]) -> Object:
    served = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": served, "preferredVersion": served[0]}


def resource_list(group_version: str, resources: Iterable[Resource]) -> Object:
    """Answer `/api/v1` and `/apis/GROUP/VERSION`."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": [entry for resource in resources for entry in _entries(resource)],
    }


def _entries(resource: Resource) -> Iterable[Object]:
    common = {"namespaced": resource.namespaced, "singularName": ""}
    entry = {
        **common,
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "kind": resource.kind,
        "verbs": VERBS,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    verbs = ["get", "patch", "update"]
    if resource.has_status:
        yield {**common, "name": f"{resource.plural}/status", "kind": resource.kind, "verbs": verbs}
    if resource.scale:
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": verbs}
        yield {**common, "name": f"{resource.plural}/scale", **scale}
