"""Requests that the Kubernetes API refuses, loses or does not answer: nothing is scaled twice or wrongly."""

import asyncio
import pathlib
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web

from tests.conftest import KubeApi
from tests.support.faulty_proxy import FaultyProxy, open_proxy, patches
from tests.support.stage import LONG, Stage, last_scaling, listening

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
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"), 60)
    assert await stage.replicas() == 1
    await stage.becomes(2, stage.replicas)
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))


async def test_a_busy_api_server_gets_no_patch_before_the_time_it_asks_for(
    stage: Stage, proxy: FaultyProxy
) -> None:
    clock, asked = asyncio.get_running_loop().time, []

    def first(request: web.Request) -> bool:
        if not patches("/scale")(request):
            return False
        asked.append(clock())
        return len(asked) == 1

    proxy.fault(first, 429, headers={"Retry-After": "4"}, times=None)
    await stage.publish(100)
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"))
    await stage.publish(1)  # wakes the rule meanwhile
    await stage.becomes(2, stage.replicas)
    assert asked[1] - asked[0] >= 4
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))


async def test_a_slow_api_server_makes_it_later_and_nothing_else(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.delay = 2
    await stage.publish(100)
    await stage.becomes((1, 2), partial(last_scaling, stage))
    assert await stage.replicas() == 2
    assert scalings(proxy) == 1
    assert await stage.condition("AbleToScale") == ABLE


async def test_a_patch_that_an_api_server_fails_at_is_told_and_tried_again(
    stage: Stage, proxy: FaultyProxy
) -> None:
    proxy.fault(patches("/scale"), 500, times=2)
    await stage.publish(100)
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 1
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 2
    assert scalings(proxy) == 3


async def test_a_patch_that_was_done_although_a_gateway_says_504_is_not_done_twice(
    stage: Stage, proxy: FaultyProxy
) -> None:
    proxy.fault(patches("/scale"), 504, forwarded=True)
    await stage.publish(100)
    await stage.becomes(("False", "KubernetesUnavailable"), partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 2
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))
    assert await stage.replicas() == 2
    assert scalings(proxy) == 1


async def test_lists_and_watches_that_are_answered_by_errors_are_tried_again(
    stage: Stage, proxy: FaultyProxy
) -> None:
    failing = proxy.fault(reads, 503, times=None)
    for plural in ("scalingrules", "deployments"):
        proxy.spoil(plural, "expired")  # so that both have to be listed anew
    await stage.scale(3)
    await stage.edit({"spec": {"minReplicas": 6}})
    await stage.becomes(True, lambda: asyncio.sleep(0, failing.seen >= 4))
    await stage.publish(100)
    await stage.becomes(3, lambda: seen_replicas(stage))  # what was seen before is not written over it
    assert await stage.replicas() == 3
    proxy.fix()
    await stage.becomes(6, stage.replicas)
    await listening(stage)


def reads(request: web.Request) -> bool:
    return request.path.endswith(("/scalingrules", "/deployments"))


async def test_garbage_in_the_watch_of_rules_costs_a_restart_and_no_replicas(
    stage: Stage, proxy: FaultyProxy, tmp_path: pathlib.Path
) -> None:
    await stage.publish(100)
    await stage.becomes((1, 2), partial(last_scaling, stage))
    proxy.spoil("scalingrules", "garbage")
    await stage.edit({"spec": {"scaleUpThreshold": 200}})
    assert await stage.exit_status() == 1
    assert await stage.replicas() == 2
    await stage.edit({"spec": {"minReplicas": 3}})
    await stage.start(kubeconfig=tmp_path / "through-the-proxy")
    await stage.becomes(3, stage.replicas)
    await listening(stage)


async def test_a_patch_whose_answer_is_lost_is_not_done_twice(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.fault(patches("/scale"), None, forwarded=True)
    await stage.publish(100)

    async def told() -> bool:
        """The condition may be over in a moment: the watch has told of the step meanwhile."""
        return "KubernetesUnavailable" in await stage.event_reasons("my-app-scaling")

    await stage.becomes(True, told, 60)
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
    assert "The operator lacks the verb patch on deployments/scale" in able["message"]
    proxy.fix()
    await stage.becomes(2, stage.replicas)


async def test_nothing_is_overwritten_while_the_watch_is_deaf(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.spoil("deployments", "mute")
    await stage.scale(6)
    await stage.publish(100)
    await stage.becomes(6, lambda: seen_replicas(stage))
    assert await stage.replicas() == 6
    assert scalings(proxy) == 1
