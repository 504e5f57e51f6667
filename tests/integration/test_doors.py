"""The doors of the allow-list: whoever names an address, nothing forbidden is connected to.

Each door leads to a server that records connections, on an address that is once permitted and once not: the
first shows that the door is one.
"""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web

from natsscaler.core.reasons import Reason
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port, free_ports
from tests.support.names import resolve_by
from tests.support.until import until
from tests.support.world import World, world

pytestmark = pytest.mark.timeout(60)
HERE, THERE = "127.0.0.1", "127.0.0.99"
NODE = 'cluster {{ name: east, listen: "127.0.0.1:{own}", routes: ["nats://{route}"] }}'
both = pytest.mark.parametrize("permitted", [True, False], ids=["permitted", "forbidden"])


class Recorder:
    """Counts who connects to it."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@asynccontextmanager
async def recorder(*ports: int) -> AsyncIterator[Recorder]:
    made = Recorder()
    async with AsyncExitStack() as stack:
        for port in ports:
            server = await asyncio.start_server(made.serve, THERE, port)
            stack.callback(server.close)
        yield made


def reach(permitted: bool) -> dict[str, Any]:
    return {"allow_hosts": tuple(f"{one}/32" for one in ([HERE, THERE] if permitted else [HERE]))}


async def check(at: Recorder, *, permitted: bool, refused: Callable[[], bool]) -> None:
    """Wait until the door was used, or until it is said that it may not be."""
    if permitted:
        await until(lambda: at.connections > 0)
    else:
        await until(refused)
        assert at.connections == 0


@both
async def test_the_monitoring_url(nats_server: NatsServer, permitted: bool) -> None:
    port = free_port()
    async with recorder(port) as at, world(nats_server, **reach(permitted)) as here:
        here.apply(natsMonitoringURL=f"http://{THERE}:{port}", nats={"url": nats_server.url})

        def refused() -> bool:
            return here.condition("Ready") == ("False", Reason.ADDRESS_NOT_ALLOWED)

        await check(at, permitted=permitted, refused=refused)


@both
async def test_the_address_of_nats(nats_server: NatsServer, permitted: bool) -> None:
    port = free_port()
    async with recorder(port) as at, world(nats_server, **reach(permitted)) as here:
        here.apply(nats={"url": f"nats://{THERE}:{port}"})
        await check(at, permitted=permitted, refused=lambda: may_not_connect(here))


def may_not_connect(here: World) -> bool:
    states = [connection.state for connection in here.connections]
    return any(state and "may not connect" in state.message for state in states)


@asynccontextmanager
async def pointing_there(directory: pathlib.Path) -> AsyncIterator[tuple[NatsServer, int]]:
    """Run a node of a cluster that names another host, as a route and as an address for clients."""
    port, own, other, *ports = free_ports(7)
    node = NODE.format(own=own, route=f"{THERE}:{other}")
    peer = f'client_advertise: "{THERE}:{port}"\n' + NODE.format(own=other, route=f"{HERE}:{own}")
    async with (
        NatsServer(directory, config=node, name="n1", ports=(ports[0], ports[1])) as server,
        NatsServer(directory, config=peer, name="n2", ports=(ports[2], ports[3])),
    ):
        async with httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False) as client:

            async def told() -> bool:
                return f"{THERE}:{port}" in (await client.get("/varz")).json().get("connect_urls", ())

            await until(told)
        yield server, port


@both
async def test_the_nodes_that_varz_names(tmp_path: pathlib.Path, permitted: bool) -> None:
    async with (
        pointing_there(tmp_path) as (server, _),
        recorder(server.monitoring_port) as at,
        world(server, **reach(permitted)) as here,
    ):
        here.apply(nats={"url": server.url})
        await check(at, permitted=permitted, refused=lambda: here.condition("Ready")[1] == "StreamNotFound")


@both
async def test_the_servers_that_nats_gossips(tmp_path: pathlib.Path, permitted: bool) -> None:
    async with (
        pointing_there(tmp_path) as (server, port),
        recorder(port) as at,
        world(server, **reach(permitted)) as here,
    ):
        here.apply(nats={"url": server.url})
        await until(lambda: any(f"{THERE}:{port}" in one._gossiped for one in here.connections))
        assert at.connections == 0, "a server that answers is enough"
        await server.kill()
        await check(at, permitted=permitted, refused=lambda: may_not_connect(here))


@pytest.mark.parametrize("derived", [True, False], ids=["derived", "named"])
async def test_a_name_that_leads_elsewhere_once_it_was_checked(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, derived: bool
) -> None:
    """What was checked is connected to, and the next use of the name is checked anew (DNS rebinding)."""
    answers = iter([HERE])
    resolve_by(monkeypatch, lambda host: [next(answers, THERE)] if host == "nats.internal" else None)
    ports = nats_server.port, nats_server.monitoring_port
    async with recorder(*ports) as at, world(nats_server, **reach(permitted=False)) as here:
        here.apply(
            natsMonitoringURL=f"http://nats.internal:{nats_server.monitoring_port}",
            nats=None if derived else {"url": f"nats://nats.internal:{nats_server.port}"},
            pollIntervalSeconds=1,
        )
        await until(lambda: here.condition("Ready") == ("False", Reason.ADDRESS_NOT_ALLOWED))
        await until(lambda: may_not_connect(here))
        assert here.monitoring.reads == 1
        assert at.connections == 0


async def test_a_redirect(nats_server: NatsServer) -> None:
    port = free_port()

    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"http://{THERE}:{port}{request.path_qs}"})

    app = web.Application()
    app.router.add_get("/{path:.*}", redirect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    async with recorder(port) as at, world(nats_server, **reach(permitted=True)) as here:
        here.apply(natsMonitoringURL=f"http://{HERE}:{runner.addresses[0][1]}", nats={"url": nats_server.url})
        await here.becomes("Ready", "False", Reason.MONITORING_HTTP_STATUS)
        assert at.connections == 0
    await runner.cleanup()
