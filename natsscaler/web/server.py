"""Up to three HTTP ports: activity (page and API), probes, metrics. All only read; nothing takes input."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Struct

from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import rfc3339
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import OPENMETRICS, Metrics
from natsscaler.settings import SETTINGS, Setting, Settings
from natsscaler.web.answers import ActivityAnswer, ErrorAnswer, HealthAnswer, RuleAnswer, RulesAnswer
from natsscaler.web.api import Leader, detail
from natsscaler.web.auth import guard
from natsscaler.web.door import LOOK_SECONDS, Door
from natsscaler.web.kept import Kept
from natsscaler.web.sse import Streams
from natsscaler.web.static import Written, pages

log = logging.getLogger(__name__)

LISTENING = {
    "activity": "The page is at %s/",
    "probe": "The probes are at %s/healthz and /readyz",
    "metrics": "The metrics are at %s/metrics",
}
SHUTDOWN_SECONDS = 1.0
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


class HealthPort(Protocol):
    """How the process is; each list has a sentence for everything that is wrong."""

    def live(self) -> list[str]:
        """Tell what only a restart would fix."""

    def ready(self) -> list[str]:
        """Tell what keeps the process from its work for now."""


class Web:
    """The HTTP ports of one process."""

    def __init__(
        self,
        settings: Settings,
        activity: Activity,
        metrics: Metrics,
        health: HealthPort,
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
        self._all_rules = Kept(self._write_rules)
        self._written = {
            openmetrics: Kept(partial(self._write_metrics, openmetrics=openmetrics))
            for openmetrics in (True, False)
        }

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
        doors = list[Door]()
        async with AsyncExitStack() as stack:
            for name, port, handlers, middlewares in ports:
                if port:
                    door = Door(name)
                    runner = _runner(handlers, (door.note, *middlewares), self._streams.close)
                    stack.push_async_callback(runner.cleanup)
                    await runner.setup()
                    door.server = runner.server
                    stack.callback((await _listen(door, settings.host, port, SETTINGS[f"{name}_port"])).close)
                    log.info(LISTENING[name], _url(settings.host, port))
                    doors.append(door)
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                for door in doors:
                    door.close_those_too_long()

    def _activity_routes(self) -> dict[str, Handler]:
        return {
            **pages(),
            "/scaling-activity": self._scaling_activity,
            "/health": self._healthy,
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
        openmetrics = any(OPENMETRICS in accept for accept in request.headers.getall("Accept", []))
        return (await self._written[openmetrics].get()).answer(request)

    async def _write_metrics(self, *, openmetrics: bool) -> Written:
        plain, content_type = self._metrics.write(openmetrics=openmetrics)
        return await asyncio.to_thread(Written.of, content_type, plain)

    async def _healthy(self, _request: web.Request) -> web.Response:
        return _json(HealthAnswer(timestamp=self._now()))

    async def _rules(self, request: web.Request) -> web.Response:
        return (await self._all_rules.get()).answer(request)

    async def _write_rules(self) -> Written:
        _, rules = await self._streams.table.get()
        answer = RulesAnswer(
            timestamp=self._now(),
            rules=rules,
            count=len(rules),
            leader=self._leader(),
            not_ready=self._health.ready(),
        )
        return await asyncio.to_thread(Written.of, "application/json", msgspec.json.encode(answer))

    async def _rule(self, request: web.Request) -> web.Response:
        key = RuleKey(request.match_info["namespace"], request.match_info["name"])
        seen = self._activity.rule(key)
        if seen is None:
            return _json(ErrorAnswer(error=f"There is no ScalingRule {key}"), status=404)
        found = detail(seen, self._clock())
        ready = self._health.ready()
        return _json(RuleAnswer(timestamp=self._now(), rule=found, leader=self._leader(), not_ready=ready))

    def _now(self) -> str:
        return rfc3339(self._clock())


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


async def _listen(door: Door, host: str, port: int, setting: Setting) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await (
            loop.create_server(door, host, port) if host else loop.create_server(door, sock=listen(port))
        )
    except OSError as error:
        said = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        place = f"{setting}: cannot listen on {host or 'any address'}:{port}"
        remedy = {errno.EADDRINUSE: "choose another port", errno.EACCES: "choose a port above 1023"}
        fix = remedy.get(error.errno or 0, f"see {SETTINGS['host']}")
        raise SettingsError(f"{place}: {said}; {fix}, or 0 to turn it off") from error


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host or 'localhost'}:{port}"


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _json(answer: Struct, status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, content_type="application/json", status=status)


def _probe(wrong: Callable[[], list[str]]) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        sentences = wrong()
        return web.Response(text="\n".join(sentences) or "ok", status=503 if sentences else 200)

    return handle
