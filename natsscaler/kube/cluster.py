"""The Kubernetes API as the reactor knows it: replicas without a request, and every write but the Lease.

Replicas are only ever written through the scale subresource.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from msgspec.structs import replace

from natsscaler.core.decision.rates import Workers
from natsscaler.core.errors import KubernetesError, ReplicasChanged, excerpt
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import GROUP, PLURAL, VERSION, RuleKey, Target
from natsscaler.core.status import RuleStatus
from natsscaler.kube.objects import Autoscaler, Deployment, DeploymentSpec, Names, Scale, StatefulSet
from natsscaler.kube.patches import event, scale_patch, status_patch
from natsscaler.kube.requests import (
    CONFLICT,
    HTTP_OK,
    LIST_SECONDS,
    NOT_FOUND,
    SCALE_SECONDS,
    UNPROCESSABLE,
    OnFailure,
    refusal,
    request,
)
from natsscaler.kube.scales import JSON_PATCH, Look, Scales
from natsscaler.kube.watch import T, Watch

LOOKS = 16
"""How many targets that are not watched are looked at at a time."""

logger = logging.getLogger(__name__)


class Kube:
    """The Kubernetes API, as far as natsscaler needs it; no namespaces: all of them."""

    def __init__(
        self,
        api: client.ApiClient,
        namespaces: tuple[str, ...],
        on_change: Callable[[Target], None],
        on_failure: OnFailure,
        identity: str,
    ) -> None:
        self._namespaces = namespaces
        self._on_failure = on_failure
        self._identity = identity
        self._scales = Scales(api)
        apps = client.AppsV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        scaling = client.AutoscalingV2Api(api)
        all_deployments = apps.list_deployment_for_all_namespaces_without_preload_content
        all_autoscalers = scaling.list_horizontal_pod_autoscaler_for_all_namespaces_without_preload_content
        all_sets = apps.list_stateful_set_for_all_namespaces_without_preload_content
        one_deployments = apps.list_namespaced_deployment_without_preload_content
        one_sets = apps.list_namespaced_stateful_set_without_preload_content
        one_autoscalers = scaling.list_namespaced_horizontal_pod_autoscaler_without_preload_content
        self.away: set[str] = set()
        """Watched namespaces whose rules may not be listed, as when they were deleted with their Role."""
        self._listed = asyncio.Event()
        """Set whenever a table was filled, or may not be."""
        self._deployments: dict[str, Watch[Deployment]] = {}
        self._sets: dict[str, Watch[Deployment]] = {}
        self._autoscalers: dict[str, Watch[Autoscaler]] = {}
        self._looks: dict[Target, Look] = {}
        self._looking = asyncio.Semaphore(LOOKS)
        for namespace in namespaces or ("",):
            deployments = functools.partial(one_deployments, namespace) if namespace else all_deployments
            sets = functools.partial(one_sets, namespace) if namespace else all_sets
            autoscalers = functools.partial(one_autoscalers, namespace) if namespace else all_autoscalers
            where = f" in namespace {namespace}" if namespace else ""
            self._deployments[namespace] = Watch(
                f"deployments{where}",
                deployments,
                Deployment,
                on_change,
                on_failure=on_failure,
                on_listed=self._listed.set,
            )
            self._sets[namespace] = Watch(
                f"statefulsets{where}",
                sets,
                StatefulSet,
                on_change,
                on_failure=on_failure,
                on_listed=self._listed.set,
            )
            self._autoscalers[namespace] = Watch(
                f"horizontalpodautoscalers{where}",
                autoscalers,
                Autoscaler,
                on_change,
                on_failure=on_failure,
                on_listed=self._listed.set,
            )
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Keep the tables up to date until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._watch_all()
            await asyncio.Event().wait()

    async def refresh(self) -> None:
        """List everything anew while `run` is running, so that no table is older than this call."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watch_all()
        await self.wait_synced()

    @property
    def watches(self) -> list[Watch[Deployment] | Watch[Autoscaler]]:
        return [*self._deployments.values(), *self._sets.values(), *self._autoscalers.values()]

    @property
    def synced(self) -> bool:
        """Whether the tables have been filled, those of one namespace at least.

        Of several namespaces, one that forbids its lists keeps none of the others waiting.
        """
        return any(self._filled(self._deployments, one) for one in self._deployments) and all(
            watch.synced.is_set() or watch.forbidden for watch in self.watches
        )

    async def wait_synced(self) -> None:
        """Wait until the tables have been filled."""
        while not self.synced:
            self._listed.clear()
            await self._listed.wait()

    def serves(self, target: Target) -> bool:
        """Whether the tables that a target would be in have been filled: else nothing is known of it."""
        tables = self._tables(target)
        watched = target.namespace if target.namespace in self._deployments else ""
        return watched in self._deployments and self._filled(tables, watched)

    def unusable(self, target: Target) -> Finding | None:
        """Say why the replicas of a target that is not watched are unknown, by the last look at it."""
        known = self._looks.get(target)
        return known.unusable if known else None

    async def look(self, targets: Collection[Target]) -> None:
        """Look at those of the targets that are not watched."""
        unwatched = [target for target in targets if not self._tables(target)]
        await asyncio.gather(*(self._look_at(target) for target in unwatched))

    async def _look_at(self, target: Target) -> None:
        if not self.serves(target):
            return  # an obstacle that is told anyway
        async with self._looking:
            self._looks[target] = await self._scales.look(target)

    def replicas(self, target: Target) -> int | None:
        """Return the replicas that a target asks for, as last seen; None: there is no such target."""
        if tables := self._tables(target):
            watch = _responsible(tables, target)
            known = watch.find(target) if watch else None
            return known.spec.replicas if known else None
        look = self._looks.get(target)
        return look.replicas if look else None

    def ready(self, target: Target) -> int | None:
        """Return how many replicas of a target are ready, as last seen; None: that is unknown."""
        if tables := self._tables(target):
            watch = _responsible(tables, target)
            known = watch.find(target) if watch else None
            return known.status.ready_replicas if known else None
        look = self._looks.get(target)
        return look.ready if look else None

    def workers(self, target: Target) -> Workers | None:
        """Return the pods of a target, as last seen; None: that is unknown."""
        watch = _responsible(self._tables(target), target)
        known = watch.find(target) if watch else None
        if known:
            return known.workers
        ready = self.ready(target)
        return None if ready is None else Workers(ready, "")

    def autoscaler(self, target: Target) -> str | None:
        """Name a HorizontalPodAutoscaler that scales this target, if there is one."""
        watch = _responsible(self._autoscalers, target)
        items = watch.table.values() if watch else ()
        return next((item.metadata.name for item in items if item.affected == target), None)

    def _tables(self, target: Target) -> Mapping[str, Watch[Deployment]]:
        """Return the tables of a kind that is watched, by namespace; none: it is not."""
        tables = {"Deployment": self._deployments, "StatefulSet": self._sets}
        return tables.get(target.kind, {}) if target.group == "apps" else {}

    def _filled(self, tables: Mapping[str, Watch[Deployment]], watched: str) -> bool:
        own = not tables or tables[watched].synced.is_set()
        return own and self._autoscalers[watched].synced.is_set()

    async def rules(self) -> set[tuple[RuleKey, str]]:
        """List the keys and uids of all ScalingRules, but for namespaces that are `away`.

        Raises KubernetesError.
        """
        found: set[tuple[RuleKey, str]] = set()
        for body in await self._lists_of_rules():
            names = (item.metadata for item in msgspec.json.decode(body, type=Names).items)
            found |= {(RuleKey(name.namespace, name.name), name.uid) for name in names}
        return found

    async def rule_objects(self) -> tuple[int, list[Mapping[str, Any]]]:
        """List all ScalingRules as they are, and the resource version that the list is as new as, at least.

        Leaves out namespaces that are `away`. Raises KubernetesError.
        """
        lists = [msgspec.json.decode(body) for body in await self._lists_of_rules()]
        version = min(int(found["metadata"]["resourceVersion"]) for found in lists)
        return version, [item for found in lists for item in found["items"]]

    async def _lists_of_rules(self) -> list[bytes]:
        found: list[bytes] = []
        forbidden: dict[str, KubernetesError] = {}
        for namespace in self._namespaces or ("",):
            try:
                found.append(await self._list_of_rules(namespace))
            except KubernetesError as error:
                if error.reason is not Reason.FORBIDDEN:
                    raise
                forbidden[namespace] = error
        if not found:
            raise next(iter(forbidden.values()))
        for namespace in sorted(forbidden.keys() - self.away):
            logger.warning(
                "Namespace %s is not served until it exists and its rules may be listed, the others are: %s",
                namespace,
                forbidden[namespace],
            )
        for namespace in sorted(self.away - forbidden.keys()):
            logger.info("Namespace %s is served", namespace)
        self.away = set(forbidden)
        return found

    async def _list_of_rules(self, namespace: str) -> bytes:
        async with request("list", PLURAL, seconds=LIST_SECONDS):
            one, every = (
                self._custom.list_namespaced_custom_object_without_preload_content,
                self._custom.list_cluster_custom_object_without_preload_content,
            )
            asked = one(GROUP, VERSION, namespace, PLURAL) if namespace else every(GROUP, VERSION, PLURAL)
            async with await asked as response:
                body = await response.read()
            if response.status != HTTP_OK:
                raise (
                    _no_crd()
                    if response.status == NOT_FOUND
                    else refusal("list", PLURAL, response.status, body)
                )
            return body

    async def scale(self, target: Target, before: int, after: int) -> int:
        """Change the replicas if they still are `before`; return what they are now, as admission may differ.

        Raises TargetNotFound, ReplicasChanged or KubernetesError.
        """
        changed = ReplicasChanged(excerpt(f"{target.shown} no longer has {before} replicas"))
        refusals = {CONFLICT: changed, UNPROCESSABLE: changed}
        scale = await self._scales.patch(target, scale_patch(before, after), refusals, SCALE_SECONDS)
        return self._learn(target, scale)

    async def writer(self, target: Target) -> str:
        """Tell who last wrote the replicas, as `managedFields` has it; "" if that cannot be told."""
        try:
            return await self._scales.writer(target)
        except KubernetesError:
            return ""

    async def fresh_replicas(self, target: Target) -> int:
        """Ask for the replicas now. Raises TargetNotFound or KubernetesError."""
        return self._learn(target, await self._scales.read(target))

    async def write_status(self, key: RuleKey, uid: str, status: RuleStatus) -> None:
        """Replace a rule's status; a rule that is gone needs none. Raises KubernetesError."""
        async with request("patch", f"{PLURAL}/status"):
            try:
                await self._custom.patch_namespaced_custom_object_status(
                    GROUP,
                    VERSION,
                    key.namespace,
                    PLURAL,
                    key.name,
                    status_patch(uid, status),
                    _content_type=JSON_PATCH,
                )
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    async def emit(
        self, key: RuleKey, uid: str, *, warning: bool, reason: str, action: str, note: str, when: float
    ) -> None:
        """Record an Event about a rule; one that cannot be recorded is logged and counted."""
        body = event(
            key,
            uid,
            warning=warning,
            reason=reason,
            action=action,
            note=note,
            when=when,
            reporter=self._identity,
        )
        try:
            async with request("create", "events"):
                await self._custom.create_namespaced_custom_object(
                    "events.k8s.io", "v1", key.namespace, "events", body
                )
        except KubernetesError as error:
            logger.warning("Event %s of %s was not recorded: %s", reason, key, error)
            self._on_failure("event", error.reason)

    def _watch_all(self) -> None:
        self._tasks.clear()
        for watch in self.watches:
            watch.synced.clear()
            watch.forbidden = False
            self._tasks.append(self._group.create_task(watch.run(), name=f"watch of {watch.name}"))

    def _learn(self, target: Target, scale: Scale) -> int:
        replicas = scale.spec.replicas
        tables = self._tables(target)
        if not tables:
            self._looks[target] = Look(replicas, self.ready(target))
        elif watch := _responsible(tables, target):
            known = watch.find(target)
            if known:
                uid, version = scale.metadata.uid, scale.metadata.resource_version
                metadata = replace(known.metadata, uid=uid, resource_version=version)
                watch.learn(replace(known, metadata=metadata, spec=DeploymentSpec(replicas)))
        return replicas


def _responsible(watches: Mapping[str, Watch[T]], target: Target) -> Watch[T] | None:
    return watches.get(target.namespace) or watches.get("")


def _no_crd() -> KubernetesError:
    crd = f"{PLURAL}.{GROUP}"
    return KubernetesError(
        Reason.KUBERNETES_UNAVAILABLE,
        f"The cluster has no CustomResourceDefinition {crd}. Install it; the operator waits for it",
    )
