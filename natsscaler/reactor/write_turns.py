"""Whose turn it is to write to Kubernetes: steps first, then statuses, then Events; namespaces in turn.

A namespace with thousands of writes to come keeps the others waiting for no more than one of them. One whose
writes hang, as with a webhook of its own, has a share of the turns for its steps, and a share for the rest.
Slow statuses or Events leave turns for steps.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from enum import IntEnum

TURNS = 16
"""How many writes are under way at once."""
FOR_STEPS = 4
"""How many of these only steps may take."""
SHARE = 5
"""How many a namespace may have at once for steps, and how many for the rest."""


class Kind(IntEnum):
    """What is written; a lower number goes first."""

    STEP = 0
    STATUS = 1
    EVENT = 2


class Turns:
    """Hands turns out; everything happens in one event loop."""

    def __init__(self, turns: int = TURNS, for_steps: int = FOR_STEPS, share: int = SHARE) -> None:
        self._free = turns
        self._turns = turns
        self._for_steps = for_steps
        self._share = share
        self._taken: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        """For steps, and for the rest, by each namespace."""
        self._waiting: dict[Kind, OrderedDict[str, deque[asyncio.Future[None]]]] = {
            kind: OrderedDict() for kind in Kind
        }
        """By kind, then by namespace in the order of their turns."""
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.asynccontextmanager
    async def turn(self, kind: Kind, namespace: str) -> AsyncIterator[None]:
        """Wait for a turn, and keep it inside."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[kind].setdefault(namespace, deque()).append(mine)
        self._idle.clear()
        self._hand_out()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._free += 1
                self._taken[kind is Kind.STEP] -= Counter([namespace])
            mine.cancel()
            self._hand_out()
            if self._free == self._turns:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until nobody has a turn, or waits for one."""
        await self._idle.wait()

    def _hand_out(self) -> None:
        for kind, namespaces in self._waiting.items():
            kept = 0 if kind is Kind.STEP else self._for_steps
            while self._free > kept and (namespace := self._next(kind)) is not None:
                waiting = namespaces.pop(namespace)
                while waiting and waiting[0].cancelled():
                    waiting.popleft()
                if not waiting:
                    continue
                waiting.popleft().set_result(None)
                self._free -= 1
                self._taken[kind is Kind.STEP][namespace] += 1
                if waiting:
                    namespaces[namespace] = waiting  # behind all others

    def _next(self, kind: Kind) -> str | None:
        """Say which namespace's turn it is; None: nobody waits, or all that do have their share."""
        taken = self._taken[kind is Kind.STEP]
        return next((one for one in self._waiting[kind] if taken[one] < self._share), None)
