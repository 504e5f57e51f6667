"""A custom kind with a scale subresource: what is scaled of an Argo Rollout, in a group of the test's own."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from tests.conftest import KubeApi
from tests.support.until import until

SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.HPAReplicas",
    "labelSelectorPath": ".status.selector",
}
"""As in the CustomResourceDefinition of Argo Rollouts."""


def rollout_crd(group: str, *, scale: bool = True, version: str = "v1alpha1") -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"rollouts.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}} | ({"scale": SCALE} if scale else {}),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


class Rollouts:
    """Rollouts of one group, in one namespace."""

    def __init__(self, api: client.ApiClient, group: str, namespace: str) -> None:
        self.group, self.api_version = group, f"{group}/v1alpha1"
        self._custom = client.CustomObjectsApi(api)
        self._where = (group, "v1alpha1", namespace, "rollouts")

    async def create(self, name: str, replicas: int | None = 1) -> None:
        spec = {} if replicas is None else {"replicas": replicas}
        made = {"apiVersion": self.api_version, "kind": "Rollout", "metadata": {"name": name}, "spec": spec}
        await self._custom.create_namespaced_custom_object(*self._where, made)

    async def replicas(self, name: str = "my-app") -> int:
        found: Any = await self._custom.get_namespaced_custom_object(*self._where, name)
        return int(found["spec"]["replicas"])


@contextlib.asynccontextmanager
async def rollouts(kube_api: KubeApi, *, scale: bool = True) -> AsyncIterator[Rollouts]:
    """Serve Rollouts while this lasts."""
    group = f"{kube_api.namespace}.example.com"
    crds = client.ApiextensionsV1Api(kube_api.client)
    crd: Any = rollout_crd(group, scale=scale)
    custom = client.CustomObjectsApi(kube_api.client)
    await crds.create_custom_resource_definition(crd)

    async def served() -> bool:
        try:
            await custom.list_namespaced_custom_object(group, "v1alpha1", kube_api.namespace, "rollouts")
        except ApiException:
            return False
        return True

    await until(served)
    yield Rollouts(kube_api.client, group, kube_api.namespace)
    await crds.delete_custom_resource_definition(crd["metadata"]["name"])
