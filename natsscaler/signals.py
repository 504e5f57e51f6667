"""NATS connections, advisories and doorbells: what wakes a rule before its deadline.

Nothing heard here is ever acted upon as a number: it only rings, and the truth is read from `/jsz`.
JetStream sends no advisory when a message is published, so a doorbell counts messages: a core subscription
with auto-unsubscribe, which the server itself ends. A connection is never reconnected by nats-py: each
attempt is a new client on an address that the allow-list has just checked (docs/decisions/0003).
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from natsscaler.errors import Finding, NotAllowed, Reason, excerpt
from natsscaler.metrics import Metrics
from natsscaler.network import AllowList

log = logging.getLogger(__name__)

ADVISORY = "$JS.EVENT.ADVISORY."
STREAM_ACTIONS = ("CREATED", "UPDATED", "DELETED", "LEADER_ELECTED", "QUORUM_LOST")
CONSUMER_ACTIONS = ("CREATED", "DELETED", "PAUSE", "LEADER_ELECTED", "QUORUM_LOST")
USER_INFO = "$SYS.REQ.USER.INFO"
CONNECT_SECONDS = 5
FLUSH_SECONDS = 2
RETRY_SECONDS = (0.5, 10.0)
"""Between attempts to connect: the first wait, and the one that doubling ends at."""
PING_SECONDS = 10
NATS_ERRORS = (nats.errors.Error, OSError, TimeoutError)


class Advisory(NamedTuple):
    """A JetStream event: which stream, which consumer ("" for the stream itself), what happened."""

    action: str
    stream: str
    consumer: str


class UserInfo(Struct):
    """The answer of `$SYS.REQ.USER.INFO` (nats-server: server/events.go, userInfoReq)."""

    class Server(Struct):
        """The server that answered."""

        id: str = ""
        cluster: str = ""

    class Data(Struct):
        """Who the client is."""

        account: str = ""

    server: Server
    data: Data


class Doorbell:
    """Rings once, after a number of messages on the subjects that feed a backlog."""

    def __init__(self, limit: int, ring: Callable[[], None], metrics: Metrics) -> None:
        self.limit = limit
        self.rang = False
        self.last_delivery = -1.0
        """On the clock of time.monotonic; negative: none yet."""
        self.largest = 1
        """Size of the largest message seen, in bytes."""
        self._ring = ring
        self._metrics = metrics
        self._subscriptions: list[Subscription] = []

    @property
    def deliveries(self) -> int:
        """Messages delivered so far."""
        return sum(subscription.delivered for subscription in self._subscriptions)

    async def subscribe(self, client: Client, subjects: Sequence[str]) -> None:
        """Start listening; the caller must flush before it reads what the doorbell is to guard."""
        for subject in subjects:
            subscription = await client.subscribe(subject, cb=self._deliver)
            self._subscriptions.append(subscription)
            await subscription.unsubscribe(limit=self.limit)

    async def lower(self, limit: int) -> None:
        """Ring after fewer messages. Never the other way: a raised limit can leave the doorbell deaf."""
        if limit >= self.limit or self.rang:
            return
        self.limit = limit
        remaining = limit - self.deliveries
        if remaining <= 0:
            self._rings()
            return
        for subscription in self._subscriptions:
            with suppress(*NATS_ERRORS):
                await subscription.unsubscribe(limit=subscription.delivered + remaining)

    async def close(self) -> None:
        """Stop listening."""
        self.rang = True
        for subscription in self._subscriptions:
            with suppress(*NATS_ERRORS):
                await subscription.unsubscribe()

    async def _deliver(self, message: Msg) -> None:
        self.last_delivery = time.monotonic()
        self.largest = max(self.largest, len(message.data))
        self._metrics.doorbell.inc()
        if self.deliveries >= self.limit:
            self._rings()

    def _rings(self) -> None:
        if not self.rang:
            self.rang = True
            self._ring()


class Connection:
    """One supervised connection to NATS, shared by all rules that lead there."""

    def __init__(
        self,
        url: str,
        allow: AllowList,
        metrics: Metrics,
        advised: Callable[["Connection", Advisory | None], Awaitable[None]],
        *,
        advisories: bool,
    ) -> None:
        self.url = url
        self.account = ""
        self.server_id = ""
        self.cluster = ""
        self._state = Finding(Reason.NOT_CONNECTED, f"not connected to NATS at {_shown(url)} yet")
        self._allow = allow
        self._metrics = metrics
        self._advised = advised
        self._advisories = advisories
        self._client: Client | None = None
        self._closed = asyncio.Event()
        self._denied: set[str] = set()
        self._gossiped: tuple[str, ...] = ()

    @property
    def state(self) -> Finding:
        """Listening, or why not."""
        return self._state

    def denied(self, subjects: Sequence[str]) -> str | None:
        """Return one of the subjects that the server does not let us subscribe to, if there is one."""
        return next((subject for subject in subjects if subject.lower() in self._denied), None)

    async def doorbell(
        self, subjects: Sequence[str], limit: int, ring: Callable[[], None]
    ) -> Doorbell | None:
        """Subscribe a doorbell; it guards only after `settle`. None where there is no connection."""
        if self._client is None:
            return None
        bell = Doorbell(limit, ring, self._metrics)
        try:
            await bell.subscribe(self._client, subjects)
        except NATS_ERRORS:
            await bell.close()
            return None
        return bell

    async def settle(self) -> bool:
        """Return once the server has seen every subscription made so far; False if it has not.

        Twice, because nats-py can write the PING of a flush ahead of a SUB that is still in its buffer.
        """
        if self._client is None:
            return False
        try:
            await self._client.flush(FLUSH_SECONDS)
            await self._client.flush(FLUSH_SECONDS)
        except NATS_ERRORS:
            self._closed.set()
            return False
        return True

    async def run(self) -> None:
        """Stay connected, for ever."""
        wait = RETRY_SECONDS[0]
        try:
            while True:
                try:
                    await self._connect()
                    wait = RETRY_SECONDS[0]
                    await self._advised(self, None)
                    await self._closed.wait()
                    self._lost("the connection was lost")
                except (NotAllowed, msgspec.MsgspecError, *NATS_ERRORS) as error:
                    self._lost(excerpt(str(error)) or type(error).__name__)
                except Exception:  # a supervision point: what a strange server sends must not end the process
                    log.exception("The connection to NATS at %s failed", _shown(self.url))
                    self._lost("the server does not speak as NATS does")
                await self._drop()
                await self._advised(self, None)
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS[1])
        finally:
            await self._drop()

    def _lost(self, why: str) -> None:
        reason = Reason.NOT_CONNECTED
        message = f"not connected to NATS at {_shown(self.url)}: {why}"
        if (reason, message) != self._state:
            log.warning("%s", message)
        self._state = Finding(reason, message)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._metrics.connected.dec()
            with suppress(*NATS_ERRORS):
                await client.close()

    async def _connect(self) -> None:
        closed = self._closed = asyncio.Event()
        self._denied.clear()

        async def on_closed() -> None:
            closed.set()

        client = await self._open(on_closed)
        self._client = client
        self._metrics.connected.inc()
        if self._advisories:
            for kind, actions in (("STREAM", STREAM_ACTIONS), ("CONSUMER", CONSUMER_ACTIONS)):
                for action in actions:
                    await client.subscribe(f"{ADVISORY}{kind}.{action}.>", cb=self._advisory)
        await self._identify(client)
        await client.flush(FLUSH_SECONDS)
        self._gossiped = tuple(uri.netloc for uri in client.discovered_servers)
        denied = next(iter(sorted(self._denied)), None)
        if denied:
            self._state = Finding(
                Reason.PERMISSION_DENIED,
                f"the NATS user may not subscribe to or publish on {excerpt(denied)}",
            )
        elif not self.account:
            self._state = Finding(
                Reason.PERMISSION_DENIED,
                f"the NATS user got no answer on {USER_INFO}: permit it to publish there",
            )
        else:
            self._state = Finding(Reason.LISTENING, f"listening on NATS at {_shown(self.url)}")
        log.info("Connected to NATS at %s, account %s", _shown(self.url), self.account)

    async def _open(self, on_closed: Callable[[], Awaitable[None]]) -> Client:
        parts = urlsplit(self.url)
        login = self.url.split("://", 1)[1].rpartition("@")[0]
        failure: Exception = OSError("no address")
        for server in (parts.netloc.rpartition("@")[2], *self._gossiped):
            place = urlsplit(f"//{server}")
            host, port = place.hostname or "", place.port or 4222
            try:
                addresses = await self._allow.resolve(host, port)
            except (NotAllowed, OSError) as error:
                failure = error
                continue
            for address in addresses:
                shown = f"[{address}]" if ":" in address else address
                client = Client()
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await client.connect(
                            f"{parts.scheme}://{login + '@' if login else ''}{shown}:{port}",
                            name="natsscaler",
                            allow_reconnect=False,
                            max_reconnect_attempts=1,
                            reconnect_time_wait=0,
                            connect_timeout=CONNECT_SECONDS,
                            ping_interval=PING_SECONDS,
                            error_cb=self._error,
                            closed_cb=on_closed,
                            tls_hostname=host,
                        )
                except NATS_ERRORS as error:
                    failure = error
                    with suppress(*NATS_ERRORS):
                        await client.close()
                else:
                    return client
        raise failure

    async def _identify(self, client: Client) -> None:
        self.account = self.server_id = self.cluster = ""
        with suppress(nats.errors.TimeoutError, nats.errors.NoRespondersError):
            answer = await client.request(USER_INFO, timeout=FLUSH_SECONDS)
            info = msgspec.json.decode(answer.data, type=UserInfo)
            self.account = info.data.account
            self.server_id, self.cluster = info.server.id, info.server.cluster

    async def _error(self, error: Exception) -> None:
        denied = re.search(r"permissions violation for \w+ to \"([^\"]+)\"", str(error).lower())
        if denied:
            self._denied.add(denied[1])
            await self._advised(self, None)

    async def _advisory(self, message: Msg) -> None:
        kind, action, stream, *consumer = message.subject.removeprefix(ADVISORY).split(".")
        consumed = ".".join(consumer) if kind == "CONSUMER" else ""
        await self._advised(self, Advisory(f"{kind}.{action}", stream, consumed))


def _shown(url: str) -> str:
    """Write an address without the credentials that NATS_URL may hold."""
    return urlsplit(url).netloc.rpartition("@")[2]
