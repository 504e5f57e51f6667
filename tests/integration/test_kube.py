"""The Kubernetes API as natsscaler uses it: each test runs against the embedded and the real one."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import client

from natsscaler.core.access import SecretKey
from natsscaler.core.errors import ReplicasChanged, SecretNotFound, TargetNotFound
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import RuleKey, Target
from natsscaler.core.status import LastDecision, LastScaling, RuleStatus
from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import connect
from natsscaler.kube.secrets import read_secret
from tests.conftest import KubeApi, in_background
from tests.support.manifests import deployment, rule
from tests.support.until import until

NOW = "2026-01-01T00:00:00Z"


class Cluster:
    """A Kube at work in a namespace of its own, and another hand in the same namespace."""

    def __init__(self, kube_api: KubeApi) -> None:
        self.namespace = kube_api.namespace
        self.changed: list[Target] = []
        self.failures: list[tuple[str, str]] = []
        self.kube = Kube(
            kube_api.client,
            (kube_api.namespace,),
            self.changed.append,
            lambda *failure: self.failures.append(failure),
            "test-0",
        )
        self.apps = client.AppsV1Api(kube_api.client)
        self.custom = client.CustomObjectsApi(kube_api.client)
        self.scaling = client.AutoscalingV2Api(kube_api.client)
        self.rules = ("scaling.example.com", "v1", self.namespace, "scalingrules")

    async def deploy(self, name: str, replicas: int) -> Target:
        await self.custom.create_namespaced_custom_object(
            "apps", "v1", self.namespace, "deployments", deployment(name, replicas)
        )
        target = Target(self.namespace, name)
        await until(lambda: self.kube.replicas(target) == replicas, 15)
        return target

    async def other_hand(self, target: Target, replicas: int) -> None:
        await self.apps.patch_namespaced_deployment_scale(
            target.name,
            target.namespace,
            {"spec": {"replicas": replicas}},
            _content_type="application/merge-patch+json",
        )

    async def asked_for(self, target: Target) -> int | None:
        found = await self.apps.read_namespaced_deployment(target.name, target.namespace)
        return found.spec.replicas if found.spec else None

    async def create_rule(self) -> tuple[RuleKey, str]:
        created: Any = await self.custom.create_namespaced_custom_object(*self.rules, rule("a"))
        return RuleKey(self.namespace, "a"), created["metadata"]["uid"]

    async def status(self) -> dict[str, Any]:
        found: Any = await self.custom.get_namespaced_custom_object(*self.rules, "a")
        status: dict[str, Any] = found["status"]
        return status


@pytest.fixture
async def cluster(kube_api: KubeApi) -> AsyncIterator[Cluster]:
    made = Cluster(kube_api)
    async with in_background(made.kube.run()):
        async with asyncio.timeout(15):
            await made.kube.wait_synced()
        assert made.kube.synced
        yield made


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (0, 2), (2, 0)])
async def test_scaling_writes_and_is_known_at_once(cluster: Cluster, before: int, after: int) -> None:
    target = await cluster.deploy("web", before)
    await cluster.kube.scale(target, before, after)
    assert cluster.kube.replicas(target) == after
    assert await cluster.asked_for(target) == after
    assert await cluster.kube.fresh_replicas(target) == after


async def test_an_event_older_than_our_own_write_changes_nothing(cluster: Cluster) -> None:
    target = await cluster.deploy("web", 1)
    watch = cluster.kube._deployments[cluster.namespace]
    before = watch.find(target)
    assert before
    await cluster.kube.scale(target, 1, 2)
    cluster.changed.clear()
    watch._store(before)
    watch._remove(before)
    assert cluster.kube.replicas(target) == 2
    assert cluster.changed == []


@pytest.mark.parametrize(("there", "seen"), [(2, 1), (2, 0), (0, 1)])
async def test_replicas_changed_by_another_hand_are_not_overwritten(
    cluster: Cluster, there: int, seen: int
) -> None:
    target = await cluster.deploy("web", there)
    with pytest.raises(ReplicasChanged) as raised:
        await cluster.kube.scale(target, seen, 5)
    assert raised.value.reason is Reason.CONFLICT
    assert await cluster.asked_for(target) == there


async def test_a_missing_deployment_is_told(cluster: Cluster) -> None:
    target = Target(cluster.namespace, "none")
    assert cluster.kube.replicas(target) is None
    with pytest.raises(TargetNotFound):
        await cluster.kube.scale(target, 1, 2)
    with pytest.raises(TargetNotFound):
        await cluster.kube.fresh_replicas(target)


async def test_the_watch_sees_other_hands(cluster: Cluster) -> None:
    target = await cluster.deploy("web", 1)
    await cluster.other_hand(target, 4)
    await until(lambda: cluster.kube.replicas(target) == 4, 15)
    await cluster.apps.delete_namespaced_deployment(target.name, target.namespace)
    await until(lambda: cluster.kube.replicas(target) is None, 15)
    assert cluster.changed == [target] * 3


async def test_a_watch_of_all_namespaces(kube_api: KubeApi, cluster: Cluster) -> None:
    target = await cluster.deploy("web", 2)
    kube = Kube(kube_api.client, (), lambda _: None, lambda *_: None, "test-1")
    async with in_background(kube.run()):
        await until(lambda: kube.replicas(target) == 2, 15)


async def test_an_autoscaler_is_found_by_what_it_scales(cluster: Cluster) -> None:
    target = Target(cluster.namespace, "web")
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 3,
    }
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hpa"},
        "spec": spec,
    }
    names = ("autoscaling", "v2", cluster.namespace, "horizontalpodautoscalers")
    await cluster.custom.create_namespaced_custom_object(*names, body)
    await until(lambda: cluster.kube.autoscaler(target) == "hpa", 15)
    await cluster.custom.delete_namespaced_custom_object(*names, "hpa")
    await until(lambda: cluster.kube.autoscaler(target) is None, 15)
    assert cluster.changed == [target] * 2


async def test_a_status_loses_what_is_no_longer_known(cluster: Cluster) -> None:
    key, uid = await cluster.create_rule()
    decision = LastDecision(time=NOW, recommendation=2, desired=2, reason="R", message="m")
    known = RuleStatus(
        current_replicas=1,
        pending_messages=7,
        last_scaling=LastScaling(time=NOW, before=1, after=2),
        last_decision=LastDecision(time=NOW, backlog=7, recommendation=2, desired=2, reason="R", message="m"),
    )
    await cluster.kube.write_status(key, uid, known)
    written = await cluster.status()
    assert written["pendingMessages"] == 7
    assert written["lastDecision"]["backlog"] == 7
    await cluster.kube.write_status(key, uid, RuleStatus(current_replicas=1, last_decision=decision))
    written = await cluster.status()
    assert written.keys() == {"currentReplicas", "lastDecision"}
    assert "backlog" not in written["lastDecision"]


async def test_the_status_of_a_rule_that_is_gone_is_dropped(cluster: Cluster) -> None:
    await cluster.kube.write_status(RuleKey(cluster.namespace, "none"), "uid", RuleStatus(current_replicas=1))


async def test_an_event_is_visible_with_its_rule(cluster: Cluster) -> None:
    key, uid = await cluster.create_rule()
    await cluster.kube.emit(
        key, uid, warning=True, reason="ScaledUp", action="Scale", note="ä" * 600, when=time.time() // 1
    )
    listed: Any = await cluster.custom.list_namespaced_custom_object(
        "events.k8s.io", "v1", cluster.namespace, "events"
    )
    (event,) = [item for item in listed["items"] if item["regarding"].get("uid") == uid]
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "ScaledUp", "ä" * 512)
    assert event["reportingInstance"] == "test-0"


async def test_an_event_that_is_refused_is_logged_and_counted(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    key = RuleKey("no-such-namespace", "a")
    await cluster.kube.emit(key, "u", warning=False, reason="ScaledUp", action="Scale", note="n", when=1.0)
    assert "ScaledUp of no-such-namespace/a was not recorded" in caplog.text
    assert [operation for operation, _ in cluster.failures] == ["event"]


async def test_connecting_by_kubeconfig(kube_api: KubeApi) -> None:
    async with await connect(kube_api.kubeconfig, in_cluster=False) as api:
        found = await client.CoreV1Api(api).read_namespace(kube_api.namespace)
    assert found.metadata
    assert found.metadata.name == kube_api.namespace


async def test_a_secret(kube_api: KubeApi) -> None:
    core, key = client.CoreV1Api(kube_api.client), SecretKey(kube_api.namespace, "nats")
    with pytest.raises(
        SecretNotFound,
        match=f"Secret {kube_api.namespace}/nats, which the rule's secretRef names, does not exist",
    ):
        await read_secret(kube_api.client, key)
    labels, data = {"scaling.example.com/use": "nats"}, {"token": "aHVudGVyMg=="}
    body: Any = {"metadata": {"name": "nats", "labels": labels}, "data": data}
    await core.create_namespaced_secret(kube_api.namespace, body)
    assert await read_secret(kube_api.client, key) == (labels, {"token": b"hunter2"})
    bare: Any = {"metadata": {"name": "bare"}}
    await core.create_namespaced_secret(kube_api.namespace, bare)
    assert await read_secret(kube_api.client, key._replace(name="bare")) == ({}, {})
