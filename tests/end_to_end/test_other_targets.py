"""Rules that scale by scaleTargetRef, with the operator as a process, on both Kubernetes APIs."""

from functools import partial
from typing import Any

from tests.conftest import KubeApi
from tests.support.rollouts import rollouts
from tests.support.stage import LONG, Stage, listening

SET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "my-set"}
QUICK: dict[str, Any] = {"pollIntervalSeconds": LONG, "messagesPerReplica": 20, "deploymentName": None}


async def test_a_stateful_set_is_scaled_by_a_burst(stage: Stage) -> None:
    await stage.create_stateful_set()

    async def ready() -> int | None:
        return (await stage.status()).get("readyReplicas")

    await stage.apply_sample(scaleTargetRef=SET, **QUICK)
    await stage.start()
    await listening(stage)
    await stage.publish(100)
    await stage.becomes(5, stage.stateful_replicas)
    await stage.becomes(True, lambda: includes(stage, "ScaledUp"))
    scaled = f"Scaled StatefulSet {stage.namespace}/my-set from 1 to 5"
    await stage.becomes("INFO", partial(stage.has_logged, scaled))
    assert isinstance(await ready(), int)


async def test_a_custom_kind_is_scaled_by_a_burst(stage: Stage, kube_api: KubeApi) -> None:
    async with rollouts(kube_api) as made:
        await made.create("my-app")
        reference = {"apiVersion": made.api_version, "kind": "Rollout", "name": "my-app"}
        await stage.apply_sample(scaleTargetRef=reference, **QUICK)
        await stage.start()
        await listening(stage)
        await stage.publish(100)
        await stage.becomes(5, made.replicas)
        await stage.becomes(5, lambda: current(stage))


async def test_a_deployment_named_by_either_field_has_one_owner(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample("a", pollIntervalSeconds=LONG)
    reference = SET | {"kind": "Deployment", "name": "my-app"}
    await stage.apply_sample("b", pollIntervalSeconds=LONG, deploymentName=None, scaleTargetRef=reference)
    await stage.start()
    await stage.becomes(("True", "ReadyForNewScale"), partial(stage.condition, "AbleToScale", "a"))
    await stage.becomes(("False", "TargetOwnedByAnother"), partial(stage.condition, "AbleToScale", "b"))


async def includes(stage: Stage, reason: str) -> bool:
    return reason in await stage.event_reasons("my-app-scaling")


async def current(stage: Stage) -> int | None:
    return (await stage.status()).get("currentReplicas")
