"""A reverse proxy in front of a Kubernetes API that can be told what to do wrong, on the wire.

It forwards everything until `fault` or `spoil` says otherwise, so that a test meets the failures of a real
network and of a real API server, with either Kubernetes API behind it.
"""

import asyncio
import contextlib
import json
import pathlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web

from natsscaler.demo.kubeconfig import write_kubeconfig
from tests.conftest import KubeApi

Matches = Callable[[web.Request], bool]
Spoilt = Literal["", "mute", "cut", "garbage", "expired"]
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": ""}}
HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `times` requests that `matches` accepts; None: to all of them.

    With a `status` it is the answer; without, there is none. `forwarded`: the API server gets the request.
    """

    matches: Matches
    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    forwarded: bool = False
    times: int | None = 1
    seen: int = 0


@dataclass
class _Stream:
    path: str
    spoilt: Spoilt = ""


def watches(plural: str) -> Matches:
    return lambda request: request.path.endswith(f"/{plural}") and "watch" in request.query


def lists(plural: str) -> Matches:
    return lambda request: (
        request.method == "GET" and request.path.endswith(f"/{plural}") and "watch" not in request.query
    )


def patches(end: str) -> Matches:
    return lambda request: request.method == "PATCH" and request.path.endswith(end)


class FaultyProxy:
    """Use `open_proxy`; `url` leads through it, `streams` are the watches that are open."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession, token: str) -> None:
        self._upstream, self._session, self._token = upstream, session, token
        self._faults: list[Fault] = []
        self.streams: list[_Stream] = []
        self.requests: list[str] = []
        """Method, path and query of every request."""
        self.on_answer: Callable[[web.Request, int], None] = lambda *_: None
        """Told the status of every answer that is passed on, but of watches."""
        self.delay = 0.0
        """Seconds that each request takes longer."""
        self.admit: Callable[[web.Request, bytes], bytes] = lambda _, body: body
        """What admission makes of the body of a request."""
        self.accepted = ""
        """The one token that is accepted, in place of the API server's own; "": there is no other."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fault(
        self,
        matches: Matches,
        status: int | None,
        *,
        headers: dict[str, str] | None = None,
        message: str = "",
        forwarded: bool = False,
        times: int | None = 1,
    ) -> Fault:
        """Make requests fail from now on; see Fault."""
        made = Fault(
            matches=matches,
            status=status,
            headers=headers or {},
            message=message,
            forwarded=forwarded,
            times=times,
        )
        self._faults.append(made)
        return made

    def fix(self) -> None:
        """Forward all requests again; streams that were spoilt stay so."""
        self._faults.clear()

    def spoil(self, plural: str, how: Spoilt) -> None:
        """Mute the open watches for good, without closing them, or let the next line be something else.

        "cut": half of it, "garbage": what is no JSON, "expired": that the version is too old.
        """
        for stream in self.streams:
            if stream.path.endswith(f"/{plural}"):
                stream.spoilt = how

    def watching(self, plural: str) -> bool:
        return any(stream.path.endswith(f"/{plural}") and not stream.spoilt for stream in self.streams)

    def write_kubeconfig(self, path: pathlib.Path) -> pathlib.Path:
        write_kubeconfig(path, self.url, token=self._token)
        return path

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        await asyncio.sleep(self.delay)
        if self.accepted and request.headers.get("Authorization") != f"Bearer {self.accepted}":
            return _refusal(401, "Unauthorized")
        fault = next((fault for fault in self._faults if fault.matches(request)), None)
        if fault:
            fault.seen += 1
            if fault.seen == fault.times:
                self._faults.remove(fault)
            if fault.forwarded:
                await self._forward(request)
            if fault.status is None:
                await asyncio.Event().wait()
                raise AssertionError("never reached")
            return _refusal(fault.status, fault.message, fault.headers)
        if "watch" in request.query:
            return await self._stream(request)
        return await self._forward(request)

    @contextlib.asynccontextmanager
    async def _asked(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        if self.accepted:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with self._session.request(
                request.method,
                self._upstream + request.raw_path,
                headers=headers,
                data=self.admit(request, await request.read()) or None,
            ) as answer:
                yield answer
        except aiohttp.ClientError as error:
            raise web.HTTPBadGateway from error

    async def _forward(self, request: web.Request) -> web.Response:
        async with self._asked(request) as answer:
            headers = {
                name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
            }
            body = await answer.read()
            self.on_answer(request, answer.status)
            return web.Response(body=body, status=answer.status, headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        stream = _Stream(request.path)
        self.streams.append(stream)
        response = web.StreamResponse()
        try:
            async with self._asked(request) as answer:
                response.set_status(answer.status)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await self._pass_on(request, response, stream, chunk)
        finally:
            self.streams.remove(stream)
        return response

    async def _pass_on(
        self, request: web.Request, response: web.StreamResponse, stream: _Stream, chunk: bytes
    ) -> None:
        match stream.spoilt:
            case "mute":
                return
            case "garbage":
                await response.write(b'{"type": "ADDED", "object": \xff\xfe nonsense\n')
            case "expired":
                await response.write(json.dumps(EXPIRED).encode() + b"\n")
            case "cut":
                await response.write(chunk[: len(chunk) // 2])
                if request.transport:
                    request.transport.abort()
            case _:
                await response.write(chunk)


def _refusal(code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
    return web.json_response(status, status=code, headers=headers)


@contextlib.asynccontextmanager
async def open_proxy(kube_api: KubeApi) -> AsyncIterator[FaultyProxy]:
    settings = kube_api.client.configuration
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    token = settings.api_key.get("BearerToken", "").removeprefix("Bearer ")
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=True) as session:
        proxy = FaultyProxy(settings.host, session, token)
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.port = runner.addresses[0][1]
        try:
            yield proxy
        finally:
            await runner.cleanup()
