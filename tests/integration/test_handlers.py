"""Kopf against either Kubernetes API: what the reactor is told, whatever happens on the way."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any, cast

import kopf
import pytest
from kubernetes.aio import client

from natsscaler.app.rule_events import Handlers
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.status import RuleStatus
from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import KubeClient, connect
from natsscaler.reactor.reactor import Reactor
from tests.conftest import KubeApi
from tests.support.faulty_proxy import FaultyProxy, open_proxy
from tests.support.manifests import rule
from tests.support.until import until


class Rules:
    """Stands for the reactor: remembers the rules as it was told; and a hand that changes them."""

    def __init__(self, kube_api: KubeApi, proxy: FaultyProxy) -> None:
        self.known: dict[str, tuple[Rule, RuleStatus]] = {}
        self.rejected: list[str] = []
        self.listed = asyncio.Event()
        self.handlers = Handlers(cast("Reactor", self), cast("KubeClient", kube_api.client))
        self.proxy = proxy
        self._custom = client.CustomObjectsApi(kube_api.client)
        self._names = ("scaling.example.com", "v1", kube_api.namespace, "scalingrules")

    def upsert(self, rule: Rule, status: RuleStatus) -> None:
        self.known[rule.key.name] = rule, status

    def reject(self, key: RuleKey, _: str, __: int, ___: Finding, ____: RuleStatus) -> None:
        self.rejected.append(key.name)

    def deleted(self, key: RuleKey) -> None:
        self.forget(key)

    def forget(self, key: RuleKey) -> None:
        self.known.pop(key.name, None)

    async def create(self, name: str) -> Any:
        return await self._custom.create_namespaced_custom_object(*self._names, rule(name))

    async def delete(self, name: str) -> None:
        await self._custom.delete_namespaced_custom_object(*self._names, name)

    async def told(self, kind: str | None, body: Any) -> None:
        """Let kopf bring an event."""
        await self.handlers._on_event({"type": kind, "object": body})


@pytest.fixture
async def rules(kube_api: KubeApi) -> AsyncIterator[Rules]:
    """The rules as kopf brings them through the proxy, once the test has started `watched`."""
    async with open_proxy(kube_api) as proxy:
        yield Rules(kube_api, proxy)


@contextlib.asynccontextmanager
async def watched(rules: Rules, kube_api: KubeApi, tmp_path: pathlib.Path) -> AsyncIterator[None]:
    kubeconfig = rules.proxy.write_kubeconfig(tmp_path / "through-the-proxy")
    stop = asyncio.Event()
    async with await connect(kubeconfig, in_cluster=False) as api, asyncio.TaskGroup() as group:
        rules.handlers = Handlers(cast("Reactor", rules), api)
        kube = Kube(api, (kube_api.namespace,), lambda _: None, lambda *_: None, "test-0")
        follow = group.create_task(rules.handlers.follow(kube))
        operator = kopf.operator(
            registry=rules.handlers.registry,
            settings=rules.handlers.settings(),
            namespaces=[kube_api.namespace],
            stop_flag=stop,
        )
        rules.handlers.on_exit(lambda: asyncio.sleep(0))
        running = group.create_task(operator)
        await asyncio.wait_for(rules.listed.wait(), 15)
        yield
        follow.cancel()
        stop.set()
        await running


async def test_rules_deleted_while_kopf_was_cut_off_are_forgotten(
    rules: Rules, kube_api: KubeApi, tmp_path: pathlib.Path
) -> None:
    await rules.create("gone")
    await rules.create("kept")
    async with watched(rules, kube_api, tmp_path):
        assert rules.known.keys() == {"gone", "kept"}
        await until(lambda: rules.proxy.watching("scalingrules"), 15)
        asked_at = rules.handlers.asked_at
        rules.proxy.spoil("scalingrules", "expired")
        await rules.delete("gone")
        await rules.create("new")
        await until(lambda: rules.known.keys() == {"kept", "new"}, 15)
        assert rules.handlers.asked_at > asked_at


async def test_the_end_of_an_earlier_rule_of_the_same_name_ends_nothing(rules: Rules) -> None:
    earlier = await rules.create("a")
    await rules.told("ADDED", earlier)
    await rules.delete("a")
    later = await rules.create("a")
    await rules.told("ADDED", later)
    await rules.told("MODIFIED", earlier)
    assert rules.known["a"][0].uid == later["metadata"]["uid"]
    await rules.told("DELETED", earlier)
    assert rules.known["a"][0].uid == later["metadata"]["uid"]
    await rules.told("DELETED", later)
    assert rules.known == {}
