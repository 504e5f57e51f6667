"""Each policy on a whole operator: what it does to a real Deployment."""

import datetime as dt
import time
from functools import partial
from typing import Any

import nats
import pytest
from kubernetes.aio.client import ApiException

from natsscaler.core.status import rfc3339
from tests.support.stage import LONG, Stage, listening

PAUSED = "scaling.example.com/paused"


def annotated(**values: str | None) -> dict[str, Any]:
    """Make a patch of the annotations of pauses; None removes one."""
    names = {name: PAUSED if name == "paused" else f"{PAUSED}-{name}" for name in values}
    return {"metadata": {"annotations": {names[name]: value for name, value in values.items()}}}


async def test_a_fallback_comes_by_the_clock_and_ends_with_the_first_known_backlog(stage: Stage) -> None:
    """An operator that is started anew goes on with the time that has passed."""
    await stage.create_deployment()
    await stage.apply_sample(
        pollIntervalSeconds=1,
        messagesPerReplica=20,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        fallback={"afterSeconds": 600, "behavior": "AtLeast", "replicas": 4},
    )
    await stage.start()
    await listening(stage)
    await stage.nats.kill()
    await stage.becomes(True, lambda: remembers(stage))
    assert await stage.replicas() == 1
    await stage.stop()
    await stage.start(skew=700)
    active = partial(stage.condition, "ScalingActive")
    await stage.becomes(4, stage.replicas)
    await stage.becomes(("False", "Fallback"), active)
    await stage.nats.start()
    await stage.becomes(1, stage.replicas)
    await stage.becomes(("True", "ValidMetricFound"), active)
    assert "unknownSince" not in (await stage.status())["memory"]


async def remembers(stage: Stage) -> bool:
    return "unknownSince" in (await stage.status()).get("memory", {})


async def test_workers_that_have_messages_in_hand_stay(stage: Stage) -> None:
    await stage.create_deployment(replicas=4)
    await stage.publish(3)
    connection = await nats.connect(stage.nats.url)
    worker = await connection.jetstream().pull_subscribe("orders.processing", durable="worker")
    first, *others = await worker.fetch(3)
    down = {"stabilizationWindowSeconds": 0, "busyWorkers": "Floor"}
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=20, behavior={"scaleDown": down})
    await stage.start()
    await stage.becomes(3, stage.replicas)
    await stage.edit({"spec": {"behavior": {"scaleDown": {"busyWorkers": "UntilIdle"}}}})
    await first.ack_sync()
    await stage.becomes("BusyWorkers", lambda: decided(stage))
    assert await stage.replicas() == 3
    for one in others:
        await one.ack_sync()
    await stage.becomes(1, stage.replicas)
    await connection.close()


async def decided(stage: Stage) -> str:
    reason: str = (await stage.status()).get("lastDecision", {}).get("reason", "")
    return reason


async def test_bounds_follow_a_schedule_to_the_second(stage: Stage) -> None:
    """The operator's clock is set to shortly before each edge, which the poll interval does not come near."""
    await stage.create_deployment()
    start = dt.datetime.fromisoformat("2027-03-28T01:00:00Z").timestamp()
    schedule = {"name": "day", "timeZone": "Europe/Berlin", "start": "30 2 * * *", "end": "0 18 * * *"}
    await stage.apply_sample(
        pollIntervalSeconds=LONG,
        messagesPerReplica=20,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        schedules=[schedule | {"minReplicas": 3}],
    )
    skew = int(start - time.time()) - 3600
    await stage.start(skew=skew)
    await listening(stage)
    assert await stage.replicas() == 1
    soon = int(start - time.time()) - skew - 10
    stage.step_clock(soon)
    await stage.scale(2)  # rings, as a clock that is set does not
    await stage.becomes(3, stage.replicas)
    assert time.time() + skew + soon >= start, "02:30, which that clock skips, is at 03:00"
    stage.step_clock(soon + 15 * 3600)
    await stage.scale(4)
    await stage.becomes(1, stage.replicas)


async def test_a_schedule_that_cannot_be_used_is_refused(stage: Stage) -> None:
    schedule = {"name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 3}
    for changed in ({"start": "every day"}, {"maxReplicas": 0}):
        with pytest.raises(ApiException) as refused:
            await stage.apply_sample(schedules=[schedule | changed])
        assert refused.value.status == 422
        assert next(iter(changed)) in str(refused.value.body)
    await stage.apply_sample(schedules=[schedule | {"timeZone": "Mars/Olympus"}])
    await stage.start()
    await stage.becomes(("False", "InvalidRule"), partial(stage.condition, "Ready"))
    ready = next(one for one in (await stage.status())["conditions"] if one["type"] == "Ready")
    assert "spec.schedules[0].timeZone 'Mars/Olympus' is no time zone" in ready["message"]


async def test_pauses_of_each_kind_and_the_end_of_one(stage: Stage) -> None:
    await stage.create_deployment(replicas=2)
    await stage.apply_sample(
        pollIntervalSeconds=LONG,
        messagesPerReplica=20,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    )
    await stage.edit(annotated(paused="scale-up"))
    await stage.publish(100)
    await stage.start()
    paused = partial(stage.condition, "Paused")
    await stage.becomes(("True", "PausedScaleUp"), paused)
    assert await stage.replicas() == 2
    assert (await stage.status())["lastDecision"]["desired"] == 5
    await stage.purge()
    await stage.edit(annotated(paused="scale-up", reason="the queue is empty: down is allowed"))
    await stage.becomes(1, stage.replicas)
    await stage.edit(annotated(paused="true", replicas="4"))
    await stage.becomes(4, stage.replicas)
    await stage.becomes(("True", "PausedAtReplicas"), paused)
    await stage.edit(annotated(paused="on", replicas=None))
    await stage.becomes(("True", "PausedUnreadable"), paused)
    assert await stage.replicas() == 4
    end = int(time.time()) + 5
    await stage.edit(annotated(paused="true", until=rfc3339(end)))
    await stage.becomes(("True", "Paused"), paused)
    assert await stage.replicas() == 4
    await stage.becomes(1, stage.replicas)
    assert time.time() >= end
    await stage.becomes(("False", "NotPaused"), paused)
    await listening(stage)
