"""Reads one node of NATS at one address, and gathers what the nodes of a cluster answer."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from natsscaler.errors import MonitoringError, Reason
from natsscaler.fetching import Fetcher
from natsscaler.jsz import Jsz, Varz
from natsscaler.view import Node, peers

JSZ = "/jsz?accounts=true&consumers=true&config=true"
VARZ_SECONDS = 60.0
"""How long what `/varz` says is good for: it names other nodes, which come and go."""
YOUNG_SECONDS = 60.0
"""How long after its start a server may still be finding its streams again."""
VARZ_TRIES = 6
"""How often `/varz` is asked until the node answers that gave `/jsz`: behind a load balancer it may not."""


class Server(NamedTuple):
    """What a server said of itself, and when (monotonic) it began and was asked."""

    told: Varz
    began: float
    asked: float


class NodeReader:
    """Reads nodes by the scheme, port and host name of one URL; remembers who they are."""

    def __init__(self, url: httpx.URL, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self._url = url
        self._servers: dict[str, Server] = {}
        """By server_id, which a server has from its start to its end."""
        self._last_now: dict[str, str] = {}
        """When a server answered last, by its own clock."""

    async def read(self, address: str, *, anew: bool) -> Node | MonitoringError:
        """Read the node at an address; `anew`: by new connections, for who may be led elsewhere by them."""
        try:
            return await self._read(address, anew=anew)
        except MonitoringError as error:
            # A new one: the frames that this came through hold what was read, and would keep it for long.
            return MonitoringError(error.reason, error.message)

    def remember(self, server_ids: Collection[str]) -> None:
        """Forget all servers but these."""
        self._servers = {one: known for one, known in self._servers.items() if one in server_ids}
        self._last_now = {one: now for one, now in self._last_now.items() if one in server_ids}

    async def _read(self, address: str, *, anew: bool) -> Node:
        started = time.monotonic()
        documents = [await self.fetcher.get(self._url, address, JSZ, Jsz, anew=anew)]
        first = documents[0]
        accounts = {account.key for account in first.account_details}
        while len(accounts) < first.total:  # nats-server gives 1,024 accounts at the most in one answer
            page = await self.fetcher.get(self._url, address, f"{JSZ}&offset={len(accounts)}", Jsz)
            more = {account.key for account in page.account_details} - accounts
            if page.server_id != first.server_id or not more:
                raise MonitoringError(
                    Reason.MONITORING_INCOMPLETE,
                    f"{self._url.host} gave {len(accounts)} of {first.total} accounts: it is retried",
                )
            accounts |= more
            documents.append(page)
        seconds = time.monotonic() - started
        server, began, _ = await self._server(address, first.server_id)
        if self._last_now.get(server.server_id) == first.now:
            raise MonitoringError(
                Reason.MONITORING_STALE,
                f"{server.server_name} answers with the same moment again:"
                " a cache in front of it, or a stopped clock",
            )
        self._last_now[server.server_id] = first.now
        return Node(server, documents, seconds, young=time.monotonic() - began < YOUNG_SECONDS)

    async def _server(self, address: str, server_id: str) -> Server:
        for _ in range(VARZ_TRIES):
            known = self._servers.get(server_id)
            if known and time.monotonic() - known.asked < VARZ_SECONDS:
                return known
            found = await self.fetcher.get(self._url, address, "/varz", Varz, anew=True)
            age = (found.now - found.start).total_seconds() if found.now and found.start else math.inf
            name = found.server_name
            self._servers = {k: v for k, v in self._servers.items() if v.told.server_name != name}
            now = time.monotonic()
            self._servers[found.server_id] = Server(found, now - age, now)
        if known:
            return known
        raise MonitoringError(
            Reason.LEADER_UNCLEAR, f"{self._url.host} leads to different servers from one request to the next"
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

    def add(self, node: Node) -> bool:
        """Take a node's answer; False: it belongs to another cluster, so nothing of it counts."""
        name = node.server.cluster.name
        if self.cluster is None:
            self.cluster = name
        if name != self.cluster:
            message = f"{node.server.server_name} is of cluster {name!r} now, not of {self.cluster!r}"
            self.failure = self.failure or MonitoringError(Reason.LEADER_UNCLEAR, message)
            return False
        self.nodes[node.server.server_name] = node
        return True

    @property
    def expected(self) -> set[str]:
        """Names of all JetStream nodes of the cluster, as far as those that answered know."""
        return peers(self.nodes.values()) | self.nodes.keys()

    def lacking(self) -> bool:
        """Tell whether nodes that have not answered may know more."""
        without_jetstream = all(node.disabled for node in self.nodes.values())
        return bool(self.expected - self.nodes.keys()) or (without_jetstream and bool(self.hosts))

    @property
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
