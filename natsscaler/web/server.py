"""Up to three HTTP ports: activity (page and API), probes, metrics. All only read; nothing takes input."""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Struct

from natsscaler.activity import Activity
from natsscaler.errors import SettingsError
from natsscaler.metrics import Metrics
from natsscaler.rules import RuleKey
from natsscaler.settings import Settings, variable
from natsscaler.status import rfc3339
from natsscaler.web.access import guard
from natsscaler.web.answers import ActivityAnswer, ErrorAnswer, HealthAnswer, RuleAnswer, RulesAnswer
from natsscaler.web.stream import Streams, summaries
from natsscaler.web.views import Leader, detail

log = logging.getLogger(__name__)

LISTENING = {
    "activity": "The page is at %s/",
    "probe": "The probes are at %s/healthz and /readyz",
    "metrics": "The metrics are at %s/metrics",
}
SHUTDOWN_SECONDS = 1.0
HEAD_SECONDS = 10.0
"""How long a connection may bring no whole head of a request, or leave an answer unread."""
LOOK_SECONDS = 1.0
"""Between two looks for such connections."""
COMPRESSED_APART_BYTES = 64 * 1024
"""A longer answer is compressed in a thread of its own, so that rings need not wait for it."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}


class Health(Protocol):
    """How the process is; each list has a sentence for everything that is wrong."""

    def live(self) -> list[str]:
        """Tell what only a restart would mend."""

    def ready(self) -> list[str]:
        """Tell what keeps the process from its work for now."""


class Web:
    """The HTTP ports of one process."""

    def __init__(
        self,
        settings: Settings,
        activity: Activity,
        metrics: Metrics,
        health: Health,
        clock: Callable[[], float],
        *,
        leader: Callable[[], Leader | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._activity = activity
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._leader = leader
        self._streams = Streams(activity, clock, leader, health.ready)

    async def run(self) -> None:
        """Serve until cancelled. Raises SettingsError if a port cannot be opened."""
        settings = self._settings
        probes = {"/healthz": _probe(self._health.live), "/readyz": _probe(self._health.ready)}
        metrics: dict[str, Handler] = {"/metrics": self._read_metrics}
        guards = [guard(settings.activity_token)] if settings.activity_token else []
        ports: list[tuple[str, int, Mapping[str, Handler], Sequence[Middleware]]] = [
            ("activity", settings.activity_port, self._activity_routes(), guards),
            ("probe", settings.probe_port, probes, ()),
            ("metrics", settings.metrics_port, metrics, ()),
        ]
        waiting = Waiting()
        async with AsyncExitStack() as stack:
            for name, port, handlers, middlewares in ports:
                if port:
                    runner = _runner(handlers, (waiting.note, *middlewares), self._streams.close)
                    stack.push_async_callback(runner.cleanup)
                    await runner.setup()
                    await _listen(runner, settings.host, port, f"--{name}-port")
                    log.info(LISTENING[name], _url(settings.host, port))
                    waiting.runners.append(runner)
            await waiting.close_those_too_long()

    def _activity_routes(self) -> dict[str, Handler]:
        assets = [file.name for file in files("natsscaler.web").joinpath("assets").iterdir()]
        return {
            "/": _file("rules.html"),
            "/rules/{namespace}/{name}": _file("rule.html"),
            **{f"/assets/{name}": _file(f"assets/{name}") for name in assets},
            "/scaling-activity": self._scaling_activity,
            "/health": self._healthy,
            "/api/openapi.json": _file("openapi.json"),
            "/api/rules": self._rules,
            "/api/rules/{namespace}/{name}": self._rule,
            "/api/events": self._streams.rules,
            "/api/rules/{namespace}/{name}/events": self._streams.rule,
        }

    async def _scaling_activity(self, _request: web.Request) -> web.Response:
        actions = self._activity.actions
        return _json(
            ActivityAnswer(timestamp=self._now(), actions=actions, count=len(actions), leader=self._leader())
        )

    async def _read_metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.write(",".join(request.headers.getall("Accept", [])))
        headers = {"Content-Type": content_type}
        response = web.Response(body=body, headers=headers, zlib_executor_size=COMPRESSED_APART_BYTES)
        response.enable_compression()
        return response

    async def _healthy(self, _request: web.Request) -> web.Response:
        return _json(HealthAnswer(timestamp=self._now()))

    async def _rules(self, _request: web.Request) -> web.Response:
        rules = await summaries(self._activity.rules)
        answer = RulesAnswer(
            timestamp=self._now(),
            rules=rules,
            count=len(rules),
            leader=self._leader(),
            not_ready=self._health.ready(),
        )
        return _json(answer)

    async def _rule(self, request: web.Request) -> web.Response:
        key = RuleKey(request.match_info["namespace"], request.match_info["name"])
        seen = self._activity.rule(key)
        if seen is None:
            return _json(ErrorAnswer(error=f"there is no ScalingRule {key}"), status=404)
        found = detail(seen, self._clock())
        ready = self._health.ready()
        return _json(RuleAnswer(timestamp=self._now(), rule=found, leader=self._leader(), not_ready=ready))

    def _now(self) -> str:
        return rfc3339(self._clock())


class Waiting:
    """Closes connections that bring no whole request: aiohttp itself waits for a request's head for ever."""

    def __init__(self) -> None:
        self.runners: list[web.AppRunner] = []
        self._answering: set[object] = set()
        self._since: dict[web.RequestHandler, float] = {}

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, and know that its connection waits for none meanwhile."""
        self._answering.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._answering.discard(request.protocol)

    async def close_those_too_long(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            found = [one for runner in self.runners if runner.server for one in runner.server.connections]
            waiting = [one for one in found if one not in self._answering]
            self._since = {one: self._since.get(one, now) for one in waiting}
            for one, since in self._since.items():
                if now - since > HEAD_SECONDS:
                    one.force_close()


def listen(port: int) -> socket.socket:
    """Open a port for IPv4 and IPv6 alike, or for IPv4 where there is no IPv6. Raises OSError."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # how a kernel says that IPv6 is switched off
                raise
    return socket.create_server(("", port))


def _runner(
    handlers: Mapping[str, Handler], middlewares: Sequence[Middleware], close: Callable[[], None]
) -> web.AppRunner:
    async def close_streams(_app: web.Application) -> None:
        close()

    app = web.Application(middlewares=middlewares)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(close_streams)
    app.add_routes([web.get(path, handler) for path, handler in handlers.items()])
    return web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)


async def _listen(runner: web.AppRunner, host: str, port: int, flag: str) -> None:
    try:
        site = web.TCPSite(runner, host, port) if host else web.SockSite(runner, listen(port))
        await site.start()
    except OSError as error:
        said = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        place = f"{flag} {port} [{variable(flag)}]: cannot listen on {host or 'any address'}:{port}"
        remedy = {errno.EADDRINUSE: "choose another port", errno.EACCES: "choose a port above 1023"}
        mend = remedy.get(error.errno or 0, "see --host [NATSSCALER_HOST]")
        raise SettingsError(f"{place}: {said}; {mend}, or 0 to switch it off") from error


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host or 'localhost'}:{port}"


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _json(answer: Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json", status=status)


def _file(name: str) -> Handler:
    body = files("natsscaler.web").joinpath(name).read_bytes()
    headers = {"Content-Type": TYPES[name.rpartition(".")[2]]}

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


def _probe(wrong: Callable[[], list[str]]) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        sentences = wrong()
        return web.Response(text="\n".join(sentences) or "ok", status=503 if sentences else 200)

    return handle
