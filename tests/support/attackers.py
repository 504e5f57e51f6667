"""Servers of a tenant who means harm; `attacker` runs one as a process of its own, as on another machine.

As a program it writes the addresses that rules are to lead to, and then a line whenever somebody has
connected, and another one when that is over.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx

MIB = 2**20
Take = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FloodingNats:
    """Speaks NATS as far as to be connected to, and then sends what it wants to, again and again."""

    def __init__(self, opening: bytes, flood: Callable[[], Iterator[bytes]]) -> None:
        self.sent = 0
        """Bytes of the flood."""
        self.url = ""
        self._opening = opening
        self._flood = flood

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"S","version":"2.12.0","max_payload":1048576}\r\n')
        with contextlib.suppress(OSError):
            while not (await reader.readline()).startswith(b"PING"):
                pass
            writer.write(b"PONG\r\n" + self._opening)
            for piece in self._flood():
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
                await asyncio.sleep(0)  # drain does not always let others in
        writer.close()


@contextlib.asynccontextmanager
async def flooding_nats(opening: bytes, flood: Callable[[], Iterator[bytes]]) -> AsyncIterator[FloodingNats]:
    made = FloodingNats(opening, flood)
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


def addresses() -> Iterator[bytes]:
    """Tell of more and more other servers."""
    for block in range(10_000):
        told = ",".join(f'"10.{block // 250}.{block % 250}.{n % 250}:{n}"' for n in range(1000, 2000))
        yield b'INFO {"connect_urls":[' + told.encode() + b"]}\r\n"


def bytes_without_end() -> Iterator[bytes]:
    """Send 125 MiB of the same byte."""
    yield from 2000 * [2**16 * b"x"]


def large_messages() -> Iterator[bytes]:
    """Send 5 messages of 60 MiB."""
    yield from 5 * [b"MSG a 1 62914560\r\n", *(960 * [2**16 * b"x"]), b"\r\n"]


def filled(before: bytes, piece: bytes, after: bytes, mib: int = 60) -> Iterator[bytes]:
    """Put so much of the same into the document of a server with one stream, never having all of it."""
    yield b'{"server_id":"A","now":"2026-01-01T00:00:00Z","account_details":[{"name":"A",'
    yield b'"stream_detail":[{"state":{"messages":0},' + before
    for _ in range(mib * 16):
        yield piece * (MIB // 16 // len(piece))
    yield after + b"}]}]}"


EMPTY_OBJECTS = (b'"name":"S","config":{"sources":[', b"{},", b"{}]}")


async def _request(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    return head.split()[1].decode()


def slow(upstream: str, seconds: str) -> Take:
    """Say what another server says, so late."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = await _request(reader)
        async with httpx.AsyncClient(base_url=upstream, trust_env=False) as client:
            body = (await client.get(path)).content
        if path.startswith("/jsz"):
            await asyncio.sleep(float(seconds))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)

    return take


def decodes_to_more() -> Take:
    """Answer with tens of MiB of empty objects."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for piece in filled(*EMPTY_OBJECTS):
            writer.write(piece)
            await writer.drain()

    return take


def silent() -> Take:
    """Accept connections and never answer."""

    async def take(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    return take


def floods(opening: bytes, flood: Callable[[], Iterator[bytes]]) -> Callable[[], Take]:
    return lambda: FloodingNats(opening, flood).take


KINDS: dict[str, Callable[..., Take]] = {
    "slow": slow,
    "silent": silent,
    "decodes-to-more": decodes_to_more,
    "addresses": floods(b"", addresses),
    "message-without-end": floods(b"MSG a 1 99999999999999\r\n", bytes_without_end),
    "large-messages": floods(b"", large_messages),
}


async def serve(kind: str, servers: int, *arguments: str) -> None:
    """Serve until killed."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        print("connected", flush=True)  # noqa: T201 - what the parent reads
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, httpx.HTTPError):
            await KINDS[kind](*arguments)(reader, writer)
        print("over", flush=True)  # noqa: T201
        writer.close()

    made = [await asyncio.start_server(take, "127.0.0.1", 0, backlog=1000) for _ in range(servers)]
    print(json.dumps([f"127.0.0.1:{one.sockets[0].getsockname()[1]}" for one in made]), flush=True)  # noqa: T201
    await asyncio.Event().wait()


class Attacker:
    """One such process."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self.addresses: list[str] = []
        self._output = output

    async def listens(self) -> None:
        self.addresses = json.loads(await self._output.readline())

    async def bites(self, times: int) -> None:
        """Wait until that has been so often: a connection begun or over."""
        for _ in range(times):
            assert await self._output.readline()


@contextlib.asynccontextmanager
async def attacker(kind: str, servers: int = 1, *arguments: str) -> AsyncIterator[Attacker]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.attackers", kind, str(servers), *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    made = Attacker(process.stdout)
    try:
        await made.listens()
        yield made
    finally:
        process.kill()
        await process.communicate()


if __name__ == "__main__":
    os.nice(10)  # it would have a machine of its own
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
