"""What one connection may make natsscaler keep of what a NATS server sends.

nats-py keeps whatever arrives: each line and message as a whole, and every address that servers tell of. Who
may create rules chooses the server, so a line, a message and the addresses have a limit here. So has the time
that is spent on all of it: nats-py goes on for as long as something is there.
"""

import asyncio
import time
from typing import Any

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

from natsscaler.core.time_budget import Budget

LINE_BYTES = 32 * 1024
"""Of a line of the protocol; nats-py accepts no longer one as the first."""
MESSAGE_BYTES = 64 * 2**20
"""Of a message: nats-server's own limit for max_payload."""
KEPT_BYTES = 2**20
"""Of a message, what is kept; only the answers to natsscaler's requests are read, and these are shorter."""
ADDRESSES = 64
"""Of other servers."""
ADDRESS_LENGTH = 300
TIME_SHARE, BURST_SECONDS = 0.2, 0.25
"""Of the time, what may be spent on reading from one connection, and what a burst may take at once."""
SLICE_BYTES = 2048
"""What is read before others are let in: some dozens of small messages."""


class TooLarge(OSError):
    """A server sent more than NATS does; nats-py closes the connection at an OSError."""


class BoundedParser(Parser):
    """Keeps the beginning of a message, and ends the connection where what comes is not NATS."""

    _passed_over = 0
    """Bytes of the present message that are still to come and not kept."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._budget = Budget(TIME_SHARE, time.monotonic(), BURST_SECONDS)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._passed_over = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take what has arrived, bit by bit. Raises TooLarge."""
        start = 0
        while start < len(data):
            end = start + max(SLICE_BYTES, self._missing())
            began = time.monotonic()
            await self._parse(data[start:end])
            start, ended = end, time.monotonic()
            self._budget.spend(ended - began, ended)
            await asyncio.sleep(self._budget.delay(ended))

    def _missing(self) -> int:
        """Say how many bytes of the present message are still to come, as these take no time."""
        if self.state != AWAITING_MSG_PAYLOAD:
            return 0
        return int(self.needed) + CRLF_SIZE - len(self.buf) + self._passed_over

    async def _parse(self, data: bytes) -> None:
        if self._passed_over:
            room = max(0, self.needed - len(self.buf))
            kept, rest = data[:room], data[room:]
            cut = min(self._passed_over, len(rest))
            self._passed_over -= cut
            data = kept + rest[cut:]
        await super().parse(data)
        if self.state != AWAITING_MSG_PAYLOAD:
            if len(self.buf) > LINE_BYTES:
                raise TooLarge(f"the server sent a line of more than {LINE_BYTES // 1024} KiB")
        elif self.needed > MESSAGE_BYTES:
            raise TooLarge(f"the server sent a message of more than {MESSAGE_BYTES // 2**20} MiB")
        elif self.needed > KEPT_BYTES:
            self._passed_over = self.needed - KEPT_BYTES
            self.needed, self.header_needed = KEPT_BYTES, 0


class BoundedClient(Client):
    """A client of nats-py whose server can fill neither the memory nor the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = BoundedParser(self)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        told = info.get("connect_urls")
        known = {server.uri.netloc for server in self._server_pool}
        new = [one for one in told if _is_address(one) and one not in known] if isinstance(told, list) else []
        room = max(0, ADDRESSES - len(known))
        await super()._process_info({**info, "connect_urls": new[:room]}, initial_connection)


def _is_address(told: object) -> bool:
    return isinstance(told, str) and len(told) <= ADDRESS_LENGTH
