"""How many monitoring endpoints are read at once for one namespace, so that it leaves room to the others.

A read of a server that does not answer takes seconds, a connection and, if the server wants that, time of
the event loop. Who names thousands of such servers waits for itself.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection

READS = 16
"""Of one namespace, under way at once."""


class ReadTurns:
    """Hands turns out; everything happens in one event loop."""

    def __init__(self, each: int = READS) -> None:
        self._each = each
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[str]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, namespaces: Collection[str]) -> AsyncIterator[None]:
        """Wait until one of the namespaces that a read serves has a turn left, and keep it inside."""
        mine: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        idlest = min(namespaces, key=lambda one: self._taken[one])
        if self._taken[idlest] < self._each:
            self._taken[idlest] += 1
            mine.set_result(idlest)
        else:
            for one in namespaces:
                self._waiting.setdefault(one, deque()).append(mine)
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._give_back(mine.result())
            mine.cancel()

    def _give_back(self, namespace: str) -> None:
        waiting = self._waiting.pop(namespace, deque())
        while waiting:
            first = waiting.popleft()
            if not first.done():  # it may have got the turn of another namespace
                self._waiting[namespace] = waiting
                first.set_result(namespace)
                return
        self._taken -= Counter([namespace])
