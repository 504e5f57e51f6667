"""An HTTP proxy in front of a monitoring endpoint."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
from aiohttp import web

from natsscaler.demo.nats_server import NatsServer
from tests.support.certificates import Certificates

Admits = Callable[[Mapping[str, str]], bool]


class Proxy:
    """Asks for headers, and, with `verify`, for a client's certificate."""

    def __init__(self, server: NatsServer, admits: Admits) -> None:
        self.admits = admits
        self.port = 0
        self._behind = httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not self.admits(request.headers):
            return web.Response(status=401, text=f"got {dict(request.headers)}")
        truth = await self._behind.get(request.path_qs)
        return web.Response(body=truth.content, content_type="application/json")

    async def close(self) -> None:
        await self._behind.aclose()


@asynccontextmanager
async def proxy(
    server: NatsServer, certificates: Certificates, admits: Admits = lambda _: True, *, verify: bool = False
) -> AsyncIterator[Proxy]:
    made, app = Proxy(server, admits), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.path("ca.crt")))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(certificates.path("server.crt"), certificates.path("server.key"))
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
        await made.close()
