"""A small Kubernetes API server for the demo and for tests.

It speaks enough of the real API for the operator, kopf, the official Python client and `kubectl`: discovery,
lists in pages, watches with bookmarks, JSON and merge patches, `/status` and `/scale`, dry runs, tables, and
CRDs. There are no pods: a Deployment is ready as soon as it is scaled. The tests in
`tests/integration` hold it to the real API.
"""

import asyncio
import collections
import pathlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from natsscaler.demo.kubeconfig import write_kubeconfig
from natsscaler.demo.kubernetes import errors
from natsscaler.demo.kubernetes.errors import ApiError, Object
from natsscaler.demo.kubernetes.objects import Objects
from natsscaler.demo.kubernetes.routes import Routes, reply
from natsscaler.demo.kubernetes.store import Store
from natsscaler.demo.ports import free_port

LOGGED_REQUESTS = 100_000


@dataclass(slots=True)
class Fault:
    """Requests that `matches` accepts fail: answered with `status`, or never if that is None.

    `times`: how many requests fail (None: until the fault is removed from `EmbeddedKubernetes.faults`).
    """

    matches: Callable[[web.Request], bool]
    status: int | None = 500
    times: int | None = 1


class EmbeddedKubernetes:
    """A Kubernetes API on 127.0.0.1; `async with` starts and stops it.

    `crds` and `objects` exist from the beginning, written as in manifests. With a `token`, requests without
    it are answered 401; kubectl sends none over plain HTTP, so leave it out where kubectl is used.
    `bookmark_seconds`: how long a watch is silent before a bookmark. `clock`: Unix seconds, for timestamps.

    `objects` reads and writes without HTTP; `requests` has (method, path with query) of the last requests;
    `faults` are the requests that fail.
    """

    def __init__(
        self,
        *,
        crds: Iterable[Object] = (),
        objects: Iterable[Object] = (),
        token: str = "",
        bookmark_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store()
        self.objects = Objects(self.store, clock)
        for obj in (*crds, *objects):
            self.objects.add(obj)
        self.requests: collections.deque[tuple[str, str]] = collections.deque(maxlen=LOGGED_REQUESTS)
        self.faults: list[Fault] = []
        self.port = free_port()
        self._token = token
        self._stopped = asyncio.Event()
        self._routes = Routes(
            self.objects, bookmark_seconds=bookmark_seconds, stopping=self._stopped.is_set, clock=clock
        )
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port each time; everything written before is still there."""
        self._stopped.clear()
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Close all connections, watches too, and stop listening, as a restarting API server does."""
        self._stopped.set()
        self.store.wake()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def fail(
        self, matches: Callable[[web.Request], bool], *, status: int | None = 500, times: int | None = 1
    ) -> Fault:
        """Make the next requests fail that `matches` accepts; see Fault."""
        fault = Fault(matches, status, times)
        self.faults.append(fault)
        return fault

    def write_kubeconfig(self, path: pathlib.Path, *, namespace: str = "default") -> None:
        """Write a kubeconfig that leads here; only its owner can read it."""
        write_kubeconfig(path, self.url, token=self._token, namespace=namespace)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        try:
            await self._apply_faults(request)
            if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
                raise errors.unauthorized()
            return await self._routes.answer(request)
        except ApiError as error:
            if error.as_text:
                return web.Response(status=error.code, text=error.message)
            return reply(error.status, error.code)

    async def _apply_faults(self, request: web.Request) -> None:
        fault = next((fault for fault in self.faults if fault.matches(request)), None)
        if not fault:
            return
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
        if fault.status is None:
            await self._stopped.wait()
            raise errors.injected(503)
        raise errors.injected(fault.status)
