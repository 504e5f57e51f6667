"""Finds the credentials for an address: in the Secret that a rule names, or among the operator's own.

Nothing is watched, so `get` on Secrets is all the permission that this takes: a Secret is read when a
connection is made or its credentials were refused, and otherwise when what is known of it is too old. A rule
that names none costs no request. While the Kubernetes API does not answer, what is known goes on being used.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from natsscaler.core.access import USE, USE_LABEL, Access, SecretKey, servers
from natsscaler.core.errors import CredentialsError, KubernetesError
from natsscaler.core.reasons import Reason
from natsscaler.nats.credentials import (
    MonitoringCredentials,
    NatsCredentials,
    monitoring_credentials,
    nats_credentials,
)
from natsscaler.settings import SETTINGS, Settings

T = TypeVar("T")
Parse = Callable[[str, Mapping[str, bytes]], T]
"""Checks and types what a Secret or a directory holds; told where that is kept."""

MAX_AGE_SECONDS = 60.0
"""After how long a Secret or a directory is read again, at the latest, while it is in use."""
FORGET_SECONDS = 600.0
"""After how long what nobody asked for is forgotten."""


class Secret(NamedTuple):
    """What matters of a Secret."""

    labels: Mapping[str, str]
    data: Mapping[str, bytes]


class ReadCredentials(NamedTuple):
    """Credentials as they were read."""

    credentials: Any
    at: float
    """On the monotonic clock."""


class Keyring:
    """All credentials of the process. `read_secret` raises KubernetesError."""

    def __init__(self, settings: Settings, read_secret: Callable[[SecretKey], Awaitable[Secret]]) -> None:
        self._settings = settings
        self._read_secret = read_secret
        self._known: dict[tuple[SecretKey | Path, Parse[Any]], ReadCredentials] = {}

    async def nats(self, access: Access, max_age: float) -> NatsCredentials:
        """Find the credentials for a NATS server, read at most `max_age` seconds ago.

        Raises CredentialsError.
        """
        if access.secret:
            return await self._find(access.secret, str(access.secret), nats_credentials, max_age)
        if access.url != self._settings.nats_url:
            return NatsCredentials()
        urls, directory = map(urlsplit, servers(access.url)), self._settings.nats_credentials
        parts = next((one for one in urls if "@" in one.netloc), urlsplit(""))
        if parts.password is not None:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            return NatsCredentials(origin="NATS_URL", user=user, password=password)
        if parts.username:
            return NatsCredentials(origin="NATS_URL", token=unquote(parts.username))
        if directory:
            return await self._find(directory, str(SETTINGS["nats_credentials"]), nats_credentials, max_age)
        return NatsCredentials()

    async def monitoring(self, access: Access, max_age: float) -> MonitoringCredentials:
        """Find the credentials for a monitoring endpoint, likewise."""
        if access.secret:
            return await self._find(access.secret, str(access.secret), monitoring_credentials, max_age)
        directory = self._settings.monitoring_credentials
        nobodys = MonitoringCredentials(hosts=self._settings.monitoring_credentials_hosts)
        if directory and nobodys.permit(access.url):
            origin = str(SETTINGS["monitoring_credentials"])
            found = await self._find(directory, origin, monitoring_credentials, max_age)
            return replace(found, hosts=nobodys.hosts)
        return MonitoringCredentials()

    async def _find(self, place: SecretKey | Path, origin: str, parse: "Parse[T]", max_age: float) -> T:
        now, known = time.monotonic(), self._known.pop((place, parse), None)
        if known is None or now - known.at > max_age:
            try:
                known = ReadCredentials(parse(origin, await self._read(place, origin)), now)
            except KubernetesError as error:
                if known is None or error.reason is not Reason.KUBERNETES_UNAVAILABLE:
                    raise CredentialsError(error.reason, error.message) from error
        self._known = {k: v for k, v in self._known.items() if now - v.at < FORGET_SECONDS}
        self._known[place, parse] = known
        found: T = known.credentials
        return found

    async def _read(self, place: SecretKey | Path, origin: str) -> Mapping[str, bytes]:
        if isinstance(place, Path):
            try:
                return await asyncio.to_thread(_files, place)
            except OSError as error:
                message = f"{origin} {place} cannot be read: {error.strerror}"
                raise CredentialsError(Reason.SECRET_UNUSABLE, message) from error
        secret = await self._read_secret(place)
        if secret.labels.get(USE_LABEL) != USE:
            raise CredentialsError(
                Reason.SECRET_NOT_LABELLED,
                f"{place} lacks the label that lets natsscaler use it. If it is meant for natsscaler:"
                f" kubectl -n {place.namespace} label secret {place.name} {USE_LABEL}={USE}",
            )
        return secret.data


def _files(directory: Path) -> dict[str, bytes]:
    """Read all files of a directory, as those of a mounted Secret."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
