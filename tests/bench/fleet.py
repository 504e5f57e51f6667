"""Many rules on one server, each with a stream and a Deployment: an embedded cluster and the operator."""

import asyncio
import copy
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import nats
from nats.aio.client import Client
from nats.js.api import StorageType

from natsscaler.core.crd import crd
from natsscaler.core.rule import GROUP, PLURAL
from natsscaler.demo.kubernetes.resources import DEPLOYMENTS
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.manifests import NAMESPACE, deployment, rule
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.operator import run_operator, supervise
from natsscaler.demo.ports import free_port
from natsscaler.demo.workload import CONSUMER

START_SECONDS, REACTION_SECONDS = 120.0, 60.0
CHECK_SECONDS = 0.05
READS = "natsscaler_monitoring_read_seconds_count"
AT_ONCE = 200
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the operator has used up to now."""

    cpu_seconds: float
    resident_bytes: int
    reads: int
    requests: int
    """Requests to the Kubernetes API, watches included."""


class Fleet:
    """`open_fleet` makes it."""

    def __init__(self, rules: int, cluster: EmbeddedKubernetes, nats: Client, metrics_url: str) -> None:
        self.rules = rules
        self.nats = nats
        self.scaled_up: dict[int, float] = {}
        """When (monotonic) the Deployment of a rule was last scaled up, by the rule's number."""
        self.pid = 0
        self.cluster = cluster
        self._metrics_url = metrics_url

    async def burst(self, number: int, messages: int) -> float:
        """Publish a burst; return the seconds from its first message until the Deployment was scaled up."""
        self.scaled_up.pop(number, None)
        began = time.monotonic()
        for _ in range(messages):
            await self.nats.publish(f"fleet.{number}", b"burst")
        await self.nats.flush()
        async with asyncio.timeout(REACTION_SECONDS):
            while number not in self.scaled_up:
                await self.cluster.store.next_change().wait()
                await asyncio.sleep(0)  # `follow` looks at the same change
        return self.scaled_up[number] - began

    @property
    def ready(self) -> int:
        """How many rules work and listen for events."""
        rules = self.cluster.store.all((GROUP, PLURAL))
        return sum(_conditions(rule) >= {("Ready", "True"), ("EventDriven", "True")} for rule in rules)

    async def follow(self) -> None:
        """Note, until cancelled, when Deployments are scaled."""
        store = self.cluster.store
        revision = store.revision
        while True:
            news = store.next_change()
            for change in store.since(DEPLOYMENTS.bucket, revision):
                before, after = change.before, change.after
                if before and before["spec"]["replicas"] < after["spec"]["replicas"]:
                    number = int(after["metadata"]["name"].removeprefix("app-"))
                    self.scaled_up[number] = time.monotonic()
            revision = store.revision
            await news.wait()

    async def create_streams(self) -> None:
        """Make a stream in memory with a worker's consumer for each rule."""
        stream = self.nats.jetstream()

        async def create(number: int) -> None:
            name, subject = f"FLEET_{number}", f"fleet.{number}"
            await stream.add_stream(name=name, subjects=[subject], storage=StorageType.MEMORY)
            await stream.add_consumer(name, durable_name=CONSUMER, filter_subject=subject)

        for first in range(0, self.rules, AT_ONCE):
            await asyncio.gather(*map(create, range(first, min(first + AT_ONCE, self.rules))))

    async def drain(self, number: int) -> None:
        """Empty a rule's stream and put its Deployment back to one replica."""
        await self.nats.jetstream().purge_stream(f"FLEET_{number}")
        store = self.cluster.store
        current = store.get(DEPLOYMENTS.bucket, NAMESPACE, f"app-{number}")
        assert current
        store.put(DEPLOYMENTS.bucket, {**current, "spec": {**current["spec"], "replicas": 1}})

    async def usage(self) -> Usage:
        stat = process_stat(self.pid)
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(self._metrics_url)).raise_for_status().text
        counted = [line for line in text.splitlines() if line.startswith(READS)]
        return Usage(
            cpu_seconds=(int(stat[11]) + int(stat[12])) / TICKS_PER_SECOND,
            resident_bytes=int(stat[21]) * os.sysconf("SC_PAGE_SIZE"),
            reads=int(sum(float(line.rsplit(maxsplit=1)[1]) for line in counted)),
            requests=len(self.cluster.requests),
        )


@asynccontextmanager
async def open_fleet(
    rules: int, directory: Path, spec: dict[str, Any], **settings: int | str
) -> AsyncIterator[tuple[Fleet, float]]:
    """Start everything; yield once every rule listens, with the seconds that this took the operator."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(directory, name=f"fleet-{rules}"))
        connection = await nats.connect(server.url, name="natsscaler bench", pending_size=2**26)
        stack.push_async_callback(connection.close)
        definition = msgspec.json.decode(msgspec.json.encode(crd()))
        cluster = EmbeddedKubernetes(crds=[definition], objects=_objects(rules, server, spec))
        await stack.enter_async_context(cluster)
        kubeconfig, log = directory / f"fleet-{rules}.kubeconfig", directory / f"fleet-{rules}.log"
        cluster.write_kubeconfig(kubeconfig, namespace=NAMESPACE)
        port = free_port()
        fleet = Fleet(rules, cluster, connection, f"http://127.0.0.1:{port}/metrics")
        await fleet.create_streams()
        began = time.monotonic()
        operator = await stack.enter_async_context(
            run_operator(kubeconfig, log, metrics_port=port, **settings)
        )
        fleet.pid = operator.pid
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(supervise(operator, log)), group.create_task(fleet.follow())]
            async with asyncio.timeout(START_SECONDS):
                while fleet.ready < rules:  # noqa: ASYNC110 - statuses are counted, nobody announces them
                    await asyncio.sleep(CHECK_SECONDS)
            yield fleet, time.monotonic() - began
            for task in tasks:
                task.cancel()


def process_stat(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` after the command's name: proc(5) counts them from 3."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def _objects(rules: int, server: NatsServer, spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(rules):
        app, scaling = copy.deepcopy(deployment()), rule(server.url, server.monitoring_url)
        app["metadata"]["name"] = scaling["metadata"]["name"] = f"app-{number}"
        scaling["spec"] |= {**spec, "deploymentName": f"app-{number}", "subject": f"fleet.{number}"}
        yield app
        yield scaling


def _conditions(rule: dict[str, Any]) -> set[tuple[str, str]]:
    return {(c["type"], c["status"]) for c in rule.get("status", {}).get("conditions", ())}
