"""Others who write the replicas of the same Deployment, or change what this rule writes."""

import pytest
from nats.aio.client import Client

from natsscaler.core import contention
from natsscaler.core.rule import RuleKey
from natsscaler.reactor import executor
from tests.support.until import until
from tests.support.world import TARGET, World, publish, work_off

pytestmark = pytest.mark.timeout(90)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


async def test_a_number_that_admission_changes_is_recorded_and_told_once(here: World, orders: Client) -> None:
    here.cluster.admit = lambda asked: min(asked, 3)
    await publish(orders, 500)
    key = here.apply(messagesPerReplica=50, pollIntervalSeconds=2)
    await here.becomes("ScalingLimited", "True", "AdmissionLimited")
    assert "asked for 10 replicas" in here.message("ScalingLimited")
    assert "made 3 of it" in here.message("ScalingLimited")
    await until(lambda: len(here.cluster.steps) == 3, seconds=20)
    assert here.cluster.steps == [(1, 10), (3, 10), (3, 10)], "again after each poll interval"
    status = here.cluster.statuses[key]
    assert [(action.from_replicas, action.to_replicas) for action in status.recent_actions] == [(1, 3)]
    assert status.current_replicas == 3
    told = [event for event in here.cluster.events if event[2] in ("AdmissionLimited", "ScaledUp")]
    assert told == [("rule", "Scale", "ScaledUp"), ("rule", "ScalingLimited", "AdmissionLimited")]
    assert here.condition("AbleToScale") == ("True", "ReadyForNewScale")


async def test_another_number_is_asked_for_at_once(here: World, orders: Client) -> None:
    here.cluster.admit = lambda asked: min(asked, 3)
    await publish(orders, 200)
    here.apply(messagesPerReplica=50, behavior=AT_ONCE)
    await here.becomes("ScalingLimited", "True", "AdmissionLimited")
    await work_off(orders, 100)
    here.reactor.ring_target(TARGET)
    await until(lambda: here.cluster.table[TARGET] == 2)
    await here.becomes("ScalingLimited", "False", "DesiredWithinRange")


async def test_who_keeps_setting_the_replicas_back_is_named_and_left_alone_for_longer_and_longer(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention, "WAIT_SECONDS", (1.5, 600.0))
    await publish(orders, 200)
    key = here.apply(messagesPerReplica=50)
    for set_backs in range(1, 5):
        await until(lambda: here.cluster.table[TARGET] == 4, seconds=20)
        here.cluster.table[TARGET] = 1
        here.reactor.ring_target(TARGET)
        if set_backs == contention.SET_BACKS:
            await here.becomes("AbleToScale", "False", "Conflict")
            assert here.message("AbleToScale").startswith("Another writer, argocd-controller (Apply, last at")
            assert here.condition("Ready") == ("False", "Conflict")
    await until(lambda: here.reactor._states[key].others.set_backs.wait == 3.0)
    assert [event for event in here.cluster.events if event[2] == "Conflict"] == [
        ("rule", "AbleToScale", "Conflict")
    ]
    await here.becomes("AbleToScale", "True", "ReadyForNewScale")
    assert here.cluster.table[TARGET] == 4
    assert here.cluster.steps == [(1, 4)] * 5


async def test_a_person_who_scales_by_hand_is_no_conflict(here: World, orders: Client) -> None:
    await publish(orders, 200)
    key = here.apply(messagesPerReplica=50, pollIntervalSeconds=3600)
    await until(lambda: here.cluster.table[TARGET] == 4)
    for replicas in (8, 7, 9, 6, 10):
        here.cluster.table[TARGET] = replicas
        here.reactor.ring_target(TARGET)
        await until(lambda: here.cluster.statuses[key].current_replicas == replicas)  # noqa: B023
    assert here.condition("AbleToScale") == ("True", "ReadyForNewScale")
    assert here.reactor._states[RuleKey("default", "rule")].others.set_backs.wait == 0


LATE = "natsscaler (Update, subresource scale, last at 2026-01-01T00:00:00Z)"


async def test_a_step_of_the_leader_before_that_is_carried_out_late_is_told(
    here: World, orders: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server froze with it, say, and thawed once another process led."""
    await publish(orders, 80)
    key = here.apply(messagesPerReplica=20)
    await until(lambda: here.cluster.table[TARGET] == 4)
    here.cluster.written_by = LATE
    here.cluster.table[TARGET] = 7
    here.reactor.ring_target(TARGET)
    await until(lambda: ("rule", "Scale", "LateStep") in here.cluster.events)
    assert "was scaled from 4 to 7 replicas by natsscaler, but not by this process" in caplog.text
    await until(lambda: here.cluster.statuses[key].current_replicas == 7)
    assert here.condition("AbleToScale") == ("True", "ReadyForNewScale")
    assert [event for event in here.cluster.events if event[2] == "LateStep"] == [
        ("rule", "Scale", "LateStep")
    ]


async def scales_after_the_rule(here: World, orders: Client, written_by: str) -> None:
    """Have the rule scale, and then somebody else."""
    here.cluster.written_by = written_by
    await publish(orders, 80)
    key = here.apply(messagesPerReplica=20)
    await until(lambda: here.cluster.table[TARGET] == 4)
    here.cluster.table[TARGET] = 7
    here.reactor.ring_target(TARGET)
    await until(lambda: here.cluster.statuses[key].current_replicas == 7)


@pytest.mark.parametrize("written_by", ["kubectl (Update, last at …)", "natsscaler-demo ()", ""])
async def test_what_others_scale_is_no_late_step(here: World, orders: Client, written_by: str) -> None:
    await scales_after_the_rule(here, orders, written_by)
    assert not [event for event in here.cluster.events if event[2] == "LateStep"]


async def test_long_after_the_leader_before_nobody_is_asked(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "LATE_STEP_SECONDS", 0.0)
    await scales_after_the_rule(here, orders, LATE)
    assert not [event for event in here.cluster.events if event[2] == "LateStep"]
