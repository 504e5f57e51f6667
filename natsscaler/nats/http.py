"""Gets one document of the monitoring endpoint from one address, bounded in time and size.

The name was resolved and checked by the allow-list; what is connected to is the address, and the name goes
along for virtual hosts and TLS only. Redirects are not followed, and no proxy is used but one that the
settings name; it is told the address too, but for https, where it is told the name and resolves that itself.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Container
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache, partial
from typing import Generic, NamedTuple, TypeVar

import httpx
import msgspec

from natsscaler.core.access import bare_host
from natsscaler.core.errors import MonitoringError, excerpt
from natsscaler.core.reasons import Finding, Reason
from natsscaler.nats.credentials import MonitoringCredentials
from natsscaler.nats.final_answers import FinalAnswersTransport
from natsscaler.nats.large import HUGE_BYTES, LARGE_BYTES, Taking
from natsscaler.net.probe import Speaks, wants_tls, who_listens
from natsscaler.net.tls import certificate_error, client_context, failure
from natsscaler.settings import Settings

T = TypeVar("T")


class Fetching(NamedTuple):
    """What a request may take, and the way it goes."""

    seconds: float = 5.0
    """For one request, from connecting to the last byte."""
    max_bytes: int = 64 * 2**20
    """Of one answer."""
    proxy: str | None = None
    """URL of an HTTP proxy; None: none, whatever the environment says."""

    @classmethod
    def of(cls, settings: Settings) -> "Fetching":
        """Give what the settings say."""
        max_bytes = settings.monitoring_max_mib * 2**20
        return cls(settings.monitoring_timeout, max_bytes, settings.monitoring_proxy)


BYTES_PER_VALUE = 25
"""At least so many an answer of nats-server has for each value, as it is indented: 34 in one of short names.
An answer of many tiny values takes many times its own size once it is decoded."""
PIECES = 256
"""After so many pieces of an answer others have their turn: it may come byte by byte, and all at once."""
READING = 4
"""How many times as much as one answer may have all answers of one reading."""
NOBODY = MonitoringCredentials()
DEFAULTS = Fetching()


class Fetched(NamedTuple, Generic[T]):
    """A document, and what it took."""

    document: T
    seconds: float
    """From connecting to the last byte, without waiting here for others."""
    at: float
    """When the last byte had come (monotonic)."""


class Fetcher:
    """An HTTP client for one host name, that always uses the same credentials.

    Its connections are kept, by address; under another name they must not be used, as it was never checked.
    """

    def __init__(self, credentials: MonitoringCredentials = NOBODY, how: Fetching = DEFAULTS) -> None:
        self.credentials = credentials
        self._how = how
        self._client = httpx.AsyncClient(
            transport=FinalAnswersTransport(
                verify=credentials.tls.context() or _public_authorities(), proxy=how.proxy
            ),
            headers=credentials.headers,
            trust_env=False,
            follow_redirects=False,
            timeout=how.seconds,
        )
        self._requests = 0
        self._closing = False

    async def close(self) -> None:
        """Close all connections, once no request is under way."""
        self._closing = True
        if not self._requests:
            await self._client.aclose()

    async def get(
        self,
        url: httpx.URL,
        address: str,
        path: str,
        decode: Callable[[bytearray], T],
        taking: Taking,
        *,
        anew: bool = False,
        also: Container[int] = (),
    ) -> Fetched[T]:
        """Get a document and decode it; `anew`: by a connection of its own. Raises MonitoringError.

        `also`: other HTTP statuses than 200 that come with such a document.
        """
        shown = _shown(url)
        self._requests += 1
        try:
            async with AsyncExitStack() as turn:
                began = time.monotonic()
                async with asyncio.timeout(self._how.seconds) as limit:
                    receipt = _Receipt(taking, turn, limit)
                    body = await self._fetch(url, address, path, receipt, anew=anew, also=also)
                at = time.monotonic()
                found = await taking.work(partial(self._decode, shown, body, decode))
                if isinstance(found, Finding):
                    raise MonitoringError(found.reason, found.message)
                return Fetched(found, at - began - receipt.waited, at)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{shown} did not answer within {self._how.seconds:g} s"
            raise MonitoringError(Reason.MONITORING_TIMEOUT, message) from error
        except (OSError, httpx.HTTPError) as error:
            raise await self._unreached(url, address, error) from error
        finally:
            self._requests -= 1
            if self._closing:
                await self.close()

    def _decode(self, shown: str, body: bytearray, decode: Callable[[bytearray], T]) -> T | Finding:
        """Decode an answer, or say why not: an exception would keep the answer, by its traceback."""
        most = self._how.max_bytes // BYTES_PER_VALUE
        if sum(body.count(sign) for sign in (b",", b"[", b"{")) > most:
            message = f"{shown} gave more than {most:,} values, as many as {self._how.max_bytes // 2**20} MiB"
            message += " of NATS have"
            return Finding(Reason.MONITORING_TOO_LARGE, message)
        try:
            return decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            message = f"{shown} gave no NATS monitoring document: {excerpt(str(error))}"
            return Finding(Reason.MONITORING_UNREADABLE, message)

    async def _unreached(self, url: httpx.URL, address: str, error: Exception) -> MonitoringError:
        """Say why there was no answer, and where something else listens, what it is."""
        shown = _shown(url)
        if certificate_error(error):
            why = failure(error, "spec.monitoring.secretRef")
            return MonitoringError(Reason.MONITORING_CERTIFICATE, f"{shown}: {why}")
        port = url.port or (443 if url.scheme == "https" else 80)
        speaks = Speaks.UNKNOWN if self._how.proxy else (await who_listens(address, port)).speaks
        if speaks is Speaks.NOTHING:
            message = f"{shown} cannot be reached: nothing listens on port {port} there"
            return MonitoringError(Reason.MONITORING_UNREACHABLE, message)
        if speaks is Speaks.NATS:
            message = f"{shown} is the port for clients of NATS: natsMonitoringURL needs its http_port, 8222"
            return MonitoringError(Reason.MONITORING_UNREADABLE, f"{message} by default")
        other = {Speaks.HTTP: "http", Speaks.TLS: "https"}.get(speaks, url.scheme)
        if other != url.scheme:
            return _other_scheme(shown, other)
        why = excerpt(failure(error, "spec.monitoring.secretRef"))
        return MonitoringError(Reason.MONITORING_UNREACHABLE, f"{shown} cannot be reached: {why}")

    async def _fetch(
        self,
        url: httpx.URL,
        address: str,
        path: str,
        receipt: "_Receipt",
        *,
        anew: bool,
        also: Container[int],
    ) -> bytearray:
        """Return the body of an answer."""
        told = url.host if self._how.proxy and url.scheme == "https" else address
        host = bare_host(f"[{url.host}]" if ":" in url.host else url.host)
        request = self._client.build_request(
            "GET",
            f"{str(url.copy_with(host=told)).rstrip('/')}{path}",
            headers={
                "Host": host if url.port is None else f"{host}:{url.port}",
                "Accept-Encoding": "identity",
                "Cache-Control": "no-cache",
                "Connection": "close" if anew else "keep-alive",
            },
            extensions={"sni_hostname": bare_host(url.host)},
        )
        response = await self._client.send(request, stream=True)
        try:
            body, pieces = bytearray(), 0
            async for chunk in response.aiter_raw():
                pieces += 1
                if pieces % PIECES == 0:
                    await asyncio.sleep(0)
                await receipt.grow(len(body), len(body) + len(chunk))
                body += chunk
                if len(body) > self._how.max_bytes:
                    message = f"{_shown(url)} gave more than {self._how.max_bytes // 2**20} MiB"
                    raise MonitoringError(Reason.MONITORING_TOO_LARGE, message)
        finally:
            await response.aclose()
        if response.status_code == httpx.codes.BAD_REQUEST and url.scheme == "http" and wants_tls(body):
            raise _other_scheme(_shown(url), "https")
        if response.status_code != httpx.codes.OK and response.status_code not in also:
            raise self._refusal(f"{_shown(url)}{url.path}".rstrip("/"), response.status_code, body)
        return body

    def _refusal(self, who: str, status: int, body: bytearray) -> MonitoringError:
        message, given = f"{who} answered HTTP status {status}", self.credentials.origin
        if given and status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return MonitoringError(Reason.CREDENTIALS_REFUSED, f"{message}: fix {given}")
        if given:  # who was given credentials may send them back
            return MonitoringError(Reason.MONITORING_HTTP_STATUS, message)
        text = excerpt(body[:500].decode(errors="replace"))
        said = f"'{text}'" if text else "without a body"
        if status == httpx.codes.UNAUTHORIZED:
            said += "; spec.monitoring.secretRef can name credentials"
        return MonitoringError(Reason.MONITORING_HTTP_STATUS, f"{message}: {said}")


class _Receipt:
    """One answer while it comes."""

    def __init__(self, taking: Taking, turn: AsyncExitStack, limit: asyncio.Timeout) -> None:
        self.waited = 0.0
        """Seconds in which nobody but others kept it waiting; they do not count against its time limit."""
        self._taking = taking
        self._turn = turn
        self._limit = limit

    async def grow(self, before: int, after: int) -> None:
        """Take more bytes, once it is its turn if it is large with these. Raises MonitoringError."""
        if before <= LARGE_BYTES < after:
            await self._wait(self._taking.large_answer())
        if before <= HUGE_BYTES < after:
            await self._wait(self._taking.huge_answer())
        if after > LARGE_BYTES:
            self._taking.count(after - before)

    async def _wait(self, turn: AbstractAsyncContextManager[None]) -> None:
        began, until = time.monotonic(), self._limit.when()
        self._limit.reschedule(None)
        self._taking.waiting += 1
        try:
            await self._turn.enter_async_context(turn)
        finally:
            waited = time.monotonic() - began
            self.waited += waited
            self._taking.waiting -= 1
            if until is not None:
                self._limit.reschedule(until + waited)


def _other_scheme(shown: str, scheme: str) -> MonitoringError:
    message = f"{shown} speaks {scheme}: write {scheme}:// in natsMonitoringURL"
    return MonitoringError(Reason.MONITORING_UNREADABLE, message)


def _shown(url: httpx.URL) -> str:
    return f"{url.copy_with(path='')}".rstrip("/")


@cache
def _public_authorities() -> ssl.SSLContext:
    return client_context()
