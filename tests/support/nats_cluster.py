"""Three real nats-servers that form one cluster: same ports, each on a loopback address of its own."""

import asyncio
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext

from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports

HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
CLUSTER = """
cluster {{ name: "{cluster}", listen: "{host}:{port}", routes: [{routes}] {more} }}
"""
READY_SECONDS = 60.0


class NatsCluster:
    """`start` starts it; nodes are named n1, n2 and n3, which no host is named. Ports are those of `like`."""

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        name: str = "east",
        hosts: Sequence[str] = HOSTS,
        more: str = "",
        config: str = "",
        like: "NatsCluster | None" = None,
    ) -> None:
        self.ports: list[int] = like.ports if like else free_ports(3)
        client_port, monitoring_port, route_port = self.ports
        routes = ", ".join(f'"nats://{_bracketed(host)}:{route_port}"' for host in hosts)
        self.nodes = [
            NatsServer(
                directory,
                name=f"n{number}",
                host=host,
                ports=(client_port, monitoring_port),
                config=config
                + CLUSTER.format(
                    cluster=name, host=_bracketed(host), port=route_port, routes=routes, more=more
                ),
            )
            for number, host in enumerate(hosts, 1)
        ]
        self.client_urls = [node.url for node in self.nodes]

    def node(self, name: str) -> NatsServer:
        return next(node for node in self.nodes if node.name == name)

    async def start(self) -> None:
        """Start all nodes, and return once they take streams."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        async with self.connect() as js:
            await eventually(lambda: _works(js), READY_SECONDS)

    async def kill(self) -> None:
        await asyncio.gather(*(node.kill() for node in self.nodes))

    async def fix(self) -> None:
        """Have all nodes run, without streams, and return once they take some again."""
        await asyncio.gather(*(node.start() for node in self.nodes if not node.running))
        for node in self.nodes:
            node.resume()
        async with self.connect() as js:
            await eventually(lambda: _emptied(js), READY_SECONDS)

    async def current(self, stream: str) -> bool:
        """Tell whether all replicas of a stream are there and have caught up."""
        async with self.connect() as js:
            try:
                raft = (await js.stream_info(stream)).cluster
            except NatsError:
                return False
            others = (raft and raft.replicas) or []
            return bool(raft and raft.leader) and all(one.current and not one.offline for one in others)

    async def move(self, stream: str, consumer: str = "") -> None:
        """Have the leader of a stream or consumer step down, and return once another one leads."""
        former = await self.leader(stream, consumer)
        kind, name = ("CONSUMER", f"{stream}.{consumer}") if consumer else ("STREAM", stream)
        async with self.connect() as js:
            await js._nc.request(f"$JS.API.{kind}.LEADER.STEPDOWN.{name}", b"", timeout=5)

        async def moved() -> bool:
            return await self.leader(stream, consumer) not in ("", former)

        await eventually(moved, READY_SECONDS)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[JetStreamContext]:
        client: Client = await nats.connect(
            self.client_urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1
        )
        try:
            yield client.jetstream(timeout=2)
        finally:
            await client.close()

    async def leader(self, stream: str, consumer: str = "") -> str:
        """Name the leader of a stream or consumer, as NATS itself says it; "" while there is none."""
        async with self.connect() as js:
            try:
                info = await (js.consumer_info(stream, consumer) if consumer else js.stream_info(stream))
            except NatsError:
                return ""
            return (info.cluster and info.cluster.leader) or ""

    async def settle(self, stream: str, consumer: str) -> str:
        """Wait until a consumer has a leader, and name it."""
        async with asyncio.timeout(READY_SECONDS):
            while not (leader := await self.leader(stream, consumer)):  # noqa: ASYNC110 - elections are asked for
                await asyncio.sleep(0.05)
        return leader


async def eventually(works: Callable[[], Awaitable[bool]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not await works():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        await asyncio.sleep(0.05)


async def _works(js: JetStreamContext) -> bool:
    try:
        await js.add_stream(name="READY", subjects=["ready"], num_replicas=3)
        await js.delete_stream("READY")
    except NatsError:
        return False
    return True


async def _emptied(js: JetStreamContext) -> bool:
    try:
        for stream in await js.streams_info():
            await js.delete_stream(stream.config.name or "")
    except NatsError:
        return False
    return await _works(js)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
