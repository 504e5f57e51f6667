"""Reads once what the operator watches, with whatever rights the caller has: for `explain` and `check`.

Only what the operator may read too is asked for, so that both commands run in its pod as well; and nothing is
ever written, but for access reviews, which the API server answers and does not keep.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.access import SecretKey
from natsscaler.core.errors import KubernetesError, excerpt
from natsscaler.core.explain.operator_report import Lease
from natsscaler.core.installation import LABEL, Installation, OperatorDeployment
from natsscaler.core.permissions import Permission
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import GROUP, PLURAL, VERSION, Target
from natsscaler.kube.objects import Autoscaler, Deployment, Page, Position, Status
from natsscaler.kube.requests import FORBIDDEN, HTTP_OK, LIST_SECONDS, NOT_FOUND, refusal, request
from natsscaler.kube.scales import Look, Scales
from natsscaler.kube.secrets import read_secret
from natsscaler.kube.watch import PAGE_SIZE, ListCall
from natsscaler.nats.credential_store import Secret


class ClusterReader:
    """Reads of the Kubernetes API. All raise KubernetesError; namespace "" stands for all of them."""

    def __init__(self, api: client.ApiClient) -> None:
        self._apps = client.AppsV1Api(api)
        self._scaling = client.AutoscalingV2Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._leases = client.CoordinationV1Api(api)
        self._extensions = client.ApiextensionsV1Api(api)
        self._authorization = client.AuthorizationV1Api(api)
        self._api = api
        self._scales = Scales(api)

    async def rules(self, *namespaces: str) -> list[Mapping[str, Any]]:
        """List the ScalingRules of these namespaces, as they are; none: of all."""
        return [rule for one in namespaces or ("",) for rule in await self._rules(one)]

    async def _rules(self, namespace: str) -> list[Mapping[str, Any]]:
        one = self._custom.list_namespaced_custom_object_without_preload_content
        every = self._custom.list_cluster_custom_object_without_preload_content
        where = (GROUP, VERSION, namespace, PLURAL) if namespace else (GROUP, VERSION, PLURAL)
        items = self._list(PLURAL, namespace, one if namespace else every, *where)
        return [msgspec.json.decode(item) async for item in items]

    async def deployments(self, namespace: str = "", name: str = "") -> dict[Target, Look]:
        """Look at Deployments; `name`: at this one only."""
        one = self._apps.list_namespaced_deployment_without_preload_content
        every = self._apps.list_deployment_for_all_namespaces_without_preload_content
        where = (namespace,) if namespace else ()
        query = {"field_selector": f"metadata.name={name}"} if name else {}
        items = self._list("deployments", namespace, one if namespace else every, *where, **query)
        found = [msgspec.json.decode(item, type=Deployment) async for item in items]
        return {one.affected: Look(one.spec.replicas, one.status.ready_replicas) for one in found}

    async def look(self, target: Target) -> Look:
        """Look at a target of any kind, or say why that cannot be done."""
        return await self._scales.look(target)

    async def installations(self) -> list[Installation]:
        """Find the operators of the cluster."""
        every = self._apps.list_deployment_for_all_namespaces_without_preload_content
        items = self._list("deployments", "", every, label_selector=LABEL)
        return [msgspec.json.decode(item, type=OperatorDeployment).installation async for item in items]

    async def autoscalers(self, namespace: str = "") -> dict[Target, str]:
        """List what a HorizontalPodAutoscaler scales, with its name."""
        one = self._scaling.list_namespaced_horizontal_pod_autoscaler_without_preload_content
        every = self._scaling.list_horizontal_pod_autoscaler_for_all_namespaces_without_preload_content
        where = (namespace,) if namespace else ()
        items = self._list("horizontalpodautoscalers", namespace, one if namespace else every, *where)
        found = [msgspec.json.decode(item, type=Autoscaler) async for item in items]
        return {one.affected: one.metadata.name for one in found}

    async def lease(self, namespace: str, name: str) -> Lease | None:
        """Read who leads; None: there is no such Lease."""
        async with request("get", "leases"):
            try:
                lease = await self._leases.read_namespaced_lease(name, namespace)
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise
        spec = lease.spec or client.V1LeaseSpec()
        renewed = spec.renew_time.timestamp() if spec.renew_time else 0.0
        return Lease(spec.holder_identity or "", renewed, spec.lease_duration_seconds or 0)

    async def crd(self) -> Mapping[str, Any] | None:
        """Read the CustomResourceDefinition of ScalingRules; None: there is none."""
        read = self._extensions.read_custom_resource_definition_without_preload_content
        async with request("get", "customresourcedefinitions"):
            async with await read(f"{PLURAL}.{GROUP}") as response:
                body = await response.read()
            if response.status == NOT_FOUND:
                return None
            if response.status != HTTP_OK:
                raise _refused("get", "customresourcedefinitions", "", response.status, body)
            found: Mapping[str, Any] = msgspec.json.decode(body)
        return found

    async def secret(self, key: SecretKey) -> Secret:
        """Read a Secret that a rule names."""
        try:
            return await read_secret(self._api, key)
        except KubernetesError as error:
            if error.reason is not Reason.FORBIDDEN:
                raise
            raise KubernetesError(error.reason, f"You may not get {key}, which is needed here") from error

    async def may(self, permission: Permission, namespace: str, account: Target | None) -> bool:
        """Ask whether a ServiceAccount, or without one the caller, is permitted something."""
        review: Any = {"spec": {"resourceAttributes": permission.attributes(namespace)}}
        what = "subjectaccessreviews"
        refused = {FORBIDDEN: KubernetesError(Reason.FORBIDDEN, f"You may not create {what}")}
        async with request("create", what, refused):
            answer: Any
            if account is None:
                answer = await self._authorization.create_self_subject_access_review(review)
            else:
                groups = ("serviceaccounts", f"serviceaccounts:{account.namespace}", "authenticated")
                review["spec"]["user"] = f"system:serviceaccount:{account.namespace}:{account.name}"
                review["spec"]["groups"] = [f"system:{group}" for group in groups]
                answer = await self._authorization.create_subject_access_review(review)
        return bool(answer.status.allowed)

    async def _list(
        self, what: str, namespace: str, call: ListCall, *where: str, **query: str
    ) -> AsyncIterator[msgspec.Raw]:
        page = Page(Position())
        while True:
            async with request("list", what, seconds=LIST_SECONDS):
                more = {"limit": PAGE_SIZE, "_continue": page.metadata.next_page or None}
                async with await call(*where, **query, **more) as response:
                    body = await response.read()
                if response.status != HTTP_OK:
                    raise _refused("list", what, namespace, response.status, body)
                page = msgspec.json.decode(body, type=Page)
            for item in page.items:
                yield item
            if not page.metadata.next_page:
                return


def _refused(verb: str, what: str, namespace: str, status: int, body: bytes) -> KubernetesError:
    if status == NOT_FOUND and what == PLURAL:
        message = (
            f"The cluster has no CustomResourceDefinition {PLURAL}.{GROUP}: make install, or helm install"
        )
        return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)
    if status == FORBIDDEN:
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        said = excerpt(msgspec.json.decode(body, type=Status).message)
        return KubernetesError(Reason.FORBIDDEN, f"You may not {verb} {what} {where} ({said})")
    return refusal(verb, what, status, body)
