"""The operator as its pods run it: installed by the manifests or the chart, with what these grant it."""

import asyncio

import pytest

from tests.install.pod.conftest import Install, World
from tests.install.pod.kubelet import UIDS
from tests.install.pod.pythons import versions

pytestmark = pytest.mark.control_plane
on_each_python = pytest.mark.parametrize("python", versions(), indirect=True)

OK = 200
LEASE = ("get", "lease", "natsscaler.scaling.example.com", "-o", "jsonpath={.spec.holderIdentity}")


async def scales(world: World) -> None:
    """Wait until a backlog has scaled the Deployment, and every pod answers its probes."""
    await world.burst()
    await world.start()
    await world.stage.becomes(5, world.stage.replicas, 40)
    for pod in world.pods:
        await world.stage.becomes(OK, pod.ready)
        assert (await pod.probe("liveness"))[0] == OK


@on_each_python
async def test_scales_as_config_default_installs_it(world: World, kustomize: Install) -> None:
    kustomize()
    await scales(world)


@on_each_python
async def test_scales_as_the_chart_installs_it(world: World, chart: Install) -> None:
    chart()
    await scales(world)


async def test_scales_with_a_random_uid_as_openshift_gives_it(world: World, chart: Install) -> None:
    chart({"podSecurityContext": {"runAsUser": None, "runAsGroup": None}})
    await scales(world)
    (pod,) = world.pods
    status = await asyncio.to_thread(pod.process_status)
    assert int(status["Uid"].split()[0]) in UIDS
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0


async def test_serves_its_own_namespace_as_the_namespaced_overlay_installs_it(
    world: World, kustomize: Install
) -> None:
    world.namespace = world.stage.namespace
    kustomize("overlays/namespaced")
    await scales(world)


async def test_serves_the_namespaces_that_the_chart_names(world: World, chart: Install) -> None:
    chart({"operator": {"namespaces": [world.stage.namespace]}})
    await scales(world)


async def test_a_watched_namespace_that_is_gone_keeps_no_other_one_from_being_served(
    world: World, chart: Install
) -> None:
    gone = await asyncio.to_thread(world.another_stage)
    chart({"operator": {"namespaces": [gone.namespace, world.stage.namespace]}})
    await asyncio.to_thread(world.cluster.kubectl, "delete", "namespace", gone.namespace)
    await scales(world)
    (pod,) = world.pods
    assert f"Namespace {gone.namespace} is not served" in pod.log
    await asyncio.to_thread(world.apply_again, gone.namespace)
    await gone.create_deployment()
    await gone.apply_sample(messagesPerReplica=20)
    await gone.becomes(5, gone.replicas, 60)
    assert f"Namespace {gone.namespace} is served" in pod.log


async def test_one_of_two_replicas_leads_and_the_other_one_takes_over(world: World, chart: Install) -> None:
    chart({"replicaCount": 2})
    await scales(world)

    async def leader() -> str:
        held = await asyncio.to_thread(world.cluster.kubectl, "-n", world.namespace, *LEASE)
        return held.rpartition("_")[0]

    led = await leader()
    first, second = sorted(world.pods, key=lambda pod: pod.name != led)
    assert first.name == led
    assert await first.stop() == 0
    await world.stage.becomes(second.name, leader, 40)
    await world.stage.publish(100)
    await world.stage.becomes(10, world.stage.replicas, 40)


async def test_goes_on_with_a_renewed_token_when_the_old_one_is_revoked(
    world: World, kustomize: Install
) -> None:
    kustomize()
    await scales(world)
    (pod,) = world.pods
    await asyncio.to_thread(pod.renew_token)
    await asyncio.to_thread(pod.revoke_token)
    await world.stage.publish(100)
    await world.stage.becomes(10, world.stage.replicas, 90)
    assert await pod.ready() == OK


async def test_is_not_ready_with_a_token_that_is_refused_until_it_is_renewed(
    world: World, kustomize: Install
) -> None:
    kustomize()
    await world.burst()
    (pod,) = await world.start(refused=True)
    await world.stage.becomes(True, lambda: asyncio.to_thread(lambda: "401" in pod.log), 40)
    assert await pod.ready() != OK

    async def told() -> bool:
        return "401" in (await pod.probe("readiness"))[1]

    await world.stage.becomes(True, told, 90)
    assert await world.stage.replicas() == 1
    await asyncio.to_thread(pod.renew_token)
    await world.stage.becomes(5, world.stage.replicas, 60)
    await world.stage.becomes(OK, pod.ready)


async def test_explain_and_check_run_in_the_pod(world: World, kustomize: Install) -> None:
    kustomize()
    await scales(world)
    (pod,) = world.pods
    explained = await pod.execute("natsscaler", "explain", "-n", world.stage.namespace, "my-app-scaling")
    assert "exit status 0" in explained, explained
    checked = await pod.execute("natsscaler", "check", "-n", world.stage.namespace)
    assert "exit status 0" in checked, checked
