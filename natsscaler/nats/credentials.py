"""Credentials for NATS and its monitoring endpoint, as the keys of a Secret or the files of a directory.

They are checked when they are read, so that a mistake is told by the name of the key it is in. What a key
holds is part of no message and no repr.
"""

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

import nkeys  # type: ignore[import-untyped]

from natsscaler.core.access import bare_host
from natsscaler.core.errors import CredentialsError
from natsscaler.core.reasons import Reason
from natsscaler.net.tls import NO_TLS, Tls

TLS_KEYS = ("ca.crt", "tls.crt", "tls.key")
NATS_KEYS = ("username", "password", "token", "nkey", "creds", *TLS_KEYS)
MONITORING_KEYS = ("username", "password", "token", *TLS_KEYS)
HEADER_PREFIX = "header."
"""A key `header.NAME` gives the monitoring endpoint's requests a header of that name."""
OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
"""Headers that a request sets itself."""
PORTS = {"http": 80, "https": 443}
JWT = re.compile(r"-{3,}BEGIN NATS USER JWT-{3,}\s+([\w.=-]+)\s+-{3,}END")
SEED = re.compile(r"-{3,}BEGIN USER NKEY SEED-{3,}\s+([A-Z2-7]+)\s+-{3,}END")


@dataclass(frozen=True, kw_only=True)
class NatsCredentials:
    """Who natsscaler is for NATS: at most one of user, token, or seed, with or without a JWT."""

    origin: str = ""
    """Where they are kept, as told to the user; empty: there are none."""
    tls: Tls = NO_TLS
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    seed: str = field(default="", repr=False)
    """Of the user's nkey."""
    jwt: str = field(default="", repr=False)

    def sign(self, nonce: str) -> bytes:
        """Sign what a server has sent, with the seed."""
        pair = nkeys.from_seed(bytearray(self.seed.encode()))
        return base64.b64encode(pair.sign(nonce.encode()))

    def hide(self, text: str) -> str:
        """Take out of a text, as a server may send it, whatever of these credentials is in it."""
        for secret in filter(None, (self.password, self.token, self.seed, self.jwt)):
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)  # nats-py lowers the case
        return text


@dataclass(frozen=True, kw_only=True)
class MonitoringCredentials:
    """Who natsscaler is for a monitoring endpoint."""

    origin: str = ""
    """Where they are kept, as told to the user; empty: there are none."""
    tls: Tls = NO_TLS
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ("*",)
    """Who may receive them: host patterns, CIDRs, and URLs."""

    def permit(self, url: str, host: str | None = None) -> bool:
        """Tell whether an endpoint may receive them; `host` is asked instead of the URL's own, if given."""
        return any(_is_of(url, host, pattern) for pattern in self.hosts)


def nats_credentials(origin: str, data: Mapping[str, bytes]) -> NatsCredentials:
    """Read the credentials for NATS; keys of other purposes are ignored. Raises CredentialsError."""
    texts = _texts(origin, {key: value for key, value in data.items() if key in NATS_KEYS}, NATS_KEYS)
    _only_one(origin, [key for key in ("username", "token", "nkey", "creds") if key in texts])
    jwt, seed = "", texts.get("nkey", "")
    if "creds" in texts:
        found = JWT.search(texts["creds"]), SEED.search(texts["creds"])
        if not all(found):
            raise _unusable(origin, "creds", "must be a credentials file, as `nsc generate creds` writes it")
        jwt, seed = (match[1] if match else "" for match in found)
    if seed and not _is_of_a_user(seed):
        key = "nkey" if "nkey" in texts else "creds"
        raise _unusable(origin, key, "must hold the seed of a user's nkey, which begins with SU")
    return NatsCredentials(
        origin=origin,
        tls=_tls(origin, texts),
        user=texts.get("username", ""),
        password=texts.get("password", ""),
        token=texts.get("token", ""),
        seed=seed,
        jwt=jwt,
    )


def monitoring_credentials(
    origin: str, data: Mapping[str, bytes], hosts: tuple[str, ...] = ("*",)
) -> MonitoringCredentials:
    """Read the credentials for a monitoring endpoint; keys of other purposes are ignored.

    Raises CredentialsError.
    """
    relevant = {k: v for k, v in data.items() if k in MONITORING_KEYS or k.startswith(HEADER_PREFIX)}
    texts = _texts(origin, relevant, (*MONITORING_KEYS, f"{HEADER_PREFIX}NAME"))
    headers = {}
    for key, value in texts.items():
        name = key.removeprefix(HEADER_PREFIX)
        if name == key:
            continue
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII) or name.lower() in OWN_HEADERS:
            raise _unusable(origin, key, "is no header that can be set")
        headers[name] = _header(origin, key, value)
    own = [f"{HEADER_PREFIX}{name}" for name in headers if name.lower() == "authorization"]
    _only_one(origin, [key for key in ("username", "token") if key in texts] + own)
    if "username" in texts:
        if ":" in texts["username"]:
            raise _unusable(origin, "username", "must not contain a colon (RFC 7617)")
        login = f"{texts['username']}:{texts['password']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    elif "token" in texts:
        headers["Authorization"] = f"Bearer {_header(origin, 'token', texts['token'])}"
    return MonitoringCredentials(
        origin=origin, tls=_tls(origin, texts), headers=tuple(headers.items()), hosts=hosts
    )


def _texts(origin: str, data: Mapping[str, bytes], known: tuple[str, ...]) -> dict[str, str]:
    """Decode the keys that are not empty; line breaks at the end, as files have, are no part of a value."""
    texts = {}
    for key, value in data.items():
        try:
            text = value.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise _unusable(origin, key, "must be text in UTF-8") from None
        if text:
            texts[key] = text
    if not texts:
        raise CredentialsError(Reason.SECRET_UNUSABLE, f"{origin} has none of the keys {', '.join(known)}")
    for one, other in (("username", "password"), ("tls.crt", "tls.key")):
        for key, lacking in ((one, other), (other, one)):
            if key in texts and lacking not in texts:
                raise _unusable(origin, key, f"needs the key {lacking} beside it")
    return texts


def _only_one(origin: str, keys: list[str]) -> None:
    if len(keys) > 1:
        message = f"{origin} has {' and '.join(keys)}: keep one of them"
        raise CredentialsError(Reason.SECRET_UNUSABLE, message)


def _is_of_a_user(seed: str) -> bool:
    try:
        return bool(nkeys.from_seed(bytearray(seed.encode())).public_key.startswith(b"U"))
    except (nkeys.NkeysError, ValueError):
        return False


def _header(origin: str, key: str, value: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]+", value) or value != value.strip():
        raise _unusable(origin, key, "must be one line of printable ASCII, without blanks around it")
    return value


def _tls(origin: str, texts: Mapping[str, str]) -> Tls:
    ca, certificate, key = (texts.get(name, "") for name in TLS_KEYS)
    found = Tls(ca=ca, certificate=certificate, key=key)
    for name, pem in (("ca.crt", ca), ("tls.crt", certificate)):
        try:
            if pem:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
        except (ssl.SSLError, TypeError):
            raise _unusable(origin, name, "must hold certificates as PEM") from None
    try:
        found.context()
    except ssl.SSLError:
        fix = "must be the private key of tls.crt, as PEM and without a passphrase"
        raise _unusable(origin, "tls.key", fix) from None
    return found


def _unusable(origin: str, key: str, fix: str) -> CredentialsError:
    return CredentialsError(Reason.SECRET_UNUSABLE, f"Key {key} of {origin} {fix}")


def _is_of(url: str, host: str | None, pattern: str) -> bool:
    asked = urlsplit(url)
    name = bare_host(asked.hostname or "" if host is None else host)
    if "://" not in pattern:
        return _is_host_of(name, bare_host(pattern))
    named = urlsplit(pattern)
    prefix, path = named.path.rstrip("/"), unquote(asked.path)
    return (
        (asked.scheme, asked.port or PORTS.get(asked.scheme))
        == (named.scheme, named.port or PORTS[named.scheme])
        and _is_host_of(name, bare_host(named.hostname or ""))
        and (not prefix or f"{path}/".startswith(f"{prefix}/"))
        and not (prefix and {".", ".."}.intersection(re.split(r"[/\\;]", path)))
    )


def _is_host_of(host: str, pattern: str) -> bool:
    if "/" not in pattern:
        return fnmatch(host, pattern)
    try:
        return ip_address(host) in ip_network(pattern, strict=False)
    except ValueError:
        return False
