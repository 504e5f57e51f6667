"""A tenant's server of NATS that his rules listen to, beside a rule that has nothing to do with it.

All of them read the same monitoring endpoint, so that they share its loop.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from natsscaler.core.rule import Target
from tests.conftest import in_background
from tests.support.beside import AT_ONCE, good_rule
from tests.support.false_nats import Kind, false_nats, flooding_nats
from tests.support.until import until
from tests.support.world import World

pytestmark = pytest.mark.timeout(90)
RULES = 300
CONNECTING = 3
"""Flushes until a connection is made."""
ABOUT_WORKER = "$JS.API.CONSUMER.INFO.ORDERS.worker"


@pytest.fixture
async def server_id(here: World) -> AsyncIterator[str]:
    async with httpx.AsyncClient(base_url=here.server.monitoring_url, trust_env=False) as client:
        yield (await client.get("/varz")).json()["server_id"]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.NOTHING])
async def test_what_comes_without_end_takes_no_time_from_others(
    here: World, orders: Client, server_id: str, kind: Kind
) -> None:
    async with good_rule(here, orders) as good, flooding_nats(kind, server_id) as url:
        for number in range(RULES):
            here.cluster.table[Target("default", f"other-{number}")] = 1
            here.apply(f"rule-{number}", deploymentName=f"other-{number}", maxReplicas=1, nats={"url": url})
        await until(lambda: here.connections[-1].account == "$G")
        if kind in (Kind.ONE_CONSUMER, Kind.STEADILY):
            await until(lambda: here.wakeups("advisory") >= RULES)
        await good.goes_on()


@pytest.mark.parametrize("arms", [False, True], ids=["asking", "arming"])
async def test_rules_of_one_endpoint_do_not_wait_for_the_nats_of_others(
    here: World, orders: Client, server_id: str, *, arms: bool
) -> None:
    """Be it that it does not confirm a step down, or that it never says it has seen a doorbell."""
    truth = (await orders.request(ABOUT_WORKER)).data
    answers = {ABOUT_WORKER: truth} if arms else {}

    async def keep_scaling(here: World, replicas: int) -> None:
        """Scale the Deployments by hand, as often as a tenant may."""
        while True:
            for number in range(5):
                target = Target("default", f"other-{number}")
                here.cluster.table[target] = replicas
                here.reactor.ring_target(target)
                await asyncio.sleep(0.05)

    async with good_rule(here, orders) as good, false_nats(server_id, answers) as liar:
        liar.pongs = CONNECTING if arms else None
        spec: dict[str, Any] = {"pollIntervalSeconds": 1, "messagesPerReplica": 100_000, "behavior": AT_ONCE}
        for number in range(5):
            target = Target("default", f"other-{number}")
            here.cluster.table[target] = 1
            url = f"nats://127.0.0.{number + 1}:{liar.port}"
            here.apply(target.name, deploymentName=target.name, nats={"url": url}, **spec)
        await until(lambda: [one.account for one in here.connections].count("$G") == 6)
        async with in_background(keep_scaling(here, 1 if arms else 9)):
            await good.goes_on()
        assert ABOUT_WORKER in liar.requests
