"""A tenant's servers give large answers, beside good rules whose own server gives one too."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from nats.js.api import StorageType, StreamConfig

from natsscaler.core.rule import GROUP, PLURAL
from natsscaler.demo.manifests import deployment, rule
from natsscaler.demo.ports import free_port
from tests.bench.fleet import Fleet, open_fleet
from tests.bench.side import BURST_RULE
from tests.support.until import until

pytestmark = pytest.mark.timeout(180)
MIB = 2**20
GOOD, BURST = 12, 100
PROBE_SECONDS = 1.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
VARZ = json.dumps({"server_id": "LIAR", "server_name": "liar", "port": 4222}).encode()


def document(streams: bytes) -> bytes:
    """Put streams into an answer of this moment."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09}Z"
    head = b'{"server_id":"LIAR","now":"%s","account_details":[{"name":"A","stream_detail":[' % now.encode()
    return head + streams + b"]}]}"


def wildcards() -> bytes:
    """One stream with 12 MiB of patterns."""
    subjects = b",".join(b'"orders.*.%0100d"' % number for number in range(100_000))
    return b'{"name":"S","state":{"messages":0},"config":{"subjects":[' + subjects + b"]}}"


def many_streams() -> bytes:
    """60 MiB of streams as nats-server describes them, as far as matters here."""
    settings = {f"setting_{number}": "x" * 10 for number in range(60)}

    def stream(number: int) -> dict[str, Any]:
        config = {"durable_name": "worker", "filter_subject": f"many.{number}", **settings}
        worker = {"name": "worker", "num_pending": 0, "num_ack_pending": 0, "config": config}
        own = {"subjects": [f"many.{number}"], **settings}
        return {"name": f"S{number}", "state": {"messages": 0}, "config": own, "consumer_detail": [worker]}

    return b",".join(json.dumps(stream(number), indent=2).encode() for number in range(13_500))


def padding() -> bytes:
    """A stream of 1.1 MiB."""
    return b'{"name":"S","state":{"messages":0},"x":"' + 11 * MIB // 10 * b"x" + b'"}'


class Liar:
    """A monitoring endpoint, on as many ports as it takes."""

    def __init__(self, streams: bytes, *, drips: bool) -> None:
        self.asked = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._streams = streams
        self._drips = drips

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/jsz" in head:
                    self.asked += 1
                    await self._answer(writer, document(self._streams))
                else:
                    body = VARZ if b"/varz" in head else b'{"status":"ok"}'
                    writer.write(HEAD % len(body) + body)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(HEAD % (len(body) + 1000 * self._drips))
        for at in range(0, len(body), 2**18):
            writer.write(body[at : at + 2**18])
            await writer.drain()
            await asyncio.sleep(0)
        while self._drips and not writer.is_closing():
            await writer.drain()
            await asyncio.sleep(0.5)
            writer.write(b" ")


@contextlib.asynccontextmanager
async def liars(number: int, streams: bytes, *, drips: bool) -> AsyncIterator[tuple[Liar, list[str]]]:
    liar, urls = Liar(streams, drips=drips), []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(number):
            server = await asyncio.start_server(liar.take, "127.0.0.1", 0)
            stack.callback(server.close)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield liar, urls
        for writer in liar.writers:
            writer.transport.abort()
        await asyncio.sleep(1.0 if drips else 0.1)


async def own_large_answer(fleet: Fleet) -> None:
    """Have the good rules' own server give 2 MiB."""
    stream = fleet.nats.jetstream()
    for number in range(20):
        config = StreamConfig(f"PAD_{number}", subjects=[f"pad.{number}"], storage=StorageType.MEMORY)
        config.metadata = {"pad": 100_000 * "x"}
        await stream.add_stream(config)


def add_tenant(fleet: Fleet, urls: list[str], rules: int, subject: str) -> None:
    for number in range(rules):
        app, scaling = deployment(), rule("nats://127.0.0.1:1", urls[number % len(urls)])
        for one in (app, scaling):
            one["metadata"] |= {"name": f"bad-{number}", "namespace": "tenant"}
        scaling["spec"] |= {
            **BURST_RULE,
            "namespace": "tenant",
            "deploymentName": f"bad-{number}",
            "events": [],
            "pollIntervalSeconds": 1,
            "subject": f"{subject}.{number}",
        }
        fleet.cluster.objects.add(app)
        fleet.cluster.objects.add(scaling)


def reasons(fleet: Fleet) -> set[str]:
    """List what is said of the tenant's rules."""
    rules = fleet.cluster.store.all((GROUP, PLURAL), "tenant")
    conditions = [one for rule in rules for one in rule.get("status", {}).get("conditions", ())]
    return {one["reason"] for one in conditions if one["type"] == "Ready"}


def peak(pid: int, *, anew: bool = False) -> int:
    """Give the most bytes of memory that a process has had; `anew`: from now on."""
    process = Path(f"/proc/{pid}")
    if anew:
        (process / "clear_refs").write_text("5")
    return int((process / "status").read_text().partition("VmHWM:")[2].split()[0]) * 2**10


async def probe(port: int) -> None:
    """Ask again and again whether the process is alive; fails if that takes longer than PROBE_SECONDS."""
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_SECONDS) as client:
        while True:
            (await client.get(f"http://127.0.0.1:{port}/healthz")).raise_for_status()
            await asyncio.sleep(0.05)


class Attack(NamedTuple):
    """What a tenant's servers answer, and what is said of the rules there."""

    streams: Callable[[], bytes]
    subject: str
    said: str
    servers: int = 1
    rules: int = 20
    drips: bool = False


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(Attack(wildcards, "orders.a", "StreamNotFound"), id="patterns"),
        pytest.param(
            Attack(wildcards, "orders.a", "StreamNotFound", servers=20), id="patterns-of-20-servers"
        ),
        pytest.param(Attack(many_streams, "many", "Scaling"), id="60-mib"),
        pytest.param(
            Attack(padding, "a", "MonitoringTimeout", servers=200, rules=200, drips=True), id="dripping"
        ),
    ],
)
async def test_a_tenants_large_answers_keep_nobody_waiting_and_fill_no_memory(
    tmp_path: Path, attack: Attack
) -> None:
    """The process answers probes within a second, good rules react, and 128 MiB are enough."""
    port = free_port()
    settings: dict[str, Any] = {"probe_port": port, "namespace": "", "read_budget": "0.2"}
    async with (
        open_fleet(GOOD, tmp_path, BURST_RULE, **settings) as (fleet, _),
        liars(attack.servers, attack.streams(), drips=attack.drips) as (liar, urls),
    ):
        await own_large_answer(fleet)
        before = peak(fleet.pid, anew=True)
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(probe(port))
            add_tenant(fleet, urls, attack.rules, attack.subject)
            await until(lambda: attack.said in reasons(fleet), 60)
            for number in range(GOOD):
                await fleet.burst(number, BURST)
            probing.cancel()
        assert liar.asked
        assert peak(fleet.pid) - before < 128 * MIB
