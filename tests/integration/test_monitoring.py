"""Monitoring against a real nats-server, and against servers that answer in every wrong way."""

import asyncio
import gc
import itertools
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from aiohttp import web

from natsscaler.core.access import Access
from natsscaler.core.errors import MonitoringError
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.reasons import Reason
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port
from natsscaler.nats import monitoring
from natsscaler.nats.http import PIECES, Fetching, _Receipt
from natsscaler.nats.monitoring import Monitoring, no_credentials
from natsscaler.net.allowlist import AllowList
from tests.conftest import in_background
from tests.support.until import until

pytestmark = pytest.mark.timeout(30)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VARZ = {"server_id": "S1", "server_name": "one", "port": 4222}


def moment(seconds_ago: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat()


def jsz(*accounts: str, **fields: Any) -> dict[str, Any]:
    return {
        "server_id": "S1",
        "now": moment(),
        "total": len(accounts),
        "account_details": [{"name": name, "id": name} for name in accounts],
    } | fields


@asynccontextmanager
async def serve(answer: Handler, healthz: Handler | None = None) -> AsyncIterator[str]:
    """Serve `/jsz` by this handler, and a right `/varz`; who asks for the first time is told the time."""
    met = False

    async def introduce(request: web.Request) -> web.StreamResponse:
        nonlocal met
        if met:
            return await answer(request)
        met = True
        return web.json_response(jsz())

    async def varz(_: web.Request) -> web.StreamResponse:
        return web.json_response(VARZ)

    app = web.Application()
    app.router.add_get("/jsz", introduce)
    if healthz:
        app.router.add_get("/healthz", healthz)
    app.router.add_get("/varz", varz)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def always(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, headers=headers)

    return answer


def documents(*given: dict[str, Any] | Iterator[dict[str, Any]]) -> Handler:
    """Answer with one document after the other."""
    rest = itertools.chain.from_iterable([one] if isinstance(one, dict) else one for one in given)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(next(rest))

    return answer


@asynccontextmanager
async def limited(how: Fetching) -> AsyncIterator[Monitoring]:
    made = Monitoring(AllowList(in_cluster=False), no_credentials, how)
    yield made
    await made.close()


async def failure(reader: Monitoring, url: str) -> MonitoringError:
    with pytest.raises(MonitoringError) as caught:
        await reader.read(Access(url))
    assert len(caught.value.message) <= 250
    assert caught.value.message.isprintable()
    return caught.value


def names(reading: Reading) -> list[str]:
    return [account.name for account in reading.view.accounts]


async def test_reads_a_real_server(reader: Monitoring, nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    await js.add_consumer("ORDERS", durable_name="worker", ack_policy="explicit")
    for _ in range(3):
        await js.publish("orders.new", b"")
    await client.close()

    reading = await reader.read(Access(nats_server.monitoring_url))

    [(account, stream)] = reading.view.streams_for("orders.new")
    assert (account.name, stream.name, stream.state.messages) == ("$G", "ORDERS", 3)
    assert [(c.name, c.num_pending) for c in stream.consumer_detail] == [("worker", 3)]
    assert not reading.view.disabled
    assert reading.server.server_name == "nats"
    assert reading.nats_url == nats_server.url
    [(place, seconds)] = reading.costs
    assert place == f"127.0.0.1:{nats_server.monitoring_port}"
    assert 0 < seconds < 5
    assert (await reader.read(Access(f"{nats_server.monitoring_url}/"))).view.accounts, (
        "a slash changes nothing"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (always("no\n\x1b[31m" + 500 * "x", status=500), Reason.MONITORING_HTTP_STATUS),
        (always("", status=404), Reason.MONITORING_HTTP_STATUS),
        (always("", status=302, headers={"Location": "/varz"}), Reason.MONITORING_HTTP_STATUS),
        (always("<html>\x00 hello"), Reason.MONITORING_UNREADABLE),
        (always(""), Reason.MONITORING_UNREADABLE),
        (always(json.dumps(jsz("A"))[:-5]), Reason.MONITORING_UNREADABLE),
        (always("[]"), Reason.MONITORING_UNREADABLE),
        (always("{}"), Reason.MONITORING_UNREADABLE),
        (always(json.dumps(jsz(total="many"))), Reason.MONITORING_UNREADABLE),
        (always(json.dumps(jsz(server_id="S2"))), Reason.LEADER_UNCLEAR),
    ],
)
async def test_wrong_answers(reader: Monitoring, answer: Handler, reason: Reason) -> None:
    async with serve(answer) as url:
        assert (await failure(reader, url)).reason is reason


async def test_a_path_too_many_is_told(reader: Monitoring, nats_server: NatsServer) -> None:
    told = await failure(reader, f"{nats_server.monitoring_url}/jsz")
    assert str(told).startswith(f"{nats_server.monitoring_url}/jsz answered HTTP status 404")


@pytest.mark.parametrize("addresses", [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")], ids=str)
async def test_an_address_that_refuses_says_more_than_one_that_is_dead(
    reader: Monitoring, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    async def resolve(*_: object) -> tuple[str, ...]:
        return addresses

    monkeypatch.setattr(AllowList, "resolve", resolve)
    async with serve(always("", status=401)) as url:
        assert (await failure(reader, url)).reason is Reason.MONITORING_HTTP_STATUS


async def test_an_answer_that_breaks_off(reader: Monitoring) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"server_id": ')
        assert request.transport
        request.transport.close()
        return response

    async with serve(answer) as url:
        assert (await failure(reader, url)).reason is Reason.MONITORING_UNREACHABLE


async def test_jetstream_disabled(reader: Monitoring) -> None:
    async with serve(documents(jsz(disabled=True))) as url:
        assert (await reader.read(Access(url))).view.disabled


async def test_the_same_moment_twice_is_stale(reader: Monitoring) -> None:
    once = jsz()
    async with serve(documents(once, once, jsz())) as url:
        await reader.read(Access(url))
        assert (await failure(reader, url)).reason is Reason.MONITORING_STALE
        await reader.read(Access(url))


async def test_a_forgotten_endpoint_is_not_stale(reader: Monitoring) -> None:
    once, later = jsz(), jsz()
    async with serve(documents(once, once, later)) as url:
        await reader.read(Access(url))
        await reader.forget(Access(url))
        await reader.read(Access(url))


@pytest.mark.parametrize("seconds", [0.5, 8, 3600])
async def test_an_answer_from_before_it_was_asked_for_is_stale(reader: Monitoring, seconds: float) -> None:
    def answers() -> Iterator[dict[str, Any]]:
        yield jsz()
        for late in (seconds, seconds / 2):
            yield jsz(now=moment(late))
        yield jsz()

    async with serve(documents(answers())) as url:
        await reader.read(Access(url))
        assert (await failure(reader, url)).reason is Reason.MONITORING_STALE
        if seconds > 1:
            assert (await failure(reader, url)).reason is Reason.MONITORING_STALE
            await reader.read(Access(url))


async def test_what_a_server_says_first_is_not_believed(reader: Monitoring) -> None:
    """A cache in front may have kept it for any time: the second answer shows how the clock goes."""
    answers = documents(jsz("A", now="2026-01-01T00:00:00Z"), jsz("B"))
    runner = web.AppRunner(app := web.Application(), shutdown_timeout=0.1)
    app.router.add_get("/jsz", answers)
    app.router.add_get("/varz", always(json.dumps(VARZ)))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert names(await reader.read(Access(f"http://127.0.0.1:{runner.addresses[0][1]}"))) == ["B"]
    await runner.cleanup()


async def test_a_server_that_has_not_found_its_streams_yet_is_not_believed(reader: Monitoring) -> None:
    """It takes no clients until it has, which its health tells."""
    health: list[tuple[int, dict[str, Any]]] = [
        (500, {"status": "error", "errors": [{"type": "CONNECTION", "error": "failed to be ready"}]}),
        (500, {"status": "error", "error": "failed to be ready for connections"}),
        (200, {"status": "ok"}),
    ]

    async def healthz(_: web.Request) -> web.StreamResponse:
        status, said = health.pop(0)
        return web.json_response(said, status=status)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(jsz("A"))

    async with serve(answer, healthz) as url:
        for _ in range(2):
            error = await failure(reader, url)
            assert error.reason is Reason.MONITORING_INCOMPLETE
            assert "one is starting" in error.message
        for _ in range(2):
            assert names(await reader.read(Access(url))) == ["A"]
    assert health == [], "it is asked until it is well"


async def test_pages_are_merged(reader: Monitoring) -> None:
    accounts = ["A", "B", "C"]
    offsets: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        offsets.append(int(request.query.get("offset", 0)))
        return web.json_response(jsz(*accounts[offsets[-1] :][:2], total=3))

    async with serve(answer) as url:
        assert names(await reader.read(Access(url))) == accounts
    assert offsets == [0, 2]


@pytest.mark.parametrize("second", [jsz(total=3), jsz("A", "B", total=3), jsz("C", total=3, server_id="S2")])
async def test_missing_accounts_are_incomplete(reader: Monitoring, second: dict[str, Any]) -> None:
    async with serve(documents(jsz("A", "B", total=3), second)) as url:
        assert (await failure(reader, url)).reason is Reason.MONITORING_INCOMPLETE


@pytest.mark.parametrize("begins", [True, False])
async def test_a_server_that_hangs(begins: bool) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begins:
            await response.prepare(request)
            await response.write(b"{")
        await asyncio.Event().wait()
        return response

    async with serve(answer) as url, limited(Fetching(seconds=0.3)) as reader:
        error = await failure(reader, url)
    assert error.reason is Reason.MONITORING_TIMEOUT
    assert "0.3 s" in error.message


async def test_too_large() -> None:
    answer = always(json.dumps(jsz(padding=2**20 * "x")))
    async with serve(answer) as url, limited(Fetching(max_bytes=2**20)) as reader:
        error = await failure(reader, url)
    assert error.reason is Reason.MONITORING_TOO_LARGE
    assert "1 MiB" in error.message


@pytest.mark.parametrize(
    "pieces",
    [(b"HTTP/1.1 103 Early Hints\r\n\r\n",), (b"HTTP/1.", b"1 1", b"02 \r\n\r\n")],
    ids=["at-once", "in-pieces"],
)
async def test_interim_answers_end_the_connection(reader: Monitoring, pieces: tuple[bytes, ...]) -> None:
    """They may come without end, and each would be gone through without a turn for others."""
    taken = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while not taken.is_set():
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        error = await failure(reader, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        taken.set()
    assert error.reason is Reason.MONITORING_UNREACHABLE
    assert "interim answer" in error.message


async def test_an_answer_that_comes_byte_by_byte_leaves_others_their_turn(
    reader: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = most = 0
    grow = _Receipt.grow

    async def count(receipt: _Receipt, before: int, after: int) -> None:
        nonlocal pieces
        pieces += 1
        await grow(receipt, before, after)

    async def others() -> None:
        nonlocal pieces, most
        while True:
            most, pieces = max(most, pieces), 0
            await asyncio.sleep(0)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        assert request.transport
        request.transport.write(40_000 * b"1\r\n \r\n")
        await response.write(json.dumps(jsz("A")).encode())
        return response

    monkeypatch.setattr(_Receipt, "grow", count)
    async with serve(answer) as url, in_background(others()):
        assert names(await reader.read(Access(url))) == ["A"]
    assert 0 < most <= PIECES


@pytest.mark.parametrize("begins", ["{", "<"], ids=["too-large", "unreadable"])
async def test_an_answer_that_is_of_no_use_is_not_kept_in_memory(begins: str) -> None:
    size = 8 * 2**20
    answer, limit = always(begins + size * " "), 2 * size if begins == "<" else size
    gc.disable()  # which would find it at some time, perhaps only after many more answers
    try:
        async with limited(Fetching(max_bytes=limit)) as reader:
            async with serve(answer) as url:  # which has copies of its own until it has ended
                await failure(reader, url)
                tracemalloc.start()
                for _ in range(3):
                    await failure(reader, url)
            # The thread that decoded the last one may be about to let go of it.
            await until(lambda: tracemalloc.get_traced_memory()[0] < size)
    finally:
        tracemalloc.stop()
        gc.enable()


async def test_large_answers_take_turns_so_that_memory_holds_one_of_them() -> None:
    count, mebibyte, piece = 16, 2**20, bytes(2**16)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {count * mebibyte}\r\n\r\n".encode())
        for _ in range(count * mebibyte // len(piece)):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with AsyncExitStack() as stack:
        servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(4)]
        for server in servers:
            await stack.enter_async_context(server)
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        reader = await stack.enter_async_context(limited(Fetching(seconds=30)))
        tracemalloc.start()
        errors = await asyncio.gather(*(failure(reader, url) for url in urls))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert {error.reason for error in errors} == {Reason.MONITORING_UNREADABLE}
    assert most < 2 * count * mebibyte


async def test_nobody_listens(reader: Monitoring) -> None:
    port = free_port()
    assert (await failure(reader, f"http://127.0.0.1:{port}")).reason is Reason.MONITORING_UNREACHABLE


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
async def test_forbidden_addresses(reader: Monitoring, host: str) -> None:
    assert (await failure(reader, f"http://{host}:8222")).reason is Reason.ADDRESS_NOT_ALLOWED


async def test_loopback_in_a_cluster() -> None:
    reader = Monitoring(AllowList(in_cluster=True))
    assert (await failure(reader, "http://127.0.0.1:8222")).reason is Reason.ADDRESS_NOT_ALLOWED
    await reader.close()


@pytest.mark.parametrize("host", [70 * "a", "nats..svc"])
async def test_names_that_cannot_be(reader: Monitoring, host: str) -> None:
    assert (await failure(reader, f"http://{host}:8222")).reason is Reason.MONITORING_UNREACHABLE


@pytest.mark.parametrize("asked", [True, False])
async def test_a_proxy_is_used_only_if_the_settings_name_it(
    monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """The proxy is told the address that was checked, not the name."""
    seen: list[str] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        seen.append(str(request.url))
        return web.json_response(VARZ if request.path == "/varz" else jsz("by the proxy"))

    proxy = web.AppRunner(app := web.Application(), shutdown_timeout=0.1)
    app.router.add_route("*", "/{path:.*}", forward)
    await proxy.setup()
    await web.TCPSite(proxy, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{proxy.addresses[0][1]}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, url)
    how = Fetching(proxy=url if asked else None)
    async with serve(documents(jsz("direct"))) as there, limited(how) as reader:
        found = await reader.read(Access(there.replace("127.0.0.1", "localhost")))
    await proxy.cleanup()
    assert names(found) == (["by the proxy"] if asked else ["direct"])
    assert [one.partition("/jsz")[0] for one in seen if "/jsz" in one] == 2 * ([there] if asked else [])


async def test_a_server_that_always_has_one_more_account(
    reader: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "READ_SECONDS", 0.3)
    numbers = itertools.count()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(jsz(f"A{next(numbers)}", total=10**9))

    async with serve(answer) as url:
        assert (await failure(reader, url)).reason is Reason.MONITORING_TIMEOUT
