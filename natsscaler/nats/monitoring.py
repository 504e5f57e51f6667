"""Reads the monitoring endpoints of NATS: `/jsz` for the truth, `/varz` for who answers.

An answer counts only if it is whole, of the expected shape, from a known node and fresh; everything else is a
MonitoringError with a reason, and the backlog stays Unknown. Requests name no account: one document serves
all rules, and a misspelt account would be an empty answer with HTTP status 200 (nats-server:
server/monitor.go Jsz).

Of a cluster every node is asked at each read (docs/decisions/0007): which one leads a consumer is then never
a matter of memory. Nodes are the addresses of the URL's host and the hosts that `/varz` names, each with the
URL's own scheme and port, since no server publishes the monitoring ports of others. An address at which a
node was found, and that nobody names now, may be somebody else's: it is believed only from the same server.
"""

import asyncio
import math
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import httpx

from natsscaler.core.access import Access
from natsscaler.core.errors import CredentialsError, MonitoringError, NotAllowed, excerpt
from natsscaler.core.jetstream.documents import Varz
from natsscaler.core.jetstream.snapshot import Node, Reading, View
from natsscaler.core.reasons import Reason
from natsscaler.nats.credential_store import MAX_AGE_SECONDS
from natsscaler.nats.credentials import MonitoringCredentials
from natsscaler.nats.http import DEFAULTS, NOBODY, READING, Fetcher, Fetching
from natsscaler.nats.large import Intake, Taking
from natsscaler.nats.nodes import Answers, NodeReader
from natsscaler.net.allowlist import AllowList

READ_SECONDS = 60.0
"""For all requests of one read, however many accounts, nodes and connections of a balancer there are."""
STRAGGLER_SECONDS = 1.0
"""How long other nodes are waited for once the first one has answered."""
SKIP_SECONDS = 10.0
"""How long an address that did not answer is left out, unless the leader of something was there."""
SAMPLE_SECONDS = 60.0
"""Between attempts to find more nodes behind one address, as behind a load balancer."""
FIND_SECONDS = 60.0
"""Between searches for nodes at other addresses than those of the URL's host, though they are known."""


class Place(NamedTuple):
    """Where a node was found, and as which server: it has that id from its start to its end."""

    address: str
    server_id: str


FindCredentials = Callable[[Access, float], Awaitable[MonitoringCredentials]]
"""Finds credentials that were read at most so many seconds ago; raises CredentialsError."""


async def no_credentials(_access: Access, _max_age: float) -> MonitoringCredentials:
    """Find no credentials."""
    return MonitoringCredentials()


class Monitoring:
    """Reads monitoring endpoints."""

    def __init__(
        self,
        allow: AllowList,
        credentials: FindCredentials = no_credentials,
        fetching: Fetching = DEFAULTS,
    ) -> None:
        self._allow = allow
        self._find_credentials = credentials
        self._fetching = fetching
        self._intake = Intake()
        self._endpoints: dict[Access, Endpoint] = {}

    async def close(self) -> None:
        """Close all connections, and the allow-list."""
        for access in list(self._endpoints):
            await self.forget(access)
        await self._allow.close()

    async def forget(self, access: Access) -> None:
        """Drop what is remembered of an endpoint that no rule names any more."""
        endpoint = self._endpoints.pop(access, None)
        if endpoint:
            await endpoint.fetcher.close()

    async def read(self, access: Access, tenant: str = "") -> Reading:
        """Read the JetStream state of the server or cluster behind a URL. Raises MonitoringError.

        Readings with large answers wait for a place, which they keep until their view is dropped.
        """
        endpoint = self._endpoints.get(access)
        if endpoint is None:
            try:
                url = httpx.URL(access.url)
            except httpx.InvalidURL as error:
                message = f"{excerpt(access.url)} is no URL: {excerpt(str(error))}"
                raise MonitoringError(Reason.MONITORING_UNREACHABLE, message) from error
            endpoint = self._endpoints[access] = Endpoint(url, self._allow, self._fetcher())
        await self._log_in(endpoint, access)
        endpoint.failed = True
        try:
            async with asyncio.timeout(READ_SECONDS):
                with Taking(self._intake, tenant, READING * self._fetching.max_bytes) as taking:
                    reading = await endpoint.read(taking)
                    taking.keep_for(reading.view)
        except TimeoutError as error:
            message = f"{excerpt(access.url)} did not give all that it has within {READ_SECONDS:g} s"
            raise MonitoringError(Reason.MONITORING_TIMEOUT, message) from error
        endpoint.failed = False
        return reading

    async def _log_in(self, endpoint: "Endpoint", access: Access) -> None:
        """Have an endpoint use the credentials that are for it now."""
        max_age = 0.0 if endpoint.failed else MAX_AGE_SECONDS
        try:
            credentials = await self._find_credentials(access, max_age)
        except CredentialsError as error:
            raise MonitoringError(error.reason, error.message) from error
        old = endpoint.fetcher
        if old.credentials != credentials:
            endpoint.fetcher = self._fetcher(credentials)
            await old.close()

    def _fetcher(self, credentials: MonitoringCredentials = NOBODY) -> Fetcher:
        return Fetcher(credentials, self._fetching)


class Endpoint:
    """The server or cluster behind one URL, and where its nodes were found."""

    def __init__(self, url: httpx.URL, allow: AllowList, fetcher: Fetcher) -> None:
        self._url = url
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._allow = allow
        self._nodes = NodeReader(url, fetcher)
        self.failed = False
        """The last read did, perhaps for want of other credentials."""
        self._own: tuple[str, ...] = ()
        """Addresses that the URL's host had at the last read."""
        self._places: dict[str, Place] = {}
        """Of the nodes that answered, by name."""
        self._find_at = time.monotonic() + FIND_SECONDS
        self._skipped: dict[str, float] = {}
        """Until when (monotonic) an address is left out."""
        self._cluster: str | None = None
        self._balanced = False
        """One address led to several nodes."""
        self._sample_at = -math.inf

    @property
    def fetcher(self) -> Fetcher:
        """Makes the requests, with credentials."""
        return self._nodes.fetcher

    @fetcher.setter
    def fetcher(self, fetcher: Fetcher) -> None:
        self._nodes.fetcher = fetcher

    async def read(self, taking: Taking) -> Reading:
        """Ask every node. Raises MonitoringError if none answers."""
        own = await self._resolve(self._url.host)
        new = [address for address in own if address not in self._own]
        if len(new) == len(own):  # it may be another server or cluster now
            self._cluster = None
            self._forget_others(own)
        if self._cluster == "":
            self._forget_others(own)
        self._own = own
        answers = Answers(self._cluster, named=set(own))
        known = [place.address for place in self._places.values()]
        if self._cluster == "":  # who else answers by that name may be another server
            known += own
        await self._ask([address for address in known if not self._skips(address)] + new, answers, taking)
        if not answers.nodes:
            await self._ask([address for address in own if address not in answers.tried], answers, taking)
        self._cluster = answers.cluster if answers.nodes else None
        if not answers.nodes:
            raise answers.failure or MonitoringError(
                Reason.MONITORING_UNREACHABLE, f"Host {self._url.host} has no address"
            )
        if answers.strangers:
            raise MonitoringError(
                Reason.LEADER_UNCLEAR,
                f"Host {self._url.host} leads to servers of no cluster: {', '.join(own)}. Name one of them",
            )
        if answers.lacking():
            await self._ask(await self._others(own, answers, taking), answers, taking)
        await self._sample(answers, taking)
        self._tidy(answers)
        first = next(iter(answers.nodes.values()))
        return Reading(
            view=await taking.work(partial(View, list(answers.nodes.values()))),
            server=first.server,
            nats_url=self._nats_url(first.server),
            costs=answers.costs,
            large=taking.large,
        )

    async def _resolve(self, host: str) -> tuple[str, ...]:
        try:
            return await self._allow.resolve(host, self._port)
        except NotAllowed as error:
            raise MonitoringError(error.reason, error.message) from error
        except OSError as error:
            message = f"Host {excerpt(host)} cannot be resolved: {excerpt(str(error))}"
            raise MonitoringError(Reason.MONITORING_UNREACHABLE, message) from error

    async def _others(self, own: Sequence[str], answers: Answers, taking: Taking) -> list[str]:
        """List the addresses that nodes may be found at and that have not been tried yet."""
        absent = await taking.work(answers.absent_leaders)
        needed = [self._places[name].address for name in absent if name in self._places]
        found = list(own)
        for host in answers.hosts:
            if not self.fetcher.credentials.permit(str(self._url), host):
                continue
            with suppress(MonitoringError):
                found += await self._resolve(host)
        answers.named.update(found)
        promising = [address for address in found if not self._skips(address)]
        return [address for address in dict.fromkeys(needed + promising) if address not in answers.tried]

    async def _sample(self, answers: Answers, taking: Taking) -> None:
        """Ask one address again and again, as long as that may bring nodes that are lacking."""
        now = time.monotonic()
        address = next((address for address in self._own if not self._skips(address)), None)
        if address is None or not answers.lacking() or not (self._balanced or self._sample_at <= now):
            return
        self._sample_at = now + SAMPLE_SECONDS
        for _ in range(2 * len(answers.expected)):
            before = len(answers.nodes)
            await self._ask([address], answers, taking, anew=True)
            self._balanced |= len(answers.nodes) > before
            if not answers.lacking() or self._skips(address):
                break

    async def _ask(
        self, addresses: Sequence[str], answers: Answers, taking: Taking, *, anew: bool = False
    ) -> None:
        """Ask all of these at once; who lags behind the first answer for too long is left out for a while.

        Nobody lags behind whose answer waits here.
        """
        addresses = list(dict.fromkeys(addresses))
        answers.tried.update(addresses)
        async with asyncio.TaskGroup() as group:
            asked = {
                group.create_task(
                    self._nodes.read(address, taking, anew=anew), name=f"read {address}"
                ): address
                for address in addresses
            }
            pending = set(asked)
            while pending and answers.open():
                limit = STRAGGLER_SECONDS if answers.nodes else None
                done, pending = await asyncio.wait(pending, timeout=limit, return_when=FIRST_COMPLETED)
                for task in done:
                    self._take(task.result(), asked[task], answers)
                if not (done or taking.waiting):
                    break
            for task in pending:
                task.cancel()
                if answers.open():
                    self._skipped[asked[task]] = time.monotonic() + SKIP_SECONDS

    def _take(self, answer: Node | MonitoringError, address: str, answers: Answers) -> None:
        if isinstance(answer, MonitoringError):
            if answers.failure is None or answers.failure.reason.about.unanswered:
                answers.failure = answer
            self._skipped[address] = time.monotonic() + SKIP_SECONDS
            return
        self._skipped.pop(address, None)
        answers.costs.append((f"{address}:{self._port}", answer.seconds))
        place = Place(address, answer.server.server_id)
        if address not in answers.named and place not in self._places.values():
            answers.tried.discard(address)  # to be asked again if a node names it
        elif answers.add(answer, own=address in self._own):
            self._places[answer.server.server_name] = place
            return
        self._places = {name: one for name, one in self._places.items() if one.address != address}

    def _forget_others(self, own: Sequence[str]) -> None:
        """Forget nodes at other addresses than those of the URL's host."""
        self._places = {name: place for name, place in self._places.items() if place.address in own}

    def _tidy(self, answers: Answers) -> None:
        """Forget what is no longer there; and now and then who was not found by the URL's host."""
        now = time.monotonic()
        self._places = {name: place for name, place in self._places.items() if name in answers.expected}
        self._skipped = {address: until for address, until in self._skipped.items() if until > now}
        self._nodes.remember({place.server_id for place in self._places.values()})
        answered = [place for name, place in self._places.items() if name in answers.nodes]
        if self._find_at <= now and any(place.address in self._own for place in answered):
            self._find_at = now + FIND_SECONDS
            self._forget_others(self._own)

    def _skips(self, address: str) -> bool:
        return self._skipped.get(address, -math.inf) > time.monotonic()

    def _nats_url(self, server: Varz) -> str:
        host = self._url.host
        scheme = "tls" if server.tls_required else "nats"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
