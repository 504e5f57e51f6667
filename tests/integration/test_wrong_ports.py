"""Addresses that lead to something else than what they are for: the message names it, and the fix."""

import asyncio

import pytest

from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports
from tests.support.until import until
from tests.support.world import world

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_port_for_clients_as_monitoring_url(nats_server: NatsServer, scheme: str) -> None:
    async with world(nats_server) as here:
        here.apply(natsMonitoringURL=f"{scheme}://localhost:{nats_server.port}")
        await here.becomes("ScalingActive", "False", "MonitoringUnreadable")
        assert "is the port for clients of NATS: natsMonitoringURL needs" in here.message("ScalingActive")


async def test_https_to_a_server_that_speaks_http(nats_server: NatsServer) -> None:
    async with world(nats_server) as here:
        here.apply(natsMonitoringURL=nats_server.monitoring_url.replace("http", "https"))
        await here.becomes("ScalingActive", "False", "MonitoringUnreadable")
        assert here.message("ScalingActive").endswith("speaks http: write http:// in natsMonitoringURL")


async def test_http_to_the_https_port_of_nats(nats_server: NatsServer) -> None:
    """As Go says it, which nats-server is written in."""
    said = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, world(nats_server) as here:
        here.apply(natsMonitoringURL=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await here.becomes("ScalingActive", "False", "MonitoringUnreadable")
        assert here.message("ScalingActive").endswith("speaks https: write https:// in natsMonitoringURL")


async def test_a_port_where_nothing_listens(nats_server: NatsServer) -> None:
    (port,) = free_ports(1)
    async with world(nats_server) as here:
        here.apply(natsMonitoringURL=f"http://127.0.0.1:{port}")
        await here.becomes("ScalingActive", "False", "MonitoringUnreachable")
        assert f"nothing listens on port {port} there" in here.message("ScalingActive")
        here.apply(nats={"url": f"nats://127.0.0.1:{port}"})
        await until(lambda: f"nothing listens on port {port} there" in here.message("EventDriven"))


async def test_the_monitoring_port_as_nats_url(nats_server: NatsServer) -> None:
    async with world(nats_server) as here:
        here.apply(nats={"url": f"nats://127.0.0.1:{nats_server.monitoring_port}"})
        await here.becomes("EventDriven", "False", "NotConnected")
        said = f"port {nats_server.monitoring_port} speaks HTTP, as its monitoring port does"
        assert f"{said}: name the port for clients" in here.message("EventDriven")
