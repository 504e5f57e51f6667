"""A rule with drainTime on a real nats-server and either Kubernetes API."""

from functools import partial
from typing import Any

from tests.support.stage import Stage, listening


async def decided(stage: Stage, field: str) -> Any:
    return (await stage.status()).get("lastDecision", {}).get(field)


async def counted(stage: Stage) -> int:
    return len((await stage.status()).get("memory", {}).get("tallies", ()))


async def test_replicas_follow_from_how_long_messages_may_wait_and_a_restart_changes_nothing(
    stage: Stage,
) -> None:
    """30 messages within 10 s, and one more per second over the 30 s that arrivals are counted in."""
    await stage.create_deployment()
    await stage.apply_sample(
        pollIntervalSeconds=1,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
        drainTime={"targetSeconds": 10, "replicaRate": 1},
    )
    operator = await stage.start()
    await listening(stage)
    await stage.becomes(True, partial(_has_counted, stage))
    await stage.publish(30)
    await stage.becomes(5, stage.replicas)
    await stage.becomes(30, partial(decided, stage, "backlog"))
    assert "to be worked off in 10 s at 1/s per replica" in await decided(stage, "message")
    operator.kill()
    await operator.wait()
    kept = await counted(stage)
    assert kept
    await stage.start()
    await stage.publish(1)
    await stage.becomes(31, partial(decided, stage, "backlog"))
    assert await decided(stage, "recommendation") in (4, 5), "what came before the restart is not forgotten"
    assert await stage.replicas() == 5


async def _has_counted(stage: Stage) -> bool:
    return await counted(stage) > 0
