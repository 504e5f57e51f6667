"""Reads the monitoring endpoint of NATS: `/jsz` for the truth, `/varz` for who answers.

An answer counts only if it is whole, of the expected shape, from the expected server and fresh; everything
else is a MonitoringError with a reason, and the backlog stays Unknown. Requests name no account: one
document serves all rules, and a misspelt account would be an empty answer with HTTP status 200
(nats-server: server/monitor.go Jsz).
"""

import asyncio
import time
from typing import TypeVar

import httpx
import msgspec

from natsscaler.errors import MonitoringError, NotAllowed, Reason, excerpt
from natsscaler.jsz import AccountInfo, Jsz, Reading, Varz, View
from natsscaler.network import AllowList

TIMEOUT_SECONDS = 5.0
"""For one request, from resolving the name to the last byte."""
MAX_BYTES = 64 * 2**20
"""Of one answer."""
JSZ = "/jsz?accounts=true&consumers=true&config=true"

T = TypeVar("T")


class Monitoring:
    """Reads monitoring endpoints; remembers of each who answered last, and when by its own clock."""

    def __init__(self, allow: AllowList) -> None:
        self._allow = allow
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS)
        self._servers: dict[str, Varz] = {}
        self._last_now: dict[str, str] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def forget(self, url: str) -> None:
        """Drop what is remembered of an endpoint that no rule names any more."""
        server = self._servers.pop(url, None)
        if server:
            self._last_now.pop(server.server_id, None)

    async def read(self, url: str) -> Reading:
        """Read the JetStream state of the server behind a URL. Raises MonitoringError."""
        started = time.monotonic()
        documents = [await self._get(url, JSZ, Jsz)]
        first = documents[0]
        accounts: dict[str, AccountInfo] = {a.id or a.name: a for a in first.account_details}
        while len(accounts) < first.total:  # nats-server gives 1,024 accounts at the most in one answer
            page = await self._get(url, f"{JSZ}&offset={len(accounts)}", Jsz)
            more = {a.id or a.name: a for a in page.account_details if (a.id or a.name) not in accounts}
            if page.server_id != first.server_id or not more:
                raise MonitoringError(
                    Reason.MONITORING_INCOMPLETE,
                    f"{url} gave {len(accounts)} of {first.total} accounts: it is retried",
                )
            accounts |= more
            documents.append(page)
        server = await self._server(url, first.server_id)
        if self._last_now.get(server.server_id) == first.now:
            raise MonitoringError(
                Reason.MONITORING_STALE,
                f"{url} answers with the same moment again: a cache in front of it, or a stopped clock",
            )
        self._last_now[server.server_id] = first.now
        return Reading(
            view=View(server.server_name, documents),
            server=server,
            nats_url=_nats_url(url, server),
            seconds=time.monotonic() - started,
        )

    async def _server(self, url: str, server_id: str) -> Varz:
        known = self._servers.get(url)
        if known is None or known.server_id != server_id:
            known = await self._get(url, "/varz", Varz)
            if known.server_id != server_id:
                raise MonitoringError(
                    Reason.LEADER_UNCLEAR,
                    f"{url} leads to different servers from one request to the next",
                )
            self._servers[url] = known
        return known

    async def _get(self, url: str, path: str, kind: type[T]) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._fetch(httpx.URL(url.rstrip("/")), path)
        except NotAllowed as error:
            raise MonitoringError(error.reason, error.message) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise MonitoringError(
                Reason.MONITORING_TIMEOUT, f"{url} did not answer within {TIMEOUT_SECONDS:.0f} s"
            ) from error
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise MonitoringError(
                Reason.MONITORING_UNREACHABLE, f"{url} cannot be reached: {excerpt(str(error))}"
            ) from error
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise MonitoringError(
                Reason.MONITORING_UNREADABLE,
                f"{url} gave no NATS monitoring document: {excerpt(str(error))}",
            ) from error

    async def _fetch(self, base: httpx.URL, path: str) -> bytearray:
        port = base.port or (443 if base.scheme == "https" else 80)
        response = None
        for address in await self._allow.resolve(base.host, port):
            request = self._client.build_request(
                "GET",
                f"{base.copy_with(host=address)}{path}",
                headers={"Host": base.netloc.decode(), "Accept-Encoding": "identity"},
                extensions={"sni_hostname": base.host},
            )
            try:
                response = await self._client.send(request, stream=True)
                break
            except httpx.ConnectError as error:
                failure = error
        if response is None:
            raise failure
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise MonitoringError(
                        Reason.MONITORING_TOO_LARGE,
                        f"{base} gave more than {MAX_BYTES // 2**20} MiB",
                    )
        finally:
            await response.aclose()
        if response.status_code != httpx.codes.OK:
            raise MonitoringError(
                Reason.MONITORING_HTTP_STATUS,
                f"{base} answered HTTP status {response.status_code}:"
                f" {excerpt(body[:500].decode(errors='replace')) or 'without a body'}",
            )
        return body


def _nats_url(url: str, server: Varz) -> str:
    host = httpx.URL(url).host
    scheme = "tls" if server.tls_required else "nats"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
