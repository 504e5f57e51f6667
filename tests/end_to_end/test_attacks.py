"""A tenant's servers and rules attack; another one's rule, in the same process, is served as before.

In each run that rule is measured alone and then under attack, and so are the operator's memory and its probe.
"""

import asyncio
import contextlib
import itertools
import pathlib
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx
import pytest
from kubernetes.aio import client, config
from nats.aio.client import Client

from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port
from natsscaler.reactor.read_turns import READS
from natsscaler.reactor.write_turns import SHARE
from tests.conftest import KubeApi, in_background
from tests.support.attackers import MIB, attacker
from tests.support.beside import BUSY_SECONDS
from tests.support.faulty_proxy import FaultyProxy, open_proxy
from tests.support.stage import LONG, Stage
from tests.support.until import until
from tests.support.world import user

pytestmark = pytest.mark.timeout(90)

BURSTS = 5
TRIES = 3
"""Of which one must be as it should: the machine may be busy with something else."""
GOOD = [f"good-{n}" for n in range((1 + TRIES) * BURSTS)]
MESSAGES, REPLICAS = 100, 5
"""Of a burst, and those that it wants."""
MANY = 200
"""Rules of the tenant, where their number is the attack."""
WRITERS = 50
"""Of its rules, where what they write is."""
TIMES = 3
"""How many times as long the good rule may take under attack."""
MORE_BYTES = 128 * MIB
"""How much more memory the operator may take under attack."""
PROBE_SECONDS = 1.0
"""Within which the kubelet wants an answer."""
READ_BUDGET = ("--read-budget", "0.2")
"""So much that no burst waits for what the ones before it have cost; so little that it would wait for longer
than the test does if it paid for the tenant's slow servers."""
FORGET_PEAK = "5"
"""Written to clear_refs, it sets VmHWM to VmRSS (proc(5))."""


class Beside:
    """The operator with a good rule, and a tenant beside that one."""

    def __init__(self, good: Stage, bad: Stage, proxy: FaultyProxy, publisher: Client) -> None:
        self.good, self.bad, self.proxy = good, bad, proxy
        self._publisher = publisher
        self._pid, self._probe = 0, ""
        self._unused = list(GOOD)
        self._probes: list[float] = []
        """How many seconds each took."""

    async def start(self, kubeconfig: pathlib.Path, name_server: int) -> None:
        """Start the operator and wait until each good rule is armed."""
        port = free_port()
        flags = ("--host", "127.0.0.1", "--probe-port", str(port), *READ_BUDGET)
        process = await self.good.start(
            *flags, everywhere=True, name_server=name_server, kubeconfig=kubeconfig
        )
        self._pid, self._probe = process.pid, f"http://127.0.0.1:{port}/healthz"
        for name in GOOD:
            await self.good.becomes(("True", "Listening"), partial(self.good.condition, "EventDriven", name))

    async def create_rules(self, number: int, spec: Callable[[int], dict[str, Any]]) -> None:
        """Have the tenant create so many rules, each with changes to the sample of its own."""
        await asyncio.gather(*(self.bad.apply_sample(f"bad-{n}", **spec(n)) for n in range(number)))

    async def told(self, name: str) -> None:
        """Wait until a rule of the tenant has a status."""

        async def has_status() -> bool:
            return bool(await self.bad.status(name))

        await until(has_status)

    async def reaction(self, name: str) -> float:
        """Let a burst come to a good rule, and give the seconds until its Deployment was scaled."""
        began = time.monotonic()
        for _ in range(MESSAGES):
            await self._publisher.publish(f"orders.{name}", b"order")
        await self.good.becomes(REPLICAS, partial(self.good.replicas, name))
        return time.monotonic() - began

    async def reactions(self) -> float:
        """Give the median of rules that had no burst so far: after a step, each waits for a second."""
        return statistics.median([await self.reaction(self._unused.pop()) for _ in range(BURSTS)])

    async def probe(self) -> None:
        """Ask as the kubelet does, but more often, for ever."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as asking:
            while True:
                began = time.monotonic()
                assert (await asking.get(self._probe)).is_success
                self._probes.append(time.monotonic() - began)
                await asyncio.sleep(0.1)

    async def withstands(self, attack: "Attack") -> None:
        """Assert that an attack disturbs neither the good rule nor the process."""
        alone = max(await self.reactions(), BUSY_SECONDS / TIMES)
        before = self.memory("VmRSS")
        self.forget_peak()
        async with in_background(self.probe()), attack(self):
            for _ in range(TRIES):
                self._probes.clear()
                attacked = await self.reactions()
                await until(lambda: bool(self._probes))
                if attacked <= TIMES * alone and max(self._probes) <= PROBE_SECONDS:
                    break
            more = self.memory("VmHWM") - before
        assert attacked <= TIMES * alone
        assert max(self._probes) <= PROBE_SECONDS
        assert more <= MORE_BYTES

    def forget_peak(self) -> None:
        pathlib.Path(f"/proc/{self._pid}/clear_refs").write_text(FORGET_PEAK)

    def memory(self, which: str) -> int:
        """Give the bytes of memory that the operator has ("VmRSS") or had at most ("VmHWM")."""
        lines = pathlib.Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:")) * 1024


@pytest.fixture
async def silent_names() -> AsyncIterator[int]:
    """The port of a name server that never answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


@pytest.fixture
async def beside(
    embedded: EmbeddedKubernetes, nats_server: NatsServer, tmp_path: pathlib.Path, silent_names: int
) -> AsyncIterator[Beside]:
    kubeconfig = tmp_path / "kubeconfig"
    async with AsyncExitStack() as stack:
        connecting = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        api = await stack.enter_async_context(await connecting)
        for name in ("good", "bad"):
            body = client.V1Namespace(metadata=client.V1ObjectMeta(name=name))
            await client.CoreV1Api(api).create_namespace(body)
        good, bad = (
            Stage(KubeApi(kubeconfig, name, api, embedded), nats_server, tmp_path) for name in ("good", "bad")
        )
        stack.push_async_callback(good.stop)
        await good.create_stream()
        await bad.create_deployment()
        for name in GOOD:
            await good.create_deployment(name=name)
            await good.create_consumer(name, f"orders.{name}")
            await good.apply_sample(
                name,
                deploymentName=name,
                subject=f"orders.{name}",
                pollIntervalSeconds=LONG,
                messagesPerReplica=MESSAGES // REPLICAS,
            )
        proxy = await stack.enter_async_context(open_proxy(KubeApi(kubeconfig, "", api, embedded)))
        made = Beside(good, bad, proxy, await stack.enter_async_context(user(nats_server.url)))
        await made.start(proxy.write_kubeconfig(tmp_path / "proxied"), silent_names)
        yield made


Attack = Callable[[Beside], contextlib.AbstractAsyncContextManager[None]]


def by_servers(
    kind: str, servers: int, spec: Callable[[str], dict[str, Any]], *arguments: str, bites: int = 5
) -> Attack:
    """Attack by servers of this kind, each named by a rule, and have it bite first."""

    @contextlib.asynccontextmanager
    async def attack(beside: Beside) -> AsyncIterator[None]:
        given = [one.format(good=beside.good.nats.monitoring_url) for one in arguments]
        async with attacker(kind, servers, *given) as enemy:
            await beside.create_rules(servers, lambda n: spec(enemy.addresses[n]))
            await enemy.bites(bites)
            yield

    return attack


@contextlib.asynccontextmanager
async def names_that_nobody_answers_for(beside: Beside) -> AsyncIterator[None]:
    await beside.create_rules(MANY, lambda n: monitoring(f"n{n}.example:8222"))
    await beside.told(f"bad-{MANY - 1}")
    yield


@contextlib.asynccontextmanager
async def urls_that_never_answer(beside: Beside) -> AsyncIterator[None]:
    async with attacker("silent") as enemy:
        await beside.create_rules(MANY, lambda n: monitoring(f"{enemy.addresses[0]}/{n}"))
        await enemy.bites(READS)
        yield


@contextlib.asynccontextmanager
async def edits_without_end(beside: Beside) -> AsyncIterator[None]:
    """Each edit causes an evaluation and a status."""

    async def edit() -> None:
        for number in itertools.count():
            spec = {"maxReplicas": 10 + number // MANY % 10}
            await beside.bad.edit({"spec": spec}, f"bad-{number % MANY}")
            await asyncio.sleep(0.02)  # an API server lets nobody write as fast as he can

    await beside.create_rules(MANY, lambda _: monitoring("127.0.0.1:1"))
    await beside.told(f"bad-{MANY - 1}")
    async with in_background(edit()):
        yield


@contextlib.asynccontextmanager
async def writes_that_hang(beside: Beside) -> AsyncIterator[None]:
    """As with a webhook for one namespace that never answers."""
    hung = beside.proxy.fault(
        lambda request: request.method != "GET" and "/namespaces/bad/" in request.path, None, times=None
    )
    for n in range(WRITERS):
        await beside.bad.create_deployment(name=f"bad-{n}")
    await beside.create_rules(WRITERS, lambda n: {"deploymentName": f"bad-{n}", "minReplicas": 2})
    await until(lambda: hung.seen >= SHARE)
    yield


def monitoring(address: str) -> dict[str, Any]:
    return {"natsMonitoringURL": f"http://{address}", "events": [], "pollIntervalSeconds": 1}


def nats(address: str) -> dict[str, Any]:
    return {"nats": {"url": f"nats://{address}"}}


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(by_servers("slow", 5, monitoring, "{good}", "2", bites=40), id="another-ones-id"),
        pytest.param(names_that_nobody_answers_for, id="silent-names"),
        pytest.param(by_servers("addresses", 5, nats), id="gossip"),
        pytest.param(by_servers("message-without-end", 5, nats, bites=10), id="message-without-end"),
        pytest.param(by_servers("large-messages", 5, nats, bites=10), id="large-messages"),
        pytest.param(by_servers("decodes-to-more", 1, monitoring, bites=2), id="decodes-to-more"),
        pytest.param(urls_that_never_answer, id="silent-urls"),
        pytest.param(edits_without_end, id="edits"),
        pytest.param(writes_that_hang, id="writes-that-hang"),
    ],
)
async def test_a_tenants_attack_disturbs_no_other_one(beside: Beside, attack: Attack) -> None:
    await beside.withstands(attack)
