"""Server-sent events: what has changed since the last one, for as long as the reader stays.

An event's id says up to which version its reader knows everything. A reader that comes back with it (browsers
do so by themselves, as `Last-Event-ID`) is given what it missed; one that knows another process, or too
little, is given everything anew. A slow reader is sent less often and the latest state only, so it costs no
memory.
"""

import asyncio
import uuid
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from natsscaler.core.rule import RuleKey
from natsscaler.core.status import rfc3339
from natsscaler.observe.feed import Activity, Changes, Seen
from natsscaler.web.answers import Beat, Name, RuleAnswer, Update
from natsscaler.web.api import Leader, RuleSummary, detail, summary
from natsscaler.web.kept import Kept

BEAT_SECONDS = 2.0
"""Silence that a reader may take for a sign of death is twice as long, and more."""
SETTLE_SECONDS = 0.2
"""Changes that come together are sent together."""
SEND_SECONDS = 10.0
"""A reader that takes nothing for this long is cut off; it can come back."""
MOST_READERS = 100
FULL = f"{MOST_READERS} open pages are served already, {{}} of them to {{}}: close some, or come back later."
SMALL_BYTES = 10_000
"""What is not longer is compressed at once, in less than a millisecond; more in a thread."""
WINDOW_BITS, MEMORY_LEVEL = 12, 5
"""Of zlib: 32 KiB for each reader instead of 256; one rule's row is like the one before."""
AT_ONCE = 50
"""Rules that are summed up in one go: about a millisecond."""
RETRY = b"retry: 1000\n\n"


class Mark(NamedTuple):
    """How much a reader knows."""

    version: int = 0
    settled: int = 0
    """Up to when it knows the history of the one rule that it reads, in seconds since the epoch."""


Next = Callable[[Mark], Awaitable[tuple[Mark, msgspec.Struct | None]]]
"""What a reader that knows so much is to be told, if anything, and what it knows then."""


class Streams:
    """All readers of one process."""

    def __init__(
        self,
        activity: Activity,
        clock: Callable[[], float],
        leader: Callable[[], Leader | None],
        not_ready: Callable[[], list[str]],
    ) -> None:
        self._activity, self._clock, self._leader = activity, clock, leader
        self._not_ready = not_ready
        self._process = uuid.uuid4().hex[:12]
        """Versions of another process mean nothing here."""
        self.table = Kept(self._table)
        """All rules and actions, as changes since nothing, and the rules summed up."""
        self._one_at_a_time = asyncio.Lock()
        self._readers: dict[asyncio.Task[Any] | None, str] = {}
        """With the address of each; the oldest comes first."""

    async def rules(self, request: web.Request) -> web.StreamResponse:
        """Stream the table of all rules and the actions."""

        async def news(known: Mark) -> tuple[Mark, msgspec.Struct | None]:
            if known.version == self._activity.version:
                return known, None
            found, rules = await self._since(known.version)
            update = Update(
                timestamp=rfc3339(self._clock()),
                everything=found.everything,
                rules=rules,
                gone=[Name(namespace=key.namespace, name=key.name) for key in found.gone],
                actions=found.actions,
                leader=self._leader(),
                not_ready=self._not_ready(),
            )
            return Mark(found.version), update

        return await self._serve(request, news)

    async def rule(self, request: web.Request) -> web.StreamResponse:
        """Stream one rule, whether it exists yet or not."""
        key = RuleKey(request.match_info["namespace"], request.match_info["name"])
        told: object = ...

        async def news(known: Mark) -> tuple[Mark, msgspec.Struct | None]:
            nonlocal told
            seen, version, now = self._activity.rule(key), self._activity.version, self._clock()
            state = seen and (seen.version, seen.facts and seen.facts.now)
            if state == told:
                return Mark(version, known.settled), None
            told = state
            answer = RuleAnswer(
                timestamp=rfc3339(now),
                rule=detail(seen, now, known.settled) if seen else None,
                leader=self._leader(),
                not_ready=self._not_ready(),
            )
            return Mark(version, seen.history.settled_until if seen else 0), answer

        return await self._serve(request, news)

    def close(self) -> None:
        """Let all readers go; they come back to whoever answers then."""
        for reader in self._readers:
            if reader:
                reader.cancel()

    async def _table(self) -> tuple[Changes, list[RuleSummary]]:
        found = self._activity.changes(0)
        return found, await self._sum_up(found.rules)

    async def _since(self, version: int) -> tuple[Changes, list[RuleSummary]]:
        found = self._activity.changes(version) if version else None
        if found is None or found.everything:
            return await self.table.get()
        return found, await self._sum_up(found.rules)

    async def _sum_up(self, rules: Sequence[Seen]) -> list[RuleSummary]:
        """Sum up rules, and let others than readers have their turn meanwhile."""
        rows = []
        async with self._one_at_a_time:
            for index, seen in enumerate(rules):
                if index % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
                rows.append(summary(seen, self._clock()))
        return rows

    async def _serve(self, request: web.Request, news: Next) -> web.StreamResponse:
        task, address = asyncio.current_task(), request.remote or ""
        if len(self._readers) >= MOST_READERS:
            self._make_room(address)
        self._readers[task] = address
        response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        try:
            write = compressed(request, response)
            await response.prepare(request)
            known = self._mark(request.headers.get("Last-Event-ID", ""))
            await self._feed(write, news, known)
        except (ConnectionResetError, TimeoutError):
            if request.transport:
                request.transport.abort()
        finally:
            self._readers.pop(task, None)
        return response

    def _make_room(self, newcomer: str) -> None:
        """Let the oldest reader go of the address that has most, if it then still has no fewer than others.

        Raises HTTPServiceUnavailable if the newcomer's own address has as many.
        """
        crowd = Counter(self._readers.values())
        address, most = crowd.most_common(1)[0]
        if crowd[newcomer] + 1 >= most:
            raise web.HTTPServiceUnavailable(text=FULL.format(most, address))
        oldest = next(task for task, reader in self._readers.items() if reader == address)
        del self._readers[oldest]
        if oldest:
            oldest.cancel()

    async def _feed(self, write: Callable[[bytes], Awaitable[None]], news: Next, known: Mark) -> None:
        async def send(data: bytes) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await write(data)

        await send(RETRY)
        while True:
            known, update = await news(known)
            if update:
                await send(_event("update", update, f"{self._process}-{known.version}-{known.settled}"))
            else:
                now = rfc3339(self._clock())
                beat = Beat(timestamp=now, leader=self._leader(), not_ready=self._not_ready())
                await send(_event("beat", beat))
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._activity.news(known.version)
                await asyncio.sleep(SETTLE_SECONDS)
            except TimeoutError:
                continue

    def _mark(self, event_id: str) -> Mark:
        process, *numbers = event_id.split("-")
        if process == self._process and len(numbers) == len(Mark._fields) and all(map(str.isdigit, numbers)):
            return Mark(*map(int, numbers))
        return Mark()


def compressed(request: web.Request, response: web.StreamResponse) -> Callable[[bytes], Awaitable[None]]:
    """Return how to write to an answer that is not yet begun, so that each event arrives at once.

    aiohttp's own compression keeps events back until there are enough of them.
    """
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return response.write
    response.headers["Content-Encoding"] = "gzip"
    squeeze = zlib.compressobj(wbits=16 + WINDOW_BITS, memLevel=MEMORY_LEVEL)

    def flushed(data: bytes) -> bytes:
        return squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)

    async def write(data: bytes) -> None:
        at_once = len(data) <= SMALL_BYTES
        await response.write(flushed(data) if at_once else await asyncio.to_thread(flushed, data))

    return write


def _event(name: str, data: msgspec.Struct, event_id: str = "") -> bytes:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
