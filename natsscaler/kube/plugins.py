"""Asks for credentials where a kubeconfig says they come from: a command (`exec`), or an OpenID provider."""

import asyncio
import base64
import json
import os
import ssl
import time
from asyncio.subprocess import DEVNULL, PIPE
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
from msgspec import Struct

from natsscaler.core.errors import excerpt
from natsscaler.kube.kubeconfig import Cluster, Plugin
from natsscaler.net.tls import client_context

PLUGIN_SECONDS = 30.0
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class Given(NamedTuple):
    """Credentials as they were given; texts that are empty were not."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    expires: float | None = None
    """In seconds since the epoch; None: unknown."""


class NotGiven(Exception):
    """No credentials were given; the message says why."""


class _Status(Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Answer(Struct, rename="camel"):
    api_version: str
    status: _Status


class _Claims(Struct):
    exp: float | None = None


async def run(plugin: Plugin, server: str, cluster: Cluster) -> Given:
    """Run a plugin as kubectl does, but never ask a person. Raises NotGiven."""
    name = f"exec plugin {excerpt(Path(plugin.command).name)}"
    if plugin.api_version not in VERSIONS:
        raise NotGiven(f"{name}: apiVersion {excerpt(plugin.api_version)} is not {VERSIONS[0]}")
    if plugin.interactive_mode == "Always":
        raise NotGiven(f"{name} wants to ask a person (interactiveMode: Always), and nobody is there")
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            env=_environment(plugin, server, cluster),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )
    except (OSError, ValueError) as error:
        hint = f"; {excerpt(plugin.install_hint)}" if plugin.install_hint else ""
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NotGiven(f"{name} cannot be run: {why}{hint}") from error
    try:
        async with asyncio.timeout(PLUGIN_SECONDS):
            told, complaint = await process.communicate()
    except TimeoutError as error:
        raise NotGiven(f"{name} did not end within {PLUGIN_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        *_, last = complaint.decode(errors="replace").strip().split("\n")
        said = excerpt(last) or "it says nothing"
        raise NotGiven(f"{name} failed with status {process.returncode}: {said}")
    return _given(told, plugin.api_version, name)


def _environment(plugin: Plugin, server: str, cluster: Cluster) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        known = msgspec.structs.asdict(cluster)
        told = {key: known[name] for key, name in CLUSTER_INFO.items() if known[name]}
        spec["cluster"] = {"server": server, **told}
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    given = {variable.name: variable.value for variable in plugin.env}
    return {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _given(told: bytes, api_version: str, name: str) -> Given:
    try:
        answer = msgspec.json.decode(told, type=_Answer)
    except msgspec.MsgspecError as error:
        raise NotGiven(f"{name} gave no ExecCredential: {excerpt(str(error))}") from error
    if answer.api_version != api_version:
        both = f"{excerpt(answer.api_version)} instead of {api_version}"
        raise NotGiven(f"{name} gave an ExecCredential of apiVersion {both}")
    status = answer.status
    certificate, key = status.client_certificate_data or "", status.client_key_data or ""
    if bool(certificate) != bool(key) or not (status.token or certificate):
        raise NotGiven(f"{name} gave neither a token nor a certificate with its key")
    return Given(status.token or "", certificate, key, _seconds(status.expiration_timestamp))


CLUSTER_INFO = {
    "tls-server-name": "tls_server_name",
    "insecure-skip-tls-verify": "insecure_skip_tls_verify",
    "certificate-authority-data": "certificate_authority_data",
    "proxy-url": "proxy_url",
}


def _seconds(when: datetime | None) -> float | None:
    if when is None:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


class OpenId:
    """An OpenID provider: an identity token, and a new one for the refresh token once it has expired.

    `kubernetes.aio.config.openid` (37.0.2) was no choice: it checks no certificate unless the kubeconfig has
    an authority for it, and then fails.
    """

    def __init__(self, config: dict[str, str]) -> None:
        self._config = dict(config)
        self._asked = False

    async def give(self) -> Given:
        """Give the kubeconfig's token first, later another one. Raises NotGiven."""
        first, self._asked = not self._asked, True
        token = self._config.get("id-token", "")
        if not (first and token and not _expired(token)):
            token = await self._refresh()
        return Given(token=token, expires=_expiry(token))

    async def _refresh(self) -> str:
        config = self._config
        if missing := [
            key for key in ("idp-issuer-url", "client-id", "refresh-token") if not config.get(key)
        ]:
            raise NotGiven(
                f"auth-provider oidc: the token has expired, and there is no {missing[0]}: log in anew"
            )
        data = {"grant_type": "refresh_token", "refresh_token": config["refresh-token"]}
        header = aiohttp.encode_basic_auth(config["client-id"], config.get("client-secret", ""))
        timeout = aiohttp.ClientTimeout(total=PLUGIN_SECONDS)
        issuer = config["idp-issuer-url"].rstrip("/")
        try:
            connector = aiohttp.TCPConnector(ssl=_issuer_context(config))
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=True, raise_for_status=True
            ) as session:
                async with session.get(f"{issuer}/.well-known/openid-configuration") as found:
                    endpoint = (await found.json(content_type=None))["token_endpoint"]
                async with session.post(endpoint, data=data, headers={"Authorization": header}) as answer:
                    told = await answer.json(content_type=None)
            token = str(told["id_token"])
            config["refresh-token"] = str(told.get("refresh_token") or config["refresh-token"])
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            status = f" ({error.status})" if isinstance(error, aiohttp.ClientResponseError) else ""
            why = f"{type(error).__name__}{status}"
            raise NotGiven(f"auth-provider oidc: {excerpt(issuer)} gave no new token: {why}") from error
        return token


def _issuer_context(config: dict[str, str]) -> ssl.SSLContext:
    if data := config.get("idp-certificate-authority-data"):
        return client_context(base64.b64decode(data).decode())
    if file := config.get("idp-certificate-authority"):
        return client_context(Path(file).read_text())
    return client_context()


def _expiry(token: str) -> float | None:
    """Read from a JWT when it expires."""
    try:
        claims = token.split(".")[1]
        padded = claims + "=" * (-len(claims) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims).exp
    except (LookupError, ValueError, msgspec.MsgspecError):
        return None


def _expired(token: str) -> bool:
    expires = _expiry(token)
    return expires is not None and expires <= time.time()
