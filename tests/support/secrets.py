"""Secrets of rules, and nats-servers that want them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from natsscaler.demo.nats_server import NatsServer
from tests.support.world import create_consumer, create_stream, user

Servers = Callable[..., Awaitable[NatsServer]]


PASSWORD = 'authorization {{ users: [{{user: app, password: "{}"}}] }}\n'


def login(user: str, password: str) -> dict[str, str]:
    return {"username": user, "password": password}


async def prepare(url: str, **options: Any) -> None:
    """Create the stream and the consumer as somebody who may."""
    async with user(url, **options) as client:
        await create_stream(client)
        await create_consumer(client)


INFO = b'INFO {"server_id":"S","version":"2.12.0","auth_required":true,"nonce":"n","max_payload":1048576}\r\n'


class Recorder:
    """Speaks NATS without TLS, lets everybody in, and keeps what it receives."""

    def __init__(self) -> None:
        self.received = b""
        self.connections = 0
        self.port = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(INFO)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.received += line
                writer.write(b"PONG\r\n" if line.startswith(b"PING") else b"")
        writer.close()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Recorder"]:
        server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
