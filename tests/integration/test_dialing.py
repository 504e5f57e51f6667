"""Opening and closing a connection to NATS: a socket that is left open is one of the server's too."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats.credentials import NatsCredentials
from natsscaler.nats.dial import dial, hang_up
from natsscaler.net.allowlist import AllowList
from natsscaler.net.tls import Tls
from tests.support.certificates import Certificates
from tests.support.until import until

pytestmark = pytest.mark.timeout(60)


ALLOW = AllowList(in_cluster=False)


async def ignore(_: Exception) -> None:
    pass


async def connected(server: NatsServer) -> Client:
    return (await dial(server.url, (), NatsCredentials(), ALLOW, ignore)).client


async def connections(server: NatsServer) -> int:
    async with httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False) as client:
        return int((await client.get("/connz")).json()["num_connections"])


@pytest.mark.parametrize("steps", range(1, 5))
async def test_hanging_up_that_is_cancelled_leaves_no_connection(nats_server: NatsServer, steps: int) -> None:
    client = await connected(nats_server)
    closing = asyncio.create_task(hang_up(client))
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await until(lambda: _none(nats_server))


async def test_hanging_up_on_a_server_that_takes_nothing_more_leaves_no_connection(
    nats_server: NatsServer,
) -> None:
    client = await connected(nats_server)
    nats_server.pause()
    filling = asyncio.create_task(_fill(client))
    await asyncio.wait({filling}, timeout=1)
    assert not filling.done()
    await hang_up(client)
    filling.cancel()
    nats_server.resume()
    await until(lambda: _none(nats_server))


async def test_the_end_of_an_encrypted_connection_is_no_warning(
    nats_servers: Callable[..., Awaitable[NatsServer]],
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await nats_servers(config=certificates.nats_tls())
    credentials = NatsCredentials(tls=Tls(ca=certificates.read("ca.crt").decode()))
    url = f"nats://localhost:{server.port}"
    dialled = await dial(url, (), credentials, ALLOW, ignore)
    assert not dialled.client.is_closed
    await server.kill()
    async with asyncio.timeout(20):
        await dialled.closed.wait()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_server_that_was_lost_is_dialled_last(nats_server: NatsServer) -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def never_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with silent:
        place = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        others = (nats_server.url.removeprefix("nats://"),)
        left = f"nats://{place}"
        client, _, found = await dial(left, others, NatsCredentials(), ALLOW, ignore, left=left)
        await hang_up(client)
    for writer in accepted:
        writer.close()
    assert (found, accepted) == (nats_server.url, [])


async def _none(server: NatsServer) -> bool:
    return await connections(server) == 0


async def _fill(client: Client) -> None:
    """Publish until all buffers on the way are full, and wait for them then."""
    while True:
        await client.publish("orders", bytes(2**16))
        await asyncio.sleep(0)
