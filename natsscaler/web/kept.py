"""What takes long to make is made once for all who ask for it within a second: they may be many."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
KEEP_SECONDS = 1.0


class Kept(Generic[T]):
    """One thing that `make` makes, no older than KEEP_SECONDS."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._made_at = -math.inf
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Give it, made anew if it is too old."""
        async with self._lock:
            if time.monotonic() - self._made_at >= KEEP_SECONDS:
                self._thing = await self._make()
                self._made_at = time.monotonic()
            return self._thing
