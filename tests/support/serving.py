"""The ports of the operator, served in a test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from natsscaler.demo.ports import free_ports
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.settings import Settings
from natsscaler.web.api import Leader
from natsscaler.web.server import Web
from tests.conftest import in_background

HOST = "127.0.0.1"


NOW, NOW_TEXT = 1_767_225_600.9, "2026-01-01T00:00:00Z"


@dataclass
class FakeHealth:
    wrong_live: list[str] = field(default_factory=list)
    wrong_ready: list[str] = field(default_factory=list)

    def live(self) -> list[str]:
        return self.wrong_live

    def ready(self) -> list[str]:
        return self.wrong_ready


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str]


@dataclass
class Running:
    settings: Settings
    activity: Activity
    metrics: Metrics = field(default_factory=Metrics)
    health: FakeHealth = field(default_factory=FakeHealth)
    leader: Leader | None = None

    async def get(self, port: int, path: str, host: str = HOST, **headers: str) -> Answer:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{port}{path}", headers=headers) as response,
        ):
            return Answer(response.status, await response.text(), dict(response.headers))


def free_settings() -> Settings:
    metrics, probe, activity = free_ports(3)
    return Settings(host=HOST, metrics_port=metrics, probe_port=probe, activity_port=activity)


async def is_open(port: int, host: str = HOST) -> bool:
    try:
        _, writer = await asyncio.open_connection(host.strip("[]"), port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def serve(settings: Settings, reached: str = HOST) -> AsyncIterator[Running]:
    running = Running(settings, Activity(settings.max_actions))
    web = Web(
        settings,
        running.activity,
        running.metrics,
        running.health,
        lambda: NOW,
        leader=lambda: running.leader,
    )
    async with in_background(web.run()) as task:
        async with asyncio.timeout(10):
            for port in (settings.metrics_port, settings.probe_port, settings.activity_port):
                while port and not task.done() and not await is_open(port, reached):  # noqa: ASYNC110 - only connecting tells
                    await asyncio.sleep(0.01)
        yield running


class Event(NamedTuple):
    id: str
    name: str
    data: Any


class Reader:
    """Reads server-sent events as a browser does (HTML standard, section 9.2.6)."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last = ""

    async def next(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for raw in self._response.content:
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self.last = fields.get("id", self.last)
                    return Event(self.last, fields["event"], json.loads(fields["data"]))
                else:
                    fields.clear()
        raise EOFError

    async def end(self) -> None:
        """Read until there is no more; raises what says so."""
        while True:
            await self.next()

    async def update(self) -> Any:
        """Return the next event that tells something."""
        while (event := await self.next()).name != "update":
            continue
        return event.data
