"""Opens one connection to NATS, on an address that the allow-list has just checked.

nats-py is never left to choose an address or to reconnect by itself (docs/decisions/0003). Nor is it trusted
with credentials where TLS is required: it goes on in plain text if the server offers no TLS, whatever the URL
says. So it is given functions, which it calls when the encryption, if any, is in place.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar
from urllib.parse import ParseResult, urlsplit

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport

from natsscaler.core.access import bare_host, servers
from natsscaler.core.errors import NotAllowed
from natsscaler.nats.bounded_parser import BoundedClient
from natsscaler.nats.credentials import NatsCredentials
from natsscaler.net.allowlist import AllowList
from natsscaler.net.probe import Speaks, who_listens
from natsscaler.net.tls import certificate_error, client_context

CONNECT_SECONDS = 5
CLOSE_SECONDS = 1
INBOX_PREFIX = "_INBOX.natsscaler"
"""Of the subjects that answers come on: one's own, so that nobody needs to be permitted those of others."""
PING_SECONDS = 2
"""Between signs of life; after three without an answer the connection is given up."""
NATS_ERRORS = (nats.errors.Error, OSError, TimeoutError)
"""What nats-py raises when the connection or the server fails."""
SILENT = (nats.errors.NoServersError, ConnectionError, TimeoutError)
"""What it raises when nobody answers; other addresses of the same host may have said more."""


REFUSAL = re.compile("nats: '")
"""How nats-py tells an error in the server's own words."""
SUBSCRIPTION_LIMIT = "maximum subscriptions exceeded"
"""What nats-server says to a subscription above the limit of a connection or account; it stays connected."""

T = TypeVar("T")


class _Client(BoundedClient):
    """Stays connected where the server does; nats-py would close at every error but those of permissions."""

    async def _process_err(self, err_msg: str) -> None:
        if SUBSCRIPTION_LIMIT in err_msg:
            await self._error_cb(nats.errors.Error(f"nats: {err_msg}"))
        else:
            await super()._process_err(err_msg)

    async def _connect_to_server(self, s: Srv) -> None:
        await super()._connect_to_server(s)
        if isinstance(self._transport, TcpTransport):
            self._transport = _Transport(self._transport)


class Dialled(NamedTuple):
    """An open connection, what is set when it has ended, and where it leads (URL of an address)."""

    client: Client
    closed: asyncio.Event
    place: str


class _Transport(TcpTransport):
    """Turns to TLS by asyncio's own means: nats-py's leave a warning in the log when the connection ends."""

    def __init__(self, plain: TcpTransport) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bare_io_reader = self._io_reader = plain._io_reader  # noqa: SLF001 - of the same class
        self._bare_io_writer = self._io_writer = plain._io_writer  # noqa: SLF001

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,  # noqa: ARG002 - what was opened has its buffers
        connect_timeout: int,
    ) -> None:
        host = uri if isinstance(uri, str) else uri.hostname
        if self._io_writer:
            async with asyncio.timeout(connect_timeout):
                await self._io_writer.start_tls(ssl_context, server_hostname=host)


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


async def hang_up(client: Client) -> None:
    """Close a connection, within CLOSE_SECONDS and also if cancelled meanwhile.

    nats-py's own closing leaves the socket open and tasks behind if it is cut short, and has no end where the
    peer takes nothing more or a TLS handshake has failed.
    """
    closing = asyncio.create_task(asyncio.wait_for(client.close(), CLOSE_SECONDS), name="hang up on NATS")
    cancelled = None
    while not closing.done():
        try:
            await asyncio.wait({closing})
        except asyncio.CancelledError as error:
            cancelled = error
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001 - nothing public aborts
    if writer:
        writer.transport.abort()
    if cancelled:
        raise cancelled
    with suppress(*NATS_ERRORS):
        closing.result()


async def dial(
    url: str,
    others: tuple[str, ...],
    credentials: NatsCredentials,
    allow: AllowList,
    on_error: Callable[[Exception], Awaitable[None]],
    *,
    left: str = "",
) -> Dialled:
    """Connect to the first address that answers, of the URLs' hosts or else of other servers (host:port).

    `left`: the place that a connection was lost to, which is tried last: it may accept and never answer.
    Raises NotAllowed or one of NATS_ERRORS: what the last address that answered at all failed by.
    """
    urls = [urlsplit(one) for one in servers(url)]
    scheme = "tls" if any(one.scheme == "tls" for one in urls) else "nats"
    failure: Exception | None = None
    places: list[tuple[str, str]] = []
    for named in (*urls, *(urlsplit(f"{scheme}://{other}") for other in others)):
        host, port = named.hostname or "", named.port or 4222
        try:
            addresses = await allow.resolve(host, port)
        except (NotAllowed, OSError) as error:
            failure = error
            continue
        name = (urls[0].hostname or host) if _is_address(host) and named not in urls else host
        shown = (f"[{address}]" if ":" in address else address for address in addresses)
        places += [(f"{named.scheme}://{address}:{port}", bare_host(name)) for address in shown]
    for place, name in sorted(places, key=lambda each: each[0] == left):
        guard = _Guard(credentials, encrypted=place.startswith("tls:"))
        try:
            return await _dial(place, name, guard, on_error)
        except NATS_ERRORS as error:
            why = await _explained(place, error)
            if failure is None or not isinstance(why, SILENT):
                failure = why
    raise failure or OSError("no address")


async def _explained(place: str, error: Exception) -> Exception:
    """Say what listens at an address where NATS was not met, if that can be found out."""
    if REFUSAL.match(str(error)) or certificate_error(error):
        return error
    parts = urlsplit(place)
    speaks, said = await who_listens(parts.hostname or "", parts.port or 4222)
    if speaks is Speaks.NOTHING:
        return ConnectionError(f"nothing listens on port {parts.port} there")
    if said:
        return nats.errors.Error(f"nats: '{said}'")
    if speaks in (Speaks.HTTP, Speaks.TLS):
        kind = {Speaks.HTTP: "HTTP, as its monitoring port does", Speaks.TLS: "TLS from the first byte"}[
            speaks
        ]
        return nats.errors.Error(
            f"port {parts.port} speaks {kind}: name the port for clients, 4222 by default"
        )
    return error


class _Guard:
    """Gives credentials away, but where TLS is required only on a connection that is encrypted.

    It is required by the URL, and by credentials that say how to speak it.
    """

    def __init__(self, credentials: NatsCredentials, *, encrypted: bool) -> None:
        self.context = credentials.tls.context() or (client_context() if encrypted else None)
        self._credentials = credentials
        self._handshakes = self._count()

    def check(self) -> None:
        """Raise an error if the connection is not encrypted and has to be."""
        if self.context and self._count() == self._handshakes:
            raise nats.errors.Error("the server offers no TLS, which the address or the credentials require")

    def login(self) -> dict[str, Any]:
        """Say who natsscaler is, in arguments of nats-py."""
        mine = self._credentials
        if mine.user:
            return {"user": self._giving(mine.user), "password": self._giving(mine.password)}
        if mine.token:
            return {"token": self._giving(mine.token)}
        if mine.jwt:
            return {"user_jwt_cb": self._giving(mine.jwt.encode()), "signature_cb": mine.sign}
        return {"nkeys_seed_str": mine.seed} if mine.seed else {}

    def _count(self) -> int:
        return self.context.session_stats()["connect_good"] if self.context else 0

    def _giving(self, value: T) -> Callable[[], T]:
        def give() -> T:
            self.check()
            return value

        return give


async def _dial(
    url: str, host: str, guard: _Guard, on_error: Callable[[Exception], Awaitable[None]]
) -> Dialled:
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    client = _Client()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await obediently(
                client.connect(
                    url,
                    name="natsscaler",
                    inbox_prefix=INBOX_PREFIX,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_SECONDS,
                    ping_interval=PING_SECONDS,
                    error_cb=on_error,
                    closed_cb=on_closed,
                    tls=guard.context,
                    tls_hostname=host,
                    **guard.login(),
                )
            )
        guard.check()
    except BaseException:  # cancelled, too: nats-py would leave its socket open
        await hang_up(client)
        raise
    return Dialled(client, closed, url)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
