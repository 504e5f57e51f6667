"""Takes in large answers of monitoring endpoints, so that they keep nobody waiting and fill no memory.

Few readings with large answers are in use at once, and fewer of one tenant. Whoever else has one waits, with
tenants in turn, and the server that it comes from waits with its bytes. A reading keeps its place as long as
anybody uses it. It is decoded and looked through in a thread, as the event loop must go on.
"""

import asyncio
import contextlib
import sys
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import Self, TypeVar

from natsscaler.core.errors import MonitoringError
from natsscaler.core.reasons import Reason

T = TypeVar("T")

LARGE_BYTES = 2**16
"""Size beyond which an answer is large: some 25 streams with a consumer each."""
PLACES, EACH = 4, 2
"""How many readings with large answers may be in use at once, and how many of one tenant: while NATS is asked
about one, the next one may come."""
HUGE_BYTES = 2**23
"""Size beyond which an answer waits until no other one is that large."""
PLACE_SECONDS = 15.0
"""After how long a place is given to somebody else though what was read is still in use."""
SWITCH_SECONDS = 0.001
"""After how long a thread lets the event loop go on, which waits for that again and again."""


class Places:
    """Hands places out, tenants in turn; a tenant has EACH at most. All in one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By tenant, in the order of their turns."""

    async def take(self, tenant: str) -> "TakenPlace":
        """Wait for a place."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(mine)
        self._hand_out()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.free(tenant)
            raise
        return TakenPlace(self, tenant)

    def free(self, tenant: str) -> None:
        """Take a tenant's place back."""
        self._free += 1
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
        self._hand_out()

    def _hand_out(self) -> None:
        for tenant in list(self._waiting):
            waiting = self._waiting[tenant]
            while waiting and waiting[0].cancelled():
                waiting.popleft()
            if waiting and self._free and self._taken[tenant] < EACH:
                waiting.popleft().set_result(None)
                self._free -= 1
                self._taken[tenant] += 1
                self._waiting.move_to_end(tenant)
            if not waiting:
                del self._waiting[tenant]


class TakenPlace:
    """A tenant's place, until it is left or PLACE_SECONDS have passed."""

    def __init__(self, places: Places, tenant: str) -> None:
        self._places: Places | None = places
        self._tenant = tenant
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PLACE_SECONDS, self.leave)

    def leave(self) -> None:
        """Give it back, if that was not done yet."""
        if self._places:
            self._places.free(self._tenant)
            self._places = None
            self._timer.cancel()

    def leave_with(self, used: object) -> None:
        """Give it back once nobody uses this any more; a thread may be the last one to do so."""
        weakref.finalize(used, self._leave_soon).atexit = False

    def _leave_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self.leave)


class Intake:
    """Where all readings take in what is large."""

    def __init__(self) -> None:
        self.places, self.huge = Places(PLACES), Places(1)
        sys.setswitchinterval(SWITCH_SECONDS)


class Taking:
    """What one reading takes in: the answers of all nodes of an endpoint. Leave it by `with`."""

    def __init__(self, intake: Intake, tenant: str, most_bytes: int) -> None:
        self.waiting = 0
        """How many of its answers wait for a place, or for another one of this reading."""
        self._intake = intake
        self._tenant = tenant
        self._left = most_bytes
        self._place: TakenPlace | None = None
        self._one_by_one = asyncio.Lock()

    @property
    def large(self) -> bool:
        """Whether there was a large answer."""
        return self._place is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._place:
            self._place.leave()

    def keep_for(self, used: object) -> None:
        """Keep the place for as long as anybody uses this object."""
        if self._place:
            self._place.leave_with(used)
            self._place = None

    @contextlib.asynccontextmanager
    async def large_answer(self) -> AsyncIterator[None]:
        """Receive and decode a large answer inside, while no other one of this reading is."""
        async with self._one_by_one:
            if self._place is None:
                self._place = await self._intake.places.take(self._tenant)
            yield

    @contextlib.asynccontextmanager
    async def huge_answer(self) -> AsyncIterator[None]:
        """Receive and decode a huge answer inside, while no other one is."""
        place = await self._intake.huge.take(self._tenant)
        try:
            yield
        finally:
            place.leave()

    def count(self, size: int) -> None:
        """Count the bytes of a large answer. Raises MonitoringError if the nodes give too much together."""
        self._left -= size
        if self._left < 0:
            raise MonitoringError(Reason.MONITORING_TOO_LARGE, "All nodes and pages together are too large")

    async def work(self, piece: Callable[[], T]) -> T:
        """Look through what was read, aside if that is large."""
        return await asyncio.to_thread(piece) if self._place else piece()
