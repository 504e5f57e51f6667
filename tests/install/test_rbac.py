"""As its own ServiceAccount the operator works with what config/ grants, and needs every permission of it."""

import asyncio
import functools
import pathlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from kubernetes.aio import config

from natsscaler.core.permissions import Permission
from natsscaler.demo.nats_server import NatsServer
from tests.conftest import CRD_FILE, KubeApi
from tests.install.conftest import CONFIG, await_everything, everything
from tests.support.accounts import PERMISSIONS, Account, is_granted, login, make_account
from tests.support.clusters import RealCluster
from tests.support.stage import LONG

ALL_VERBS = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}

Install = Callable[..., Awaitable[Account]]


@pytest.fixture(scope="module")
def cluster(empty_cluster: RealCluster) -> Iterator[RealCluster]:
    """The cluster, with the CRD; afterwards all namespaces of the tests are gone."""
    before = everything(empty_cluster)
    empty_cluster.kubectl("apply", "--server-side", "-k", str(CONFIG / "crd"))
    empty_cluster.kubectl("wait", "--for=condition=Established", "-f", str(CRD_FILE))
    yield empty_cluster
    empty_cluster.kubectl("delete", "-k", str(CONFIG / "crd"))
    await_everything(empty_cluster, before)


@pytest.fixture
async def install(
    cluster: RealCluster, nats_server: NatsServer, tmp_path: pathlib.Path
) -> AsyncIterator[Install]:
    """Grant what a directory of config/ grants, but for some permissions, to an account of its own."""
    namespace = f"rbac-{uuid.uuid4().hex[:8]}"
    applied: list[str] = []
    accounts: list[Account] = []
    async with await config.new_client_from_config(str(cluster.kubeconfig)) as api:  # type: ignore[no-untyped-call]

        async def install(*without: Permission, directory: str = "rbac") -> Account:
            name, manifests = await asyncio.to_thread(
                make_account, cluster, directory, namespace, tmp_path, without
            )
            applied.append(manifests)
            kubeconfig = await asyncio.to_thread(login, cluster, namespace, name, tmp_path / "kubeconfig")
            account = Account(KubeApi(kubeconfig, namespace, api, cluster), nats_server, tmp_path)
            accounts.append(account)
            user = f"system:serviceaccount:{namespace}:{name}"
            for permission in set(PERMISSIONS) - set(without):
                look = functools.partial(is_granted, api, user, namespace, permission)
                await account.stage.becomes(True, look)
            await account.stage.create_stream()
            return account

        yield install
        for account in accounts:
            await account.stage.stop()
            cluster.kubectl("delete", "scalingrules", "--all", "-n", namespace)
        for manifests in applied:
            cluster.kubectl("delete", "-f", "-", stdin=manifests)
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.control_plane
async def test_the_main_job_works_with_all_permissions(install: Install) -> None:
    operator = await install()
    await operator.start()
    await operator.acts()
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)
    await operator.stage.becomes(True, lambda: includes(operator, "ScaledUp"))
    await operator.stage.create_autoscaler()
    await operator.stage.becomes(("False", "TargetOwnedByAnother"), operator.able)
    assert not await operator.refusals("")


async def includes(operator: Account, reason: str) -> bool:
    return reason in await operator.events()


@pytest.mark.control_plane
@pytest.mark.parametrize("directory", ["rbac", "overlays/namespaced"])
async def test_a_secret_is_read(install: Install, directory: str) -> None:
    """Wrong credentials: a server that asks for none takes any, so it is told by what is wrong with them."""
    operator = await install(directory=directory)
    await operator.start(everywhere=directory == "rbac")
    await operator.stage.create_deployment()
    await operator.stage.create_secret({"password": "alone"})
    await operator.stage.apply_sample(nats={"secretRef": {"name": "nats"}})
    await operator.stage.becomes(("False", "SecretUnusable"), lambda: operator.stage.condition("EventDriven"))
    assert not await operator.refusals("")


@pytest.mark.control_plane
async def test_the_main_job_works_with_roles_in_one_namespace(install: Install) -> None:
    operator = await install(directory="overlays/namespaced")
    await operator.start(everywhere=False)
    await operator.acts()
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)
    await operator.stage.becomes(True, lambda: includes(operator, "ScaledUp"))
    assert not await operator.refusals("")


async def not_ready(operator: Account, permission: Permission) -> None:
    """A list that is refused keeps the operator from saying that it is ready."""
    await operator.refused(permission.resource)
    assert "have not been listed yet" in await operator.ready()


async def rule_not_seen(operator: Account, permission: Permission) -> None:
    """A rule that is created later stays without status."""
    await operator.acts()
    await operator.burst()
    await operator.refused(permission.resource, 1 + await operator.refusals(permission.resource))
    assert await operator.stage.status() == {}


async def deployment_not_seen(operator: Account, _: Permission) -> None:
    """A Deployment that is created later does not exist for the operator."""
    await operator.acts()
    await operator.burst()
    await operator.stage.becomes(("False", "TargetNotFound"), operator.able)


async def autoscaler_not_seen(operator: Account, _: Permission) -> None:
    """An autoscaler that is created later is not respected."""
    await operator.acts()
    await operator.stage.create_autoscaler()
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)


async def nothing_scaled(operator: Account, _: Permission) -> None:
    """The condition says what is missing, and the replicas stay."""
    await operator.burst()
    await operator.stage.becomes(("False", "Forbidden"), operator.able)
    assert await operator.stage.replicas() == 1


async def conflict_not_resolved(operator: Account, permission: Permission) -> None:
    """Replicas that somebody else has changed unseen are never known again."""
    await operator.stage.create_deployment()
    await operator.acts()
    await operator.stage.scale(2)
    await operator.stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await operator.stage.publish(100)
    await operator.refused(permission.resource)
    assert await operator.stage.replicas() == 2


async def no_status(operator: Account, permission: Permission) -> None:
    """The rule is acted upon, but says nothing about it."""
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)
    await operator.refused(permission.resource)
    assert await operator.stage.status() == {}


async def no_event(operator: Account, permission: Permission) -> None:
    """The rule is acted upon, but `kubectl describe` shows no Event."""
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)
    await operator.refused(permission.resource)
    assert await operator.events() == set()


async def never_leads(operator: Account, permission: Permission) -> None:
    """Without a Lease nothing is acted upon."""
    await operator.burst()
    await operator.refused(permission.resource)
    assert await operator.stage.status() == {}
    assert await operator.stage.replicas() == 1


async def leads_no_longer(operator: Account, permission: Permission) -> None:
    """A Lease that cannot be renewed ends the process."""
    await operator.refused(permission.resource)
    await operator.stage.becomes(1, operator.exit_status)


async def no_credentials(operator: Account, permission: Permission) -> None:
    """A rule that names a Secret says what is missing, and goes on by what needs none."""
    reference = {"secretRef": {"name": "nats"}}
    await operator.stage.create_deployment()
    await operator.stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20, nats=reference)
    await operator.stage.becomes(("False", "Forbidden"), lambda: operator.stage.condition("EventDriven"))
    await operator.refused(permission.resource)
    assert await operator.stage.condition("Ready") == ("True", "Scaling")


async def set_not_seen(operator: Account, permission: Permission) -> None:
    """A rule for a StatefulSet says what is missing; those for Deployments go on."""
    await operator.stage.create_stateful_set()
    await operator.acts()
    await operator.stage.apply_sample("of-a-set", **OF_A_SET)
    await operator.stage.becomes(
        ("False", "Forbidden"), functools.partial(operator.stage.condition, "AbleToScale", "of-a-set")
    )
    await operator.refused(permission.resource)
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)


async def later_set_not_seen(operator: Account, _: Permission) -> None:
    """A StatefulSet that is created later does not exist for the operator."""
    await operator.acts()
    await operator.stage.create_stateful_set()
    await operator.stage.apply_sample("of-a-set", **OF_A_SET)
    await operator.stage.becomes(
        ("False", "TargetNotFound"), functools.partial(operator.stage.condition, "AbleToScale", "of-a-set")
    )


async def set_not_scaled(operator: Account, permission: Permission) -> None:
    """The condition says what is missing, and the replicas stay."""
    await operator.stage.create_stateful_set()
    await operator.acts()
    await operator.stage.apply_sample("of-a-set", **OF_A_SET)
    await operator.stage.publish(100)
    await operator.refused(permission.resource)
    await operator.stage.becomes(
        ("False", "Forbidden"), functools.partial(operator.stage.condition, "AbleToScale", "of-a-set")
    )


async def set_conflict_not_resolved(operator: Account, permission: Permission) -> None:
    """Replicas of a StatefulSet that somebody else has changed unseen are never known again."""
    await operator.stage.create_stateful_set()
    await operator.acts()
    await operator.stage.scale_stateful_set(2)
    await operator.stage.apply_sample("of-a-set", **OF_A_SET)
    await operator.stage.publish(100)
    await operator.refused(permission.resource)


OF_A_SET: dict[str, Any] = {
    "deploymentName": None,
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "my-set"},
    "pollIntervalSeconds": LONG,
    "messagesPerReplica": 20,
}

Damage = Callable[[Account, Permission], Awaitable[None]]
RULES, DEPLOYMENTS = ("scalingrules", "scaling.example.com"), ("deployments", "apps")
AUTOSCALERS = ("horizontalpodautoscalers", "autoscaling")
LEASES = ("leases", "coordination.k8s.io")
WATCH_DEPLOYMENTS = Permission("watch", *DEPLOYMENTS)
SETS = ("statefulsets", "apps")
WATCH_SETS = Permission("watch", *SETS)
DAMAGES: dict[Permission, Damage] = {
    Permission("list", *RULES): not_ready,
    Permission("watch", *RULES): rule_not_seen,
    Permission("patch", "scalingrules/status", "scaling.example.com"): no_status,
    Permission("list", *DEPLOYMENTS): not_ready,
    WATCH_DEPLOYMENTS: deployment_not_seen,
    Permission("get", "deployments/scale", "apps"): conflict_not_resolved,
    Permission("patch", "deployments/scale", "apps"): nothing_scaled,
    Permission("list", *SETS): set_not_seen,
    Permission("watch", *SETS): later_set_not_seen,
    Permission("get", "statefulsets/scale", "apps"): set_conflict_not_resolved,
    Permission("patch", "statefulsets/scale", "apps"): set_not_scaled,
    Permission("list", *AUTOSCALERS): not_ready,
    Permission("watch", *AUTOSCALERS): autoscaler_not_seen,
    Permission("create", "events", "events.k8s.io"): no_event,
    Permission("get", "secrets", ""): no_credentials,
    Permission("get", *LEASES): never_leads,
    Permission("create", *LEASES): never_leads,
    Permission("update", *LEASES): leads_no_longer,
}


@pytest.mark.control_plane
@pytest.mark.parametrize("permission", PERMISSIONS, ids=str)
async def test_every_permission_is_needed(install: Install, permission: Permission) -> None:
    conflicts: dict[Damage, list[Permission]] = {
        conflict_not_resolved: [WATCH_DEPLOYMENTS],
        set_conflict_not_resolved: [WATCH_SETS],
    }
    unseen = conflicts.get(DAMAGES[permission], [])
    operator = await install(permission, *unseen)
    await operator.start()
    await DAMAGES[permission](operator, permission)


def test_the_damage_of_every_missing_permission_is_known() -> None:
    assert set(DAMAGES) == set(PERMISSIONS)


@pytest.mark.control_plane
async def test_a_change_that_was_not_seen_is_asked_for(install: Install) -> None:
    """What conflict_not_resolved would look like with the permission."""
    operator = await install(WATCH_DEPLOYMENTS)
    await operator.stage.create_deployment()
    await operator.start()
    await operator.acts()
    await operator.stage.scale(2)
    await operator.stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await operator.stage.publish(100)
    await operator.stage.becomes(5, operator.stage.replicas)


@pytest.mark.control_plane
async def test_a_crd_that_is_created_later_is_noticed_without_a_permission(
    cluster: RealCluster, install: Install
) -> None:
    operator = await install()
    crd = str(CONFIG / "crd")
    await asyncio.to_thread(cluster.kubectl, "delete", "-k", crd)
    await operator.start()
    await operator.stage.becomes(True, functools.partial(operator.logged, "install its crd"))
    assert "ScalingRules have not been listed yet" in await operator.ready()
    await asyncio.to_thread(cluster.kubectl, "apply", "--server-side", "-k", crd)
    await operator.acts()
    await operator.burst()
    await operator.stage.becomes(5, operator.stage.replicas)
    assert not await operator.refusals("")


@pytest.mark.control_plane
async def test_waiting_for_the_crd_ends_cleanly(cluster: RealCluster, install: Install) -> None:
    operator = await install()
    crd = str(CONFIG / "crd")
    await asyncio.to_thread(cluster.kubectl, "delete", "-k", crd)
    try:
        process = await operator.start()
        await operator.stage.becomes(True, functools.partial(operator.logged, "install its crd"))
        process.terminate()
        async with asyncio.timeout(4):
            assert await process.wait() == 0
    finally:
        await asyncio.to_thread(cluster.kubectl, "apply", "--server-side", "-k", crd)


@pytest.mark.control_plane
@pytest.mark.parametrize(
    ("role", "may"), [("view", {"get", "list", "watch"}), ("edit", ALL_VERBS), ("admin", ALL_VERBS)]
)
async def test_people_may_do_to_rules_what_their_role_lets_them_do_to_the_rest(
    cluster: RealCluster, install: Install, role: str, may: set[str]
) -> None:
    operator = await install()
    namespace = operator.stage.namespace
    bind = ("create", "rolebinding", "jane", f"--clusterrole={role}", "--user=jane", "-n", namespace)
    await asyncio.to_thread(cluster.kubectl, *bind)
    rules = [Permission(verb, *RULES) for verb in sorted(ALL_VERBS)]
    await operator.stage.becomes(may, functools.partial(verbs, operator, rules))


async def verbs(operator: Account, wanted: list[Permission]) -> set[str]:
    granted = [await is_granted(operator.api, "jane", operator.stage.namespace, item) for item in wanted]
    return {item.verb for item, may in zip(wanted, granted, strict=True) if may}
