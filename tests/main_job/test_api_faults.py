"""Requests that the Kubernetes API refuses, loses or does not answer: nothing is scaled twice or wrongly."""

import pathlib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.conftest import KubeApi
from tests.faulty_proxy import FaultyProxy, open_proxy, patches
from tests.main_job.stage import LONG, Stage, listening

ABLE = ("True", "ReadyForNewScale")


@pytest.fixture
async def proxy(stage: Stage, kube_api: KubeApi, tmp_path: pathlib.Path) -> AsyncIterator[FaultyProxy]:
    """What the operator meets instead of the API server; a Deployment, a rule and the operator are there."""
    async with open_proxy(kube_api) as proxy:
        await stage.create_deployment()
        await stage.apply_sample(pollIntervalSeconds=LONG)
        await stage.start(kubeconfig=proxy.write_kubeconfig(tmp_path / "through-the-proxy"))
        await listening(stage)
        yield proxy
        await stage.stop()


def scalings(proxy: FaultyProxy) -> int:
    return sum(request.startswith("PATCH") and "/scale?" in f"{request}?" for request in proxy.requests)


async def test_a_patch_that_is_never_answered_is_told_and_tried_again(
    stage: Stage, proxy: FaultyProxy
) -> None:
    proxy.fault(patches("/scale"), None)
    await stage.publish(100)
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 1
    await stage.becomes(2, stage.replicas)
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))


async def test_a_patch_whose_answer_is_lost_is_not_done_twice(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.fault(patches("/scale"), None, forwarded=True)
    await stage.publish(100)
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"))
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 2
    assert scalings(proxy) == 1


async def test_a_status_that_cannot_be_written_is_written_later_without_scaling_again(
    stage: Stage, proxy: FaultyProxy
) -> None:
    failed = proxy.fault(patches("/status"), 500, times=2)
    await stage.publish(100)
    await stage.becomes(2, lambda: seen_replicas(stage))
    assert failed.seen == 2
    assert await stage.replicas() == 2
    assert scalings(proxy) == 1


async def seen_replicas(stage: Stage) -> int | None:
    count: int | None = (await stage.status()).get("currentReplicas")
    return count


async def test_conflicts_are_decided_again_three_times_and_then_told(
    stage: Stage, proxy: FaultyProxy
) -> None:
    conflicts = proxy.fault(patches("/scale"), 409, times=3)
    await stage.publish(100)
    await stage.becomes(("False", "Conflict"), partial(stage.condition, "AbleToScale"))
    assert conflicts.seen == 3
    assert await stage.replicas() == 1
    await stage.edit({"spec": {"scaleUpThreshold": 40}})
    await stage.becomes(2, stage.replicas)


async def test_a_forbidden_patch_names_the_missing_verb(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.fault(patches("/scale"), 403, times=None)
    await stage.publish(100)
    await stage.becomes(("False", "Forbidden"), partial(stage.condition, "AbleToScale"))
    conditions = (await stage.status())["conditions"]
    (able,) = [condition for condition in conditions if condition["type"] == "AbleToScale"]
    assert "grant it the verb patch on deployments/scale" in able["message"]
    proxy.mend()
    await stage.becomes(2, stage.replicas)


async def test_nothing_is_overwritten_while_the_watch_is_deaf(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.spoil("deployments", "mute")
    await stage.scale(6)
    await stage.publish(100)
    await stage.becomes(6, lambda: seen_replicas(stage))
    assert await stage.replicas() == 6
    assert scalings(proxy) == 1
