"""Three nodes of NATS whose routes go through cables that can be cut, as by a network that drops packets."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from natsscaler.demo.nats_server import NatsServer
from tests.support.nats_cluster import NatsCluster


class Cable:
    """A TCP proxy to one place; while it is `cut` nothing passes, and no connection ends."""

    def __init__(self, host: str, port: int) -> None:
        self.whole = asyncio.Event()
        self.whole.set()
        self.port = 0
        self._place = host, port
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.whole.wait()
        try:
            there, back = await asyncio.open_connection(*self._place)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, back), (there, writer)):
            pump = asyncio.create_task(self._pump(source, sink), name="cable")
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await source.read(2**16):
                    await self.whole.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()


class Wired:
    """A cluster, and the cables between its nodes, by the names of both ends."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.cluster = NatsCluster(directory, more=", no_advertise: true")
        route_port = self.cluster.ports[2]
        self.cables = {
            (one.name, other.name): Cable(other.host, route_port)
            for one in self.cluster.nodes
            for other in self.cluster.nodes
            if one is not other
        }

    async def start(self) -> None:
        await asyncio.gather(*(cable.start() for cable in self.cables.values()))
        for node in self.cluster.nodes:
            routes = [
                f"nats://127.0.0.1:{cable.port}"
                for (end, _), cable in self.cables.items()
                if end == node.name
            ]
            node.config = _with_routes(node, routes)
        await self.cluster.start()

    async def close(self) -> None:
        await self.cluster.kill()
        await asyncio.gather(*(cable.close() for cable in self.cables.values()))

    def isolate(self, name: str) -> None:
        """Cut a node off from the others."""
        for ends, cable in self.cables.items():
            if name in ends:
                cable.whole.clear()

    def heal(self) -> None:
        """Let everything pass again, also what was sent meanwhile."""
        for cable in self.cables.values():
            cable.whole.set()


def _with_routes(node: NatsServer, routes: Iterable[str]) -> str:
    before, _, rest = node.config.partition("routes: [")
    return f"{before}routes: [{', '.join(map('{!r}'.format, routes))}]{rest.partition(']')[2]}".replace(
        "'", '"'
    )


@asynccontextmanager
async def wired(directory: pathlib.Path) -> AsyncIterator[Wired]:
    """Run a wired cluster."""
    made = Wired(directory)
    try:
        await made.start()
        yield made
    finally:
        await made.close()
