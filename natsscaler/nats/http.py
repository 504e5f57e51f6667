"""Gets one document of the monitoring endpoint from one address, bounded in time and size.

The name was resolved and checked by the allow-list; what is connected to is the address, and the name goes
along for virtual hosts and TLS only. Redirects are not followed, and no proxy is used but one that the
settings name; it is told the address too, but for https, where it is told the name and resolves that itself.
"""

import asyncio
import ssl
from collections.abc import Container
from contextlib import AsyncExitStack
from functools import cache
from typing import NamedTuple, TypeVar

import httpx
import msgspec

from natsscaler.core.access import bare_host
from natsscaler.core.errors import MonitoringError, excerpt
from natsscaler.core.reasons import Reason
from natsscaler.nats.credentials import MonitoringCredentials
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


LARGE_BYTES = 2**20
"""Size of an answer beyond which it is read only while no other one is that large: what all of them take
together stays bounded, however many servers there are and whatever they send."""
BYTES_PER_VALUE = 25
"""At least so many an answer of nats-server has for each value, as it is indented: 34 in one of short names.
An answer of many tiny values takes many times its own size once it is decoded."""
NOBODY = MonitoringCredentials()
DEFAULTS = Fetching()


class Fetcher:
    """An HTTP client for one host name, that always uses the same credentials.

    Its connections are kept, by address; under another name they must not be used, as it was never checked.
    """

    def __init__(
        self, large: asyncio.Lock, credentials: MonitoringCredentials = NOBODY, how: Fetching = DEFAULTS
    ) -> None:
        self.credentials = credentials
        self._large = large
        self._how = how
        self._client = httpx.AsyncClient(
            headers=credentials.headers,
            verify=credentials.tls.context() or _public_authorities(),
            proxy=how.proxy,
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
        kind: type[T],
        *,
        anew: bool = False,
        also: Container[int] = (),
    ) -> T:
        """Get a document of this type; `anew`: by a connection of its own. Raises MonitoringError.

        `also`: other HTTP statuses than 200 that come with such a document.
        """
        shown = _shown(url)
        self._requests += 1
        try:
            async with asyncio.timeout(self._how.seconds), AsyncExitStack() as turn:
                body = await self._fetch(url, address, path, turn, anew=anew, also=also)
                self._check_values(shown, body)
                return msgspec.json.decode(body, type=kind)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{shown} did not answer within {self._how.seconds:g} s"
            raise MonitoringError(Reason.MONITORING_TIMEOUT, message) from error
        except (OSError, httpx.HTTPError) as error:
            raise await self._unreached(url, address, error) from error
        except (msgspec.MsgspecError, RecursionError) as error:
            message = f"{shown} gave no NATS monitoring document: {excerpt(str(error))}"
            raise MonitoringError(Reason.MONITORING_UNREADABLE, message) from error
        finally:
            self._requests -= 1
            if self._closing:
                await self.close()

    def _check_values(self, shown: str, body: bytearray) -> None:
        """Refuse what would take far more memory than its size tells."""
        most = self._how.max_bytes // BYTES_PER_VALUE
        if sum(body.count(sign) for sign in (b",", b"[", b"{")) > most:
            message = f"{shown} gave more than {most:,} values, as many as {self._how.max_bytes // 2**20} MiB"
            raise MonitoringError(Reason.MONITORING_TOO_LARGE, f"{message} of NATS have")

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
        turn: AsyncExitStack,
        *,
        anew: bool,
        also: Container[int],
    ) -> bytearray:
        """Return the body of an answer; who has got a large one keeps the turn for it in `turn`."""
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
            body = bytearray()
            async for chunk in response.aiter_raw():
                if len(body) <= LARGE_BYTES < len(body) + len(chunk):
                    await turn.enter_async_context(self._large)
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


def _other_scheme(shown: str, scheme: str) -> MonitoringError:
    message = f"{shown} speaks {scheme}: write {scheme}:// in natsMonitoringURL"
    return MonitoringError(Reason.MONITORING_UNREADABLE, message)


def _shown(url: httpx.URL) -> str:
    return f"{url.copy_with(path='')}".rstrip("/")


@cache
def _public_authorities() -> ssl.SSLContext:
    return client_context()
