"""What may stand between kubectl and an API server: other names and certificates, a path, an HTTP proxy."""

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.support.certificates import Certificates
from tests.support.clusters import RealCluster

HOST = "127.0.0.1"


def _server_context(certificates: Certificates, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.path(f"{name}.crt"), certificates.path(f"{name}.key"))
    return context


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
) -> None:
    with contextlib.suppress(OSError):
        there, back = await asyncio.open_connection(host, port, ssl=context)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


@contextlib.asynccontextmanager
async def serve_as(
    cluster: RealCluster, certificates: Certificates, name: str = "server"
) -> AsyncIterator[str]:
    """Serve the API with another certificate; the URL has an address that the certificate has not."""
    context = ssl.create_default_context(cafile=str(cluster.authority))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, HOST, cluster.port, context)

    server = await asyncio.start_server(handle, HOST, ssl=_server_context(certificates, name))
    async with server:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def serve_below(cluster: RealCluster, certificates: Certificates, path: str) -> AsyncIterator[str]:
    """Serve the API as `https://localhost:.../PATH`, to the user `ada` with the password `lace: é`."""
    context = ssl.create_default_context(cafile=str(cluster.authority))
    good = "Basic " + b64encode("ada:lace: é".encode()).decode()

    async with aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != good:
                return web.json_response({"message": "who are you?"}, status=401)
            headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": request.content_type}
            url = f"{cluster.url}{request.raw_path.removeprefix(path)}"
            body = await request.read()
            async with session.request(
                request.method, url, data=body, headers=headers, ssl=context
            ) as answer:
                return web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.content_type
                )

        app = web.Application()
        app.router.add_route("*", f"{path}/{{rest:.*}}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0, ssl_context=_server_context(certificates, "server"))
        await site.start()
        port = runner.addresses[0][1]
        yield f"https://localhost:{port}{path}"
        await runner.cleanup()


@dataclass
class HttpProxy:
    """An HTTP proxy that knows CONNECT; `asked`: for which places, and with which Proxy-Authorization."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        place = head[0].split()[1]
        given = [line.partition(": ")[2] for line in head if line.lower().startswith("proxy-authorization:")]
        self.asked.append((place, "".join(given)))
        host, _, port = place.rpartition(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, HOST if host == "api.internal" else host, int(port), None)


@contextlib.asynccontextmanager
async def http_proxy() -> AsyncIterator[HttpProxy]:
    """Serve a proxy, which alone knows where api.internal is."""
    proxy = HttpProxy()
    server = await asyncio.start_server(proxy.handle, HOST)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
