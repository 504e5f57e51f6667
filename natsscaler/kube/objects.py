"""The few fields that are decoded of Deployments, autoscalers, lists and watch events.

A cluster may have thousands of Deployments: all that matters of them here is who they are and how many
replicas they ask for, and nothing else is kept.
"""

from typing import Annotated

import msgspec
from msgspec import Struct, field

from natsscaler.core.decision.rates import Workers
from natsscaler.core.errors import KubernetesError, excerpt
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target

MAX_REPLICAS = 2**31 - 1
"""The most that the API has room for."""


class Meta(Struct, frozen=True):
    """Who an object is, and in which version."""

    name: str
    namespace: str
    uid: str
    resource_version: str = field(name="resourceVersion")


class Annotations(Struct, frozen=True):
    """The annotation that tells which pod template a Deployment has."""

    revision: str = field(default="", name="deployment.kubernetes.io/revision")


class DeploymentMeta(Meta, frozen=True):
    """Who a Deployment is."""

    annotations: Annotations = Annotations()


class DeploymentSpec(Struct, frozen=True):
    """What a Deployment asks for."""

    replicas: int = 1


class DeploymentStatus(Struct, frozen=True, rename="camel"):
    """What a Deployment has; the API leaves out 0."""

    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    update_revision: str = ""
    """Of a StatefulSet: names its pod template."""


class Deployment(Struct, frozen=True):
    """A Deployment, as far as it matters here."""

    metadata: DeploymentMeta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()

    @property
    def workers(self) -> Workers:
        rolled_out = self.status.updated_replicas == self.status.replicas
        template = self.metadata.annotations.revision or self.status.update_revision
        return Workers(self.status.ready_replicas, template if rolled_out else "")

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.metadata.name)


class StatefulSet(Deployment, frozen=True):
    """A StatefulSet: what matters of it is the same."""

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.metadata.name, "StatefulSet")


class AutoscalerTarget(Struct, frozen=True):
    """What a HorizontalPodAutoscaler scales."""

    kind: str
    name: str
    api_version: str = field(default="", name="apiVersion")

    @property
    def group(self) -> str:
        """The API group: those of apps were in `extensions` once, and are meant where none is named."""
        group = self.api_version.rpartition("/")[0]
        unnamed = not self.api_version and self.kind in ("Deployment", "StatefulSet")
        return "apps" if unnamed or group == "extensions" else group


class AutoscalerSpec(Struct, frozen=True):
    """What a HorizontalPodAutoscaler is for."""

    scale_target_ref: AutoscalerTarget = field(name="scaleTargetRef")


class Autoscaler(Struct, frozen=True):
    """A HorizontalPodAutoscaler, as far as it matters here."""

    metadata: Meta
    spec: AutoscalerSpec

    @property
    def affected(self) -> Target:
        scaled = self.spec.scale_target_ref
        return Target(self.metadata.namespace, scaled.name, scaled.kind, scaled.group)


class ScaleSpec(Struct, frozen=True):
    """The replicas of a Scale, which leaves out 0."""

    replicas: Annotated[int, msgspec.Meta(ge=0, le=MAX_REPLICAS)] = 0


class ScaleStatus(Struct, frozen=True):
    """What tells which pods a scale is about."""

    selector: str = ""


class Scale(Struct, frozen=True):
    """What the API server answers to a read or a patch of a scale."""

    metadata: Meta
    spec: ScaleSpec
    status: ScaleStatus = ScaleStatus()


def scale_in(body: bytes, target: Target) -> Scale:
    """Read an answer about the scale of a target. Raises KubernetesError: what is there is unknown."""
    try:
        scale = msgspec.json.decode(body, type=Scale)
        told_of = (scale.metadata.namespace, scale.metadata.name)
        version = int(scale.metadata.resource_version)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable() from error
    if told_of != (target.namespace, target.name) or version < 0:
        raise _unreadable()
    return scale


def _unreadable() -> KubernetesError:
    message = "The Kubernetes API gave no scale when asked for one. Look at what is between"
    return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)


class Listed(Struct, frozen=True):
    """An object of which only the name matters."""

    metadata: Meta


class Names(Struct, frozen=True):
    """A list of objects of which only the names matter."""

    items: tuple[Listed, ...]


class ManagedFields(Struct, frozen=True):
    """One of `managedFields`: who wrote which fields last (Kubernetes API reference, ManagedFieldsEntry)."""

    manager: str = ""
    operation: str = ""
    time: str = ""
    subresource: str = ""
    fields: dict[str, dict[str, object]] = field(default={}, name="fieldsV1")

    @property
    def writes_replicas(self) -> bool:
        return "f:replicas" in self.fields.get("f:spec", {})


class ManagedMeta(Struct, frozen=True):
    """`metadata` with what tells of its writers."""

    managed_fields: tuple[ManagedFields, ...] = field(default=(), name="managedFields")

    @property
    def writer(self) -> str:
        """Who wrote `spec.replicas` last, how and when; "" if nobody is named."""
        writers = [one for one in self.managed_fields if one.writes_replicas]
        if not writers:
            return ""
        last = max(writers, key=lambda one: one.time)
        by = f"{last.operation}, subresource {last.subresource}" if last.subresource else last.operation
        return excerpt(f"{last.manager} ({by}, last at {last.time})")


class ManagedObject(Struct, frozen=True):
    """An object of which only its writers matter."""

    metadata: ManagedMeta


class Managed(Struct, frozen=True):
    """A list of objects of which only their writers matter."""

    items: tuple[ManagedObject, ...] = ()


def older(item: Deployment | Autoscaler, known: Deployment | Autoscaler) -> bool:
    """Compare versions, which are numbers that grow (Kubernetes API concepts, "Resource versions")."""
    return int(item.metadata.resource_version) < int(known.metadata.resource_version)


class Position(Struct, frozen=True):
    """Where in the history a list or a bookmark is, and which page of the list comes next."""

    resource_version: str = field(default="", name="resourceVersion")
    next_page: str = field(default="", name="continue")


class Page(Struct, frozen=True):
    """One page of a list."""

    metadata: Position
    items: tuple[msgspec.Raw, ...] = ()


class Bookmark(Struct, frozen=True):
    """The object of a watch's BOOKMARK event."""

    metadata: Position


class Status(Struct, frozen=True):
    """What the API says when it refuses something."""

    code: int = 0
    message: str = ""


class Details(Struct, frozen=True):
    """Which object was refused."""

    name: str = ""


class Refusal(Struct, frozen=True):
    """What the API says when it refuses something, and of which object."""

    message: str = ""
    details: Details = Details()


class Owner(Struct, frozen=True):
    """One of `ownerReferences`."""

    kind: str
    name: str
    controller: bool = False


class OwnedMeta(Struct, frozen=True):
    """`metadata` with what tells of its owners."""

    owners: tuple[Owner, ...] = field(default=(), name="ownerReferences")

    @property
    def controller(self) -> Owner | None:
        """Who manages the object, if somebody does."""
        return next((owner for owner in self.owners if owner.controller), None)


class Owned(Struct, frozen=True):
    """An object of which only its owners matter."""

    metadata: OwnedMeta


class PodCondition(Struct, frozen=True):
    """One condition of a pod."""

    type: str
    status: str


class PodStatus(Struct, frozen=True):
    """What a pod is like."""

    conditions: tuple[PodCondition, ...] = ()


class PodMeta(Struct, frozen=True):
    """`metadata` with what tells whether the pod is to end."""

    ends_at: str | None = field(default=None, name="deletionTimestamp")


class Pod(Struct, frozen=True):
    """A pod of which only matters whether it is ready."""

    metadata: PodMeta
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        ready = any((one.type, one.status) == ("Ready", "True") for one in self.status.conditions)
        return ready and self.metadata.ends_at is None


class Pods(Struct, frozen=True):
    """A list of pods."""

    items: tuple[Pod, ...] = ()


class Event(Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw
