"""Reads one node of NATS at one address, and gathers what the nodes of a cluster answer."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from msgspec.json import Decoder

from natsscaler.core.errors import MonitoringError
from natsscaler.core.jetstream.documents import Healthz, Jsz, Varz, read_jsz
from natsscaler.core.jetstream.freshness import Clock
from natsscaler.core.jetstream.snapshot import Node, peers
from natsscaler.core.reasons import Reason
from natsscaler.nats.http import Fetcher
from natsscaler.nats.large import Taking

decode_varz, decode_healthz = Decoder(Varz).decode, Decoder(Healthz).decode

JSZ = "/jsz?accounts=true&consumers=true&config=true"
VARZ_SECONDS = 60.0
"""How long what `/varz` says is good for: it names other nodes, which come and go."""
YOUNG_SECONDS = 60.0
"""How long after its start a server may still be finding its streams again."""
TRIES = 6
"""How often one node is asked for until it answers: behind a load balancer another one may."""
HEALTHZ = "/healthz?details=true"
NOT_HEALTHY = (500, 503)
HEALTH_SECONDS = 10.0
"""How long what `/healthz` lacks is taken for lacking; that it once lacked nothing is true until it ends."""


class Server(NamedTuple):
    """What a server said of itself, and when (monotonic) it began and was asked."""

    told: Varz
    began: float
    asked: float


class KnownHealth(NamedTuple):
    """What a server said of its health, and when (monotonic)."""

    health: Healthz
    asked: float


class NodeReader:
    """Reads nodes by the scheme, port and host name of one URL; remembers who they are."""

    def __init__(self, url: httpx.URL, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self._url = url
        self._servers: dict[str, Server] = {}
        """By server_id, which a server has from its start to its end."""
        self._clocks: dict[str, Clock] = {}
        self._health: dict[str, KnownHealth] = {}

    async def read(self, address: str, taking: Taking, *, anew: bool) -> Node | MonitoringError:
        """Read the node at an address; `anew`: by new connections, for who may be led elsewhere by them."""
        try:
            return await self._read(address, taking, anew=anew)
        except MonitoringError as error:
            # A new one: the frames that this came through hold what was read, and would keep it for long.
            return MonitoringError(error.reason, error.message)

    def remember(self, server_ids: Collection[str]) -> None:
        """Forget all servers but these."""
        self._servers = {one: known for one, known in self._servers.items() if one in server_ids}
        self._clocks = {one: clock for one, clock in self._clocks.items() if one in server_ids}
        self._health = {one: health for one, health in self._health.items() if one in server_ids}

    async def _read(self, address: str, taking: Taking, *, anew: bool) -> Node:
        first, late, seconds = await self._fresh(address, taking, anew=anew)
        documents = [first]
        accounts = {account.key for account in first.account_details}
        while len(accounts) < first.total:  # nats-server gives 1,024 accounts at the most in one answer
            path = f"{JSZ}&offset={len(accounts)}"
            page, took, _ = await self.fetcher.get(self._url, address, path, read_jsz, taking)
            seconds += took
            more = {account.key for account in page.account_details} - accounts
            if page.server_id != first.server_id or not more:
                raise MonitoringError(
                    Reason.MONITORING_INCOMPLETE,
                    f"Host {self._url.host} gave {len(accounts)} of {first.total} accounts: it is read again",
                )
            accounts |= more
            documents.append(page)
        server, began, _ = await self._server(address, first.server_id, taking)
        if late:
            when = f"of {late:.1f} s before it was asked" if late < math.inf else "with the same moment again"
            raise MonitoringError(
                Reason.MONITORING_STALE,
                f"Server {server.server_name} gave an answer {when}:"
                " a cache is in front of it, or its clock was set back",
            )
        health = None if anew else await self._healthy(address, first.server_id, taking)
        healthy = health is not None and health.status == "ok"
        young = not healthy and time.monotonic() - began < YOUNG_SECONDS
        if health and health.starting:
            raise MonitoringError(
                Reason.MONITORING_INCOMPLETE,
                f"Server {server.server_name} is starting and has not found all of its streams"
                " yet: it is read again",
            )
        return Node(
            server, documents, seconds, young=young, lacking=health.lacking if health else frozenset()
        )

    async def _fresh(self, address: str, taking: Taking, *, anew: bool) -> tuple[Jsz, float, float]:
        """Get the first page, how late it is and what it took; who answers for the first time is asked twice.

        The first answer may be of any age: only by the next one is its clock known.
        """
        seconds = 0.0
        for _ in range(TRIES):
            began = time.monotonic()
            document, took, at = await self.fetcher.get(self._url, address, JSZ, read_jsz, taking, anew=anew)
            seconds += took
            met = document.server_id in self._clocks
            clock = self._clocks.setdefault(document.server_id, Clock())
            late = clock.late(document.now, began, at)
            if met:
                break
        return document, late, seconds

    async def _healthy(self, address: str, server_id: str, taking: Taking) -> Healthz | None:
        """Return what a server last said of its health; None: it does not tell.

        Asked by the connection that gave `/jsz`, as the answer does not tell whose it is.
        """
        health, asked = self._health.get(server_id, (None, -math.inf))
        if health and (health.status == "ok" or time.monotonic() - asked < HEALTH_SECONDS):
            return health
        try:
            fetched = await self.fetcher.get(
                self._url, address, HEALTHZ, decode_healthz, taking, also=NOT_HEALTHY
            )
        except MonitoringError:
            return None
        health = fetched.document
        if not health.starting:
            self._health[server_id] = KnownHealth(health, time.monotonic())
        return health

    async def _server(self, address: str, server_id: str, taking: Taking) -> Server:
        for _ in range(TRIES):
            known = self._servers.get(server_id)
            if known and time.monotonic() - known.asked < VARZ_SECONDS:
                return known
            found, _, _ = await self.fetcher.get(self._url, address, "/varz", decode_varz, taking, anew=True)
            age = (found.now - found.start).total_seconds() if found.now and found.start else math.inf
            name = found.server_name
            self._servers = {k: v for k, v in self._servers.items() if v.told.server_name != name}
            now = time.monotonic()
            self._servers[found.server_id] = Server(found, now - age, now)
        if known:
            return known
        raise MonitoringError(
            Reason.LEADER_UNCLEAR,
            f"Host {self._url.host} leads to different servers from one request to the next",
        )


@dataclass(slots=True)
class Answers:
    """What the nodes of one cluster have answered to one read."""

    cluster: str | None
    """Name of the cluster that they must belong to, "" for a standalone server; None: that of the first."""
    named: set[str] = field(default_factory=set)
    """Addresses that the URL's host has, or that nodes which answered name."""
    nodes: dict[str, Node] = field(default_factory=dict)
    costs: list[tuple[str, float]] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    failure: MonitoringError | None = None
    strangers: bool = False
    """An address of the URL's own host led to who belongs to none of the others."""

    def add(self, node: Node, *, own: bool) -> bool:
        """Take a node's answer; False: it does not belong to the others, so nothing of it counts."""
        name, others = node.server.cluster.name, self.nodes.values()
        if self.cluster is None:
            self.cluster = name
        namesakes = [one for one in others if not name or one.name == node.name]
        if name != self.cluster or any(one.server.server_id != node.server.server_id for one in namesakes):
            self.strangers |= own
            message = f"Server {node.server.server_name} is of cluster {name!r} now, not of {self.cluster!r}"
            self.failure = self.failure or MonitoringError(Reason.LEADER_UNCLEAR, message)
            return False
        self.nodes[node.server.server_name] = node
        return True

    @property
    def expected(self) -> set[str]:
        """Names of all JetStream nodes of the cluster, as far as those that answered know."""
        return peers(self.nodes.values()) | self.nodes.keys()

    def open(self) -> bool:
        """Tell whether who has not answered yet matters; a single server may not be the only one."""
        return not self.nodes or not self.cluster or self.lacking()

    def lacking(self) -> bool:
        """Tell whether nodes that have not answered may know more."""
        without_jetstream = all(node.disabled for node in self.nodes.values())
        return bool(self.expected - self.nodes.keys()) or (without_jetstream and bool(self.hosts))

    def absent_leaders(self) -> set[str]:
        """Names of nodes that lead a stream or consumer and have not answered."""
        streams = [
            stream
            for node in self.nodes.values()
            for document in node.documents
            for account in document.account_details
            for stream in account.stream_detail
        ]
        groups = [stream.cluster for stream in streams]
        groups += [consumer.cluster for stream in streams for consumer in stream.consumer_detail]
        return {group.leader for group in groups if group} - self.nodes.keys()

    @property
    def hosts(self) -> list[str]:
        """Host names of the other nodes, as those that answered tell them."""
        servers = [node.server for node in self.nodes.values()]
        places = (place for server in servers for place in (*server.cluster.urls, *server.connect_urls))
        return list(dict.fromkeys(host for place in places if (host := urlsplit(f"//{place}").hostname)))
