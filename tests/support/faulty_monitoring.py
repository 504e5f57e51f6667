"""A reverse proxy in front of a nats-server's monitoring endpoint that can be told what to answer wrongly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from aiohttp import web

from natsscaler.demo.nats_server import NatsServer

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]
"""Makes an answer of the request and the true one."""


class Front:
    """Use `front`; all is passed on until there is a `fault` for `/jsz`."""

    def __init__(self, server: NatsServer) -> None:
        self.fault: Answer | None = None
        self.url = ""
        self._behind = httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            truth = (await self._behind.get(request.path_qs)).content
        except httpx.TransportError:
            return await cut_off(request, b"")
        if self.fault and request.path == "/jsz":
            return await self.fault(request, truth)
        return document(truth)

    async def close(self) -> None:
        await self._behind.aclose()


@asynccontextmanager
async def front(server: NatsServer) -> AsyncIterator[Front]:
    made, app = Front(server), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
        await made.close()


def document(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def status(code: int, **headers: str) -> Answer:
    async def answer(_request: web.Request, _truth: bytes) -> web.StreamResponse:
        return web.Response(status=code, text="no", headers=headers)

    return answer


def changed(change: Callable[[bytes], bytes]) -> Answer:
    async def answer(_request: web.Request, truth: bytes) -> web.StreamResponse:
        return document(change(truth))

    return answer


def with_fields(**fields: Any) -> Answer:
    """Give the true document with these fields instead."""
    return changed(lambda truth: json.dumps(json.loads(truth) | fields).encode())


def slow(seconds: float) -> Answer:
    """Say what was true this long ago."""

    async def answer(_request: web.Request, truth: bytes) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return document(truth)

    return answer


def cached() -> Answer:
    """Give the same document again and again."""
    kept: list[bytes] = []

    async def answer(_request: web.Request, truth: bytes) -> web.StreamResponse:
        kept.append(truth)
        return document(kept[0])

    return answer


class Revalidating:
    """A cache that answers with what it has, and asks the server for the next time only then."""

    def __init__(self) -> None:
        self.kept = b""

    async def __call__(self, _request: web.Request, truth: bytes) -> web.StreamResponse:
        answer, self.kept = self.kept or truth, truth
        return document(answer)


async def never(_request: web.Request, _truth: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never reached")


async def cut_off(request: web.Request, truth: bytes) -> web.StreamResponse:
    """Break off in the middle of the answer, or before it if there is none."""
    response = web.StreamResponse(headers={"Content-Length": str(len(truth))})
    if truth:
        await response.prepare(request)
        await response.write(truth[: len(truth) // 2])
    if request.transport:
        request.transport.abort()
    return response
