"""A rule is applied, a burst arrives, the Deployment has been scaled; and what happens around that."""

from functools import partial

from tests.support.stage import LONG, Stage, last_scaling, listening


async def test_a_burst_scales_up_long_before_the_poll_interval_has_passed(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await stage.start()
    await listening(stage)
    await stage.publish(100)
    await stage.becomes(5, stage.replicas)
    await stage.becomes((1, 5), lambda: last_scaling(stage))


async def test_the_contracts_sample_takes_one_step_at_once(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample()
    await stage.start()
    await listening(stage)
    await stage.publish(100)
    await stage.becomes(2, stage.replicas)


async def test_with_events_off_polling_scales(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1)
    await stage.start("--events", "none")
    await stage.becomes(("False", "SwitchedOff"), partial(stage.condition, "EventDriven"))
    await stage.publish(100)
    await stage.becomes(3, stage.replicas)


async def test_nats_going_down_holds_the_replicas_and_says_so(stage: Stage) -> None:
    await stage.create_deployment(replicas=4)
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=20, scaleDownThreshold=0)
    await stage.publish(80)
    await stage.start()
    await listening(stage)
    await stage.nats.kill()
    await stage.becomes(("False", "MonitoringUnreachable"), partial(stage.condition, "Ready"))
    assert await stage.replicas() == 4
    assert "pendingMessages" not in await stage.status()
    await stage.nats.start()
    await listening(stage)
    assert await stage.replicas() == 4
    await stage.publish(40)
    await stage.becomes(6, stage.replicas)


async def test_a_missing_deployment_is_named_and_scaled_once_it_exists(stage: Stage) -> None:
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start()
    await stage.becomes(("False", "TargetNotFound"), partial(stage.condition, "AbleToScale"))
    await stage.create_deployment()
    await stage.becomes(2, stage.replicas)
    await stage.delete_deployment()
    await stage.becomes(("False", "TargetNotFound"), partial(stage.condition, "AbleToScale"))


async def test_zero_replicas_set_by_a_person_switch_the_rule_off(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1)
    await stage.start()
    await listening(stage)
    await stage.scale(0)
    await stage.becomes(("False", "ScalingDisabled"), partial(stage.condition, "ScalingActive"))
    await stage.publish(100)
    await stage.becomes(100, lambda: pending(stage))
    assert await stage.replicas() == 0
    await stage.scale(1)
    await stage.becomes(True, lambda: above(stage, 1))


async def pending(stage: Stage) -> int | None:
    count: int | None = (await stage.status()).get("pendingMessages")
    return count


async def above(stage: Stage, replicas: int) -> bool:
    return await stage.replicas() > replicas


async def test_an_edit_is_followed_and_a_bound_enforced(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.start()
    await listening(stage)
    await stage.edit({"spec": {"minReplicas": 3}})
    await stage.becomes(3, stage.replicas)


async def test_a_paused_or_dry_running_rule_never_patches(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, dryRun=True)
    await stage.publish(100)
    await stage.start()
    await stage.becomes(("False", "DryRun"), partial(stage.condition, "ScalingActive"))
    await stage.edit({"metadata": {"annotations": {"scaling.example.com/paused": "true"}}})
    await stage.becomes(("False", "Paused"), partial(stage.condition, "ScalingActive"))
    assert await stage.replicas() == 1
    assert (await stage.status())["lastDecision"]["desired"] == 2
    await stage.edit(
        {"metadata": {"annotations": {"scaling.example.com/paused": "false"}}, "spec": {"dryRun": False}}
    )
    await stage.becomes(2, stage.replicas)


async def test_the_older_of_two_rules_owns_the_deployment(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample("a-older", pollIntervalSeconds=LONG)
    await stage.apply_sample("b-younger", pollIntervalSeconds=LONG)
    await stage.start()
    owned = partial(stage.condition, "AbleToScale", "b-younger")
    await stage.becomes(("False", "TargetOwnedByAnother"), owned)
    await stage.becomes(("True", "ReadyForNewScale"), partial(stage.condition, "AbleToScale", "a-older"))
    await stage.delete_rule("a-older")
    await stage.becomes(("True", "ReadyForNewScale"), owned)


async def test_a_deployment_that_an_hpa_scales_is_left_alone(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.create_autoscaler()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start()
    able = partial(stage.condition, "AbleToScale")
    await stage.becomes(("False", "TargetOwnedByAnother"), able)
    assert await stage.replicas() == 1
    status = await stage.status()
    assert (status["currentReplicas"], status["pendingMessages"]) == (1, 100), (
        "both are compared in a migration"
    )
    assert "lastDecision" not in status
    assert await stage.condition("ScalingActive") == ("False", "TargetOwnedByAnother")
    await stage.edit({"spec": {"dryRun": True}})
    await stage.becomes(("True", "ReadyForNewScale"), able)
    assert (await stage.status())["lastDecision"]["desired"] == 2, "it may rehearse"
    await stage.edit({"spec": {"dryRun": False}})
    await stage.becomes(("False", "TargetOwnedByAnother"), able)
    assert await stage.replicas() == 1
    await stage.delete_autoscaler()
    await stage.becomes(2, stage.replicas)


async def test_a_person_who_scales_beyond_the_bounds_is_brought_back(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, maxReplicas=4)
    await stage.start()
    await listening(stage)
    await stage.scale(9)
    await stage.becomes(4, stage.replicas)


async def test_another_namespace_is_refused(stage: Stage) -> None:
    await stage.apply_sample(namespace="kube-system")
    await stage.start()
    await stage.becomes(("False", "CrossNamespaceNotAllowed"), partial(stage.condition, "AbleToScale"))


async def test_deleting_a_rule_never_waits_for_the_operator(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.start()
    await listening(stage)
    await stage.stop()
    await stage.delete_rule()
    await stage.becomes([], stage.rules)


async def test_a_restart_takes_no_step_twice(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    first = await stage.start()
    await stage.becomes(2, stage.replicas)
    await stage.becomes(2, lambda: seen_replicas(stage))
    first.kill()
    await first.wait()
    await stage.start()
    await stage.publish(20)
    await stage.becomes(120, lambda: pending(stage))
    assert await stage.replicas() == 2


async def seen_replicas(stage: Stage) -> int | None:
    count: int | None = (await stage.status()).get("currentReplicas")
    return count
