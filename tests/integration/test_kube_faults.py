"""What becomes of the tables and writes when the Kubernetes API refuses, hangs, falls silent or lies."""

import asyncio
import contextlib
import functools
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import client

from natsscaler.core.errors import KubernetesError, ReplicasChanged
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import RuleKey, Target
from natsscaler.core.status import RuleStatus
from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import connect
from natsscaler.kube.objects import Deployment
from natsscaler.kube.watch import Watch
from tests.conftest import KubeApi, in_background
from tests.support.faulty_proxy import FaultyProxy, lists, open_proxy, patches, watches
from tests.support.manifests import deployment, rule
from tests.support.until import until


class Table:
    """A watch of the test's Deployments through the proxy, and a hand that goes past the proxy."""

    def __init__(self, kube_api: KubeApi, proxy: FaultyProxy, api: client.ApiClient) -> None:
        self.proxy = proxy
        self.namespace = kube_api.namespace
        self.apps = client.AppsV1Api(kube_api.client)
        self.custom = client.CustomObjectsApi(kube_api.client)
        self.changed: list[Target] = []
        self.failures: list[tuple[str, str]] = []
        call = client.AppsV1Api(api).list_namespaced_deployment_without_preload_content
        self.watch = Watch(
            "deployments",
            functools.partial(call, self.namespace),
            Deployment,
            self.changed.append,
            on_failure=lambda *failure: self.failures.append(failure),
            quiet_seconds=1.0,
        )
        self.kube = Kube(api, (self.namespace,), lambda _: None, lambda *_: None, "test-0")

    @property
    def replicas(self) -> dict[str, int]:
        return {target.name: item.spec.replicas for target, item in self.watch.table.items()}

    async def deploy(self, name: str, replicas: int = 1) -> Target:
        body = deployment(name, replicas)
        await self.custom.create_namespaced_custom_object("apps", "v1", self.namespace, "deployments", body)
        return Target(self.namespace, name)

    async def scale(self, name: str, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await self.apps.patch_namespaced_deployment_scale(name, self.namespace, patch)

    async def delete(self, name: str) -> None:
        await self.apps.delete_namespaced_deployment(name, self.namespace)

    async def asked_for(self, name: str) -> int | None:
        found = await self.apps.read_namespaced_deployment(name, self.namespace)
        return found.spec.replicas if found.spec else None

    async def watching(self) -> None:
        await until(lambda: self.proxy.watching("deployments"), 15)


@pytest.fixture
async def table(kube_api: KubeApi, tmp_path: pathlib.Path) -> AsyncIterator[Table]:
    """The table is kept once the test has started `table.watch`."""
    async with open_proxy(kube_api) as proxy:
        kubeconfig = proxy.write_kubeconfig(tmp_path / "through-the-proxy")
        async with await connect(kubeconfig, in_cluster=False) as api:
            yield Table(kube_api, proxy, api)


@contextlib.asynccontextmanager
async def kept(table: Table) -> AsyncIterator[None]:
    async with in_background(table.watch.run()):
        yield


async def test_deployments_deleted_while_the_version_became_too_old_are_gone_from_the_table(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    gone, _ = await table.deploy("gone"), await table.deploy("kept")
    async with kept(table):
        await table.watching()
        table.proxy.fault(watches("deployments"), 410)
        table.proxy.spoil("deployments", "mute")
        await table.delete("gone")
        await table.scale("kept", 3)
        await until(lambda: table.replicas == {"kept": 3}, 15)
    assert table.changed.count(gone) == 2
    assert "begins again: The Kubernetes API answered 410 to watch deployments" in caplog.text


async def test_a_list_whose_next_page_has_expired_starts_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.kube.watch.PAGE_SIZE", 1)
    for name in ("a", "b", "c"):
        await table.deploy(name)
    expired = table.proxy.fault(lambda request: "continue" in request.query, 410)
    async with kept(table):
        await until(lambda: expired.seen == 1, 15)
        assert not table.watch.synced.is_set()
        await table.delete("a")
        await until(lambda: table.replicas == {"b": 1, "c": 1}, 15)
        await until(table.watch.synced.is_set, 15)


async def test_a_refused_watch_names_the_missing_verb_keeps_the_table_and_is_retried(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    await table.deploy("web", 2)
    refused = table.proxy.fault(watches("deployments"), 403, times=2)
    async with kept(table):
        await until(lambda: refused.seen == 1, 15)
        assert table.replicas == {"web": 2}
        await table.scale("web", 4)
        await until(lambda: table.replicas == {"web": 4}, 15)
    assert "The operator lacks the verb watch on deployments" in caplog.text
    assert table.failures == [("watch", "Forbidden")] * 2


async def test_a_busy_api_server_is_left_alone_for_as_long_as_it_asks(table: Table) -> None:
    clock = asyncio.get_running_loop().time
    asked: list[float] = []

    def first(_: object) -> bool:
        asked.append(clock())
        return len(asked) == 1

    table.proxy.fault(first, 429, headers={"Retry-After": "3"}, times=None)
    async with kept(table):
        await until(lambda: len(asked) >= 2, 15)
    assert asked[1] - asked[0] >= 3


@pytest.mark.parametrize("how", ["mute", "cut", "garbage"])
async def test_a_spoilt_watch_loses_no_change(table: Table, how: str) -> None:
    await table.deploy("web")
    async with kept(table):
        await table.watching()
        table.proxy.spoil("deployments", how)  # type: ignore[arg-type]
        await table.deploy("other")
        await table.scale("web", 4)
        await until(lambda: table.replicas == {"web": 4, "other": 1}, 15)


async def test_a_list_that_is_never_answered_is_given_up(
    table: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("natsscaler.kube.watch.LIST_SECONDS", 0.5)
    await table.deploy("web")
    table.proxy.fault(lists("deployments"), None)
    async with kept(table):
        await until(lambda: table.replicas == {"web": 1}, 15)
    assert "did not answer to list deployments: no answer in time" in caplog.text


async def test_a_hanging_patch_ends_and_says_so(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("natsscaler.kube.cluster.SCALE_SECONDS", 0.5)
    target = await table.deploy("web")
    table.proxy.fault(patches("/scale"), None)
    with pytest.raises(KubernetesError) as raised:
        await table.kube.scale(target, 1, 2)
    assert raised.value.reason is Reason.KUBERNETES_UNAVAILABLE
    assert "did not answer to patch deployments/scale: no answer in time" in str(raised.value)
    await table.kube.scale(target, 1, 2)
    assert await table.asked_for("web") == 2


@pytest.mark.parametrize("status", [409, 422])
async def test_a_conflict_is_told_as_one(table: Table, status: int) -> None:
    target = await table.deploy("web")
    table.proxy.fault(patches("/scale"), status)
    with pytest.raises(ReplicasChanged):
        await table.kube.scale(target, 1, 2)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, 'admission webhook "quota.example.com" denied the request: too many'),
        (
            422,
            "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'max' denied request: too many",
        ),
    ],
)
async def test_a_clusters_policy_is_no_conflict_and_no_missing_permission(
    table: Table, status: int, said: str
) -> None:
    target = await table.deploy("web")
    table.proxy.fault(patches("/scale"), status, message=said)
    with pytest.raises(KubernetesError) as raised:
        await table.kube.scale(target, 1, 2)
    assert raised.value.reason is Reason.DENIED
    assert said in str(raised.value)


async def test_a_webhook_that_fails_is_named_in_the_same_words_each_time(table: Table) -> None:
    """As kube-apiserver 1.36 words it; the port that it called from is another one each time."""
    target = await table.deploy("web")
    told = []
    for port in (40112, 40114):
        said = (
            'Internal error occurred: failed calling webhook "scale-guard.example.com": failed to call'
            ' webhook: Post "https://127.0.0.1:9/v?timeout=10s":'
            f" read tcp 127.0.0.1:{port}->127.0.0.1:9: i/o timeout"
        )
        table.proxy.fault(patches("/scale"), 500, message=said)
        with pytest.raises(KubernetesError) as raised:
            await table.kube.scale(target, 1, 2)
        told.append(raised.value.message)
    assert "Admission webhook scale-guard.example.com failed" in told[0]
    assert "i/o timeout" in told[0]
    assert told[0] == told[1]


async def test_a_slow_webhook_is_waited_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("natsscaler.kube.requests.REQUEST_SECONDS", 0.2)
    target = await table.deploy("web")
    table.proxy.delay = 0.5
    await table.kube.scale(target, 1, 2)
    assert await table.asked_for("web") == 2


@pytest.mark.parametrize(("asked", "obeyed"), [("7", 7), ("3600", 60), ("-1", 0), ("nan", 0), ("soon", 0)])
async def test_a_refused_patch_tells_how_long_the_api_server_asks_for(
    table: Table, asked: str, obeyed: float
) -> None:
    target = await table.deploy("web")
    table.proxy.fault(patches("/scale"), 429, headers={"Retry-After": asked})
    with pytest.raises(KubernetesError) as raised:
        await table.kube.scale(target, 1, 2)
    assert raised.value.reason is Reason.KUBERNETES_UNAVAILABLE
    assert raised.value.retry_after == obeyed


async def test_a_stale_table_cannot_overwrite_what_it_has_not_seen(table: Table) -> None:
    target = await table.deploy("web", 2)
    async with kept(table):
        await table.watching()
        table.proxy.spoil("deployments", "mute")
        await table.scale("web", 7)
        assert table.replicas == {"web": 2}
        with pytest.raises(ReplicasChanged):
            await table.kube.scale(target, 2, 3)
    assert await table.asked_for("web") == 7


async def test_a_status_meant_for_a_rule_that_was_replaced_is_not_written(table: Table) -> None:
    names = ("scaling.example.com", "v1", table.namespace, "scalingrules")
    await table.custom.create_namespaced_custom_object(*names, rule("a"))
    with pytest.raises(KubernetesError):
        await table.kube.write_status(
            RuleKey(table.namespace, "a"), "uid-of-another", RuleStatus(current_replicas=1)
        )
    found: Any = await table.custom.get_namespaced_custom_object(*names, "a")
    assert "currentReplicas" not in found.get("status", {})
