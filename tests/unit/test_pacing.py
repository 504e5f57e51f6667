"""How often NATS is read, to the second: settling, the read budget, failures, rings in vain."""

import asyncio
from itertools import pairwise

import pytest

from natsscaler.core.rule import Rule
from natsscaler.core.time_budget import CAPACITY_SECONDS
from natsscaler.core.waking import WakeSource
from tests.support.factories import proportional
from tests.support.waking import ImaginedWorld, in_virtual_time

SHARE = 0.05
"""The read budget's default."""


def patient(**spec: int) -> Rule:
    """Make a rule that only events wake, and that 10 messages per replica scale."""
    return proportional(
        10, **{"maxReplicas": 50, "scaleUpThreshold": 10, "pollIntervalSeconds": 86_400} | spec
    )


async def at_rest(world: ImaginedWorld) -> None:
    """Let the first evaluations pass, and the read budget fill up."""
    await asyncio.sleep(100)
    world.reads.clear()
    world.armings.clear()


def test_rings_that_come_together_are_served_by_one_read() -> None:
    async def scenario() -> None:
        async with ImaginedWorld(patient()) as world:
            await at_rest(world)
            for _ in range(10):
                world.endpoint.ring(world.rule, WakeSource.ADVISORY)
                await asyncio.sleep(0.0015)
            await asyncio.sleep(10)
            assert len(world.reads) == 1

    in_virtual_time(scenario)


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.9])
def test_a_server_is_read_for_no_more_than_the_budgets_share_of_the_time(seconds: float) -> None:
    async def scenario() -> None:
        async with ImaginedWorld(patient(), reading=seconds) as world:
            await at_rest(world)
            for _ in range(6_000):
                world.endpoint.ring(world.rule, WakeSource.ADVISORY)
                await asyncio.sleep(0.1)
            busy = len(world.reads) * seconds
            assert busy <= CAPACITY_SECONDS + SHARE * 600 + 2 * seconds
            assert busy >= SHARE * 600 - 2 * seconds, "and not for less, while it is rung"

    in_virtual_time(scenario)


def test_after_a_quiet_spell_a_ring_is_served_at_once() -> None:
    async def scenario() -> None:
        async with ImaginedWorld(patient(), reading=0.3) as world:
            await at_rest(world)
            rung = world.clock()
            world.endpoint.ring(world.rule, WakeSource.ADVISORY)
            await asyncio.sleep(1)
            assert world.reads[0] - rung == pytest.approx(0.02, abs=0.001)

    in_virtual_time(scenario)


def test_a_failed_read_is_tried_again_after_a_second_doubling_to_ten_and_costs_no_budget() -> None:
    async def scenario() -> None:
        async with ImaginedWorld(patient(), reading=0.3) as world:
            await at_rest(world)
            world.fails(True)
            for _ in range(600):
                world.endpoint.ring(world.rule, WakeSource.ADVISORY)
                await asyncio.sleep(0.1)
            gaps = [later - earlier - 0.32 for earlier, later in pairwise(world.reads)]
            assert gaps[:5] == pytest.approx([1, 2, 4, 8, 10], abs=0.01)
            world.fails(False)
            await asyncio.sleep(11)
            world.reads.clear()
            world.endpoint.ring(world.rule, WakeSource.ADVISORY)
            await asyncio.sleep(0.1)
            assert len(world.reads) == 1, "the budget is untouched by failures"

    in_virtual_time(scenario)


async def in_vain(world: ImaginedWorld) -> None:
    """Have the doorbell ring, with workers that have taken everything before the read begins."""
    world.publish(11)
    world.acknowledge(11)
    armed = len(world.armings)
    for _ in range(3_000):
        await asyncio.sleep(0.001)
        if len(world.armings) > armed:
            await asyncio.sleep(0.1)  # the read that follows sets the limit
            return
    pytest.fail("it was not armed again")


def test_a_doorbell_that_rings_in_vain_is_armed_later_and_later() -> None:
    async def scenario() -> None:
        async with ImaginedWorld(patient()) as world:
            await at_rest(world)
            rung = []
            for _ in range(8):
                rung.append(world.clock())
                await in_vain(world)
            waits = [armed - at for armed, at in zip(world.armings, rung, strict=True)]
            expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
            assert waits == pytest.approx(expected, abs=0.06), "with settling twice and the read"

            world.publish(20)
            await asyncio.sleep(10)
            assert world.replicas_now == 2, "a change"
            at = world.clock()
            world.publish(11)
            world.acknowledge(31)
            armed = len(world.armings)
            await asyncio.sleep(1)
            assert world.armings[armed] - at < 0.15, "begins anew"

    in_virtual_time(scenario)
