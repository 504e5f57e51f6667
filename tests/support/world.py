"""The reactor with a real nats-server, real reads and real connections; only Kubernetes is a table."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import nats
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NoStreamResponseError

from natsscaler.core.access import USE_LABEL, Access, SecretKey
from natsscaler.core.arming import CONFIRM_SECONDS, Armed
from natsscaler.core.decision.rates import Workers
from natsscaler.core.errors import KubernetesError, MonitoringError, ReplicasChanged, SecretNotFound
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import EventSource, Rule, RuleKey, Target, parse
from natsscaler.core.status import RuleStatus
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.connection import Connection, Report
from natsscaler.nats.credential_store import Keyring, Secret
from natsscaler.nats.http import Fetching
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.reactor.reactor import Reactor
from natsscaler.settings import Settings
from tests.support.factories import body
from tests.support.until import SECONDS, until

NEVER = 3600
"""A poll interval in seconds that no test lives to see: what happens, an event has caused."""
TARGET = Target("default", "my-app")
NAME = "nats.internal"
"""What the fixture `addresses` gives addresses to."""


class Cluster:
    """What the reactor sees of Kubernetes, in memory (natsscaler.reactor.ports.ClusterPort)."""

    def __init__(self) -> None:
        self.table: dict[Target, int] = {TARGET: 1}
        self.unseen: set[str] = set()
        """Namespaces whose Deployments may not be listed."""
        self.looked_at: set[Target] = set()
        self.not_usable: dict[Target, Finding] = {}
        self.ready_of: dict[Target, int] = {}
        self.steps: list[tuple[int, int]] = []
        """Replicas before each patch, and those that it asked for."""
        self.admit: Callable[[int], int] | None = None
        """What admission makes of a number; None: it leaves numbers alone."""
        self.written_by = "argocd-controller (Apply, last at 2026-01-01T00:00:00Z)"
        self.statuses: dict[RuleKey, RuleStatus] = {}
        self.events: list[tuple[str, str, str]] = []
        """Rule, action and reason of each Event."""

    def replicas(self, target: Target) -> int | None:
        return self.table.get(target)

    def workers(self, target: Target) -> Workers | None:
        return Workers(self.table[target], "1") if target in self.table else None

    def autoscaler(self, target: Target) -> str | None:  # noqa: ARG002 - there is none
        return None

    async def wait_synced(self) -> None:
        pass

    def serves(self, target: Target) -> bool:
        return target.namespace not in self.unseen

    async def look(self, targets: Collection[Target]) -> None:
        self.looked_at |= set(targets)

    def unusable(self, target: Target) -> Finding | None:
        return self.not_usable.get(target)

    def ready(self, target: Target) -> int | None:
        return self.ready_of.get(target)

    async def scale(self, target: Target, before: int, after: int) -> int:
        if self.table[target] != before:
            raise ReplicasChanged(f"{target} has {self.table[target]}")
        self.table[target] = after if self.admit is None else self.admit(after)
        self.steps.append((before, after))
        return self.table[target]

    async def writer(self, target: Target) -> str:
        assert target
        return self.written_by

    async def fresh_replicas(self, target: Target) -> int:
        return self.table[target]

    async def write_status(self, key: RuleKey, uid: str, status: RuleStatus) -> None:
        assert uid
        self.statuses[key] = status

    async def emit(
        self, key: RuleKey, uid: str, *, warning: bool, reason: str, action: str, note: str, when: float
    ) -> None:
        assert uid
        assert note
        assert when
        assert isinstance(warning, bool)
        self.events.append((key.name, action, reason))


class CountedMonitoring:
    """Real reads, counted; the next ones wait while `gate` is cleared."""

    def __init__(self, allow: AllowList, keyring: Keyring, settings: Settings) -> None:
        fetching = Fetching(settings.monitoring_timeout, settings.monitoring_max_mib * 2**20)
        self._monitoring = Monitoring(allow, keyring.monitoring, fetching)
        self.begun = 0
        self.on_begin: Callable[[], Awaitable[None]] | None = None
        """Called when a read begins."""
        self.reads = 0
        """Successful ones."""
        self.gate = asyncio.Event()
        """Answers are held back while this is cleared."""
        self.gate.set()

    async def read(self, access: Access, tenant: str = "") -> Reading:
        self.begun += 1
        if self.on_begin:
            await self.on_begin()
        try:
            reading = await self._monitoring.read(access, tenant)
        except MonitoringError:
            await self.gate.wait()
            raise
        self.reads += 1
        await self.gate.wait()
        return reading

    async def forget(self, access: Access) -> None:
        await self._monitoring.forget(access)

    async def close(self) -> None:
        await self._monitoring.close()


class World:
    """A running reactor and what a test does around it."""

    def __init__(self, server: NatsServer, settings: Settings) -> None:
        self.server = server
        self.cluster = Cluster()
        self.metrics = Metrics()
        self.connections: list[Connection] = []
        self._allow = AllowList(settings.allow_hosts, in_cluster=settings.in_cluster)
        self.secrets: dict[SecretKey, Secret] = {}
        self.secret_reads: list[SecretKey] = []
        self.refusal: KubernetesError | None = None
        """What the Kubernetes API says to a request for a Secret."""
        self.keyring = Keyring(settings, self._read_secret)
        self.monitoring = CountedMonitoring(self._allow, self.keyring, settings)
        self._advisories = EventSource.ADVISORIES in settings.events
        self.reactor = Reactor(settings, self.monitoring, self.metrics, Activity(100), self._connect)

    def _connect(self, access: Access, advised: Any) -> Connection:
        made = Connection(
            access.url,
            self._allow,
            advised,
            advisories=self._advisories,
            report=Report(self.metrics.connected.inc, self.metrics.doorbell.inc),
            credentials=partial(self.keyring.nats, access),
        )
        self.connections.append(made)
        return made

    async def _read_secret(self, key: SecretKey) -> Secret:
        self.secret_reads.append(key)
        if self.refusal:
            raise self.refusal
        if key not in self.secrets:
            raise SecretNotFound(f"there is no {key}")
        return self.secrets[key]

    def keep_secret(self, data: Mapping[str, bytes | str], name: str = "nats", use: str = "nats") -> None:
        encoded = {k: v.encode() if isinstance(v, str) else v for k, v in data.items()}
        self.secrets[SecretKey("default", name)] = Secret({USE_LABEL: use}, encoded)

    def rule(self, name: str = "rule", *, paused: bool = False, created: str = "", **spec: Any) -> Rule:
        """Make a rule: the contract's sample, on this server, with no deadline that a test could see."""
        made = body(**{"natsMonitoringURL": self.server.monitoring_url, "pollIntervalSeconds": NEVER} | spec)
        made["metadata"] |= {"name": name, "uid": f"uid of {name}"}
        if created:
            made["metadata"]["creationTimestamp"] = created
        made["metadata"]["annotations"] = {"scaling.example.com/paused": str(paused).lower()}
        return parse(made)

    def apply(self, name: str = "rule", *, paused: bool = False, created: str = "", **spec: Any) -> RuleKey:
        rule = self.rule(name, paused=paused, created=created, **spec)
        self.reactor.upsert(rule, self.cluster.statuses.get(rule.key, RuleStatus()))
        return rule.key

    def message(self, kind: str, name: str = "rule") -> str:
        status = self.cluster.statuses.get(RuleKey("default", name))
        found = status.condition(kind) if status else None
        return found.message if found else ""

    def condition(self, kind: str, name: str = "rule") -> tuple[str, str]:
        status = self.cluster.statuses.get(RuleKey("default", name))
        found = status.condition(kind) if status else None
        return (found.status, found.reason) if found else ("", "")

    async def becomes(self, kind: str, status: str, reason: str, name: str = "rule") -> None:
        """Wait until a rule's condition is this."""
        await until(lambda: self.condition(kind, name) == (status, reason))

    async def listens(self, *subjects: str) -> None:
        """Wait until the server has doorbells on these subjects, and no read is under way."""

        async def listening() -> bool:
            at_rest = self.monitoring.begun == self.monitoring.reads
            return at_rest and await doorbell_subjects(self.server) == sorted(subjects)

        await until(listening)

    async def rests(self) -> None:
        """Wait until every rule's doorbell is armed and confirmed: only a message or a deadline wakes it."""

        def resting() -> bool:
            now, idle = time.monotonic(), self.monitoring.begun == self.monitoring.reads
            return idle and all(
                isinstance(state.arm, Armed)
                and state.due > now > state.arm.since + CONFIRM_SECONDS
                and not state.busy
                for state in self.reactor._states.values()
            )

        await until(resting)

    def wakeups(self, source: str) -> float:
        name = "natsscaler_wakeups_total"
        return self.metrics.registry.get_sample_value(name, {"source": source}) or 0.0


async def doorbell_subjects(server: NatsServer) -> list[str]:
    """Ask a server which subjects natsscaler's doorbells are on."""
    return sorted(subscription["subject"] for subscription in await subscriptions(server))


async def subscriptions(server: NatsServer) -> list[dict[str, Any]]:
    """Ask a server for natsscaler's subscriptions beside advisories and inboxes (`/connz`)."""
    async with httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False) as client:
        answer = (await client.get("/connz?subs=detail")).json()
    return [
        subscription
        for connection in answer["connections"]
        if connection.get("name") == "natsscaler"
        for subscription in connection.get("subscriptions_list_detail", ())
        if not subscription["subject"].startswith(("$JS.EVENT.", "_INBOX."))
    ]


@asynccontextmanager
async def world(server: NatsServer, *, leads: bool = True, **settings: Any) -> AsyncIterator[World]:
    """Run the reactor on this server; unless it leads, it only follows."""
    made = World(server, Settings(**settings))
    task = asyncio.create_task(made.reactor.run(made.cluster), name="reactor")
    made.reactor.listed.set()
    if leads:
        made.reactor.elected.set()
    await asyncio.sleep(0)  # it takes rules once it has begun
    try:
        yield made
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.monitoring.close()


@asynccontextmanager
async def user(url: str, **options: Any) -> AsyncIterator[Client]:
    """Somebody who uses NATS."""
    client = await nats.connect(url, **options)
    try:
        yield client
    finally:
        await client.close()


async def create_stream(client: Client, name: str = "ORDERS", *subjects: str, **config: Any) -> None:
    """Create a stream, on orders.> unless told."""
    stream = StreamConfig(name=name, subjects=list(subjects) or ["orders.>"], **config)
    await client.jetstream().add_stream(stream)


async def create_consumer(
    client: Client, stream: str = "ORDERS", name: str = "worker", subject: str = "orders.processing"
) -> None:
    """Create the durable consumer of workers."""
    config = ConsumerConfig(durable_name=name, filter_subject=subject)
    await client.jetstream().add_consumer(stream, config)


async def publish(
    client: Client, count: int, subject: str = "orders.processing", payload: bytes = b""
) -> None:
    """Publish and wait until all are stored, once there is somebody to store them."""
    stream = client.jetstream()

    async def store() -> None:
        while True:
            try:
                await stream.publish(subject, payload, timeout=SECONDS)
            except NoStreamResponseError:
                await asyncio.sleep(0.05)
            else:
                return

    async with asyncio.timeout(2 * SECONDS):
        await asyncio.gather(*(store() for _ in range(count)))


async def work_off(client: Client, count: int) -> None:
    """Take and acknowledge messages, as the sample's workers do, whether or not the cluster has a leader."""
    worker = await client.jetstream().pull_subscribe_bind("worker", stream="ORDERS")
    while count > 0:
        taken = await worker.fetch(min(count, 100), timeout=SECONDS)
        await asyncio.gather(*(message.ack_sync(timeout=SECONDS) for message in taken))
        count -= len(taken)
