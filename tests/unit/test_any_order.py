"""Whatever happens in whatever order, with no deadline to help: no wake-up is lost, and all come to rest."""

import asyncio
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.waking import WakeSource
from tests.support.factories import proportional
from tests.support.waking import ImaginedWorld, in_virtual_time

PER_REPLICA = 10
LATEST_SECONDS = 4.5
"""The longest back-off (2 s), the confirmation (1 s), the least time between ups (1 s), and some reads."""
GONE, BACK = Finding(Reason.NOT_CONNECTED, "gone"), Finding(Reason.LISTENING, "listening")

event = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 80)),
    st.tuples(st.just("acknowledge"), st.integers(1, 200)),
    st.tuples(
        st.just("ring"), st.sampled_from([WakeSource.ADVISORY, WakeSource.DEPLOYMENT, WakeSource.RULE])
    ),
    st.tuples(st.just("reconnect"), st.sampled_from([0.0, 0.01, 0.5])),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.001, 0.005, 0.021, 0.03, 0.06, 0.3, 1.0, 2.5])),
)


async def happen(world: ImaginedWorld, kind: str, what: float | str) -> None:
    match kind, what:
        case "publish", int(count):
            world.publish(count)
        case "acknowledge", int(count):
            world.acknowledge(count)
        case "ring", WakeSource() as source:
            world.endpoint.ring(world.rule, source)
        case "reconnect", float(seconds):
            world.connected(GONE)
            await asyncio.sleep(seconds)
            world.connected(BACK)
        case "pass", float(seconds):
            await asyncio.sleep(seconds)


@settings(max_examples=300, deadline=None)
@given(events=st.lists(event, max_size=25), storing=st.sampled_from([0.0, 0.01, 0.2, 0.9]))
@example(events=[("pass", 1.5), ("publish", 11)], storing=0.9)
@example(
    events=[("pass", 1.5), ("publish", 80), ("acknowledge", 80), ("pass", 0.03), ("publish", 11)], storing=0.0
)
def test_the_backlog_is_served_in_the_end(events: list[tuple[str, float | str]], storing: float) -> None:
    async def scenario() -> None:
        rule = proportional(PER_REPLICA, maxReplicas=50, scaleUpThreshold=10, pollIntervalSeconds=86_400)
        async with ImaginedWorld(rule, storing=storing) as world:
            for kind, what in events:
                await happen(world, kind, what)
            await asyncio.sleep(LATEST_SECONDS)
            wanted = math.ceil(world.backlog / PER_REPLICA)
            assert world.backlog <= 10 or world.replicas_now >= min(wanted, 50)
            assert len([bell for bell in world.bells if not bell.spent]) == (world.replicas_now < 50)
            read = len(world.reads)
            await asyncio.sleep(200)
            assert len(world.reads) == read, "at rest, nothing is read"

    in_virtual_time(scenario)
