"""An HTTP transport that refuses interim answers (RFC 9110, 15.2), such as 103.

nats-server sends none. A server that sends them without end would be listened to for as long as a request may
take, and httpx goes through each of them without leaving others a turn. So the connection is given up at the
first one.
"""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

STATUS_AT = len(b"HTTP/1.1 ")
"""Where the status of an answer begins."""


class FinalAnswersTransport(httpx.AsyncHTTPTransport):
    """Sends requests, and takes nothing but their final answers."""

    def __init__(self, *, verify: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=verify, proxy=proxy, trust_env=False)
        # httpcore takes a backend as an argument, but httpx passes none on.
        self._pool._network_backend = _Backend(self._pool._network_backend)  # noqa: SLF001


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._begins = b""
        """How the answer to the last request begins."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - of httpcore
        data = await self._stream.read(max_bytes, timeout)
        if len(self._begins) <= STATUS_AT:
            self._begins += data[: STATUS_AT + 1 - len(self._begins)]
            if self._begins[STATUS_AT:] == b"1":
                raise httpcore.RemoteProtocolError("it sends an interim answer, which NATS never does")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of httpcore
        self._begins = b""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
