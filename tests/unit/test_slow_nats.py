"""A NATS server that answers everything, but slowly, and has hundreds of rules: nothing takes for a hang."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from natsscaler.core.rule import RuleKey
from natsscaler.core.status import RuleStatus
from natsscaler.observe.rule_metrics import of_rule
from natsscaler.reactor.reactor import STALLED_SECONDS
from natsscaler.reactor.rule_state import RuleState
from tests.support.factories import proportional
from tests.support.waking import Bell, ImaginedWorld, in_virtual_time

RULES = 100
SECONDS = 1.9
"""For each question and each doorbell; more would be taken for no answer."""


class SlowWorld(ImaginedWorld):
    """The imagined NATS, and every rule that writes its status."""

    async def doorbell(self, subjects: Sequence[str], limit: int, ring: Callable[[], None]) -> Bell | None:
        await asyncio.sleep(SECONDS)
        return await super().doorbell(subjects, limit, ring)

    async def consumer_info(self, stream: str, consumer: str) -> Any:
        await asyncio.sleep(SECONDS)
        return await super().consumer_info(stream, consumer)

    async def write_status(self, key: RuleKey, uid: str, status: RuleStatus) -> None:
        assert key
        assert uid
        assert status


def test_many_rules_of_a_slow_server_are_served_bit_by_bit() -> None:
    async def scenario() -> None:
        async with SlowWorld(proportional(10, maxReplicas=50, scaleUpThreshold=10)) as world:
            rule = world.rule.rule
            for number in range(RULES):
                key = rule.key._replace(name=f"rule-{number}")
                world.endpoint.rules[key] = RuleState(replace(rule, key=key), RuleStatus(), of_rule(key))
            world.endpoint.wake()
            longest = 0.0
            for _ in range(200):
                longest = max(longest, world.endpoint.overdue())
                await asyncio.sleep(1)
            assert longest < STALLED_SECONDS / 4
            assert len(world.bells) > 20

    in_virtual_time(scenario)
