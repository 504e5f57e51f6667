"""`natsscaler explain` and `check` with the rights of whoever asks: they need little, and write nothing."""

import asyncio
import json
import pathlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from kubernetes.aio import config

from natsscaler.commands.options import Options
from natsscaler.commands.runner import Answer, Terminal, inquire
from natsscaler.core.permissions import Permission
from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.settings import Settings
from tests.conftest import KubeApi
from tests.support.accounts import PERMISSIONS, is_granted, login, make_account
from tests.support.clusters import RealCluster
from tests.support.stage import Stage

pytestmark = pytest.mark.control_plane
READING = ("get", "list", "watch")
HPAS = Permission("list", "horizontalpodautoscalers", "autoscaling")
DEPLOYMENTS = Permission("list", "deployments", "apps")
RULES = Permission("list", "scalingrules", "scaling.example.com")
SECRETS = Permission("get", "secrets", "")
SCALES = Permission("patch", "deployments/scale", "apps")


class Asker:
    """A ServiceAccount that asks about a rule, beside a Deployment, a stream and no operator."""

    def __init__(self, stage: Stage, kubeconfig: pathlib.Path, account: Target) -> None:
        self.stage = stage
        self.account = account
        self._kubeconfig = kubeconfig

    async def asks(self, rule: str, *, watched: bool = False) -> Answer:
        """Ask as that account, from its pod as it were; `watched`: its settings name the namespace."""
        made = Options(
            rule=rule,
            kubeconfig=self._kubeconfig,
            namespace=None if watched else self.stage.namespace,
            operator=self.account,
            settings=Settings(
                in_cluster=True,
                allow_hosts=("127.0.0.1",),
                namespaces=(self.stage.namespace,) if watched else (),
            ),
            output="json",
        )
        return await inquire(made, Terminal(colour=False, width=None))

    async def reads(self, rule: str, *, watched: bool = False) -> dict[str, tuple[str, str]]:
        """Give state and text of each step."""
        document = json.loads((await self.asks(rule, watched=watched)).told)
        return {
            step["title"]: (step["state"], step["text"])
            for section in document["sections"].values()
            for step in section
        }


Appoint = Callable[..., Awaitable[Asker]]


@pytest.fixture
async def appoint(
    control_plane: RealCluster, nats_server: NatsServer, tmp_path: pathlib.Path
) -> AsyncIterator[Appoint]:
    """Make an account with what config/rbac grants, but for some permissions, or only with those to read."""
    namespace = f"explain-{uuid.uuid4().hex[:8]}"
    applied: list[str] = []
    async with await config.new_client_from_config(str(control_plane.kubeconfig)) as api:  # type: ignore[no-untyped-call]

        async def make(*without: Permission, directory: str = "rbac") -> Asker:
            name, manifests = make_account(control_plane, directory, namespace, tmp_path, without)
            applied.append(manifests)
            stage = Stage(
                KubeApi(control_plane.kubeconfig, namespace, api, control_plane), nats_server, tmp_path
            )
            user = f"system:serviceaccount:{namespace}:{name}"
            for permission in PERMISSIONS:
                look = partial(is_granted, api, user, namespace, permission)
                await stage.becomes(permission not in without, look)
            await stage.create_stream()
            await stage.create_deployment()
            await stage.apply_sample()
            kubeconfig = await asyncio.to_thread(
                login, control_plane, namespace, name, tmp_path / "kubeconfig"
            )
            return Asker(stage, kubeconfig, Target(namespace, name))

        yield make
        for manifests in applied:
            control_plane.kubectl("delete", "-f", "-", stdin=manifests)
            control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


async def test_in_its_pod_the_operators_own_rights_suffice(appoint: Appoint) -> None:
    asker = await appoint()
    steps = await asker.reads("my-app-scaling")
    assert [title for title, (state, _) in steps.items() if state != "ok"] == ["Operator", "Outcome"]
    checked = await asker.reads("")
    assert checked["Permissions"] == (
        "ok",
        f"The operator has all that it needs in namespace {asker.stage.namespace}",
    )
    assert checked["CRD"][0] == "attention"
    assert "you may not get customresourcedefinitions" in checked["CRD"][1]


async def test_in_its_pod_an_operator_of_one_namespace_looks_there_alone(appoint: Appoint) -> None:
    asker = await appoint(directory="overlays/namespaced")
    rule = f"{asker.stage.namespace}/my-app-scaling"
    checked = await asker.reads("", watched=True)
    assert checked["Permissions"] == (
        "ok",
        f"The operator has all that it needs in namespace {asker.stage.namespace}",
    )
    assert checked["Sum"][1].endswith("needs action")
    steps = await asker.reads(rule, watched=True)
    assert [title for title, (state, _) in steps.items() if state != "ok"] == ["Operator", "Outcome"]
    elsewhere = await asker.asks("elsewhere/my-app-scaling", watched=True)
    assert elsewhere.failure == "The operator does not watch elsewhere: give it --namespace elsewhere"


async def test_rights_to_read_suffice_and_nothing_is_written(
    appoint: Appoint, control_plane: RealCluster
) -> None:
    asker = await appoint(*(one for one in PERMISSIONS if one.verb not in READING))
    await asker.stage.publish(100)
    written = partial(
        control_plane.kubectl, "get", "scalingrules,leases", "-o", "yaml", "-n", asker.stage.namespace
    )
    before = written()
    steps = await asker.reads("my-app-scaling")
    assert "is scaled from 1 to 2" in steps["Outcome"][1]
    state, text = (await asker.reads(""))["Permissions"]
    assert state == "blocked"
    assert "patch deployments/scale.apps" in text
    assert written() == before
    assert await asker.stage.replicas() == 1


async def test_what_cannot_be_seen_is_said(appoint: Appoint) -> None:
    asker = await appoint(HPAS)
    state, text = (await asker.reads("my-app-scaling"))["Not seen"]
    assert state == "attention"
    assert f"You may not list horizontalpodautoscalers in namespace {asker.stage.namespace}" in text


async def test_the_right_to_get_secrets_is_asked_for_where_rules_name_them(appoint: Appoint) -> None:
    asker = await appoint(SECRETS)
    assert (await asker.reads(""))["Permissions"][0] == "ok"
    reference = {"secretRef": {"name": "nats"}}
    await asker.stage.apply_sample("secured", monitoring=reference, dryRun=True)
    told = (await asker.asks("secured")).told
    assert f"You may not get Secret {asker.stage.namespace}/nats" in told
    state, text = (await asker.reads(""))["Permissions"]
    assert state == "blocked"
    assert "get secrets" in text


@pytest.mark.parametrize("permission", [DEPLOYMENTS, RULES], ids=str)
async def test_without_the_least_rights_the_one_that_lacks_is_named(
    appoint: Appoint, permission: Permission
) -> None:
    asker = await appoint(permission)
    for rule in ("my-app-scaling", ""):
        answer = await asker.asks(rule)
        assert (answer.status, answer.told) == (1, "")
        assert (
            f"You may not list {permission.resource} in namespace {asker.stage.namespace}" in answer.failure
        )


async def test_an_administrator_checks_the_operators_rights(
    appoint: Appoint, control_plane: RealCluster
) -> None:
    asker = await appoint(SCALES)
    options = Options(
        kubeconfig=control_plane.kubeconfig, namespace=asker.stage.namespace, operator=asker.account
    )
    answer = await inquire(options, Terminal(colour=False, width=None))
    account = f"ServiceAccount {asker.account} lacks in namespace {asker.stage.namespace}"
    assert f"{account}: patch deployments/scale.apps\n" in answer.told
    assert answer.status == 1
