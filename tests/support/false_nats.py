"""A server that speaks NATS as far as to be listened to, and then does as it pleases.

In this process, or in one of its own where what it does takes time:

    python -m tests.support.false_nats PORT KIND SERVER_ID
"""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum

from natsscaler.demo.ports import free_port

INFO = b'INFO {"server_id":"S","version":"2.12.0","max_payload":1048576}\r\n'
USER_INFO = "$SYS.REQ.USER.INFO"
DELETED = "$JS.EVENT.ADVISORY.CONSUMER.DELETED"
BATCH, FEW = 200, 20
"""What is sent at once, and what of a flood that does not end the connection."""
STEADY_SECONDS = 0.01


class Kind(StrEnum):
    """What it sends without end."""

    NOTHING = "nothing"
    ONE_CONSUMER = "one-consumer"
    """That the consumer of the rules was deleted."""
    STEADILY = "steadily"
    """The same, but no more than is read at once."""
    MANY_CONSUMERS = "many-consumers"
    DENIALS = "denials"
    """Of what nobody asked for."""


def pieces(kind: Kind, sid: str) -> Iterator[bytes]:
    """Give what is sent; `sid` is of the subscription to deletions of consumers."""
    numbers = itertools.count()
    while True:
        lines = []
        for number in itertools.islice(numbers, FEW if kind is Kind.STEADILY else BATCH):
            if kind is Kind.DENIALS:
                lines.append(f"-ERR 'Permissions Violation for Subscription to \"s.{number}\"'\r\n")
                lines.append(f"-ERR 'Permissions Violation for Publish to \"p.{number}\"'\r\n")
            else:
                name = f"worker-{number}" if kind is Kind.MANY_CONSUMERS else "worker"
                lines.append(f"MSG {DELETED}.ORDERS.{name} {sid} 0\r\n\r\n")
        yield "".join(lines).encode()


class FalseNats:
    """Answers requests with what it was given, and no others."""

    def __init__(self, kind: Kind, server_id: str, answers: Mapping[str, bytes]) -> None:
        user = json.dumps({"server": {"id": server_id}, "data": {"account": "$G"}}).encode()
        self._answers = {USER_INFO: user, **answers}
        self._kind = kind
        self.port = 0
        self.says: Mapping[str, bytes] = {}
        """What it sends to who subscribes to a subject."""
        self.requests: list[str] = []
        """Subjects of all that was asked."""
        self.pongs: int | None = None
        """To how many PINGs of each connection it answers, and so how many flushes; None: all."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        subscribed: dict[str, str] = {}
        flood: asyncio.Task[None] | None = None
        pings = 0
        writer.write(INFO)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := (await reader.readline()).decode():
                verb, *words = line.split() or [""]
                if verb == "PING":
                    pings += 1
                    writer.write(b"PONG\r\n" if self.pongs is None or pings <= self.pongs else b"")
                elif verb == "SUB":
                    subscribed[words[0]] = words[-1]
                    writer.write(self.says.get(words[0], b""))
                elif verb == "PUB":
                    await reader.readexactly(int(words[-1]) + 2)
                    self._answer(writer, words[0], words[1], subscribed)
                    if words[0] == USER_INFO and self._kind is not Kind.NOTHING:
                        flood = asyncio.create_task(self._flood(writer, subscribed[f"{DELETED}.>"]))
        if flood:
            flood.cancel()
        writer.close()

    def _answer(
        self, writer: asyncio.StreamWriter, subject: str, reply: str, subscribed: Mapping[str, str]
    ) -> None:
        self.requests.append(subject)
        answer = self._answers.get(subject)
        if answer is not None:
            sid = next(sid for subject, sid in subscribed.items() if subject.startswith("_INBOX"))
            writer.write(f"MSG {reply} {sid} {len(answer)}\r\n".encode() + answer + b"\r\n")

    async def _flood(self, writer: asyncio.StreamWriter, sid: str) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces(self._kind, sid):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(STEADY_SECONDS if self._kind is Kind.STEADILY else 0)


@asynccontextmanager
async def false_nats(server_id: str, answers: Mapping[str, bytes]) -> AsyncIterator[FalseNats]:
    """Serve in this process, at every address of this machine."""
    made = FalseNats(Kind.NOTHING, server_id, answers)
    server = await asyncio.start_server(made.take, "0.0.0.0", 0)  # noqa: S104 - each address is one server
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def flooding_nats(kind: Kind, server_id: str) -> AsyncIterator[str]:
    """Serve in a process of its own; yields the URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.false_nats", str(port), kind, server_id]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"serving\n"
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _main() -> None:
    _, port, kind, server_id = sys.argv
    made = FalseNats(Kind(kind), server_id, {})
    server = await asyncio.start_server(made.take, "127.0.0.1", int(port))
    print("serving", flush=True)  # noqa: T201 - who started it waits for this
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    os.nice(10)  # it would have a machine of its own
    asyncio.run(_main())
