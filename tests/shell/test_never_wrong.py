"""No step down without proof: each test tries to have less counted than there is, on real servers."""

import asyncio
import pathlib
from contextlib import suppress
from typing import Any

import httpx
import nats
import pytest

from natsscaler import nodes
from natsscaler.demo import nats_server as demo
from natsscaler.demo.nats_server import NatsServer
from natsscaler.reactor import endpoint
from tests.faulty_monitoring import Revalidating, front
from tests.partition import wired
from tests.shell.world import TARGET, create_consumer, create_stream, publish, until, user, work_off, world

pytestmark = pytest.mark.timeout(120)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
LIVELY: dict[str, Any] = {"messagesPerReplica": 20, "pollIntervalSeconds": 1, "behavior": AT_ONCE}


async def claims(url: str, name: str) -> bool:
    """Tell whether a node says that it leads the one consumer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        said = (await client.get(f"{url}/jsz?accounts=true&consumers=true")).json()
    stream = said["account_details"][0]["stream_detail"][0]
    return bool(stream["consumer_detail"][0]["cluster"].get("leader") == name)


async def test_a_leader_that_is_cut_off_together_with_the_operator_is_not_believed(
    tmp_path: pathlib.Path,
) -> None:
    """It goes on saying that it leads, with a count of 0, while messages come on the other side."""
    async with wired(tmp_path) as there:
        async with there.cluster.connect() as js:
            await js.add_stream(name="ORDERS", subjects=["orders.>"], num_replicas=3)
            await js.add_consumer("ORDERS", durable_name="worker", filter_subject="orders.processing")
        former = there.cluster.node(await there.cluster.settle("ORDERS", "worker"))
        others = [node for node in there.cluster.nodes if node is not former]
        async with world(former) as here:
            here.cluster.table[TARGET] = 3
            here.apply(**LIVELY, paused=True)
            await here.becomes("EventDriven", "True", "Listening")
            there.isolate(former.name)
            client = await nats.connect([node.url for node in others])
            stored = 0

            async def stores() -> bool:
                nonlocal stored
                try:
                    await client.jetstream().publish("orders.processing", b"", timeout=1)
                except nats.errors.Error:
                    return False
                stored += 1
                return stored == 301

            await until(stores, 60)
            await client.close()
            assert await claims(former.monitoring_url, former.name), "else this tries nothing"
            here.apply(**LIVELY)
            await until(lambda: here.condition("ScalingActive") == ("False", "LeaderUnclear"))
            assert "hears no majority" in here.message("ScalingActive")
            await until(lambda: "no leader" in here.message("ScalingActive"), 60)
            assert here.cluster.table[TARGET] == 3
            there.heal()
            await until(lambda: here.cluster.table[TARGET] == 10, 60)


async def look(server: NatsServer, seen: set[int]) -> None:
    """Note how many consumers a server lists, ready or not."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                said = (await client.get(f"{server.monitoring_url}/jsz?accounts=true&consumers=true")).json()
                accounts = said.get("account_details", ())
                streams = [stream for account in accounts for stream in account["stream_detail"]]
                seen.add(sum(len(stream.get("consumer_detail", ())) for stream in streams))
            await asyncio.sleep(0.01)


async def test_a_server_that_takes_its_time_to_find_its_streams_again_is_not_believed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lists them as it finds them, for minutes if its store is large or its disk slow."""
    monkeypatch.setattr(nodes, "YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(demo, "READY_SECONDS", 60.0)
    monkeypatch.setattr(endpoint, "RETRY_SECONDS", (0.1, 0.1))
    count = 800
    async with user(nats_server.url) as client:
        for number in range(count):
            await create_stream(client, f"S{number}", f"orders.{number}")
            await create_consumer(client, f"S{number}", "worker", f"orders.{number}")
            await publish(client, 1, f"orders.{number}")
    async with world(nats_server) as here:
        here.apply(**LIVELY, subject="orders.*")
        await until(lambda: here.cluster.table[TARGET] == 10)
        await nats_server.kill()
        starting = asyncio.create_task(nats_server.start(), name="start")
        seen: set[int] = set()
        looking = asyncio.create_task(look(nats_server, seen), name="look")
        fewest = 10
        while not starting.done():
            await asyncio.sleep(0.008)
            if nats_server.running:
                nats_server.pause()
                await asyncio.sleep(0.1)
                nats_server.resume()
            fewest = min(fewest, here.cluster.table[TARGET])
        looking.cancel()
        await starting
        assert seen & set(range(1, count)), "else this tries nothing"
        await here.becomes("Ready", "True", "Scaling")
        assert min(fewest, here.cluster.table[TARGET]) == 10


@pytest.mark.parametrize("when", ["from-the-beginning", "later"])
async def test_what_a_cache_in_front_has_kept_is_not_believed(nats_server: NatsServer, when: str) -> None:
    async with front(nats_server) as behind, world(nats_server) as here, user(nats_server.url) as client:
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 160)
        cache = Revalidating()
        if when == "from-the-beginning":
            behind.fault = cache
        here.cluster.table[TARGET] = 8
        here.apply(**LIVELY, natsMonitoringURL=behind.url, events=[])
        await until(lambda: bool(here.condition("Ready")[0]))
        behind.fault = cache
        await here.becomes("Ready", "False", "MonitoringStale")
        await work_off(client, 160)
        await until(lambda: b'"num_pending": 0' in cache.kept or b'"num_pending":0' in cache.kept)
        await publish(client, 400)
        begun = here.monitoring.begun
        await until(lambda: here.monitoring.begun >= begun + 3)
        assert here.cluster.table[TARGET] == 8
        behind.fault = None
        await until(lambda: here.cluster.table[TARGET] == 10)
