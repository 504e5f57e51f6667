"""Gets one document of the monitoring endpoint from one address, bounded in time and size.

The name was resolved and checked by the allow-list; what is connected to is the address, and the name goes
along for virtual hosts and TLS only. Redirects are not followed, and no proxy of the environment is used.
"""

import asyncio
from typing import TypeVar

import httpx
import msgspec

from natsscaler.errors import MonitoringError, Reason, excerpt

TIMEOUT_SECONDS = 5.0
"""For one request, from connecting to the last byte."""
MAX_BYTES = 64 * 2**20
"""Of one answer."""

T = TypeVar("T")


class Fetcher:
    """An HTTP client."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, url: httpx.URL, address: str, path: str, kind: type[T], *, anew: bool = False) -> T:
        """Get a document of this type; `anew`: by a connection of its own. Raises MonitoringError."""
        shown = f"{url.copy_with(path='')}".rstrip("/")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._fetch(url, address, path, anew=anew)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{shown} did not answer within {TIMEOUT_SECONDS:.0f} s"
            raise MonitoringError(Reason.MONITORING_TIMEOUT, message) from error
        except (OSError, httpx.HTTPError) as error:
            message = f"{shown} cannot be reached: {excerpt(str(error)) or type(error).__name__}"
            raise MonitoringError(Reason.MONITORING_UNREACHABLE, message) from error
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
            said = excerpt(body[:500].decode(errors="replace")) or "without a body"
            message = f"{url.host} answered HTTP status {response.status_code}: {said}"
            raise MonitoringError(Reason.MONITORING_HTTP_STATUS, message)
        return body
