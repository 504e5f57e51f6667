"""Connections to NATS and the advisories on them: what wakes rules before their deadlines.

Nothing heard here is ever acted upon as a number: it only rings, and the truth is read from `/jsz`. A
connection is supervised: it is made anew, for ever, whatever it was lost by (docs/decisions/0003).
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from natsscaler.core.access import servers
from natsscaler.core.errors import EXCERPT_LENGTH, CredentialsError, NotAllowed, excerpt
from natsscaler.core.jetstream.advisories import SUBJECTS, Advisory, advisory_of
from natsscaler.core.jetstream.documents import ConsumerInfo, StreamTold
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.reasons import Finding, Reason
from natsscaler.nats.bounded_parser import TooLarge
from natsscaler.nats.credential_store import MAX_AGE_SECONDS
from natsscaler.nats.credentials import NatsCredentials
from natsscaler.nats.denials import Denials
from natsscaler.nats.dial import (
    CONNECT_SECONDS,
    INBOX_PREFIX,
    NATS_ERRORS,
    PING_SECONDS,
    SUBSCRIPTION_LIMIT,
    dial,
    hang_up,
    obediently,
)
from natsscaler.nats.doorbell import Doorbell
from natsscaler.nats.jetstream_api import Querying
from natsscaler.net.allowlist import AllowList
from natsscaler.net.tls import failure

log = logging.getLogger(__name__)

USER_INFO = "$SYS.REQ.USER.INFO"
INBOX = f"{INBOX_PREFIX}.>"
OWN = {subject.lower(): subject for subject in (*SUBJECTS, INBOX)}
"""What natsscaler itself subscribes to, by how nats-py tells it."""
VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]+)\"")
"""How nats-server says what it does not permit (server/client.go), as nats-py tells it."""
FLUSH_SECONDS = 2
PERMISSION_SECONDS = 5.0
"""After how long what NATS denied is tried again: it does not tell when permissions are granted."""
SHORT_SECONDS = 60.0
"""After how long a connection is made anew whose limit of subscriptions is too low for natsscaler itself."""
RETRY_SECONDS = (0.5, 10.0)
"""Between attempts to connect: the first wait, and the one that doubling ends at. A connection that stayed up
for longer than the latter begins anew with the former."""


REFUSED = re.compile("authorization|authentication")
"""How nats-server names what is wrong with a login (server/errors.go)."""


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


async def no_credentials(_: float) -> NatsCredentials:
    """Find no credentials."""
    return NatsCredentials()


class Report(NamedTuple):
    """Who is told what a connection does, as metrics are."""

    connected: Callable[[float], object] = lambda _: None
    """1: there is a connection; -1: it is lost."""
    delivered: Callable[[float], object] = lambda _: None
    """So many messages came to doorbells."""


class Connection:
    """One supervised connection to NATS, shared by all rules that lead there with the same credentials.

    `credentials` finds them, read at most so many seconds ago, or raises CredentialsError.
    """

    def __init__(
        self,
        url: str,
        allow: AllowList,
        advised: Callable[["Connection", Advisory | None], Awaitable[None]],
        *,
        advisories: bool,
        report: Report = Report(),  # noqa: B008 - it never changes
        credentials: Callable[[float], Awaitable[NatsCredentials]] = no_credentials,
    ) -> None:
        self.url = url
        self.account = ""
        self.server_id = ""
        self.cluster = ""
        self._state: Finding | None = None
        self._allow = allow
        self._report = report
        self._advised = advised
        self._advisories = advisories
        self._find_credentials = credentials
        self._credentials = NatsCredentials()
        self._client: Client | None = None
        self._closed = asyncio.Event()
        self._denied = Denials(OWN)
        """Subscriptions that the server does not permit."""
        self._querying = Querying()
        self._trying: set[str] = set()
        """Subscriptions that are tried again, as far as they have not been denied, in lower case."""
        self._listening: dict[str, dict[Doorbell, str]] = {}
        """Doorbells that are not closed, by their subjects in lower case, with the subject as it is."""
        self._grants = 0
        """How often it has permitted what it did not before."""
        self._refused = self._short = 0
        """Subscriptions that were too many for it; and how many of these natsscaler needs for itself."""
        self._unsettled: list[Doorbell] = []
        """Doorbells that the server may not have seen."""
        self._one_by_one = asyncio.Lock()
        self._gossiped: tuple[str, ...] = ()
        self._place = ""
        """Where the last connection led."""

    @property
    def state(self) -> Finding | None:
        """Listening, or why not; None until the first attempt has succeeded or failed."""
        return self._state

    def denied(self, subjects: Sequence[str]) -> str | None:
        """Return one of the subjects that the server does not let us subscribe to, if there is one."""
        return next((subject for subject in subjects if subject in self._denied), None)

    @property
    def whose(self) -> object:
        """Whose word it is that comes over it; another one once that may be another word."""
        return self.account, self.cluster or self.server_id, self._grants

    @property
    def limited(self) -> bool:
        """Tell whether the server has refused a subscription because there were too many."""
        return self._refused > 0

    async def doorbell(
        self, subjects: Sequence[str], limit: int, ring: Callable[[], None]
    ) -> Doorbell | None:
        """Subscribe a doorbell; it guards only after `settle`. None where there is no connection."""
        if self._client is None:
            return None
        bell = Doorbell(self._client, limit, ring, self._report.delivered, partial(self._leave, subjects))
        for subject in subjects:
            self._listening.setdefault(subject.lower(), {})[bell] = subject
        try:
            if self.limited:
                fits = await self._subscribe_alone(bell, subjects, self._client)
            else:
                self._unsettled.append(bell)
                await bell.subscribe(subjects)
                fits = not self.limited
        except NATS_ERRORS:
            fits = False
        if fits:
            return bell
        await bell.close()
        return None

    def _leave(self, subjects: Sequence[str], bell: Doorbell) -> None:
        for subject in map(str.lower, subjects):
            self._listening.get(subject, {}).pop(bell, None)
            if not self._listening.get(subject):
                self._listening.pop(subject, None)

    async def _subscribe_alone(self, bell: Doorbell, subjects: Sequence[str], client: Client) -> bool:
        """Subscribe a doorbell, and tell whether there was room: the server does not say what it refused."""
        async with self._one_by_one:
            before = self._refused
            await bell.subscribe(subjects)
            await self._flush(client)
            return self._refused == before

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo | NotTold:
        """Ask a consumer's leader for its counts and filters."""
        return await self._querying.consumer(stream, consumer)

    async def stream_info(self, stream: str) -> StreamTold | NotTold:
        """Ask a stream's leader for its subjects."""
        return await self._querying.stream(stream)

    async def settle(self) -> bool:
        """Return once the server has seen every subscription made so far; False if it has not.

        Must not be cancelled: nats-py stops reading at the answer to a flush that was.
        """
        if self._client is None:
            return False
        seen = set(self._unsettled)
        try:
            await self._flush(self._client)
        except NATS_ERRORS:
            self._closed.set()
            return False
        self._unsettled = [bell for bell in self._unsettled if bell not in seen]
        return True

    async def run(self) -> None:
        """Stay connected, for ever."""
        wait = RETRY_SECONDS[0]
        try:
            while True:
                before, began = self._state, time.monotonic()
                try:
                    await self._connect()
                    before = self._state
                    await self._advised(self, None)
                    why = await self._end()
                    if why:
                        self._lost(why)
                except CredentialsError as error:
                    self._lose(Finding(error.reason, error.message))
                except (NotAllowed, msgspec.MsgspecError, *NATS_ERRORS) as error:
                    cause = self._client and self._client.last_error
                    self._lost(
                        failure(cause if isinstance(cause, TooLarge) else error, "spec.nats.secretRef")
                    )
                except Exception:  # a supervision point: what a strange server sends must not end the process
                    log.exception("The connection to NATS at %s failed", _shown(self.url))
                    self._lost("the server does not speak as NATS does")
                await self._drop()
                if before is None or self._state is None or before.reason is not self._state.reason:
                    await self._advised(self, None)
                if time.monotonic() - began > CONNECT_SECONDS + RETRY_SECONDS[1]:
                    wait = RETRY_SECONDS[0]
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS[1])
        finally:
            await self._drop()

    async def _end(self) -> str:
        """Wait until the connection has ended, or its credentials have; return why; "": it is worth no word.

        Raises CredentialsError where they are no longer to be used. Nats-py does not tell of every end, as of
        a reset that comes while something waits to be written: so it is asked, too.
        """
        began = checked_at = tried_at = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await self._closed.wait()
            if self._client is None or self._client.is_closed or self._closed.is_set():
                why = self._client and self._client.last_error
                telling = isinstance(why, TooLarge) or REFUSED.search(str(why).lower())
                return str(why) if telling else "the connection was lost"
            if self._short and time.monotonic() - began >= SHORT_SECONDS:
                return ""
            if self._lacks() and time.monotonic() - tried_at >= PERMISSION_SECONDS:
                if await self._try_again(self._client):
                    return ""
                tried_at = time.monotonic()
            if self._credentials.origin and time.monotonic() - checked_at >= MAX_AGE_SECONDS:
                checked_at = time.monotonic()
                if await self._find_credentials(MAX_AGE_SECONDS) != self._credentials:
                    return f"{self._credentials.origin} has changed"

    def _lost(self, why: str) -> None:
        why = excerpt(self._credentials.hide(why), 2 * EXCERPT_LENGTH)
        if "connections exceeded" in why.lower():
            why += ": raise max_connections in the configuration of NATS, or the connections of the account"
        if not REFUSED.search(why.lower()):
            self._lose(
                Finding(Reason.NOT_CONNECTED, f"There is no connection to NATS at {_shown(self.url)}: {why}")
            )
            return
        given = self._credentials.origin
        fix = f"fix {given}" if given else "it wants credentials, which spec.nats.secretRef can name"
        self._lose(Finding(Reason.CREDENTIALS_REFUSED, f"NATS at {_shown(self.url)} says {why}: {fix}"))

    def _lose(self, state: Finding) -> None:
        if state != self._state:
            log.warning("%s", state.message)
        self._state = state

    async def _drop(self) -> None:
        client, self._client = self._client, None
        self._querying.begin(None)
        if client is not None:
            self._report.connected(-1)
            await hang_up(client)

    async def _connect(self) -> None:
        self._refused, self._unsettled = 0, []
        self._denied.clear()
        self._listening.clear()
        self._credentials = await self._find_credentials(0.0)
        client, self._closed, self._place = await dial(
            self.url, self._gossiped, self._credentials, self._allow, self._error, left=self._place
        )
        self._client = client
        self._querying.begin(client)
        self._report.connected(1)
        if self._advisories:
            for subject in SUBJECTS:
                await client.subscribe(subject, cb=self._advisory)
        await self._identify(client)
        await self._flush(client)
        self._gossiped = tuple(uri.netloc for uri in client.discovered_servers)
        self._short = self._refused
        self._state = self._verdict()
        log.info("Connected to NATS at %s, account %s", _shown(self.url), self.account)

    def _verdict(self) -> Finding:
        """Say whether all that natsscaler itself needs of the server is permitted."""
        if self._short:
            return Finding(
                Reason.SUBSCRIPTION_LIMIT,
                f"NATS at {_shown(self.url)} lets a connection have fewer subscriptions than the"
                f" {len(SUBJECTS) + 1} that natsscaler needs for itself",
            )
        lacking = [subject for subject in (*SUBJECTS, INBOX) if self.denied([subject])]
        if lacking:
            message = f"The NATS user may not subscribe to {', '.join(lacking)}"
            return Finding(Reason.PERMISSION_DENIED, message)
        if not self.account:
            message = f"The NATS user got no answer on {USER_INFO}. Permit it to publish there"
            return Finding(Reason.PERMISSION_DENIED, message)
        return Finding(Reason.LISTENING, f"Listening on NATS at {_shown(self.url)}")

    def _lacks(self) -> bool:
        return bool(self._denied or self._querying.denied) or not self.account

    async def _try_again(self, client: Client) -> bool:
        """Try what was refused again; tell whether more of what natsscaler itself needs is permitted now.

        The rules that are concerned are told of what is permitted to them.
        """
        tried = self._denied.subjects
        self._trying = set(map(str.lower, tried))
        probes = [await client.subscribe(subject) for subject in tried]
        await self._flush(client)
        for probe in probes:
            await probe.unsubscribe()
        granted, self._trying = self._trying, set()
        if granted & OWN.keys():
            return True
        if not self.account:
            await self._identify(client)
            return bool(self.account)
        self._denied.remove(granted)
        if await self._querying.may_again() or granted:
            self._grants += 1
            await self._advised(self, None)
        return False

    async def _flush(self, client: Client) -> None:
        """Flush twice: nats-py can write the PING of a flush ahead of a SUB that is still in its buffer."""
        await obediently(client.flush(FLUSH_SECONDS))
        await obediently(client.flush(FLUSH_SECONDS))

    async def _identify(self, client: Client) -> None:
        self.account = self.server_id = self.cluster = ""
        with suppress(nats.errors.TimeoutError, nats.errors.NoRespondersError):
            answer = await obediently(client.request(USER_INFO, timeout=FLUSH_SECONDS))
            info = msgspec.json.decode(answer.data, type=UserInfo)
            self.account = info.data.account
            self.server_id, self.cluster = info.server.id, info.server.cluster

    async def _error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):  # a message was dropped, about whatever rule
            self._closed.set()
            return
        told = str(error).lower()
        if SUBSCRIPTION_LIMIT in told:
            first, self._refused = not self.limited, self._refused + 1
            if first:  # whichever of these it was, they are tried one by one
                for bell in self._unsettled:
                    await bell.close()
        denied = VIOLATION.search(told)
        if denied and denied[1] == "publish":
            self._querying.refused(denied[2])
        elif denied:
            inbox = denied[2].startswith(INBOX_PREFIX.lower())
            await self._deny(INBOX.lower() if inbox else denied[2])

    async def _deny(self, subject: str) -> None:
        """Take note of a denied subscription, if it was made, and tell the rules that are concerned."""
        self._trying.discard(subject)
        if subject in OWN and self._denied.add(OWN[subject]):
            if self._state and self._state.reason is Reason.LISTENING:
                self._state = self._verdict()
            await self._advised(self, None)
        for bell, asked in tuple(self._listening.get(subject, {}).items()):
            self._denied.add(asked)
            bell.refuse()

    async def _advisory(self, message: Msg) -> None:
        await self._advised(self, advisory_of(message.subject))


def _shown(url: str) -> str:
    """Write addresses without the credentials that NATS_URL may hold."""
    return excerpt(", ".join(urlsplit(one).netloc.rpartition("@")[2] for one in servers(url)))
