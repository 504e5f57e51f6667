"""Scales of any kind: where the API server serves them, what they say, and their patch.

Where a kind is served is found by plain discovery (Kubernetes API concepts, "API discovery"): the group
exactly as named, the version that the cluster prefers. It is kept until a path leads nowhere, then asked
for again.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from msgspec import Struct, field
from msgspec.json import decode

from natsscaler.core.errors import KubernetesError, TargetNotFound, excerpt
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Target
from natsscaler.kube.objects import Managed, Owned, Pods, Refusal, Scale, scale_in
from natsscaler.kube.patches import JsonPatch
from natsscaler.kube.requests import HTTP_OK, NOT_FOUND, request, silence

JSON, JSON_PATCH = "application/json", "application/json-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
NO_REPLICAS = "the spec replicas field"
"""How the API server begins what it says of a custom object whose replicas are not set."""
LOOK_SECONDS = 3.0
"""For a look at a target that is not watched, as rules of the same NATS server wait for it."""
READY_SECONDS, UNKNOWN_SECONDS = 10.0, 300.0
"""How long a count of ready pods is kept, and that there is none."""
MESSAGE_LENGTH = 400

D = TypeVar("D", bound=Struct)


class Look(NamedTuple):
    """What a look at a target that is not watched has told."""

    replicas: int | None = None
    """None: there is no such target, or it is unknown."""
    ready: int | None = None
    unusable: Finding | None = None
    """Why its replicas are unknown."""

    @property
    def exists(self) -> bool:
        return self.replicas is not None


class ServedAt(NamedTuple):
    """Where a kind is served."""

    root: str
    """Of its group and version, such as /apis/apps/v1."""
    plural: str

    def path(self, target: Target) -> str:
        return f"{self.root}/namespaces/{target.namespace}/{self.plural}/{target.name}"

    def called(self, target: Target, subresource: str = "") -> str:
        """Name the resource as a Role does; the group only where it is not `apps`."""
        return f"{self.plural}{subresource}" + ("" if target.group == "apps" else f".{target.group}")


APPS = {
    ("apps", "Deployment"): ServedAt("/apis/apps/v1", "deployments"),
    ("apps", "StatefulSet"): ServedAt("/apis/apps/v1", "statefulsets"),
}
"""What every cluster serves."""


class _Version(Struct, frozen=True):
    group_version: str = field(name="groupVersion")


class _Group(Struct, frozen=True):
    preferred: _Version = field(name="preferredVersion")
    versions: tuple[_Version, ...] = ()


class _Resource(Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False


class _Resources(Struct, frozen=True):
    resources: tuple[_Resource, ...] = ()


class Scales:
    """Reads and patches scales. All raise KubernetesError."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._places: dict[tuple[str, str], ServedAt] = dict(APPS)
        self._ready: dict[Target, tuple[float, int | None]] = {}
        """Until when a count of ready pods holds, on the monotonic clock, and the count."""

    async def look(self, target: Target) -> Look:
        """Look at a target, or say why that cannot be done."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._refuse_owned(target)
                scale = await self.read(target)
                return Look(scale.spec.replicas, await self._ready_of(target, scale))
        except TargetNotFound:
            return Look()
        except KubernetesError as error:
            return Look(unusable=Finding(error.reason, error.message))
        except TimeoutError as error:
            told = silence("get", f"the scale of {target.shown}", error)
            return Look(unusable=Finding(told.reason, told.message))

    async def read(self, target: Target) -> Scale:
        """Read a scale as it is now. Raises TargetNotFound, too."""
        return scale_in(await self._at(target, "GET", "/scale"), target)

    async def patch(
        self, target: Target, patch: JsonPatch, refusals: Mapping[int, KubernetesError], seconds: float
    ) -> Scale:
        """Patch a scale; `refusals`: what certain HTTP statuses mean. Raises TargetNotFound, too."""
        body = await self._at(target, "PATCH", "/scale", patch=patch, refusals=refusals, seconds=seconds)
        return scale_in(body, target)

    async def _refuse_owned(self, target: Target) -> None:
        """Refuse a ReplicaSet that has an owner, which sets its replicas."""
        if (target.group, target.kind) != ("apps", "ReplicaSet"):
            return
        owned = decode(await self._at(target, "GET", "", accept=METADATA), type=Owned)
        if owner := owned.metadata.controller:
            name = f"{owner.kind} {owner.name}"
            raise KubernetesError(
                Reason.TARGET_NOT_SCALABLE,
                excerpt(
                    f"{target.shown} belongs to {name}, which sets its replicas: name {name}", MESSAGE_LENGTH
                ),
            )

    async def writer(self, target: Target) -> str:
        """Tell who last wrote the replicas, as `managedFields` has it; "" if nobody is named."""
        place = await self._place(target)
        path = f"{place.root}/namespaces/{target.namespace}/{place.plural}"
        async with request("list", place.called(target)):
            query = {"fieldSelector": f"metadata.name={target.name}"}
            found = decode(await self._call("GET", path, query=query), type=Managed)
        return next(filter(None, (item.metadata.writer for item in found.items)), "")

    async def _ready_of(self, target: Target, scale: Scale) -> int | None:
        """Count the ready pods of a scale's selector; None: there is none, or they may not be listed."""
        until, known = self._ready.get(target, (-math.inf, None))
        now = time.monotonic()
        if now < until:
            return known
        known = await self._ready_pods(target, scale.status.selector) if scale.status.selector else None
        self._ready[target] = now + (UNKNOWN_SECONDS if known is None else READY_SECONDS), known
        return known

    async def _ready_pods(self, target: Target, selector: str) -> int | None:
        try:
            async with request("list", "pods"):
                query = {"labelSelector": selector, "resourceVersion": "0"}
                body = await self._call("GET", f"/api/v1/namespaces/{target.namespace}/pods", query=query)
                pods = decode(body, type=Pods)
        except KubernetesError:
            return None
        return sum(pod.is_ready for pod in pods.items)

    async def _at(
        self,
        target: Target,
        method: str,
        subresource: str,
        *,
        accept: str = JSON,
        patch: JsonPatch | None = None,
        refusals: Mapping[int, KubernetesError] | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """Ask for an object or its scale; where its path leads nowhere, discovery is tried once more."""
        kept = (target.group, target.kind) in self._places
        place = await self._place(target)
        meant = {NOT_FOUND: _missing(target), **(refusals or {})}
        try:
            async with request(method.lower(), place.called(target, subresource), meant, seconds=seconds):
                try:
                    return await self._call(
                        method, place.path(target) + subresource, accept=accept, patch=patch
                    )
                except ApiException as error:
                    _explain(target, error)
                    raise
        except _NoSuchPath as error:
            self._places.pop((target.group, target.kind), None)
            if not kept:
                message = f"the Kubernetes API lists {place.plural}.{target.group}, but does not serve it yet"
                raise KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message) from error
        return await self._at(
            target, method, subresource, accept=accept, patch=patch, refusals=refusals, seconds=seconds
        )

    async def _place(self, target: Target) -> ServedAt:
        kind = (target.group, target.kind)
        if kind not in self._places:
            self._places[kind] = await self._discover(target)
        return self._places[kind]

    async def _discover(self, target: Target) -> ServedAt:
        if target.group:
            group = await self._document(f"/apis/{target.group}", _Group)
            if group is None:
                raise _unservable(
                    target, f"the cluster has no API group {target.group} with a scale subresource"
                )
            versions = dict.fromkeys((group.preferred, *group.versions))
            roots = [f"/apis/{version.group_version}" for version in versions]
        else:
            roots = ["/api/v1"]
        for root in roots:
            found = await self._document(root, _Resources)
            served = {one.name: one for one in (found.resources if found else ())}
            for name, one in served.items():
                if one.kind != target.kind or "/" in name:
                    continue
                if not one.namespaced or f"{name}/scale" not in served:
                    raise _unservable(target, "its kind has no scale subresource")
                return ServedAt(root, name)
        raise _unservable(
            target, f"API group {target.group or 'v1'} has no such kind with a scale subresource"
        )

    async def _document(self, path: str, kind: type[D]) -> D | None:
        """Read a document of discovery; None: there is none."""
        async with request("get", path):
            try:
                return decode(await self._call("GET", path), type=kind)
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
        patch: JsonPatch | None = None,
    ) -> bytes:
        """Send a request; raises ApiException for every answer but success."""
        headers = {"Accept": accept} | ({"Content-Type": JSON_PATCH} if patch is not None else {})
        sent = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=patch,
            auth_settings=["BearerToken"],
        )
        verb, url, sent_headers, sent_body, form = sent
        answered = await self._api.call_api(verb, url, sent_headers, sent_body, form, _preload_content=False)
        answer: aiohttp.ClientResponse = answered.response
        async with answer:
            body = await answer.read()
        if answer.status != HTTP_OK:
            failure = ApiException(status=answer.status, body=body.decode(errors="replace"))
            failure.headers = answer.headers
            raise failure
        return body


class _NoSuchPath(Exception):
    """The API server serves nothing at a path."""


def _explain(target: Target, error: ApiException) -> None:
    """Raise what an answer means that its HTTP status alone does not tell."""
    if (target.group, target.kind) in APPS:
        return
    try:
        said = decode((error.body or "").encode(), type=Refusal)
    except msgspec.MsgspecError:
        said = Refusal()
    if error.status == NOT_FOUND and said.details.name != target.name:
        raise _NoSuchPath from error
    if NO_REPLICAS in said.message:
        message = f"{target.shown} does not say how many replicas it asks for: set its replicas"
        raise KubernetesError(Reason.REPLICAS_NOT_SET, excerpt(message, MESSAGE_LENGTH)) from error


def _missing(target: Target) -> TargetNotFound:
    return TargetNotFound(excerpt(f"there is no {target.shown}"))


def _unservable(target: Target, why: str) -> KubernetesError:
    message = f"{target.shown} cannot be scaled, as {why}: name a kind that has one, or install it"
    return KubernetesError(Reason.TARGET_NOT_SCALABLE, excerpt(message, MESSAGE_LENGTH))
