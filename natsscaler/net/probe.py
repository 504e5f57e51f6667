"""Finds out what listens at an address that NATS was expected at, so that a message can name the fix.

It is asked only after a connection has failed, and only at the address that failed: that one is allowed.
"""

import asyncio
import re
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple

PROBE_SECONDS = 1.0
GREETING_SECONDS = 0.3
"""How long a server is waited for that speaks first, as NATS does."""
MAX_BYTES = 8192


class Speaks(Enum):
    """What a port is for."""

    NOTHING = auto()
    """Nobody listens there."""
    NATS = auto()
    HTTP = auto()
    TLS = auto()
    UNKNOWN = auto()


class Listener(NamedTuple):
    """What listens at an address, and the error that it greets with."""

    speaks: Speaks
    error: str = ""


async def who_listens(address: str, port: int) -> Listener:
    """Connect and see; at the most PROBE_SECONDS and MAX_BYTES are spent on it."""
    said = b""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(address, port, limit=MAX_BYTES)
            try:
                said = await _listen(reader)
                if not said:
                    writer.write(b"GET / HTTP/1.0\r\n\r\n")
                    said = await reader.read(MAX_BYTES)
            finally:
                writer.transport.abort()
    except ConnectionRefusedError:
        return Listener(Speaks.NOTHING)
    except (OSError, TimeoutError):
        return Listener(Speaks.UNKNOWN)
    return _listener(said)


async def _listen(reader: asyncio.StreamReader) -> bytes:
    """Read what a server says unasked."""
    said = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(GREETING_SECONDS):
            while len(said) < MAX_BYTES and (more := await reader.read(MAX_BYTES)):
                said += more
    return said


def _listener(said: bytes) -> Listener:
    if said.startswith(b"INFO "):
        error = re.search(rb"^-ERR '([^'\r\n]{1,100})'", said, re.MULTILINE)
        return Listener(Speaks.NATS, error[1].decode(errors="replace") if error else "")
    if wants_tls(said) or said.startswith(b"\x15\x03"):
        return Listener(Speaks.TLS)
    return Listener(Speaks.HTTP if said.startswith(b"HTTP/") else Speaks.UNKNOWN)


def wants_tls(said: bytes | bytearray) -> bool:
    """Tell whether a server asks for TLS in the words of Go or nginx, as it was asked without."""
    return b"to an HTTPS server" in said or b"to HTTPS port" in said
