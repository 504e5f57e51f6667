"""What a real cluster's admission, GitOps tools and controllers do to the replicas that natsscaler writes."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from natsscaler.core.contention import MANAGER
from tests.conftest import KubeApi
from tests.support.clusters import RealCluster
from tests.support.stage import LONG, Stage, last_scaling, listening

pytestmark = [pytest.mark.control_plane, pytest.mark.parametrize("kube_api", ["real"], indirect=True)]


@pytest.fixture
def cap(stage: Stage, control_plane: RealCluster) -> Iterator[None]:
    """Admit no more than 3 replicas in the test's namespace: a larger number becomes 3."""
    name = f"cap-{stage.namespace}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["UPDATE"],
                        "resources": ["deployments/scale"],
                    }
                ]
            },
            "matchConditions": [
                {"name": "more-than-three", "expression": "object.spec.?replicas.orValue(0) > 3"}
            ],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": '[JSONPatch{op: "replace", path: "/spec/replicas", value: 3}]'
                    },
                }
            ],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "matchResources": {"namespaceSelector": selector}},
    }
    manifests = yaml.safe_dump_all([policy, binding])
    control_plane.kubectl("create", "-f", "-", stdin=manifests)
    yield
    control_plane.kubectl("delete", "-f", "-", stdin=manifests)


@pytest.mark.usefixtures("cap")
async def test_admission_that_caps_the_replicas(stage: Stage, control_plane: RealCluster) -> None:
    await stage.create_deployment()
    await stage.apply_sample(messagesPerReplica=50, pollIntervalSeconds=2)
    await admission_is_in_force(stage)
    await stage.publish(500)
    await stage.start()
    await stage.becomes(("True", "AdmissionLimited"), partial(stage.condition, "ScalingLimited"))

    async def at_rest() -> bool:
        before = rule_version(stage, control_plane)
        await asyncio.sleep(5)  # two poll intervals, in which it asks again
        return rule_version(stage, control_plane) == before

    await stage.becomes(True, at_rest)
    assert await last_scaling(stage) == (1, 3)
    assert await stage.replicas() == 3


async def admission_is_in_force(stage: Stage) -> None:
    """Return once the API server applies the policy, which it learns of a moment after it was created."""

    async def capped() -> int:
        await stage.scale(4)
        return await stage.replicas()

    await stage.becomes(3, capped)
    await stage.scale(1)


def rule_version(stage: Stage, control_plane: RealCluster) -> str:
    rule = control_plane.kubectl("get", "scalingrule", "my-app-scaling", "-n", stage.namespace, "-o", "json")
    version: str = json.loads(rule)["metadata"]["resourceVersion"]
    return version


async def test_a_gitops_tool_that_sets_the_replicas_back_is_named(
    stage: Stage, control_plane: RealCluster
) -> None:
    labels = {"app": "my-app"}
    deployment = yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "my-app", "namespace": stage.namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": "app"}]},
                },
            },
        }
    )

    async def sync() -> None:
        arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        await asyncio.to_thread(control_plane.kubectl, *arguments, "-f", "-", stdin=deployment)

    await sync()
    await stage.apply_sample(messagesPerReplica=50, pollIntervalSeconds=5)
    await stage.start()
    await listening(stage)
    await stage.publish(500)
    deadline = time.monotonic() + 60
    while await stage.condition("AbleToScale") != ("False", "Conflict"):
        assert time.monotonic() < deadline
        if await stage.replicas() == 10:
            await sync()
        await asyncio.sleep(0.1)
    [able] = [one for one in (await stage.status())["conditions"] if one["type"] == "AbleToScale"]
    assert able["message"].startswith("Another writer, argocd-controller (Apply, last at 2")
    assert "Conflict" in await stage.event_reasons("my-app-scaling")


async def test_a_paused_rollout_is_scaled_as_any_other(stage: Stage, control_plane: RealCluster) -> None:
    await stage.create_deployment()
    control_plane.kubectl("rollout", "pause", "deployment/my-app", "-n", stage.namespace)
    await scaled_and_at_rest(stage)


async def test_a_quota_that_leaves_pods_out_disturbs_nothing(
    stage: Stage, control_plane: RealCluster
) -> None:
    """Replicas are what is asked for; which of them the quota lets be is the Deployment's matter."""
    control_plane.kubectl("create", "quota", "pods", "--hard=pods=1", "-n", stage.namespace)
    await stage.create_deployment()
    await scaled_and_at_rest(stage)


async def test_a_disruption_budget_keeps_no_step_down_from_being_taken(
    stage: Stage, control_plane: RealCluster
) -> None:
    """A PodDisruptionBudget limits evictions, not a Deployment that is scaled (Kubernetes docs)."""
    control_plane.kubectl(
        "create", "pdb", "app", "--selector=app=my-app", "--min-available=4", "-n", stage.namespace
    )
    await stage.create_deployment()
    await scaled_and_at_rest(stage, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    await stage.purge()
    await stage.becomes(1, stage.replicas)


async def scaled_and_at_rest(stage: Stage, **changes: Any) -> None:
    await stage.apply_sample(messagesPerReplica=50, pollIntervalSeconds=2, **changes)
    await stage.start()
    await listening(stage)
    await stage.publish(200)
    await stage.becomes(4, stage.replicas)
    await stage.becomes((1, 4), partial(last_scaling, stage))
    assert await stage.condition("AbleToScale") == ("True", "ReadyForNewScale")


async def test_a_step_of_the_leader_before_that_comes_late_is_told(
    stage: Stage, control_plane: RealCluster, kube_api: KubeApi
) -> None:
    """It is written as natsscaler writes, by a process that leads no more."""
    assert control_plane
    await stage.create_deployment()
    await stage.apply_sample(messagesPerReplica=50, pollIntervalSeconds=LONG)
    await stage.start()
    await listening(stage)
    async with client.ApiClient(kube_api.client.configuration) as before:
        before.user_agent = f"{MANAGER}/0.0 (the leader before)"
        patch = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
        await client.AppsV1Api(before).patch_namespaced_deployment_scale(
            "my-app", stage.namespace, patch, _content_type="application/json-patch+json"
        )

    async def told() -> bool:
        return "LateStep" in await stage.event_reasons("my-app-scaling")

    await stage.becomes(True, told)
