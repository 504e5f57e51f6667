"""Rules and Deployments that are edited, deleted, created again or scaled by hand while the operator runs."""

import time
from functools import partial

import pytest

from tests.support.stage import LONG, Stage, listening

ABLE = ("True", "ReadyForNewScale")
MISSING = ("False", "TargetNotFound")


async def test_a_deployment_that_is_created_again_is_scaled_again_at_once(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start()
    await stage.becomes(2, stage.replicas)
    await stage.delete_deployment()
    await stage.becomes(MISSING, partial(stage.condition, "AbleToScale"))
    await stage.create_deployment()
    await stage.becomes(2, stage.replicas)
    await stage.becomes(ABLE, partial(stage.condition, "AbleToScale"))


async def test_a_step_down_waits_for_the_poll_interval_after_a_person_has_scaled(stage: Stage) -> None:
    interval = 5
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=interval)
    await stage.start()
    await listening(stage)
    scaled_at = time.monotonic()
    await stage.scale(3)
    await stage.becomes(2, stage.replicas)
    assert time.monotonic() - scaled_at >= interval


async def test_another_subject_counts_at_once(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.create_consumer("others", "orders.others")
    await stage.apply_sample(pollIntervalSeconds=LONG, subject="orders.others")
    await stage.publish(100)
    await stage.start()
    await listening(stage)
    assert await stage.replicas() == 1
    await stage.edit({"spec": {"subject": "orders.processing"}})
    await stage.becomes(2, stage.replicas)


async def test_other_thresholds_count_at_once(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(30)
    await stage.start()
    await listening(stage)
    assert await stage.replicas() == 1
    await stage.edit({"spec": {"scaleUpThreshold": 20}})
    await stage.becomes(2, stage.replicas)


async def test_another_deployment_is_scaled_at_once_and_the_first_one_left_as_it_is(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.create_deployment(name="other")
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start()
    await stage.becomes(2, stage.replicas)
    await stage.edit({"spec": {"deploymentName": "other"}})
    await stage.becomes(2, partial(stage.replicas, "other"))
    assert await stage.replicas() == 2


async def test_another_monitoring_url_is_read_at_once(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, natsMonitoringURL="http://127.0.0.1:1")
    await stage.publish(100)
    await stage.start()
    await stage.becomes(("False", "MonitoringUnreachable"), partial(stage.condition, "Ready"))
    await stage.edit({"spec": {"natsMonitoringURL": stage.nats.monitoring_url}})
    await stage.becomes(2, stage.replicas)


@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
async def test_a_rule_that_is_deleted_and_created_again_is_the_new_one(stage: Stage, running: bool) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.start()
    await listening(stage)
    if not running:
        await stage.stop()
    await stage.delete_rule()
    await stage.apply_sample(pollIntervalSeconds=LONG, minReplicas=4)
    if not running:
        await stage.start()
    await stage.becomes(4, stage.replicas)
    await listening(stage)


async def test_two_rules_exchange_their_deployments(stage: Stage) -> None:
    await stage.create_deployment(name="first")
    await stage.create_deployment(name="second")
    await stage.apply_sample("a", pollIntervalSeconds=LONG, deploymentName="first")
    await stage.apply_sample("b", pollIntervalSeconds=LONG, deploymentName="second")
    await stage.start()
    for name in ("a", "b"):
        await stage.becomes(("True", "Scaling"), partial(stage.condition, "Ready", name))
    await stage.edit({"spec": {"deploymentName": "second", "minReplicas": 3}}, "a")
    await stage.becomes(("False", "TargetOwnedByAnother"), partial(stage.condition, "AbleToScale", "b"))
    await stage.edit({"spec": {"deploymentName": "first", "minReplicas": 5}}, "b")
    await stage.becomes(5, partial(stage.replicas, "first"))
    await stage.becomes(3, partial(stage.replicas, "second"))
    for name in ("a", "b"):
        await stage.becomes(ABLE, partial(stage.condition, "AbleToScale", name))


async def test_a_rule_with_the_longest_name_is_scaled_and_recorded(stage: Stage) -> None:
    name = "n" * 253
    await stage.create_deployment()
    await stage.apply_sample(name, pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start()
    await stage.becomes(2, stage.replicas)
    await stage.becomes(True, lambda: recorded(stage, name))


async def recorded(stage: Stage, name: str) -> bool:
    return "ScaledUp" in await stage.event_reasons(name)
