"""Keeps a table of all objects of one kind by list and watch, so that looking one up costs no request.

A table that cannot be brought up to date stays as it was: writes are tested by the API server against what
was seen here.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import aiohttp
import msgspec

from natsscaler.core.access import NamespacedName
from natsscaler.core.errors import KubernetesError, excerpt
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target
from natsscaler.kube.objects import Autoscaler, Bookmark, Deployment, Event, Page, Position, Status, older
from natsscaler.kube.requests import (
    GONE,
    HTTP_OK,
    LIST_SECONDS,
    NETWORK_FAILURES,
    OnFailure,
    refusal,
    request,
    retry_after,
)

PAGE_SIZE = 500
WATCH_SECONDS = 240
QUIET_SECONDS = 90.0
"""Without a byte for this long a watch is given up: API servers send a bookmark every minute."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 10.0
"""Between two attempts: the first wait, and the one that doubling ends at."""

logger = logging.getLogger(__name__)


T = TypeVar("T", Deployment, Autoscaler)
ListCall = Callable[..., Awaitable[aiohttp.ClientResponse]]


class Watch(Generic[T]):
    """The table of one kind of objects; `on_change` is given the target that a change affects.

    `name`: what is watched, in the plural as in a Role; `on_listed`: called when a list was had or forbidden;
    `quiet_seconds`: see QUIET_SECONDS.
    """

    def __init__(
        self,
        name: str,
        list_call: ListCall,
        item_type: type[T],
        on_change: Callable[[Target], None],
        *,
        on_failure: OnFailure | None = None,
        on_listed: Callable[[], None] | None = None,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self.name = name
        self.table: dict[NamespacedName, T] = {}
        self.synced = asyncio.Event()
        self.forbidden = False
        """Whether the last list was refused for want of a permission."""
        self._list_call = list_call
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(item_type)
        self._on_change = on_change
        self._on_failure = on_failure
        self._on_listed = on_listed or (lambda: None)
        self._quiet_seconds = quiet_seconds
        self._version = ""
        """Where to watch on from; empty: list first."""
        self.heard_at = time.monotonic()
        """When the API server was last asked or heard, on the monotonic clock."""
        self._retry_after = 0.0
        """Seconds that the API server has asked to be left alone for."""

    def find(self, target: Target) -> T | None:
        """Return the object of this name, as last seen; None: there is none."""
        return self.table.get(NamespacedName(target.namespace, target.name))

    async def run(self) -> None:
        """Keep the table up to date until cancelled, beginning with a list."""
        self._version = ""
        delay = FIRST_DELAY
        while True:
            self.heard_at = started = time.monotonic()
            self._retry_after = 0.0
            try:
                if not self._version:
                    await self._begin()
                await self._watch()
            except (*NETWORK_FAILURES, KubernetesError, msgspec.MsgspecError, ValueError) as error:
                problem = excerpt(str(error) or type(error).__name__)
                logger.warning("The watch of %s ended and begins again: %s", self.name, problem)
                if self._on_failure:
                    unavailable = Reason.KUBERNETES_UNAVAILABLE
                    reason = error.reason if isinstance(error, KubernetesError) else unavailable
                    self._on_failure("watch", reason)
            if time.monotonic() - started > LONGEST_DELAY:
                delay = FIRST_DELAY
                await asyncio.sleep(self._retry_after)
            else:
                await asyncio.sleep(max(delay, self._retry_after))
                delay = min(2 * delay, LONGEST_DELAY)

    def learn(self, item: T) -> None:
        """Take in what a write or a read of our own has told about a known object; no change is announced."""
        key = NamespacedName(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known and known.metadata.uid == item.metadata.uid and not older(item, known):
            self.table[key] = item

    async def _begin(self) -> None:
        self.forbidden = False
        try:
            await self._list()
        except KubernetesError as error:
            self.forbidden = error.reason is Reason.FORBIDDEN
            raise
        finally:
            self._on_listed()

    async def _list(self) -> None:
        found: set[NamespacedName] = set()
        page = Page(Position())
        while True:
            async with request("list", self.name, seconds=LIST_SECONDS):
                query = {"limit": PAGE_SIZE, "_continue": page.metadata.next_page or None}
                async with await self._request("list", **query) as response:
                    page = msgspec.json.decode(await response.read(), type=Page)
            self.heard_at = time.monotonic()
            for raw in page.items:
                found.add(self._store(self._decoder.decode(raw)))
            if not page.metadata.next_page:
                break
        for key in self.table.keys() - found:
            self._on_change(self.table.pop(key).affected)
        self._version = page.metadata.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        async with request("watch", self.name, seconds=LIST_SECONDS):
            response = await self._request(
                "watch",
                watch=True,
                resource_version=self._version,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
            )
        try:
            async for line in self._lines(response):
                event = msgspec.json.decode(line, type=Event)
                if event.type == "ERROR":
                    self._refuse("watch", msgspec.json.decode(event.object, type=Status).code)
                elif event.type == "BOOKMARK":
                    bookmark = msgspec.json.decode(event.object, type=Bookmark)
                    self._version = bookmark.metadata.resource_version
                else:
                    item = self._decoder.decode(event.object)
                    (self._remove if event.type == "DELETED" else self._store)(item)
                    self._version = item.metadata.resource_version
        finally:
            _hang_up(response)

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Split the body into lines of any length, until it ends or has been quiet for too long."""
        rest = b""
        while True:
            try:
                async with asyncio.timeout(self._quiet_seconds):
                    chunk = await response.content.readany()
            except TimeoutError:
                return
            if not chunk:
                return
            self.heard_at = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield line

    async def _request(self, verb: str, **query: object) -> aiohttp.ClientResponse:
        response = await self._list_call(**query)
        if response.status != HTTP_OK:
            self._retry_after = retry_after(response.headers)
            async with response:
                self._refuse(verb, response.status, await response.read())
        return response

    def _refuse(self, verb: str, status: int, body: bytes = b"") -> None:
        if status == GONE:
            self._version = ""
        raise refusal(verb, self.name, status, body)

    def _store(self, item: T) -> NamespacedName:
        key = NamespacedName(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known is None:
            self.table[key] = item
            self._on_change(item.affected)
        elif not older(item, known):
            self.table[key] = item
            if (known.metadata.uid, known.spec) != (item.metadata.uid, item.spec):
                for target in {known.affected, item.affected}:
                    self._on_change(target)
        return key

    def _remove(self, item: T) -> None:
        key = NamespacedName(item.metadata.namespace, item.metadata.name)
        known = self.table.get(key)
        if known and not older(item, known):
            self._on_change(self.table.pop(key).affected)


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Drop the connection if the body has not ended: a TLS farewell could wait for a peer that is gone."""
    connection = response.connection
    if connection and connection.transport:
        connection.transport.abort()
    response.close()
