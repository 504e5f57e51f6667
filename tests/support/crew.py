"""Several operators on one stage, each behind a proxy of its own that tells what it wrote and when."""

import asyncio
import pathlib
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from kubernetes.aio import client

from natsscaler.demo.ports import free_ports
from natsscaler.kube.lease import NAME
from tests.conftest import KubeApi
from tests.support.faulty_proxy import FaultyProxy, open_proxy
from tests.support.stage import Stage

LEASE, DEADLINE = 5, 3
"""Seconds; shorter than the defaults, so that a failover does not take 15."""


class Write(NamedTuple):
    """A write that the Kubernetes API has accepted, or a Lease that it has let somebody have."""

    member: str
    path: str

    @property
    def takes_lease(self) -> bool:
        return "/leases" in self.path


class Member:
    """One operator of the crew."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, proxy: FaultyProxy) -> None:
        self.name, self.process, self.proxy = name, process, proxy
        self.activity_port, self.probe_port, self.metrics_port = 0, 0, 0

    async def get(self, port: int, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as response,
        ):
            return response.status, await response.text()

    async def ready(self) -> bool:
        try:
            return (await self.get(self.probe_port, "/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def leader(self) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.activity_port}/scaling-activity") as response,
        ):
            leader: dict[str, Any] = (await response.json())["leader"]
            return leader

    async def metric(self, name: str) -> float:
        _, text = await self.get(self.metrics_port, "/metrics")
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def measures(self, rule: str) -> bool:
        """Tell whether it has metrics of this rule: as they were a second ago at the latest."""
        _, told = await self.get(self.metrics_port, "/metrics")
        return f'rule="{rule}"' in told

    async def dies(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def exit_status(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 30)

    def unreachable(self) -> None:
        """Let none of its requests be answered any more, and nothing more be heard on its watches."""
        self.proxy.fault(lambda _: True, None, times=None)
        for plural in ("scalingrules", "deployments", "horizontalpodautoscalers"):
            self.proxy.spoil(plural, "mute")


class Crew:
    """The operators of one stage; the first one that is started leads."""

    def __init__(
        self, kube_api: KubeApi, stage: Stage, directory: pathlib.Path, stack: AsyncExitStack
    ) -> None:
        self.stage = stage
        self.writes: list[Write] = []
        self._kube_api, self._directory, self._stack = kube_api, directory, stack
        self._leases = client.CoordinationV1Api(kube_api.client)

    async def start(self, name: str, *flags: str, skew: int = 0) -> Member:
        """Start an operator and wait until it is ready to lead or to stand by."""
        proxy = await self._stack.enter_async_context(open_proxy(self._kube_api))
        proxy.on_answer = partial(self._answered, name)
        ports = free_ports(3)
        process = await self.stage.start(
            *("--kubeconfig", str(proxy.write_kubeconfig(self._directory / f"kubeconfig-{name}"))),
            *("--leader-elect", "--leader-elect-namespace", self.stage.namespace),
            *("--leader-elect-lease-duration", f"{LEASE}s", "--leader-elect-renew-deadline", f"{DEADLINE}s"),
            *("--host", "127.0.0.1", "--activity-port", str(ports[0])),
            *("--probe-port", str(ports[1]), "--metrics-port", str(ports[2]), *flags),
            skew=skew,
        )
        member = Member(name, process, proxy)
        member.activity_port, member.probe_port, member.metrics_port = ports
        await self.stage.becomes(True, member.ready)
        return member

    async def leads(self, member: Member) -> None:
        """Wait until this one leads."""
        await self.stage.becomes(1.0, partial(member.metric, "natsscaler_leader"), seconds=40)

    async def lease(self) -> Any:
        return await self._leases.read_namespaced_lease(NAME, self.stage.namespace)

    def scalings(self) -> list[str]:
        """Who has scaled, in order."""
        return [write.member for write in self.writes if write.path.endswith("/scale")]

    def assert_one_wrote_at_a_time(self) -> None:
        """Nobody has written anything after another one got the Lease."""
        leader = ""
        for write in self.writes:
            if write.takes_lease:
                leader = write.member
            assert write.member == leader, self.writes

    def _answered(self, name: str, request: web.Request, status: int) -> None:
        if request.method != "GET" and status < 300:
            self.writes.append(Write(name, request.path))
