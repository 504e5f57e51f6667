"""No step down without proof: each test tries to have less counted than there is, on real servers."""

import asyncio
import os
import pathlib
import re
from typing import Any

import httpx
import nats
import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from natsscaler.core.jetstream.documents import HEARD_NANOSECONDS
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.demo import nats_server as demo
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports
from natsscaler.nats import nodes
from natsscaler.nats.connection import Connection
from natsscaler.reactor import endpoint_loop
from tests.support.faulty_monitoring import Revalidating, changed, front
from tests.support.partition import wired
from tests.support.secrets import Servers
from tests.support.until import until
from tests.support.world import NAME, TARGET, create_consumer, create_stream, publish, user, work_off, world

pytestmark = pytest.mark.timeout(120)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
LIVELY: dict[str, Any] = {"messagesPerReplica": 20, "pollIntervalSeconds": 1, "behavior": AT_ONCE}


async def claims(url: str, name: str) -> bool:
    """Tell whether a node says that it leads the one consumer, while it has heard of nobody for some time.

    Until then its word counts, and nobody could know better.
    """
    async with httpx.AsyncClient(trust_env=False) as client:
        said = (await client.get(f"{url}/jsz?accounts=true&consumers=true")).json()
    stream = said["account_details"][0]["stream_detail"][0]
    cluster = stream["consumer_detail"][0]["cluster"]
    silent = all(one["active"] > HEARD_NANOSECONDS for one in cluster.get("replicas", ()))
    return bool(cluster.get("leader") == name and silent)


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
            await until(lambda: claims(former.monitoring_url, former.name))
            here.apply(**LIVELY)
            await until(lambda: here.condition("ScalingActive") == ("False", "LeaderUnclear"))
            assert "hears no majority" in here.message("ScalingActive")
            await until(lambda: "no leader" in here.message("ScalingActive"), 60)
            assert here.cluster.table[TARGET] == 3
            there.heal()
            await until(lambda: here.cluster.table[TARGET] == 10, 60)


async def listed(server: NatsServer) -> int:
    """Say how many streams a server lists, ready or not."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return int((await client.get(f"{server.monitoring_url}/jsz")).json()["streams"])
        except httpx.TransportError:
            return 0


def make_pipe(store: pathlib.Path) -> tuple[pathlib.Path, bytes]:
    """Put a pipe in place of what describes a stream; return it, and what was there."""
    (description,) = store.rglob("S2/meta.inf")
    described = description.read_bytes()
    description.unlink()
    os.mkfifo(description)
    return description, described


async def test_a_server_that_takes_its_time_to_find_its_streams_again_is_not_believed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """It lists them as it finds them, for minutes if its store is large or its disk slow.

    Here it waits for a file of one stream for as long as nobody writes into what is a pipe by then.
    """
    monkeypatch.setattr(nodes, "YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(demo, "READY_SECONDS", 60.0)
    monkeypatch.setattr(endpoint_loop, "RETRY_SECONDS", (0.1, 0.1))
    count = 5
    async with user(nats_server.url) as client:
        for number in range(count):
            await create_stream(client, f"S{number}", f"orders.{number}")
            await create_consumer(client, f"S{number}", "worker", f"orders.{number}")
            await publish(client, 40, f"orders.{number}")
    async with world(nats_server) as here:
        here.apply(**LIVELY, subject="orders.*")
        await until(lambda: here.cluster.table[TARGET] == 10)
        await nats_server.kill()
        description, described = await asyncio.to_thread(make_pipe, tmp_path)
        starting = asyncio.create_task(nats_server.start(), name="start")

        async def in_part() -> bool:
            return await listed(nats_server) == count - 1

        await until(in_part)
        await here.becomes("ScalingActive", "False", "MonitoringIncomplete")
        begun = here.monitoring.begun
        await until(lambda: here.monitoring.begun > begun + 3)
        assert here.cluster.table[TARGET] == 10
        await asyncio.to_thread(description.write_bytes, described)
        await starting
        await here.becomes("Ready", "True", "Scaling")
        assert here.cluster.table[TARGET] == 10


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


async def fill(server: NatsServer, messages: int) -> None:
    async with user(server.url) as client:
        await create_stream(client)
        await create_consumer(client)
        await publish(client, messages)


@pytest.mark.parametrize("at_once", [True, False])
async def test_of_two_servers_of_one_name_none_is_believed(
    tmp_path: pathlib.Path, addresses: list[str], *, at_once: bool
) -> None:
    """Whether the name gives both addresses, or one of them at a time."""
    ports = free_ports(2)
    full = NatsServer(tmp_path / "full", host="127.0.0.31", ports=(ports[0], ports[1]))
    empty = NatsServer(tmp_path / "empty", host="127.0.0.32", ports=(ports[0], ports[1]))
    async with full, empty:
        await fill(full, 400)
        await fill(empty, 0)
        async with world(full) as here:
            here.cluster.table[TARGET] = 8
            addresses[:] = [full.host]
            here.apply(**LIVELY, natsMonitoringURL=f"http://{NAME}:{ports[1]}", events=[])
            await until(lambda: here.cluster.table[TARGET] == 10)
            addresses[:] = [full.host, empty.host] if at_once else [empty.host]
            reason = "LeaderUnclear" if at_once else "ConsumerGone"
            await here.becomes("Ready", "False", reason)
            for turn in range(4):  # after each failure a read waits for longer
                addresses.reverse()
                if not at_once:
                    addresses[:] = [(full, empty)[turn % 2].host]
                begun = here.monitoring.begun
                await until(lambda begun=begun: here.monitoring.begun > begun)  # type: ignore[misc]
            assert here.cluster.table[TARGET] == 10
            addresses[:] = [full.host]
            await here.becomes("Ready", "True", "Scaling")
            assert here.cluster.table[TARGET] == 10


async def test_an_audit_that_matches_better_does_not_replace_the_workers(nats_server: NatsServer) -> None:
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 400)
        here.cluster.table[TARGET] = 8
        here.apply(**LIVELY, subject="orders.*")
        await until(lambda: here.cluster.table[TARGET] == 10)
        audit = ConsumerConfig(
            durable_name="audit", filter_subject="orders.*", deliver_policy=DeliverPolicy.NEW
        )
        await client.jetstream().add_consumer("ORDERS", audit)
        await here.becomes("Ready", "False", "AmbiguousConsumer")
        assert "ORDERS/worker, which was counted so far, still exists" in here.message("Ready")
        assert here.cluster.table[TARGET] == 10
        await client.jetstream().delete_consumer("ORDERS", "audit")
        await here.becomes("Ready", "True", "Scaling")
        assert here.cluster.table[TARGET] == 10


@pytest.mark.parametrize("events", [["Advisories", "Doorbell"], []], ids=["connected", "polled"])
async def test_one_of_a_sum_counts_until_it_is_seen_to_be_deleted(
    nats_server: NatsServer, events: list[str]
) -> None:
    """Over NATS that is seen at once; without, a person must say so."""
    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        for name in ("a", "b"):
            await create_consumer(client, name=name, subject=f"orders.{name}")
        await publish(client, 160, "orders.a")
        here.cluster.table[TARGET] = 9
        here.apply(**LIVELY, subject="orders.*", events=events)
        await until(lambda: here.cluster.table[TARGET] == 8)
        await client.jetstream().delete_consumer("ORDERS", "a")
        if events:
            await until(lambda: here.cluster.table[TARGET] == 1)
            return
        await here.becomes("Ready", "False", "ConsumerGone")
        assert "ORDERS/a, which was counted so far, is missing" in here.message("Ready")
        begun = here.monitoring.begun
        await until(lambda: here.monitoring.begun > begun + 2)
        assert here.cluster.table[TARGET] == 8
        here.apply(**LIVELY, subject="orders.*", stream="ORDERS", events=events)
        await until(lambda: here.cluster.table[TARGET] == 1)


@pytest.mark.parametrize("permitted", [True, False])
async def test_a_step_down_is_confirmed_over_nats(nats_servers: Servers, *, permitted: bool) -> None:
    """The monitoring endpoint says nothing waits; the consumer's leader knows better, if it may be asked."""
    deny = "" if permitted else 'deny: ["$JS.API.CONSUMER.INFO.>"]'
    users = f"{{user: a, password: a}}, {{user: b, password: b, permissions: {{publish: {{{deny}}}}}}}"
    server = await nats_servers(config=f"authorization {{ users: [{users}] }}")
    async with front(server) as behind, world(server) as here, user(admin(server)) as client:
        here.keep_secret({"username": "b", "password": "b"})
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 160)
        here.cluster.table[TARGET] = 8
        nats_at: dict[str, Any] = {"url": server.url, "secretRef": {"name": "nats"}}
        here.apply(**LIVELY, natsMonitoringURL=behind.url, nats=nats_at)
        await here.becomes(
            "EventDriven", *(("True", "Listening") if permitted else ("False", "PermissionDenied"))
        )
        await here.becomes("Ready", "True", "Scaling")
        behind.fault = changed(lambda truth: re.sub(rb'"num_pending": ?160', b'"num_pending": 0', truth))
        begun = here.monitoring.begun
        await until(lambda: here.monitoring.begun > begun + 2)
        assert here.cluster.table[TARGET] == (8 if permitted else 1)


def admin(server: NatsServer) -> str:
    return server.url.replace("nats://", "nats://a:a@")


async def test_while_the_leader_does_not_confirm_it_there_is_no_step_down(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_answer(*_: object) -> NotTold:
        return NotTold.NO_ANSWER

    async with user(nats_server.url) as client, world(nats_server) as here:
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 160)
        here.cluster.table[TARGET] = 8
        here.apply(**LIVELY)
        await here.becomes("EventDriven", "True", "Listening")
        await here.becomes("Ready", "True", "Scaling")
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "consumer_info", no_answer)
            await work_off(client, 160)
            await here.becomes("Ready", "False", "LeaderUnclear")
            assert "asked over NATS, there is no answer" in here.message("Ready")
            assert here.cluster.table[TARGET] == 8
        await until(lambda: here.cluster.table[TARGET] == 1)
