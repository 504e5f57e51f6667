"""Opens one connection to NATS, on an address that the allow-list has just checked.

nats-py is never left to choose an address or to reconnect by itself (docs/decisions/0003).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from natsscaler.errors import NotAllowed
from natsscaler.network import AllowList

CONNECT_SECONDS = 5
PING_SECONDS = 10
NATS_ERRORS = (nats.errors.Error, OSError, TimeoutError)
"""What nats-py raises when the connection or the server fails."""


T = TypeVar("T")


class Dialled(NamedTuple):
    """An open connection, and what is set when it has ended."""

    client: Client
    closed: asyncio.Event


async def obediently(call: Awaitable[T]) -> T:
    """Await a call of nats-py, and end if the task was cancelled meanwhile.

    nats-py uses asyncio.wait_for, which in Python 3.11 loses a cancellation that comes with the answer.
    """
    try:
        return await call
    finally:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError


async def dial(
    url: str, others: tuple[str, ...], allow: AllowList, on_error: Callable[[Exception], Awaitable[None]]
) -> Dialled:
    """Connect to the first address that answers, of the URL's host or else of other servers (host:port).

    Raises NotAllowed or one of NATS_ERRORS: what the last address failed by.
    """
    parts = urlsplit(url)
    login = url.split("://", 1)[1].rpartition("@")[0]
    failure: Exception = OSError("no address")
    for server in (parts.netloc.rpartition("@")[2], *others):
        place = urlsplit(f"//{server}")
        host, port = place.hostname or "", place.port or 4222
        try:
            addresses = await allow.resolve(host, port)
        except (NotAllowed, OSError) as error:
            failure = error
            continue
        for address in addresses:
            shown = f"[{address}]" if ":" in address else address
            try:
                return await _dial(f"{parts.scheme}://{login and login + '@'}{shown}:{port}", host, on_error)
            except NATS_ERRORS as error:
                failure = error
    raise failure


async def _dial(url: str, host: str, on_error: Callable[[Exception], Awaitable[None]]) -> Dialled:
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    client = Client()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await obediently(
                client.connect(
                    url,
                    name="natsscaler",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_SECONDS,
                    ping_interval=PING_SECONDS,
                    error_cb=on_error,
                    closed_cb=on_closed,
                    tls_hostname=host,
                )
            )
    except BaseException:  # cancelled, too: nats-py would leave its socket open
        with suppress(*NATS_ERRORS):
            await client.close()
        raise
    return Dialled(client, closed)
