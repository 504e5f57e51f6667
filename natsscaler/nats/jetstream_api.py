"""Requests to JetStream's API on one connection: those that only look, and what of them is not permitted."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec
from nats.aio.client import Client

from natsscaler.core.jetstream.documents import ApiAnswer, ConsumerInfo, StreamTold
from natsscaler.core.jetstream.feeds import CONSUMER_INFO, STREAM_INFO
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.subjects import is_token
from natsscaler.nats.denials import Denials
from natsscaler.nats.dial import NATS_ERRORS, obediently

INFO_SECONDS = 1
UNTOLD = {10014: NotTold.NO_CONSUMER, 10059: NotTold.NO_STREAM}
"""By the codes of JetStream's errors (nats-server: server/errors.json)."""

T = TypeVar("T", ConsumerInfo, StreamTold)


class Querying:
    """Asks while there is a client."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._under_way: Counter[str] = Counter()
        self.denied = Denials()
        """Requests that may not be made."""

    def begin(self, client: Client | None) -> None:
        """Ask this client from now on, of which nothing is known; None: nobody."""
        self._client = client
        self.denied.clear()

    def refused(self, told: str) -> None:
        """Take note that the server does not permit a request, if it was made; it comes in lower case."""
        made = next((subject for subject in self._under_way if subject.lower() == told), None)
        if made:
            self.denied.add(made)

    async def consumer(self, stream: str, consumer: str) -> ConsumerInfo | NotTold:
        """Ask a consumer's leader for it; wait for INFO_SECONDS at the most."""
        return await self._ask(CONSUMER_INFO, (stream, consumer), ConsumerInfo)

    async def stream(self, stream: str) -> StreamTold | NotTold:
        """Ask a stream's leader for it; wait for INFO_SECONDS at the most."""
        return await self._ask(STREAM_INFO, (stream,), StreamTold)

    async def may_again(self) -> bool:
        """Make one request again that was denied; if it is permitted now, so may be all, which is told."""
        for subject in self.denied.subjects[:1]:
            self.denied.remove([subject])
            with suppress(*NATS_ERRORS):
                await self._request(subject)
            if subject not in self.denied:
                self.denied.clear()
                return True
        return False

    async def _ask(self, prefix: str, names: Sequence[str], expected: type[T]) -> T | NotTold:
        subject = prefix + ".".join(names)
        if self._client is None:
            return NotTold.CANNOT_ASK
        if not all(map(is_token, names)):  # nothing has such a name
            return NotTold.NO_ANSWER
        if subject in self.denied:
            return NotTold.DENIED
        try:
            data = await self._request(subject)
            error = msgspec.json.decode(data, type=ApiAnswer).error
            if error:
                return UNTOLD.get(error.err_code, NotTold.NO_ANSWER)
            return msgspec.json.decode(data, type=expected)
        except (msgspec.MsgspecError, *NATS_ERRORS):
            return NotTold.DENIED if subject in self.denied else NotTold.NO_ANSWER

    async def _request(self, subject: str) -> bytes:
        if self._client is None:
            raise OSError("not connected")
        self._under_way[subject] += 1
        try:
            return (await obediently(self._client.request(subject, timeout=INFO_SECONDS))).data
        finally:
            self._under_way -= Counter((subject,))
