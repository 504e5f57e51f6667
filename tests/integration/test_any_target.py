"""Targets of any kind, as the reactor knows them: looked at, scaled, and refused, on both Kubernetes APIs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.errors import KubernetesError, ReplicasChanged
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target
from natsscaler.kube.cluster import Kube
from natsscaler.kube.scales import Scales
from tests.conftest import KubeApi, in_background
from tests.support.manifests import deployment, rule
from tests.support.rollouts import rollout_crd, rollouts
from tests.support.until import until


@pytest.fixture
async def kube(kube_api: KubeApi) -> AsyncIterator[Kube]:
    made = Kube(kube_api.client, (kube_api.namespace,), lambda _: None, lambda *_: None, "test-0")
    async with in_background(made.run()):
        await made.wait_synced()
        yield made


async def reason_of(kube: Kube, target: Target) -> Reason | None:
    await kube.look([target])
    found = kube.unusable(target)
    return found.reason if found else None


async def test_a_stateful_set_is_watched_and_scaled(kube: Kube, kube_api: KubeApi) -> None:
    custom = client.CustomObjectsApi(kube_api.client)
    made = deployment("web", 2) | {"kind": "StatefulSet"}
    made["spec"]["serviceName"] = "web"
    await custom.create_namespaced_custom_object("apps", "v1", kube_api.namespace, "statefulsets", made)
    target = Target(kube_api.namespace, "web", "StatefulSet")
    await until(lambda: kube.replicas(target) == 2)
    await until(lambda: kube.ready(target) == 2)
    assert await kube.scale(target, 2, 3) == 3
    assert kube.replicas(target) == 3
    assert kube.replicas(Target(kube_api.namespace, "web")) is None
    with pytest.raises(ReplicasChanged):
        await kube.scale(target, 2, 5)


async def test_a_custom_kind_is_looked_at_and_scaled(kube: Kube, kube_api: KubeApi) -> None:
    async with rollouts(kube_api) as made:
        await made.create("web", 2)
        target = Target(kube_api.namespace, "web", "Rollout", made.group)
        assert kube.replicas(target) is None
        await kube.look([target])
        assert (kube.replicas(target), kube.unusable(target)) == (2, None)
        assert await kube.scale(target, 2, 4) == 4
        assert await made.replicas("web") == 4
        with pytest.raises(ReplicasChanged):
            await kube.scale(target, 2, 5)
        assert await kube.scale(target, 4, 0) == 0
        assert await kube.scale(target, 0, 1) == 1
        gone = target._replace(name="gone")
        await kube.look([gone])
        assert (kube.replicas(gone), kube.unusable(gone)) == (None, None)


async def test_replicas_that_are_not_set_are_not_known(kube: Kube, kube_api: KubeApi) -> None:
    async with rollouts(kube_api) as made:
        await made.create("web", None)
        target = Target(kube_api.namespace, "web", "Rollout", made.group)
        assert await reason_of(kube, target) is Reason.REPLICAS_NOT_SET


async def test_a_kind_without_scale_is_refused(kube: Kube, kube_api: KubeApi) -> None:
    async with rollouts(kube_api, scale=False) as made:
        target = Target(kube_api.namespace, "web", "Rollout", made.group)
        assert await reason_of(kube, target) is Reason.TARGET_NOT_SCALABLE
        for other in (
            target._replace(kind="Nothing"),
            target._replace(group="nowhere.example.com"),
            target._replace(kind="Job", group="batch"),
        ):
            assert await reason_of(kube, other) is Reason.TARGET_NOT_SCALABLE


async def test_a_replica_set_that_has_an_owner_is_refused(kube: Kube, kube_api: KubeApi) -> None:
    custom = client.CustomObjectsApi(kube_api.client)
    where = ("apps", "v1", kube_api.namespace, "replicasets")
    own = deployment("own", 2) | {"kind": "ReplicaSet"}
    owned = deployment("owned", 2) | {"kind": "ReplicaSet"}
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "1"}
    owned["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    await custom.create_namespaced_custom_object(*where, own)
    target = Target(kube_api.namespace, "own", "ReplicaSet")
    await kube.look([target])
    assert kube.replicas(target) == 2
    await custom.create_namespaced_custom_object(*where, owned)
    assert await reason_of(kube, target._replace(name="owned")) is Reason.TARGET_NOT_SCALABLE
    found = kube.unusable(target._replace(name="owned"))
    assert found
    assert "name Rollout web" in found.message


@pytest.mark.parametrize("kube_api", ["embedded"], indirect=True)
async def test_discovery_that_fails_tells_nothing(kube: Kube, kube_api: KubeApi) -> None:
    """Neither that the target exists nor that it does not; once it answers, all is known."""
    async with rollouts(kube_api) as made:
        await made.create("web", 2)
        target = Target(kube_api.namespace, "web", "Rollout", made.group)
        await kube_api.stop()
        assert await reason_of(kube, target) is Reason.KUBERNETES_UNAVAILABLE
        with pytest.raises(KubernetesError):
            await Scales(kube_api.client).read(target)
        await kube_api.start()
        await kube.look([target])
        assert (kube.replicas(target), kube.unusable(target)) == (2, None)


@pytest.mark.control_plane
@pytest.mark.parametrize("kube_api", ["real"], indirect=True)
async def test_a_version_that_is_no_longer_served_is_found_anew(kube: Kube, kube_api: KubeApi) -> None:
    async with rollouts(kube_api) as made:
        await made.create("web", 2)
        target = Target(kube_api.namespace, "web", "Rollout", made.group)
        await kube.look([target])
        crds = client.ApiextensionsV1Api(kube_api.client)
        name = f"rollouts.{made.group}"
        (old,) = rollout_crd(made.group)["spec"]["versions"]
        versions = [old | {"served": False}, old | {"name": "v1", "storage": False}]
        patch: Any = {"spec": {"versions": versions}}
        await crds.patch_custom_resource_definition(name, patch, _content_type="application/merge-patch+json")

        async def is_gone() -> bool:
            try:
                await made.replicas("web")
            except ApiException:
                return True
            return False

        async def is_found() -> bool:
            await kube.look([target])
            return kube.replicas(target) == 2

        await until(is_gone)
        await until(is_found)  # discovery lags behind
        assert await kube.scale(target, 2, 3) == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a"}},
            "only one of them",
        ),
        ({"deploymentName": None}, "only one of them"),
        (
            {
                "deploymentName": None,
                "scaleTargetRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "a"},
            },
            "a Job or CronJob has no replicas",
        ),
    ],
)
async def test_the_api_server_refuses_what_names_no_target(
    kube_api: KubeApi, spec: dict[str, Any], said: str
) -> None:
    custom = client.CustomObjectsApi(kube_api.client)
    made = rule("a", **spec)
    made["spec"] = {name: value for name, value in made["spec"].items() if value is not None}
    where = ("scaling.example.com", "v1", kube_api.namespace, "scalingrules")
    with pytest.raises(ApiException) as raised:
        await custom.create_namespaced_custom_object(*where, made)
    assert raised.value.status == 422
    assert said in str(raised.value.body)
