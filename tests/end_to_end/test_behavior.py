"""The policies of a rule on a real nats-server and either Kubernetes API."""

from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

from tests.support.stage import LONG, Stage, listening


def at_most(value: int, seconds: int) -> dict[str, Any]:
    return {"scaleUp": {"policies": [{"type": "Pods", "value": value, "periodSeconds": seconds}]}}


async def decided(stage: Stage, field: str) -> Any:
    return (await stage.status()).get("lastDecision", {}).get(field)


async def test_a_policy_outlives_the_process_that_took_its_steps(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=10, behavior=at_most(2, 1800))
    operator = await stage.start()
    await listening(stage)
    await stage.publish(80)
    await stage.becomes(3, stage.replicas)
    await stage.becomes("ScaleUpLimit", partial(decided, stage, "reason"))
    await stage.becomes(("True", "ScaleUpLimit"), partial(stage.condition, "ScalingLimited"))
    ends_at = datetime.fromisoformat(await decided(stage, "nextChangeTime"))
    operator.kill()
    await operator.wait()
    await stage.publish(10)
    await stage.start()
    await stage.becomes(90, partial(decided, stage, "backlog"))
    assert await stage.replicas() == 3
    assert await decided(stage, "reason") == "ScaleUpLimit"
    later = datetime.fromisoformat(await decided(stage, "nextChangeTime"))
    assert abs((later - ends_at).total_seconds()) <= 1, "the period goes on where it was"
    await stage.edit({"spec": {"behavior": at_most(5, 1800)}})
    await stage.becomes(6, stage.replicas)


async def test_steps_go_on_by_themselves_when_the_period_has_passed(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=10, behavior=at_most(3, 4))
    await stage.start()
    await listening(stage)
    await stage.publish(90)
    await stage.becomes(9, partial(remembered, stage))
    steps = (await stage.status())["memory"]["steps"]
    assert [step["to"] - step["from"] for step in steps] == [3, 3, 2]
    times = [datetime.fromisoformat(step["time"]).timestamp() for step in steps]
    assert all(later - earlier >= 4 for earlier, later in pairwise(times))


async def remembered(stage: Stage) -> int | None:
    steps = (await stage.status()).get("memory", {}).get("steps")
    return steps[-1]["to"] if steps else None
