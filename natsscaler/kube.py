"""All that natsscaler asks of the Kubernetes API and writes to it, besides Kopf's watch of ScalingRules.

Replicas are only ever written through `deployments/scale`, by a patch that first tests the number that was
seen: neither a stale table nor a second writer can lead to a change that nobody decided. What a failure says
stays the same from one attempt to the next, so that a condition at rest is not written again and again.
"""

import asyncio
import contextlib
import functools
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

from natsscaler.errors import KubernetesError, Reason, ReplicasChanged, SettingsError, TargetNotFound, excerpt
from natsscaler.rules import GROUP, KIND, PLURAL, VERSION, RuleKey, Target
from natsscaler.status import RuleStatus
from natsscaler.watch import NETWORK_FAILURES, Autoscaler, Deployment, DeploymentSpec, Meta, T, Watch

REQUEST_SECONDS = 5.0
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
FORBIDDEN, NOT_FOUND, UNPROCESSABLE = 403, 404, 422
NOTE_BYTES = 1024
"""The longest note of an Event that the API server accepts."""
NAME_LENGTH = 200
"""How much of the rule's name goes into that of an Event, which has room for 253 with its own suffix."""

logger = logging.getLogger(__name__)


class Kube:
    """The Kubernetes API, as far as natsscaler needs it; no namespaces: all of them."""

    def __init__(
        self,
        api: client.ApiClient,
        namespaces: tuple[str, ...],
        on_change: Callable[[Target], None],
        identity: str,
    ) -> None:
        self._identity = identity
        self._apps = client.AppsV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        scaling = client.AutoscalingV2Api(api)
        all_deployments = self._apps.list_deployment_for_all_namespaces_without_preload_content
        all_autoscalers = scaling.list_horizontal_pod_autoscaler_for_all_namespaces_without_preload_content
        one_deployments = self._apps.list_namespaced_deployment_without_preload_content
        one_autoscalers = scaling.list_namespaced_horizontal_pod_autoscaler_without_preload_content
        self._deployments: dict[str, Watch[Deployment]] = {}
        self._autoscalers: dict[str, Watch[Autoscaler]] = {}
        for namespace in namespaces or ("",):
            deployments = functools.partial(one_deployments, namespace) if namespace else all_deployments
            autoscalers = functools.partial(one_autoscalers, namespace) if namespace else all_autoscalers
            where = f" in {namespace}" if namespace else ""
            self._deployments[namespace] = Watch(f"Deployments{where}", deployments, Deployment, on_change)
            self._autoscalers[namespace] = Watch(
                f"HorizontalPodAutoscalers{where}", autoscalers, Autoscaler, on_change
            )

    async def run(self) -> None:
        """Keep the tables up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for deployments in self._deployments.values():
                group.create_task(deployments.run(), name=f"watch of {deployments.name}")
            for autoscalers in self._autoscalers.values():
                group.create_task(autoscalers.run(), name=f"watch of {autoscalers.name}")

    @property
    def synced(self) -> bool:
        """Whether all tables have been filled once."""
        return all(event.is_set() for event in self._events())

    async def wait_synced(self) -> None:
        """Wait until all tables have been filled once."""
        for event in self._events():
            await event.wait()

    def replicas(self, target: Target) -> int | None:
        """Return the replicas that a Deployment asks for, as last seen; None: there is no such Deployment."""
        watch = _responsible(self._deployments, target)
        known = watch.table.get(target) if watch else None
        return known.spec.replicas if known else None

    def autoscaler(self, target: Target) -> str | None:
        """Name a HorizontalPodAutoscaler that scales this Deployment, if there is one."""
        watch = _responsible(self._autoscalers, target)
        return next(
            (
                item.metadata.name
                for item in (watch.table.values() if watch else ())
                if item.affected == target and item.spec.scale_target_ref.kind == "Deployment"
            ),
            None,
        )

    async def scale(self, target: Target, before: int, after: int) -> None:
        """Change the replicas if they still are `before`.

        Raises TargetNotFound, ReplicasChanged or KubernetesError.
        """
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/spec/replicas", "value": before},
            {"op": "replace", "path": "/spec/replicas", "value": after},
        ]
        if before == 0:  # a Scale leaves out replicas that are 0
            patch = [
                {"op": "test", "path": "/spec", "value": {}},
                {"op": "add", "path": "/spec/replicas", "value": after},
            ]
        changed = ReplicasChanged(excerpt(f"replicas of Deployment {target} are no longer {before}"))
        async with _request(
            "patch", "deployments/scale", {NOT_FOUND: _missing(target), UNPROCESSABLE: changed}
        ):
            scale = await self._apps.patch_namespaced_deployment_scale(
                target.name, target.namespace, patch, _content_type=JSON_PATCH
            )
        self._learn(target, scale)

    async def fresh_replicas(self, target: Target) -> int:
        """Ask for the replicas now. Raises TargetNotFound or KubernetesError."""
        async with _request("get", "deployments/scale", {NOT_FOUND: _missing(target)}):
            scale = await self._apps.read_namespaced_deployment_scale(target.name, target.namespace)
        return self._learn(target, scale)

    async def write_status(self, key: RuleKey, status: RuleStatus, before: RuleStatus) -> None:
        """Replace a rule's status, knowing the one before; a rule that is gone needs none.

        Raises KubernetesError.
        """
        body = {"status": _merge_patch(msgspec.to_builtins(before), msgspec.to_builtins(status))}
        async with _request("patch", f"{PLURAL}/status"):
            try:
                await self._custom.patch_namespaced_custom_object_status(
                    GROUP, VERSION, key.namespace, PLURAL, key.name, body, _content_type=MERGE_PATCH
                )
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    async def emit(
        self, key: RuleKey, uid: str, *, warning: bool, reason: str, action: str, note: str, when: float
    ) -> None:
        """Record an Event about a rule; one that cannot be recorded is only logged."""
        name = f"{key.name[:NAME_LENGTH].rstrip('.-')}.{uuid.uuid4().hex[:16]}"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "eventTime": datetime.fromtimestamp(when, UTC).isoformat(timespec="microseconds"),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": action,
            "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "reportingController": "natsscaler",
            "reportingInstance": self._identity,
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": uid,
            },
        }
        try:
            async with _request("create", "events"):
                await self._custom.create_namespaced_custom_object(
                    "events.k8s.io", "v1", key.namespace, "events", event
                )
        except KubernetesError as error:
            logger.warning("Event %s of %s was not recorded: %s", reason, key, error)

    def _events(self) -> list[asyncio.Event]:
        deployments = [watch.synced for watch in self._deployments.values()]
        return deployments + [watch.synced for watch in self._autoscalers.values()]

    def _learn(self, target: Target, scale: client.V1Scale) -> int:
        replicas = (scale.spec and scale.spec.replicas) or 0
        watch = _responsible(self._deployments, target)
        meta = scale.metadata
        if watch and meta and meta.uid and meta.resource_version:
            known_as = Meta(target.name, target.namespace, meta.uid, meta.resource_version)
            watch.learn(Deployment(known_as, DeploymentSpec(replicas)))
        return replicas


async def connect(kubeconfig: Path | None, in_cluster: bool) -> client.ApiClient:
    """Make a client of the API: the kubeconfig given, else the pod's service account, else the default one.

    Raises SettingsError.
    """
    try:
        if kubeconfig is None and in_cluster:
            settings = client.Configuration()
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
            return client.ApiClient(settings)
        path = str(kubeconfig) if kubeconfig else None
        made: client.ApiClient = await config.new_client_from_config(path)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SettingsError(f"--kubeconfig: {excerpt(str(error))}") from error
    return made


@contextlib.asynccontextmanager
async def _request(
    verb: str, resource: str, refusals: Mapping[int, KubernetesError] | None = None
) -> AsyncIterator[None]:
    """Bound a request in time and turn each of its failures into a KubernetesError."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            yield
    except ApiException as error:
        if refusals and error.status in refusals:
            raise refusals[error.status] from error
        if error.status == FORBIDDEN:
            message = f"natsscaler may not {verb} {resource}: grant it the verb {verb} on {resource}"
            raise KubernetesError(Reason.FORBIDDEN, message) from error
        message = f"the Kubernetes API answered {error.status} to {verb} {resource}"
        raise KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message) from error
    except NETWORK_FAILURES as error:
        message = f"the Kubernetes API did not answer to {verb} {resource}: {type(error).__name__}"
        raise KubernetesError(Reason.KUBERNETES_UNAVAILABLE, excerpt(message)) from error


def _responsible(watches: Mapping[str, Watch[T]], target: Target) -> Watch[T] | None:
    return watches.get(target.namespace) or watches.get("")


def _missing(target: Target) -> TargetNotFound:
    return TargetNotFound(excerpt(f"there is no Deployment {target}"))


def _merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Write `after` as a merge patch: what only `before` has is null, at any depth."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        patch[name] = _merge_patch(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return patch
