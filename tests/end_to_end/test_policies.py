"""Each policy on a whole operator: what it does to a real Deployment."""

import time
from functools import partial
from typing import Any

from natsscaler.core.status import rfc3339
from tests.support.stage import LONG, Stage, listening

PAUSED = "scaling.example.com/paused"


def annotated(**values: str | None) -> dict[str, Any]:
    """Make a patch of the annotations of pauses; None removes one."""
    names = {name: PAUSED if name == "paused" else f"{PAUSED}-{name}" for name in values}
    return {"metadata": {"annotations": {names[name]: value for name, value in values.items()}}}


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
