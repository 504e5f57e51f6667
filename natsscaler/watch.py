"""Keeps a table of all objects of one kind by list and watch, so that looking one up costs no request.

Of each object only a few fields are decoded and kept: a cluster may have thousands of Deployments, and all
that matters of them here is who they are and how many replicas they ask for. A table that cannot be brought
up to date stays as it was: writes are tested by the API server against what was seen here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import aiohttp
import msgspec
from kubernetes.aio.config import ConfigException
from msgspec import Struct, field

from natsscaler.errors import KubernetesError, Reason, excerpt
from natsscaler.rules import Target

PAGE_SIZE = 500
WATCH_SECONDS = 240
QUIET_SECONDS = 90.0
"""Without a byte for this long a watch is given up: API servers send a bookmark every minute."""
ANSWER_SECONDS = 30.0
"""For one page of a list, or for a watch to begin."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
HTTP_OK, HTTP_GONE = 200, 410
NETWORK_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ConfigException)
"""What can go wrong on the way to the API server; ConfigException: the service account's token file."""

logger = logging.getLogger(__name__)


class Meta(Struct, frozen=True):
    """Who an object is, and in which version."""

    name: str
    namespace: str
    uid: str
    resource_version: str = field(name="resourceVersion")


class DeploymentSpec(Struct, frozen=True):
    """What a Deployment asks for."""

    replicas: int = 1


class Deployment(Struct, frozen=True):
    """A Deployment, as far as it matters here."""

    metadata: Meta
    spec: DeploymentSpec

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.metadata.name)


class ScaleTargetRef(Struct, frozen=True):
    """What a HorizontalPodAutoscaler scales."""

    kind: str
    name: str


class AutoscalerSpec(Struct, frozen=True):
    """What a HorizontalPodAutoscaler is for."""

    scale_target_ref: ScaleTargetRef = field(name="scaleTargetRef")


class Autoscaler(Struct, frozen=True):
    """A HorizontalPodAutoscaler, as far as it matters here."""

    metadata: Meta
    spec: AutoscalerSpec

    @property
    def affected(self) -> Target:
        return Target(self.metadata.namespace, self.spec.scale_target_ref.name)


class _Position(Struct, frozen=True):
    resource_version: str = field(default="", name="resourceVersion")
    next_page: str = field(default="", name="continue")


class _Page(Struct, frozen=True):
    metadata: _Position
    items: tuple[msgspec.Raw, ...] = ()


class _Bookmark(Struct, frozen=True):
    metadata: _Position


class _Status(Struct, frozen=True):
    code: int = 0


class _Event(Struct, frozen=True):
    type: str
    object: msgspec.Raw


T = TypeVar("T", Deployment, Autoscaler)
ListCall = Callable[..., Awaitable[aiohttp.ClientResponse]]


class Watch(Generic[T]):
    """The table of one kind of objects; `on_change` is given the Deployment that a change affects."""

    def __init__(
        self, name: str, list_call: ListCall, item_type: type[T], on_change: Callable[[Target], None]
    ) -> None:
        self.name = name
        self.table: dict[Target, T] = {}
        self.synced = asyncio.Event()
        self._list_call = list_call
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(item_type)
        self._on_change = on_change
        self._version = ""
        """Where to watch on from; empty: list first."""

    async def run(self) -> None:
        """Keep the table up to date until cancelled."""
        clock = asyncio.get_running_loop().time
        delay = FIRST_DELAY
        while True:
            started = clock()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except (*NETWORK_FAILURES, KubernetesError, msgspec.MsgspecError) as error:
                problem = excerpt(str(error) or type(error).__name__)
                logger.warning("watch of %s: %s; it is retried", self.name, problem)
            if clock() - started > LONGEST_DELAY:
                delay = FIRST_DELAY
            else:
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)

    def learn(self, item: T) -> None:
        """Take in what a write or a read of our own has told about a known object; no change is announced."""
        key = Target(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known and known.metadata.uid == item.metadata.uid and not _older(item, known):
            self.table[key] = item

    async def _list(self) -> None:
        found: set[Target] = set()
        page = _Page(_Position())
        while True:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._request(limit=PAGE_SIZE, _continue=page.metadata.next_page or None)
                async with response:
                    page = msgspec.json.decode(await response.read(), type=_Page)
            for raw in page.items:
                found.add(self._store(self._decoder.decode(raw)))
            if not page.metadata.next_page:
                break
        for key in self.table.keys() - found:
            self._on_change(self.table.pop(key).affected)
        self._version = page.metadata.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await self._request(
                watch=True,
                resource_version=self._version,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
            )
        try:
            async for line in _lines(response):
                event = msgspec.json.decode(line, type=_Event)
                if event.type == "ERROR":
                    self._refuse(msgspec.json.decode(event.object, type=_Status).code)
                elif event.type == "BOOKMARK":
                    bookmark = msgspec.json.decode(event.object, type=_Bookmark)
                    self._version = bookmark.metadata.resource_version
                else:
                    item = self._decoder.decode(event.object)
                    (self._remove if event.type == "DELETED" else self._store)(item)
                    self._version = item.metadata.resource_version
        finally:
            _hang_up(response)

    async def _request(self, **query: object) -> aiohttp.ClientResponse:
        response = await self._list_call(**query)
        if response.status != HTTP_OK:
            response.release()
            self._refuse(response.status)
        return response

    def _refuse(self, status: int) -> None:
        if status == HTTP_GONE:
            self._version = ""
        raise KubernetesError(Reason.KUBERNETES_UNAVAILABLE, f"the Kubernetes API answered {status}")

    def _store(self, item: T) -> Target:
        key = Target(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known is None:
            self.table[key] = item
            self._on_change(item.affected)
        elif not _older(item, known):
            self.table[key] = item
            if (known.metadata.uid, known.spec) != (item.metadata.uid, item.spec):
                for target in {known.affected, item.affected}:
                    self._on_change(target)
        return key

    def _remove(self, item: T) -> None:
        key = Target(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known and not _older(item, known):
            self._on_change(self.table.pop(key).affected)


def _older(item: Deployment | Autoscaler, known: Deployment | Autoscaler) -> bool:
    return int(item.metadata.resource_version) < int(known.metadata.resource_version)


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Drop the connection if the body has not ended: a TLS farewell could wait for a peer that is gone."""
    connection = response.connection
    if connection and connection.transport:
        connection.transport.abort()
    response.close()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split the body into lines of any length; ends with the body, or when it has been quiet for too long."""
    rest = b""
    while True:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                chunk = await response.content.readany()
        except TimeoutError:
            return
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
