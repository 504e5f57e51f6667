"""Gets one document of the monitoring endpoint from one address, bounded in time and size.

The name was resolved and checked by the allow-list; what is connected to is the address, and the name goes
along for virtual hosts and TLS only. Redirects are not followed, and no proxy of the environment is used.
"""

import asyncio
import ssl
from typing import TypeVar

import httpx
import msgspec

from natsscaler.credentials import MonitoringCredentials, failure
from natsscaler.errors import MonitoringError, Reason, excerpt

TIMEOUT_SECONDS = 5.0
"""For one request, from connecting to the last byte."""
MAX_BYTES = 64 * 2**20
"""Of one answer."""

T = TypeVar("T")


NOBODY = MonitoringCredentials()


class Fetcher:
    """An HTTP client that always uses the same credentials."""

    def __init__(self, credentials: MonitoringCredentials = NOBODY) -> None:
        self.credentials = credentials
        self._client = httpx.AsyncClient(
            headers=credentials.headers,
            verify=credentials.tls.context or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
        self._requests = 0
        self._closing = False

    async def close(self) -> None:
        """Close all connections, once no request is under way."""
        self._closing = True
        if not self._requests:
            await self._client.aclose()

    async def get(self, url: httpx.URL, address: str, path: str, kind: type[T], *, anew: bool = False) -> T:
        """Get a document of this type; `anew`: by a connection of its own. Raises MonitoringError."""
        shown = f"{url.copy_with(path='')}".rstrip("/")
        self._requests += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._fetch(url, address, path, anew=anew)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{shown} did not answer within {TIMEOUT_SECONDS:.0f} s"
            raise MonitoringError(Reason.MONITORING_TIMEOUT, message) from error
        except (OSError, httpx.HTTPError) as error:
            message = f"{shown} cannot be reached: {excerpt(failure(error))}"
            raise MonitoringError(Reason.MONITORING_UNREACHABLE, message) from error
        finally:
            self._requests -= 1
            if self._closing:
                await self.close()
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            message = f"{shown} gave no NATS monitoring document: {excerpt(str(error))}"
            raise MonitoringError(Reason.MONITORING_UNREADABLE, message) from error

    async def _fetch(self, url: httpx.URL, address: str, path: str, *, anew: bool) -> bytearray:
        request = self._client.build_request(
            "GET",
            f"{str(url.copy_with(host=address)).rstrip('/')}{path}",
            headers={
                "Host": url.netloc.decode(),
                "Accept-Encoding": "identity",
                "Connection": "close" if anew else "keep-alive",
            },
            extensions={"sni_hostname": url.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    message = f"{url.host} gave more than {MAX_BYTES // 2**20} MiB"
                    raise MonitoringError(Reason.MONITORING_TOO_LARGE, message)
        finally:
            await response.aclose()
        if response.status_code != httpx.codes.OK:
            raise self._refusal(f"{url.host}{url.path}".rstrip("/"), response.status_code, body)
        return body

    def _refusal(self, who: str, status: int, body: bytearray) -> MonitoringError:
        message, given = f"{who} answered HTTP status {status}", self.credentials.origin
        if given and status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return MonitoringError(Reason.CREDENTIALS_REFUSED, f"{message}: mend {given}")
        if given:  # who was given credentials may send them back
            return MonitoringError(Reason.MONITORING_HTTP_STATUS, message)
        said = excerpt(body[:500].decode(errors="replace")) or "without a body"
        if status == httpx.codes.UNAUTHORIZED:
            said += "; spec.monitoring.secretRef can name credentials"
        return MonitoringError(Reason.MONITORING_HTTP_STATUS, f"{message}: {said}")
