"""A fleet around which everything can fail: NATS, its monitoring, the Kubernetes API, clock and host."""

import asyncio
import contextlib
import copy
import json
import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from kubernetes.aio import client

from natsscaler.core.crd import crd
from natsscaler.core.rule import GROUP, PLURAL
from natsscaler.demo.kubernetes.resources import DEPLOYMENTS
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.manifests import NAMESPACE, deployment, rule
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.operator import supervise
from natsscaler.kube.connection import connect
from tests.bench.fleet import process_stat
from tests.conftest import KubeApi
from tests.support.faulty_monitoring import Front, front
from tests.support.faulty_proxy import FaultyProxy, open_proxy

START_SECONDS = 30.0
OPERATOR, BENCH = "operator", "bench"
"""The users at the nats-server; the operator gives no name."""
FRONTS = 5
"""Monitoring URLs that the rules are spread over, so that a fault of one concerns a part of them."""


class FaultyFleet:
    """`open_faulty_fleet` makes it; faults are done to its parts."""

    def __init__(
        self, server: NatsServer, fronts: Sequence[Front], kubernetes: EmbeddedKubernetes, proxy: FaultyProxy
    ) -> None:
        self.server = server
        self.fronts = fronts
        self.kubernetes = kubernetes
        self.proxy = proxy
        self.scaled: Callable[[int, int, int], None] = lambda *_: None
        """Told the number of a rule, and the replicas before and after, when they change."""
        self.log = Path()
        self._process: asyncio.subprocess.Process
        self._step, self._census, self._token = Path(), Path(), Path()
        self._of_others: set[int] = set()
        """The revisions of changes that were not the operator's."""

    def step_clock(self, seconds: float) -> None:
        """Let the operator's wall clock be this much fast."""
        self._step.write_text(str(seconds))

    def rotate_token(self) -> None:
        """Give the operator another token for the Kubernetes API, which takes the old one no more."""
        self.proxy.accepted = uuid.uuid4().hex
        self._token.write_text(self.proxy.accepted)

    def set_back(self, number: int, replicas: int) -> None:
        """Change the replicas of a Deployment as somebody else."""
        found = self.kubernetes.store.get(DEPLOYMENTS.bucket, NAMESPACE, f"app-{number}")
        if found and found["spec"]["replicas"] != replicas:
            changed = {**found, "spec": {**found["spec"], "replicas": replicas}}
            self.kubernetes.store.put(DEPLOYMENTS.bucket, changed)
            self._of_others.add(self.kubernetes.store.revision)

    def freeze(self) -> None:
        """Stop the operator's process in its tracks."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def replicas(self, number: int) -> int:
        found = self.kubernetes.store.get(DEPLOYMENTS.bucket, NAMESPACE, f"app-{number}")
        return int(found["spec"]["replicas"]) if found else 0

    def conditions(self, number: int) -> dict[str, tuple[str, str]]:
        """Return status and reason of a rule's conditions."""
        found = self.kubernetes.store.get((GROUP, PLURAL), NAMESPACE, f"app-{number}") or {}
        listed = found.get("status", {}).get("conditions", ())
        return {one["type"]: (one["status"], one["reason"]) for one in listed}

    @property
    def resident_bytes(self) -> int:
        return int(process_stat(self._process.pid)[21]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def peak_bytes(self) -> int:
        """The most memory that the operator ever had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 2**10

    @property
    def descriptors(self) -> Counter[str]:
        """Count the open files and sockets by what they are, connections by the port they lead to."""
        process = Path(f"/proc/{self._process.pid}")
        rows = [row.split() for row in (process / "net/tcp").read_text().splitlines()[1:]]
        ports = {row[9]: int(row[2].partition(":")[2], 16) for row in rows}
        found: Counter[str] = Counter()
        for name in os.listdir(process / "fd"):  # noqa: PTH208 - they come and go
            with contextlib.suppress(FileNotFoundError):
                kind, _, inode = str((process / "fd" / name).readlink()).partition(":")
                port = ports.get(inode.strip("[]"))
                found[f"connection to port {port}" if port else kind] += 1
        return found

    @property
    def tasks(self) -> Counter[str]:
        """Count the operator's unfinished tasks by what they run."""
        return Counter(json.loads(self._census.read_text()))

    async def connections(self) -> int:
        """Ask the server how many connections natsscaler has there."""
        async with httpx.AsyncClient(base_url=self.server.monitoring_url, trust_env=False) as http:
            listed = (await http.get("/connz")).json()["connections"]
        return sum(one.get("name") == "natsscaler" for one in listed)

    async def follow(self) -> None:
        """Tell, until cancelled, of every change of replicas."""
        store = self.kubernetes.store
        revision = store.revision
        while True:
            news = store.next_change()
            for change in store.since(DEPLOYMENTS.bucket, revision):
                before = change.before["spec"]["replicas"] if change.before else 0
                after = change.after["spec"]["replicas"]
                if before != after and change.revision not in self._of_others:
                    self.scaled(int(change.after["metadata"]["name"].removeprefix("app-")), before, after)
            revision = store.revision
            await news.wait()

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def start(self, directory: Path, read_budget: float, stack: AsyncExitStack) -> None:
        """Start the operator."""
        self.log, self._step, self._census = (directory / name for name in ("operator.log", "step", "tasks"))
        self._token, kubeconfig = directory / "token", directory / "kubeconfig"
        self.step_clock(0)
        self.rotate_token()
        self.proxy.write_kubeconfig(kubeconfig)
        config = json.loads(kubeconfig.read_text())
        config["users"][0]["user"] = {"tokenFile": str(self._token)}
        kubeconfig.write_text(json.dumps(config))
        off = (f"--{name}-port=0" for name in ("activity", "metrics", "probe"))
        command = ["-m", "tests.bench.watched", str(self._step), str(self._census), "run"]
        flags = [
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--read-budget={read_budget}",
            *off,
        ]
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *command, *flags), stderr=log, start_new_session=True
            )
        stack.push_async_callback(self._end)
        await until(self._census.exists, START_SECONDS)
        self.supervision = supervise(self._process, self.log)


@asynccontextmanager
async def open_faulty_fleet(
    directory: Path, specs: Sequence[dict[str, Any]], read_budget: float
) -> AsyncIterator[FaultyFleet]:
    """Start everything with a rule of each spec, on the subject `soak.NUMBER`, for `app-NUMBER`."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(directory, config=nats_config(), name="faulty"))
        fronts = [await stack.enter_async_context(front(server)) for _ in range(FRONTS)]
        objects = [made for pair in _objects(specs, server, fronts) for made in pair]
        definition = msgspec.json.decode(msgspec.json.encode(crd()))
        kubernetes = EmbeddedKubernetes(crds=[definition], objects=objects)
        await stack.enter_async_context(kubernetes)
        kubernetes.write_kubeconfig(directory / "direct-kubeconfig", namespace=NAMESPACE)
        api: client.ApiClient = await stack.enter_async_context(
            await connect(directory / "direct-kubeconfig", in_cluster=False)
        )
        direct = KubeApi(directory / "direct-kubeconfig", NAMESPACE, api, kubernetes)
        proxy = await stack.enter_async_context(open_proxy(direct))
        fleet = FaultyFleet(server, fronts, kubernetes, proxy)
        await fleet.start(directory, read_budget, stack)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fleet.supervision), group.create_task(fleet.follow())]
            yield fleet
            for task in tasks:
                task.cancel()


def nats_config(*, denied: str = "", subscriptions: int | None = None) -> str:
    """Make the end of the nats-server's configuration; `denied`: of the operator's permissions."""
    limit = f"max_subscriptions: {subscriptions}\n" if subscriptions else ""
    permissions = f"permissions: {{ {denied} }}" if denied else ""
    return f"""{limit}no_auth_user: {OPERATOR}
authorization {{ users: [
    {{ user: {BENCH}, password: {BENCH} }}
    {{ user: {OPERATOR}, password: {OPERATOR}, {permissions} }}
] }}
"""


def _objects(
    specs: Sequence[dict[str, Any]], server: NatsServer, fronts: Sequence[Front]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    made = []
    for number, spec in enumerate(specs):
        app, scaling = copy.deepcopy(deployment()), rule(server.url, fronts[number % len(fronts)].url)
        app["metadata"]["name"] = scaling["metadata"]["name"] = f"app-{number}"
        scaling["spec"] |= {"deploymentName": f"app-{number}", "subject": f"soak.{number}"}
        del scaling["spec"]["messagesPerReplica"]
        scaling["spec"] |= spec
        made.append((app, scaling))
    return made


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until this is true; return how many seconds that took. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.02)
    return time.monotonic() - began
