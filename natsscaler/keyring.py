"""Finds the credentials for an address: in the Secret that a rule names, or among the operator's own.

Nothing is watched, so `get` on Secrets is all the permission that this takes: a Secret is read when a
connection is made or its credentials were refused, and otherwise when what is known of it is too old. A rule
that names none costs no request. While the Kubernetes API does not answer, what is known goes on being used.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from natsscaler.access import USE, USE_LABEL, Access, SecretKey
from natsscaler.credentials import (
    MonitoringCredentials,
    NatsCredentials,
    monitoring_credentials,
    nats_credentials,
)
from natsscaler.errors import CredentialsError, KubernetesError, Reason
from natsscaler.settings import Settings

T = TypeVar("T")

MAX_AGE_SECONDS = 60.0
"""After how long a Secret or a directory is read again, at the latest, while it is in use."""


class Secret(NamedTuple):
    """What matters of a Secret."""

    labels: Mapping[str, str]
    data: Mapping[str, bytes]


class Known(NamedTuple):
    """A Secret as it was read."""

    data: Mapping[str, bytes]
    at: float
    """On the monotonic clock."""


class Keyring:
    """All credentials of the process. `read_secret` raises KubernetesError."""

    def __init__(self, settings: Settings, read_secret: Callable[[SecretKey], Awaitable[Secret]]) -> None:
        self._settings = settings
        self._read_secret = read_secret
        self._known: dict[SecretKey, Known] = {}

    async def nats(self, access: Access, max_age: float) -> NatsCredentials:
        """Find the credentials for a NATS server, read at most `max_age` seconds ago.

        Raises CredentialsError.
        """
        if access.secret:
            return await self._of_secret(nats_credentials, access.secret, max_age)
        if access.url != self._settings.nats_url:
            return NatsCredentials()
        parts = urlsplit(access.url)
        if parts.password is not None:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            return NatsCredentials(origin="NATS_URL", user=user, password=password)
        if parts.username:
            return NatsCredentials(origin="NATS_URL", token=unquote(parts.username))
        data = await _files(self._settings.nats_credentials, "--nats-credentials")
        return nats_credentials("--nats-credentials", data) if data is not None else NatsCredentials()

    async def monitoring(self, access: Access, max_age: float) -> MonitoringCredentials:
        """Find the credentials for a monitoring endpoint, likewise."""
        if access.secret:
            return await self._of_secret(monitoring_credentials, access.secret, max_age)
        hosts = self._settings.monitoring_credentials_hosts
        mine = MonitoringCredentials(origin="--monitoring-credentials", hosts=hosts)
        if not mine.permit(urlsplit(access.url).hostname or ""):
            return MonitoringCredentials()
        data = await _files(self._settings.monitoring_credentials, mine.origin)
        return (
            monitoring_credentials(mine.origin, data, hosts) if data is not None else MonitoringCredentials()
        )

    async def _of_secret(
        self, parse: Callable[[str, Mapping[str, bytes]], T], key: SecretKey, max_age: float
    ) -> T:
        data = await self._data(key, max_age)
        try:
            return parse(str(key), data)
        except CredentialsError:
            self._known.pop(key, None)  # look again the next time: it may have been mended
            raise

    async def _data(self, key: SecretKey, max_age: float) -> Mapping[str, bytes]:
        now, known = time.monotonic(), self._known.get(key)
        if known and now - known.at <= max_age:
            return known.data
        try:
            secret = await self._read_secret(key)
        except KubernetesError as error:
            if known and error.reason is Reason.KUBERNETES_UNAVAILABLE:
                return known.data
            self._known.pop(key, None)
            raise CredentialsError(error.reason, error.message) from error
        if secret.labels.get(USE_LABEL) != USE:
            self._known.pop(key, None)
            raise CredentialsError(
                Reason.SECRET_NOT_LABELLED,
                f"{key} is not meant for natsscaler: if it is,"
                f" kubectl -n {key.namespace} label secret {key.name} {USE_LABEL}={USE}",
            )
        self._known = {k: v for k, v in self._known.items() if now - v.at < 2 * MAX_AGE_SECONDS}
        self._known[key] = Known(secret.data, now)
        return secret.data


async def _files(directory: Path | None, origin: str) -> Mapping[str, bytes] | None:
    """Read all files of a directory, as those of a mounted Secret; None: there is no directory."""
    if directory is None:
        return None

    def read(directory: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}

    try:
        return await asyncio.to_thread(read, directory)
    except OSError as error:
        message = f"{origin} {directory} cannot be read: {error.strerror}"
        raise CredentialsError(Reason.SECRET_UNUSABLE, message) from error
