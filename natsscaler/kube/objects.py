"""The few fields that are decoded of Deployments, autoscalers, lists and watch events.

A cluster may have thousands of Deployments: all that matters of them here is who they are and how many
replicas they ask for, and nothing else is kept.
"""

import msgspec
from msgspec import Struct, field

from natsscaler.errors import excerpt
from natsscaler.rules import Target


class Meta(Struct, frozen=True):
    """Who an object is, and in which version."""

    name: str
    namespace: str
    uid: str
    resource_version: str = field(name="resourceVersion")


class DeploymentSpec(Struct, frozen=True):
    """What a Deployment asks for."""

    replicas: int = 1


class Deployment(Struct, frozen=True):
    """A Deployment, as far as it matters here."""

    metadata: Meta
    spec: DeploymentSpec

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.metadata.name)


class ScaleTargetRef(Struct, frozen=True):
    """What a HorizontalPodAutoscaler scales."""

    kind: str
    name: str


class AutoscalerSpec(Struct, frozen=True):
    """What a HorizontalPodAutoscaler is for."""

    scale_target_ref: ScaleTargetRef = field(name="scaleTargetRef")


class Autoscaler(Struct, frozen=True):
    """A HorizontalPodAutoscaler, as far as it matters here."""

    metadata: Meta
    spec: AutoscalerSpec

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.spec.scale_target_ref.name)


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


class Event(Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw
