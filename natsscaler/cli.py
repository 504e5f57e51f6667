"""`natsscaler run` and `natsscaler demo`: builds everything, and owns every long-lived task.

A task that ends early takes the process down with status 1: a restart is cheap, half-alive is not.
"""

import asyncio
import logging
import logging.config
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import httpx
import kopf
import uvloop

from natsscaler import __version__
from natsscaler.activity import Activity
from natsscaler.errors import SettingsError
from natsscaler.handlers import Handlers
from natsscaler.health import Health
from natsscaler.kube import Kube, connect
from natsscaler.metrics import Metrics
from natsscaler.monitoring import Monitoring
from natsscaler.network import AllowList
from natsscaler.reactor import Reactor
from natsscaler.reactor.registry import Advised
from natsscaler.rules import EventSource
from natsscaler.settings import Settings, parse
from natsscaler.signals import Connection
from natsscaler.web import Web

log = logging.getLogger(__name__)

KOPF_GRACE_SECONDS = 1.0
"""How long Kopf may take to end its requests once all else has stopped; by itself it waits 5 s for them."""

USAGE = """usage: natsscaler COMMAND [--help]

  run      watch ScalingRules and scale their Deployments
  demo     see it work: a real nats-server, an embedded Kubernetes API, a burst
  version  print the version
"""


def main() -> None:
    """Run the command line."""
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: Sequence[str]) -> int:
    command, *rest = arguments or [""]
    try:
        if command == "run":
            settings = parse(rest)
            configure_logging(settings.log_level)
            return uvloop.run(run(settings))
        if command == "demo":
            return _demo(rest)
    except SettingsError as error:
        print(f"natsscaler {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if command == "version":
        print(__version__)
        return 0
    print(USAGE, end="", file=sys.stdout if command in ("-h", "--help", "help") else sys.stderr)
    return 0 if command in ("-h", "--help", "help") else 2


def _demo(arguments: Sequence[str]) -> int:
    try:
        from natsscaler.demo.command import demo  # noqa: PLC0415 - needs the extra `demo`
    except ModuleNotFoundError as error:
        message = f"{error.name} is missing: install the extra 'demo' (pip install 'natsscaler[demo]')"
        raise SettingsError(message) from error
    return demo(arguments)


async def run(settings: Settings) -> int:
    """Run the operator until a signal. Returns the exit status."""
    api = await connect(settings.kubeconfig, in_cluster=settings.in_cluster)
    server = httpx.URL(api.configuration.host)
    port = server.port or (443 if server.scheme == "https" else 80)
    allow = AllowList(settings.allow_hosts, in_cluster=settings.in_cluster, api_server=(server.host, port))
    metrics, activity, monitoring = Metrics(), Activity(settings.max_actions), Monitoring(allow)

    def connection(url: str, advised: Advised) -> Connection:
        advisories = EventSource.ADVISORIES in settings.events
        return Connection(url, allow, metrics, advised, advisories=advisories)

    reactor = Reactor(settings, monitoring, metrics, activity, connection)
    kube = Kube(api, settings.namespaces, reactor.ring_target, socket.gethostname())
    handlers = Handlers(reactor, api)
    web = Web(settings, activity, metrics, Health(kube, reactor, handlers), time.time)
    log.info("natsscaler %s starts", __version__)
    ours: list[asyncio.Task[None]] = []
    watching: list[asyncio.Task[None]] = []

    async def stop() -> None:
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)
        for task in watching:
            asyncio.get_running_loop().call_later(KOPF_GRACE_SECONDS, task.cancel)

    handlers.on_exit(stop)
    status = 0
    try:
        async with asyncio.TaskGroup() as group:
            work: dict[str, Coroutine[Any, Any, None]] = {
                "reactor": reactor.run(kube),
                "watches": kube.run(),
                "web": web.run(),
                "rules": handlers.follow(kube),
            }
            ours += [group.create_task(_eternal(job, name), name=name) for name, job in work.items()]
            await asyncio.sleep(0)  # let the reactor open before kopf brings the first rule
            operator = kopf.operator(
                registry=handlers.registry,
                settings=handlers.settings(),
                # Kopf would ask for the user's name, which an image's numeric user need not have.
                identity="natsscaler",  # type: ignore[arg-type]  # a NewType that is not public
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
            )
            watching.append(group.create_task(operator, name="kopf"))
    except* Exception as failures:  # a supervision point: the process ends, and says why
        log.error("A task has died, so the process ends", exc_info=failures)  # noqa: TRY400
        status = 1
    finally:
        await monitoring.close()
        await api.close()  # type: ignore[no-untyped-call]
    return status


async def _eternal(work: Coroutine[Any, Any, None], name: str) -> None:
    await work
    raise RuntimeError(f"the task {name} has ended by itself")


def configure_logging(level: str) -> None:
    """Log to stderr: lines for people on a terminal, JSON otherwise."""
    people = sys.stderr.isatty()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "people": {"format": "%(asctime)s %(levelname)-7s %(message)s"},
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                },
            },
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": "people" if people else "json",
                }
            },
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {
                "natsscaler": {"level": level.upper()},
                "kopf": {"level": "DEBUG" if level == "debug" else "WARNING"},
            },
        }
    )
