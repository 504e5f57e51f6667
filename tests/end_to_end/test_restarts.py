"""Nothing is lost, and nothing scaled wrongly, when what natsscaler depends on goes away and comes back."""

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

import pytest
import yaml
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException, ConflictException

from tests.conftest import CRD_FILE, KubeApi
from tests.support.stage import LONG, Stage, last_scaling, listening


async def test_an_exit_on_sigterm_is_clean(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    operator = await stage.start()
    await listening(stage)
    operator.terminate()
    assert await operator.wait() == 0


async def test_a_burst_while_the_kubernetes_api_is_away_scales_once_it_is_back(
    stage: Stage, kube_api: KubeApi
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    operator = await stage.start()
    await listening(stage)
    await kube_api.stop()
    await stage.publish(100)
    await kube_api.start()
    await stage.becomes(5, stage.replicas, seconds=40)
    assert operator.returncode is None
    await stage.publish(20)
    await stage.becomes(6, stage.replicas)


async def test_nats_restarting_loses_no_wake_up(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await stage.start()
    await listening(stage)
    await stage.nats.kill()
    await stage.becomes(("False", "NotConnected"), partial(stage.condition, "EventDriven"))
    await stage.nats.start()
    await listening(stage)
    await stage.publish(100)
    await stage.becomes(5, stage.replicas)


async def test_a_crd_that_is_deleted_and_created_again_costs_a_restart_and_no_replicas(
    stage: Stage, kube_api: KubeApi
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    operator = await stage.start()
    await stage.becomes(2, stage.replicas)
    await listening(stage)
    await delete_crd(kube_api)
    try:
        assert await asyncio.wait_for(operator.wait(), 30) == 1
        await stage.start()
    finally:
        await create_crd(kube_api)
    assert await stage.replicas() == 2
    await stage.becomes(True, partial(accepted, stage))
    await stage.becomes(4, stage.replicas)


async def accepted(stage: Stage) -> bool:
    with contextlib.suppress(ApiException):
        await stage.apply_sample(pollIntervalSeconds=LONG, minReplicas=4, maxReplicas=4)
        return True
    return False


def crds(kube_api: KubeApi) -> client.ApiextensionsV1Api:
    return client.ApiextensionsV1Api(kube_api.client)


async def delete_crd(kube_api: KubeApi) -> None:
    await crds(kube_api).delete_custom_resource_definition("scalingrules.scaling.example.com")


async def create_crd(kube_api: KubeApi) -> None:
    """Create it as soon as the deletion of the former one has ended."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ConflictException):
                await crds(kube_api).create_custom_resource_definition(yaml.safe_load(CRD_FILE.read_text()))
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("step", [3600, -3600], ids=["forward", "back"])
async def test_a_wall_clock_that_is_stepped_by_an_hour_makes_no_step_early_or_late(
    stage: Stage, step: int
) -> None:
    """A purge is seen by a deadline alone, and the step down waits for the stabilization window."""
    window = 3
    await stage.create_deployment()
    await stage.apply_sample(
        pollIntervalSeconds=1,
        messagesPerReplica=20,
        behavior={"scaleDown": {"stabilizationWindowSeconds": window}},
    )
    await stage.start()
    await listening(stage)
    published_at = time.monotonic()
    await stage.publish(100)
    await stage.becomes(5, stage.replicas)
    await stage.purge()
    stage.step_clock(step)
    await stage.becomes(1, stage.replicas)
    assert time.monotonic() - published_at >= window
    await stage.becomes((5, 1), partial(last_scaling, stage))


async def test_rules_go_with_their_namespace_and_others_go_on(stage: Stage, kube_api: KubeApi) -> None:
    core = client.CoreV1Api(kube_api.client)
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    operator = await stage.start(everywhere=True)
    await listening(stage)
    kept, stage.namespace = stage.namespace, f"{stage.namespace}-doomed"
    manifest: Any = {"metadata": {"name": stage.namespace}}
    await core.create_namespace(manifest)
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await listening(stage)
    await core.delete_namespace(stage.namespace)
    await stage.becomes([], stage.rules)
    stage.namespace = kept
    await stage.publish(100)
    await stage.becomes(2, stage.replicas)
    assert operator.returncode is None
