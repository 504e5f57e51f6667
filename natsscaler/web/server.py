"""Up to three HTTP ports: activity (page and JSON), probes, metrics. All only read; nothing takes input."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Struct, field
from prometheus_client.aiohttp import make_aiohttp_handler

from natsscaler.activity import Action, Activity
from natsscaler.metrics import Metrics
from natsscaler.settings import Settings
from natsscaler.status import rfc3339

SHUTDOWN_SECONDS = 1.0
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health(Protocol):
    """How the process is; each list has a sentence for everything that is wrong."""

    def live(self) -> list[str]:
        """Tell what only a restart would mend."""

    def ready(self) -> list[str]:
        """Tell what keeps the process from its work for now."""


class Leader(Struct, frozen=True, kw_only=True):
    """Which of several processes acts."""

    identity: str | None
    """Its pod and a random suffix; None while nobody leads."""
    is_self: bool = field(name="self")
    """This process does; the actions are those of this process."""


class ActivityAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `/scaling-activity`."""

    timestamp: str
    actions: list[Action]
    count: int
    leader: Leader | None = None
    """Absent without leader election."""


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """The answer of `/health`."""

    status: str = "healthy"
    timestamp: str
    service: str = "scaling-operator"


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

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError if a port cannot be opened."""
        ports: list[tuple[int, dict[str, Handler]]] = [
            (
                self._settings.activity_port,
                {
                    "/": _file("page.html", "text/html"),
                    "/page.css": _file("page.css", "text/css"),
                    "/page.js": _file("page.js", "text/javascript"),
                    "/scaling-activity": self._scaling_activity,
                    "/health": self._healthy,
                },
            ),
            (
                self._settings.probe_port,
                {"/healthz": _probe(self._health.live), "/readyz": _probe(self._health.ready)},
            ),
            (self._settings.metrics_port, {"/metrics": make_aiohttp_handler(self._metrics.registry)}),
        ]
        async with AsyncExitStack() as stack:
            for port, handlers in ports:
                if port:
                    runner = _runner(handlers)
                    stack.push_async_callback(runner.cleanup)
                    await runner.setup()
                    await web.TCPSite(runner, self._settings.host, port).start()
            await asyncio.Event().wait()

    async def _scaling_activity(self, _request: web.Request) -> web.Response:
        actions = self._activity.actions
        return _json(
            ActivityAnswer(
                timestamp=rfc3339(self._clock()), actions=actions, count=len(actions), leader=self._leader()
            )
        )

    async def _healthy(self, _request: web.Request) -> web.Response:
        return _json(HealthAnswer(timestamp=rfc3339(self._clock())))


def _runner(handlers: dict[str, Handler]) -> web.AppRunner:
    app = web.Application()
    app.on_response_prepare.append(_add_headers)
    app.add_routes([web.get(path, handler) for path, handler in handlers.items()])
    return web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _json(answer: Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _file(name: str, content_type: str) -> Handler:
    text = files("natsscaler.web").joinpath(name).read_text(encoding="utf-8")

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return handle


def _probe(wrong: Callable[[], list[str]]) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        sentences = wrong()
        return web.Response(text="\n".join(sentences) or "ok", status=503 if sentences else 200)

    return handle
