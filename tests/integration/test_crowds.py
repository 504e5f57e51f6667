"""Many who ask at once, at the operator's ports: each address gets its share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvloop

from natsscaler.observe.feed import Changes
from natsscaler.web.door import MOST_CONNECTIONS
from natsscaler.web.sse import MOST_READERS
from tests.support.serving import HOST, Reader, Running, free_settings, is_open, serve
from tests.support.until import until

NEIGHBOUR = "127.0.0.2"
"""Another address that requests come from."""
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Serve from a thread on uvloop, as the operator does: its transports are not those of asyncio."""
    begun, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def run() -> None:
        async with serve(free_settings()) as running:
            here.call_soon_threadsafe(begun.set_result, running)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ended.wait(), here))

    here = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(uvloop.run, run()), name="server")
        yield await begun
        ended.set()


@contextlib.asynccontextmanager
async def visitor(address: str = HOST) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who asks from this address."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(10)) as session:
        yield session


class Silent:
    """Connections that are kept open and never bring a request."""

    def __init__(self) -> None:
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self, port: int, times: int) -> None:
        for _ in range(times):
            self._open.append(await asyncio.open_connection(HOST, port))

    @property
    def left(self) -> int:
        return sum(not (reader.at_eof() or reader.exception()) for reader, _ in self._open)

    def close(self) -> None:
        for _, writer in self._open:
            writer.transport.abort()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    made = Silent()
    yield made
    made.close()


async def test_who_has_all_pages_open_leaves_room_to_another_address(running: Running) -> None:
    url = f"http://{HOST}:{running.settings.activity_port}/api/events"
    async with visitor() as crowd, visitor(NEIGHBOUR) as neighbour:
        readers = [await crowd.get(url) for _ in range(MOST_READERS)]
        async with crowd.get(url) as refused:
            assert refused.status == 503
            assert f"{MOST_READERS} open pages" in await refused.text()
        async with neighbour.get(url) as served:
            assert served.status == 200
            await Reader(served).update()
            with pytest.raises(aiohttp.ClientError):  # the oldest of who has most makes way
                await Reader(readers[0]).end()
            async with crowd.get(url) as refused:
                assert refused.status == 503
        for reader in readers:
            reader.close()


async def test_connections_without_a_request_keep_nobody_out(running: Running, silent: Silent) -> None:
    settings = running.settings
    for port, path in (
        (settings.activity_port, "/api/rules"),
        (settings.probe_port, "/healthz"),
        (settings.metrics_port, "/metrics"),
    ):
        async with visitor(NEIGHBOUR) as neighbour:
            await neighbour.get(f"http://{HOST}:{port}/health")  # a connection that is kept
            await silent.connect(port, 2 * MOST_CONNECTIONS)
            await until(lambda: silent.left <= MOST_CONNECTIONS)
            for address in (HOST, NEIGHBOUR):
                async with (
                    visitor(address) as somebody,
                    somebody.get(f"http://{HOST}:{port}{path}") as answer,
                ):
                    assert answer.status == 200
            (kept,) = neighbour.connector._conns.values()  # type: ignore[union-attr]
            assert len(kept) == 1
            assert kept[0][0].is_connected()
        silent.close()


async def test_of_requests_that_are_all_being_answered_one_too_many_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.web.door.MOST_CONNECTIONS", 2)
    port = running.settings.activity_port
    async with visitor() as crowd:
        readers = [await crowd.get(f"http://{HOST}:{port}/api/events") for _ in range(2)]
        async with crowd.get(f"http://{HOST}:{port}/health") as refused:
            assert refused.status == 503
            assert "2 connections" in await refused.text()
            assert refused.headers["Connection"] == "close"
        async with crowd.get(f"http://{HOST}:{running.settings.probe_port}/healthz") as probe:
            assert probe.status == 200
        readers.pop().close()
        await until(lambda: is_open(port))
        async with crowd.get(f"http://{HOST}:{port}/health") as served:
            assert served.status == 200
        for reader in readers:
            reader.close()


@pytest.mark.parametrize("path", ["/metrics", "/api/rules", "/api/events"])
async def test_what_many_ask_for_at_once_is_made_once(
    running: Running, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes long with thousands of rules, and whoever reaches the port can ask again and again."""
    made = list[str]()
    write, changes = running.metrics.write, running.activity.changes

    def count_write(**how: bool) -> tuple[bytes, str]:
        made.append("/metrics")
        return write(**how)

    def count_changes(since: int) -> Changes:
        if not since:
            made.append("everything")
        return changes(since)

    monkeypatch.setattr("natsscaler.web.kept.KEEP_SECONDS", 3600.0)
    monkeypatch.setattr(running.metrics, "write", count_write)
    monkeypatch.setattr(running.activity, "changes", count_changes)
    settings = running.settings
    port = settings.metrics_port if path == "/metrics" else settings.activity_port

    async def ask(somebody: aiohttp.ClientSession) -> int:
        async with somebody.get(f"http://{HOST}:{port}{path}") as answer:
            await answer.content.readuntil(b"\n\n" if path == "/api/events" else b"}")
            return answer.status

    async with visitor() as crowd:
        assert set(await asyncio.gather(*(ask(crowd) for _ in range(50)))) == {200}
    assert len(made) == 1


async def test_who_leaves_an_answer_unread_is_cut_off(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.web.door.HEAD_SECONDS", 0.1)
    port = running.settings.metrics_port
    monkeypatch.setattr(running.metrics, "write", lambda **_: (bytes(2**25), "text/plain"))
    reader, writer = await asyncio.open_connection(HOST, port, limit=1)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")

    async def cut_off() -> bool:
        writer.write(b"\r\n")
        return bool(reader.exception())

    await until(cut_off)
    writer.close()


async def test_a_connection_that_asks_again_and_again_is_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.web.door.HEAD_SECONDS", 1.0)
    monkeypatch.setattr("natsscaler.web.server.LOOK_SECONDS", 0.05)
    url = f"http://{HOST}:{running.settings.probe_port}/healthz"
    async with visitor() as prober:
        for _ in range(15):
            async with prober.get(url) as answer:
                assert answer.status == 200
            (kept,) = prober.connector._conns.values()  # type: ignore[union-attr]
            await asyncio.sleep(0.1)
            assert kept[0][0].is_connected()
