"""One process of the operator: builds everything, and owns every long-lived task.

A task that ends early takes the process down with status 1: a restart is cheap, half-alive is not.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import kopf

from natsscaler import __version__
from natsscaler.app.health import Health
from natsscaler.app.rule_events import Handlers
from natsscaler.core.access import Access
from natsscaler.core.contention import MANAGER
from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import EventSource
from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import KubeClient, connect
from natsscaler.kube.lease import LeaderElector
from natsscaler.kube.secrets import read_secret
from natsscaler.nats.connection import Connection, Report
from natsscaler.nats.credential_store import Keyring
from natsscaler.nats.http import Fetching
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.reactor.advisories import Advised
from natsscaler.reactor.reactor import Reactor
from natsscaler.settings import Settings
from natsscaler.web.api import Leader
from natsscaler.web.server import Web

log = logging.getLogger(__name__)

DRAIN_SECONDS = 2.0
"""How long an exit waits for writes under way; a Lease is released only once they have ended."""
EXIT_SECONDS = 5.0
"""How long an exit may take at all."""
KOPF_GRACE_SECONDS = 1.0
"""How long Kopf may take to end its requests once all else has stopped; by itself it waits 5 s for them."""


async def run(settings: Settings) -> int:
    """Run the operator until a signal. Returns the exit status."""
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await connect(settings.kubeconfig, settings.in_cluster))
        api.user_agent = f"{MANAGER}/{__version__} ({identity})"
        metrics, elector = Metrics(), None
        if settings.leader_elect:
            leases = await stack.enter_async_context(api.another())
            leases.user_agent = api.user_agent
            elector = LeaderElector(
                leases,
                settings.leader_elect_namespace,
                identity,
                duration=settings.leader_elect_lease_duration,
                renew_deadline=settings.leader_elect_renew_deadline,
                on_failure=metrics.failed,
            )
            api.configuration.trace_configs = [elector.fence()]
        return await Operator(settings, api, identity, metrics, elector).run()


class Operator:
    """The parts of one process, and the tasks that keep them at work."""

    def __init__(
        self,
        settings: Settings,
        api: KubeClient,
        identity: str,
        metrics: Metrics,
        elector: LeaderElector | None,
    ) -> None:
        allow = AllowList.of(settings, api.host)
        activity = Activity(settings.max_actions)
        keyring = Keyring(settings, partial(read_secret, api))

        report = Report(metrics.connected.inc, metrics.doorbell.inc)

        def connection(access: Access, advised: Advised) -> Connection:
            advisories = EventSource.ADVISORIES in settings.events
            credentials = partial(keyring.nats, access)
            return Connection(
                access.url, allow, advised, advisories=advisories, report=report, credentials=credentials
            )

        self._settings, self._elector, self._metrics = settings, elector, metrics
        self._monitoring = Monitoring(allow, keyring.monitoring, Fetching.of(settings))
        self._reactor = Reactor(settings, self._monitoring, metrics, activity, connection)
        self._kube = Kube(api, settings.namespaces, self._reactor.ring_target, metrics.failed, identity)
        self._handlers = Handlers(self._reactor, api)
        self._handlers.on_exit(self._stop)
        health = Health(self._kube, self._reactor, self._handlers, api.refusals)
        self._web = Web(settings, activity, metrics, health, time.time, leader=self._leader)
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Run until a signal, or until a task has died. Returns the exit status."""
        log.info("Starting natsscaler %s", __version__)
        work: dict[str, Coroutine[Any, Any, None]] = {
            "reactor": self._reactor.run(self._kube),
            "watches": self._kube.run(),
            "web": self._web.run(),
            "rules": self._handlers.follow(self._kube),
            "beginning": self._begin(),
            "event loop lag": self._metrics.watch_event_loop(),
        }
        if self._elector:
            work["leader election"] = self._elector.run()
        status = 0
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [
                    group.create_task(_guarded(_eternal(job, name)), name=name) for name, job in work.items()
                ]
                await asyncio.sleep(0)  # let the reactor open before kopf brings the first rule
                operator = kopf.operator(
                    registry=self._handlers.registry,
                    settings=self._handlers.settings(),
                    # Kopf would ask for the user's name, which an image's numeric user need not have.
                    identity="natsscaler",  # type: ignore[arg-type]  # a NewType that is not public
                    clusterwide=not self._settings.namespaces,
                    namespaces=self._settings.namespaces,
                )
                self._watching = group.create_task(_guarded(operator), name="kopf")
        except* SettingsError as failures:  # a port that is taken
            log.error("%s", failures.exceptions[0])  # noqa: TRY400 - the sentence says it all
            status = 2
        except* Exception as failures:  # a supervision point: the process ends, and says why
            log.error("A task failed, so the process ends", exc_info=failures)  # noqa: TRY400
            status = 1
        finally:
            await self._monitoring.close()
        return status

    async def _begin(self) -> None:
        """Have the reactor act once all is known, and once this process leads, if there is an election."""
        await self._reactor.listed.wait()
        if self._elector:
            await self._elector.elected.wait()
            await self._kube.refresh()
            await self._handlers.list_all(self._kube)
        self._metrics.leader.set(1)
        self._reactor.elected.set()
        await asyncio.Event().wait()

    async def _stop(self) -> None:
        _end_in_time()
        drained = True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._reactor.drain()
        except TimeoutError:
            log.warning("Writes are cancelled, because they did not end within %g s", DRAIN_SECONDS)
            drained = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._elector and drained:
            await self._elector.release()
        if self._watching:
            asyncio.get_running_loop().call_later(KOPF_GRACE_SECONDS, self._watching.cancel)

    def _leader(self) -> Leader | None:
        if self._elector is None:
            return None
        return Leader(identity=self._elector.leader, is_self=self._elector.leading)


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # a supervision point: what follows must not hang
        _end_in_time()
        raise


def _end_in_time() -> None:
    """Let no library that loses a cancellation keep the process from ending."""

    def cut_off() -> None:
        log.error("The process ends now, because its exit took longer than %g s", EXIT_SECONDS)
        os._exit(1)

    asyncio.get_running_loop().call_later(EXIT_SECONDS, cut_off)


async def _eternal(work: Coroutine[Any, Any, None], name: str) -> None:
    await work
    raise RuntimeError(f"the task {name} has ended by itself")
