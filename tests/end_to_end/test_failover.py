"""Several operators: one acts, and losing it loses nothing and repeats nothing.

Each test also ends with a look at all that was written: see `crew`.
"""

import asyncio
import signal
from functools import partial

import pytest

from tests.support.crew import DEADLINE, LEASE, Crew
from tests.support.faulty_proxy import patches
from tests.support.stage import LONG, Stage, last_scaling, listening

FAILOVER = 60.0
"""For a failover and what follows, on however slow a machine."""


async def test_a_follower_is_ready_says_who_leads_and_leaves_nats_alone(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1)
    leader = await crew.start("leader")
    await listening(stage)
    follower = await crew.start("follower")
    identity = (await crew.lease()).spec.holder_identity
    assert await leader.leader() == {"identity": identity, "self": True}
    assert await follower.leader() == {"identity": identity, "self": False}
    await stage.publish(100)
    await stage.becomes(3, stage.replicas)
    assert await follower.metric("natsscaler_leader") == 0
    assert await follower.metric("natsscaler_rules") == 1
    assert await follower.metric("natsscaler_monitoring_read_seconds_count") == 0
    assert await follower.metric("natsscaler_nats_connected") == 0
    _, told = await leader.get(leader.metrics_port, "/metrics")
    assert f'namespace="{stage.namespace}",rule="my-app-scaling"' in told
    _, told = await follower.get(follower.metrics_port, "/metrics")
    assert "rule=" not in told, "a follower's view of a rule is stale, and would count twice"
    assert {write.member for write in crew.writes} == {"leader"}


async def test_a_killed_leader_is_followed_by_one_of_two_who_scales_the_burst_once(
    crew: Crew, stage: Stage
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    first = await crew.start("first")
    await listening(stage)
    await crew.start("second")
    await crew.start("third")
    await first.dies()
    await stage.publish(100)
    await stage.becomes(5, stage.replicas, seconds=FAILOVER)
    await stage.becomes((1, 5), partial(last_scaling, stage))
    await listening(stage)
    await stage.publish(20)
    await stage.becomes(6, stage.replicas)
    assert len(crew.scalings()) == 2


async def test_a_leader_that_wakes_up_after_the_lease_ends_without_a_word(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=20)
    sleeper = await crew.start("sleeper")
    await listening(stage)
    heir = await crew.start("heir")
    sleeper.process.send_signal(signal.SIGSTOP)
    await stage.publish(100)  # it rings the sleeper, who will hear of it on waking up
    await stage.becomes(5, stage.replicas, seconds=FAILOVER)
    await crew.leads(heir)
    sleeper.process.send_signal(signal.SIGCONT)
    assert await sleeper.exit_status() == 1
    assert crew.scalings() == ["heir"]


async def test_a_sleeper_without_an_heir_ends_as_well(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=20)
    sleeper = await crew.start("sleeper")
    await listening(stage)
    sleeper.process.send_signal(signal.SIGSTOP)
    await stage.publish(100)
    await asyncio.sleep(DEADLINE)  # the deadline must pass, and nothing else tells that it has
    sleeper.process.send_signal(signal.SIGCONT)
    assert await sleeper.exit_status() == 1
    assert crew.scalings() == []


async def test_a_leader_that_the_api_server_no_longer_answers_ends_and_is_followed(
    crew: Crew, stage: Stage
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=1, messagesPerReplica=20)
    cut_off = await crew.start("cut off")
    await listening(stage)
    await crew.start("heir")
    cut_off.unreachable()
    await stage.publish(100)
    assert await cut_off.exit_status() == 1
    await stage.becomes(5, stage.replicas, seconds=FAILOVER)
    assert crew.scalings() == ["heir"]


@pytest.mark.parametrize("skew", [-60, 60])
async def test_a_wall_clock_that_is_off_by_a_minute_makes_no_second_leader_and_no_early_step(
    crew: Crew, stage: Stage, skew: int
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=30)
    first = await crew.start("first")
    await listening(stage)
    heir = await crew.start("heir", skew=skew)
    taken = (await crew.lease()).spec.acquire_time

    async def lease_lasted() -> bool:
        spec = (await crew.lease()).spec
        return bool((spec.renew_time - taken).total_seconds() > LEASE + 1)

    await stage.becomes(True, lease_lasted)
    assert (await crew.lease()).spec.acquire_time == taken
    await stage.publish(100)
    await stage.becomes((1, 2), partial(last_scaling, stage))
    await first.dies()
    await crew.leads(heir)
    await stage.becomes("WaitingToStepUp", partial(last_reason, stage), seconds=FAILOVER)
    assert await stage.replicas() == 2
    assert await last_scaling(stage) == (1, 2)


async def last_reason(stage: Stage) -> str:
    return str((await stage.status()).get("lastDecision", {}).get("reason"))


async def test_a_rolling_update_hands_the_lease_over_each_time(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20, maxReplicas=20)
    leader = await crew.start("version 1")
    await listening(stage)
    for version in (2, 3):
        heir = await crew.start(f"version {version}")
        leader.process.terminate()
        await stage.publish(60)
        assert await leader.exit_status() == 0
        await crew.leads(heir)
        await stage.becomes(3 * (version - 1), stage.replicas)
        await listening(stage)
        leader = heir
    leader.process.terminate()
    assert await leader.exit_status() == 0
    assert not (await crew.lease()).spec.holder_identity


async def test_a_leader_that_dies_between_scaling_and_saying_so_makes_nobody_take_the_step_again(
    crew: Crew, stage: Stage
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    first = await crew.start("first")
    await listening(stage)
    heir = await crew.start("heir")
    await stage.becomes(True, heir.ready)
    first.proxy.fault(patches("/status"), None, times=None)
    await stage.publish(100)
    await stage.becomes(2, stage.replicas)
    assert await last_scaling(stage) is None
    await first.dies()
    await crew.leads(heir)
    await stage.becomes("WaitingToStepUp", partial(last_reason, stage))
    assert await stage.replicas() == 2


async def test_what_became_of_the_rules_while_nobody_led_is_known_to_the_next_leader(
    crew: Crew, stage: Stage
) -> None:
    await stage.create_deployment()
    await stage.apply_sample("gone", pollIntervalSeconds=LONG)
    first = await crew.start("first")
    await stage.becomes(("True", "ReadyForNewScale"), partial(stage.condition, "AbleToScale", "gone"))
    heir = await crew.start("heir")
    for plural in ("scalingrules", "deployments"):
        heir.proxy.spoil(plural, "mute")
    await first.dies()
    await stage.delete_rule("gone")
    await stage.apply_sample("unusable", natsMonitoringURL="http://nats:99999")
    await stage.apply_sample("new", pollIntervalSeconds=LONG, scaleDownThreshold=0)
    await stage.scale(4)
    await crew.leads(heir)
    await stage.becomes(("False", "InvalidRule"), partial(stage.condition, "Ready", "unusable"))
    await stage.becomes(("True", "ReadyForNewScale"), partial(stage.condition, "AbleToScale", "new"))
    assert (await stage.status("new"))["currentReplicas"] == 4
    await stage.becomes(True, partial(heir.measures, "new"))
    assert not await heir.measures("gone")
