"""Who this process is to the API server, kept up to date.

Credentials are had anew when a file that they are in changes, when they expire, and when the API server has
answered 401. What cannot be had anew in the meantime leaves what there is.
"""

import asyncio
import base64
import binascii
import logging
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp

from natsscaler.core.errors import excerpt
from natsscaler.kube.kubeconfig import ApiServer
from natsscaler.kube.plugins import Given, NotGiven, OpenId, run
from natsscaler.kube.requests import NoCredentials
from natsscaler.net.tls import Tls, client_context

AGAIN_SECONDS = 5.0
"""So long nobody is asked again who failed or gave the same as before, unless a file has changed."""
Stamp = tuple[object, ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a request is sent with."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    tls: Tls
    context: ssl.SSLContext | None
    """None: the API server speaks no TLS."""
    expires: float | None
    stamp: Stamp
    """Of the files that they are from, as they were just before."""

    def same(self, other: "Credentials") -> bool:
        return (self.headers, self.tls) == (other.headers, other.tls)


class Login:
    """Has the credentials of an ApiServer; several requests that need new ones share one attempt."""

    def __init__(self, access: ApiServer) -> None:
        self._access = access
        provider = access.user.auth_provider
        self._provider = OpenId(provider.config) if provider and provider.name == "oidc" else None
        self._files = _files(access)
        self._held: Credentials | None = None
        self._problem = ""
        self._attempt: asyncio.Task[None] | None = None
        self._tried: Stamp = ()
        """As the files were at the last attempt."""
        self._rest_until = 0.0

    async def credentials(self) -> Credentials:
        """Give those that are good now, as far as is known. Raises NoCredentials."""
        held = self._held
        if held is None or _over(held.expires) or self._stamp() != held.stamp:
            await self._renew()
        if self._held is None or (_over(self._held.expires) and self._problem):
            raise NoCredentials(self._problem)
        return self._held

    async def again(self, refused: Credentials) -> Credentials | None:
        """Give others than those that were refused, if there are any."""
        if self._held is refused:
            await self._renew()
        held = self._held
        return held if held and not held.same(refused) else None

    async def close(self) -> None:
        """End what is under way."""
        if self._attempt:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)

    async def _renew(self) -> None:
        if self._attempt is None:
            if self._stamp() == self._tried and time.monotonic() < self._rest_until:
                return
            self._attempt = asyncio.create_task(self._try(), name="credentials for the Kubernetes API")
        await asyncio.shield(self._attempt)  # it may take longer than the request that began it

    async def _try(self) -> None:
        before, self._tried = self._held, self._stamp()
        try:
            made = await self._make()
        except (NotGiven, OSError, ssl.SSLError, ValueError) as error:
            problem = f"{self._access.origin}: {excerpt(_said(error))}"
            if before and problem != self._problem:
                log.warning("Credentials for the Kubernetes API cannot be had anew: %s", problem)
            self._problem = problem
            self._rest()
        else:
            self._held, self._problem = made, ""
            if before and made.same(before):
                self._rest()
        finally:
            self._attempt = None

    def _rest(self) -> None:
        self._rest_until = time.monotonic() + AGAIN_SECONDS

    async def _make(self) -> Credentials:
        access, user, cluster = self._access, self._access.user, self._access.cluster
        given = Given()
        if user.auth_provider and not self._provider:
            name = excerpt(user.auth_provider.name)
            raise NotGiven(f"auth-provider {name} is not supported: use an exec plugin, as kubectl does now")
        if user.exec:
            given = await run(user.exec, access.server, cluster)
        elif self._provider:
            given = await self._provider.give()
        token = _text(user.token_file).strip() if user.token_file else user.token or given.token
        if user.token_file and not token:
            raise NotGiven(f"{user.token_file} is empty")
        tls, context = Tls(), None
        if access.encrypted:
            tls = Tls(
                ca=_pem(
                    cluster.certificate_authority, cluster.certificate_authority_data, "certificate-authority"
                ),
                certificate=given.certificate
                or _pem(user.client_certificate, user.client_certificate_data, "client-certificate"),
                key=given.key or _pem(user.client_key, user.client_key_data, "client-key"),
            )
            context = _context(tls, verified=not cluster.insecure_skip_tls_verify)
        return Credentials(
            headers=_headers(access, token),
            tls=tls,
            context=context,
            expires=given.expires,
            stamp=self._tried,
        )

    def _stamp(self) -> Stamp:
        return tuple(_state(file) for file in self._files)


def _context(tls: Tls, *, verified: bool) -> ssl.SSLContext:
    if bool(tls.certificate) != bool(tls.key):
        raise NotGiven("client-certificate and client-key are only of use together")
    context = tls.context() or client_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _headers(access: ApiServer, token: str) -> tuple[tuple[str, str], ...]:
    user = access.user
    headers: list[tuple[str, str]] = []
    if token:
        headers.append(("Authorization", f"Bearer {token}"))
    elif user.username:
        headers.append(("Authorization", aiohttp.encode_basic_auth(user.username, user.password, "utf-8")))
    if user.impersonate:
        headers.append(("Impersonate-User", user.impersonate))
        headers += [("Impersonate-Uid", user.impersonate_uid)] if user.impersonate_uid else []
        headers += [("Impersonate-Group", group) for group in user.impersonate_groups]
        for key, values in user.impersonate_extra.items():
            headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    for name, value in headers:
        if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
            raise NotGiven(
                f"what is to be sent as {excerpt(name)} has characters that no HTTP header may have"
            )
    return tuple(headers)


def _pem(file: str, data: str, name: str) -> str:
    if data:
        try:
            text = base64.b64decode(data, validate=False).decode()
        except (binascii.Error, ValueError) as error:
            raise NotGiven(f"{name}-data is not a PEM text in Base64") from error
    elif file:
        text = _text(file)
    else:
        return ""
    if "-----BEGIN " not in text:
        raise NotGiven(f"{file if not data else f'{name}-data'} has no PEM text")
    return text


def _text(file: str) -> str:
    return Path(file).read_text()


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"certificate or key: {error.reason or error}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, NotGiven):
        return str(error)
    return "a file has no text in it"


def _files(access: ApiServer) -> tuple[str, ...]:
    user, cluster = access.user, access.cluster
    named = (user.token_file, user.client_certificate, user.client_key, cluster.certificate_authority)
    return tuple(file for file in named if file)


def _state(file: str) -> object:
    try:
        found = os.stat(file)  # noqa: PTH116 - follows the symbolic links that a kubelet swaps
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _over(expires: float | None) -> bool:
    return expires is not None and expires <= time.time()
