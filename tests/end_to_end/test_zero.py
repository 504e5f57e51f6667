"""To zero and back on a real nats-server and either Kubernetes API; whose zero it is, whatever happens."""

from functools import partial
from typing import Any

from tests.support.crew import Crew
from tests.support.stage import LONG, Stage, listening

OURS, NOBODYS = ("True", "Idle"), ("False", "Awake")
SLEEPY: dict[str, Any] = {
    "minReplicas": 0,
    "idleSeconds": 2,
    "pollIntervalSeconds": 1,
    "messagesPerReplica": 10,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


async def asleep(stage: Stage, **changes: Any) -> None:
    """Have a rule scale its idle Deployment to zero."""
    await stage.create_deployment()
    await stage.apply_sample(**SLEEPY | changes)
    await stage.start()
    await listening(stage)
    await stage.becomes(0, stage.replicas)
    await stage.becomes(OURS, partial(stage.condition, "ScaledToZero"))


async def switched_off(stage: Stage) -> None:
    await stage.becomes(("True", "ScalingDisabled"), partial(stage.condition, "Ready"))


async def seen(stage: Stage) -> Any:
    return (await stage.status()).get("pendingMessages")


async def test_an_idle_deployment_goes_to_zero_and_messages_wake_it(stage: Stage) -> None:
    await asleep(stage, pollIntervalSeconds=LONG)
    await stage.publish(30)
    await stage.becomes(3, stage.replicas)
    await stage.becomes(NOBODYS, partial(stage.condition, "ScaledToZero"))
    await stage.purge()
    await stage.edit({"spec": {"pollIntervalSeconds": 1}})
    await stage.becomes(0, stage.replicas)


async def test_the_rules_zero_survives_a_restart(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(**SLEEPY)
    operator = await stage.start()
    await stage.becomes(0, stage.replicas)
    operator.kill()
    await operator.wait()
    await stage.start()
    await listening(stage)
    assert await stage.condition("ScaledToZero") == OURS
    await stage.publish(30)
    await stage.becomes(3, stage.replicas)


async def test_the_rules_zero_survives_another_leader(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(**SLEEPY)
    first = await crew.start("first")
    await stage.becomes(0, stage.replicas)
    await stage.becomes(OURS, partial(stage.condition, "ScaledToZero"))
    second = await crew.start("second")
    await first.dies()
    await crew.leads(second)
    await stage.publish(30)
    await stage.becomes(3, stage.replicas)


async def test_a_zero_is_claimed_before_it_is_there(crew: Crew, stage: Stage) -> None:
    """Whatever becomes of who scaled it: here nothing that it wrote later arrives."""
    await stage.create_deployment()
    await stage.apply_sample(**SLEEPY)
    first = await crew.start("first")
    first.proxy.fault(lambda request: request.path.endswith("/scale"), None, forwarded=True, times=None)
    await stage.becomes(0, stage.replicas)
    await first.dies()
    await crew.leads(await crew.start("second"))
    await stage.publish(30)
    await stage.becomes(3, stage.replicas)


async def test_a_status_that_is_wiped_is_written_again_by_who_knows(stage: Stage) -> None:
    await asleep(stage)
    await stage.wipe_status()
    await stage.publish(30)
    await stage.becomes(3, stage.replicas)


async def test_without_status_nobody_knows_and_a_zero_is_a_persons(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(**SLEEPY)
    operator = await stage.start()
    await stage.becomes(0, stage.replicas)
    operator.kill()
    await operator.wait()
    await stage.wipe_status()
    await stage.publish(30)
    await stage.start()
    await switched_off(stage)
    await stage.becomes(30, partial(seen, stage))
    assert await stage.replicas() == 0


async def test_a_zero_that_a_person_set_stays(stage: Stage) -> None:
    await stage.create_deployment(replicas=0)
    await stage.apply_sample(**SLEEPY)
    await stage.start()
    await switched_off(stage)
    await stage.publish(30)
    await stage.becomes(30, partial(seen, stage))
    assert await stage.replicas() == 0
    assert await stage.condition("ScaledToZero") == NOBODYS


async def test_a_number_that_a_person_sets_ends_the_rules_zero(stage: Stage) -> None:
    await asleep(stage, idleSeconds=6)
    await stage.scale(2)
    await stage.becomes(NOBODYS, partial(stage.condition, "ScaledToZero"))
    await stage.becomes(0, stage.replicas)
    await stage.becomes(OURS, partial(stage.condition, "ScaledToZero"))


async def test_a_minimum_that_is_raised_while_idle_is_reached_at_once(stage: Stage) -> None:
    await asleep(stage, pollIntervalSeconds=LONG)
    await stage.edit({"spec": {"minReplicas": 2}})
    await stage.becomes(2, stage.replicas)


async def test_an_edit_while_idle_keeps_whose_zero_it_is(stage: Stage) -> None:
    await asleep(stage)
    await stage.edit({"spec": {"activation": {"messages": 20}}})
    await stage.publish(20)
    await stage.becomes(20, partial(seen, stage))
    assert await stage.replicas() == 0
    await stage.publish(1)
    await stage.becomes(3, stage.replicas)


async def test_a_deployment_that_is_made_anew_at_zero_is_switched_off(stage: Stage) -> None:
    await asleep(stage)
    await stage.delete_deployment()
    await stage.becomes(("False", "TargetNotFound"), partial(stage.condition, "AbleToScale"))
    await stage.create_deployment(replicas=0)
    await switched_off(stage)


async def test_a_rule_that_is_deleted_at_zero_says_how_to_go_on(stage: Stage) -> None:
    await asleep(stage)
    await stage.delete_rule()
    await stage.becomes(True, partial(tells_of_zero, stage))
    assert await stage.replicas() == 0


async def tells_of_zero(stage: Stage) -> bool:
    return "LeftAtZero" in await stage.event_reasons("my-app-scaling")


async def test_a_consumer_that_would_vanish_keeps_its_last_replica(stage: Stage) -> None:
    await stage.create_consumer("fleeting", "orders.processing", inactive_threshold=3600)
    await stage.create_deployment(replicas=2)
    await stage.apply_sample(**SLEEPY, consumer="fleeting")
    await stage.start()
    await stage.becomes(("False", "CannotScaleToZero"), partial(stage.condition, "ScaledToZero"))
    await stage.becomes(1, stage.replicas)
