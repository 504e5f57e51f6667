"""What the page's API says outlives the process that did it, and is the same on every replica."""

from functools import partial
from typing import Any

import aiohttp

from natsscaler.demo.ports import free_port
from tests.support.crew import Crew
from tests.support.stage import LONG, Stage, last_scaling, listening


async def ask(port: int, path: str) -> Any:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as response,
        ):
            return await response.json()
    except aiohttp.ClientConnectionError:
        return {}


async def steps(port: int) -> list[tuple[int, int]]:
    """Give the actions that a process tells of, newest first."""
    actions = (await ask(port, "/scaling-activity")).get("actions", ())
    return [(action["fromReplicas"], action["toReplicas"]) for action in actions]


async def row(port: int, *fields: str) -> tuple[object, ...]:
    """Give fields of the one rule that a process tells of."""
    rules = (await ask(port, "/api/rules")).get("rules", ())
    return tuple(rules[0][field] for field in fields) if rules else ()


async def test_actions_come_back_after_a_restart(stage: Stage) -> None:
    port = free_port()
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    first = await stage.start("--activity-port", str(port))
    await listening(stage)
    await stage.publish(60)
    await stage.becomes((1, 3), partial(last_scaling, stage))
    first.kill()
    await first.wait()
    port = free_port()
    await stage.start("--activity-port", str(port))
    await stage.becomes([(1, 3)], partial(steps, port))
    await stage.publish(40)
    await stage.becomes([(3, 5), (1, 3)], partial(steps, port))
    await stage.becomes((5, 100), partial(row, port, "replicas", "backlog"))


async def test_a_follower_tells_what_the_leader_did_and_sees(crew: Crew, stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    leader = await crew.start("leader")
    await listening(stage)
    follower = await crew.start("follower")
    await stage.publish(60)
    for member in (leader, follower):
        await stage.becomes([(1, 3)], partial(steps, member.activity_port))
        await stage.becomes((3, 60), partial(row, member.activity_port, "replicas", "backlog"))
    assert await ask(leader.activity_port, "/api/rules/none/none") == {
        "error": "There is no ScalingRule none/none"
    }
