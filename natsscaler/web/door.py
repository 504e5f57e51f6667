"""Who is let in at a port, and for how long: aiohttp itself takes any number, and waits for ever.

Whoever reaches a port can open connections to it. So their number is bounded, and one that waits for a
request makes way to one that comes: of the address that has most, so that nobody keeps another out.
"""

import asyncio
import logging
import time
from collections import Counter
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 256
"""At one port."""
HEAD_SECONDS = 10.0
"""How long a connection may bring no whole head of a request, or leave an answer unread."""
LOOK_SECONDS = 1.0
"""Between two looks for such connections."""
TELL_SECONDS = 60.0
"""Between two warnings that a port is full."""


class Door:
    """Lets connections in at one port; called for each one, as asyncio's protocol factory."""

    def __init__(self, name: str) -> None:
        self.server: web.Server | None = None
        """Who answers; None: nobody yet."""
        self._name = name
        self._answered: set[object] = set()
        """Connections whose request is being answered."""
        self._since: dict[web.RequestHandler, float] = {}
        """When a connection came, or when its last request was answered."""
        self._told_at = -TELL_SECONDS

    def __call__(self) -> "_Arrival":
        """Take a connection whose address is not yet known."""
        return _Arrival(self)

    def enter(self, transport: asyncio.Transport) -> None:
        """Let a connection in, and one that waits go if there are too many."""
        if self.server is None:
            transport.abort()
            return
        if len(self._open()) >= MOST_CONNECTIONS:
            self._make_room()
        connection = self.server()
        self._since[connection] = time.monotonic()
        transport.set_protocol(connection)
        connection.connection_made(transport)

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, and know that its connection waits for none meanwhile."""
        if len(self._open()) > MOST_CONNECTIONS:
            text = f"{MOST_CONNECTIONS} connections to this port are being answered already: come back later."
            refusal = web.Response(status=503, text=text)
            refusal.force_close()
            return refusal
        self._answered.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._answered.discard(request.protocol)
            self._since[request.protocol] = time.monotonic()

    def close_those_too_long(self) -> None:
        """Cut off those that have waited for too long."""
        now, waiting = time.monotonic(), self._waiting()
        self._since = {one: since for one, since in self._since.items() if one in waiting}
        for one, transport in waiting.items():
            if now - self._since[one] > HEAD_SECONDS:
                transport.abort()  # to close it would first have its answer read

    def _open(self) -> dict[web.RequestHandler, asyncio.Transport]:
        """Give all connections, the oldest first."""
        known = self.server.connections if self.server else []
        return {
            one: transport for one in known if (transport := one.transport) and not transport.is_closing()
        }

    def _waiting(self) -> dict[web.RequestHandler, asyncio.Transport]:
        return {one: transport for one, transport in self._open().items() if one not in self._answered}

    def _make_room(self) -> None:
        crowd, waiting = Counter(map(_address, self._open().values())), self._waiting()
        first = min(waiting, key=lambda one: (-crowd[_address(waiting[one])], self._since[one]), default=None)
        if first:
            waiting[first].abort()
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            address, most = crowd.most_common(1)[0]
            text = "The %s port has all its %d connections, %d of them from %s: who waits there makes way"
            log.warning(text, self._name, MOST_CONNECTIONS, most, address)


class _Arrival(asyncio.Protocol):
    """What a connection is until its address is known."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.enter(cast("asyncio.Transport", transport))  # uvloop's own is no subclass


def _address(transport: asyncio.Transport) -> str:
    return str((transport.get_extra_info("peername") or ("",))[0])
