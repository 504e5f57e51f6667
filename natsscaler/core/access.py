"""How a rule gets at a server of NATS: by which address, and with whose credentials."""

import re
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

USE_LABEL, USE = "scaling.example.com/use", "nats"
"""The label, and its value, without which no Secret is used (docs/security.md)."""
LABELLED = f"It is used only if it has the label {USE_LABEL}={USE}."
_SERVER = r"((nats|tls)://)?(\[[0-9a-fA-F:.]+\]|[^ \t\r\n\f\v/?#@,:\[\]]+)(:[0-9]{1,5})?/?"
SERVERS = rf"^ *{_SERVER}( *, *{_SERVER})* *\Z"
"""Servers of NATS as its own clients take them: without a scheme, too, and several between commas."""
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"


def servers(text: str) -> tuple[str, ...]:
    """List the URLs that a text names as NATS's own clients take it. Raises ValueError.

    A user in them is left as it is: it is for the caller to say whether there may be one.
    """
    found = []
    for one in text.split(","):
        url = one.strip(" ").removesuffix("/")
        url = url if "://" in url else f"nats://{url}"
        user, at, server = url.partition("://")[2].rpartition("@")
        bare = f"{url.partition('://')[0]}://{server}"
        if not re.fullmatch(SERVERS, bare) or (at and not user):
            raise ValueError("it must be nats://HOST:PORT or tls://HOST:PORT, or several between commas")
        urlsplit(bare).port  # noqa: B018 - raises ValueError, too
        found.append(url)
    return tuple(found)


def bare_host(host: str) -> str:
    """Write a host name as certificates and people do: in lower case, without the final dot of DNS."""
    return host.lower().removesuffix(".")


def server_shown(name: str, url: str) -> str:
    """Name a server as people know it: one that has no name of its own goes by a random id, so by its URL."""
    return urlsplit(url).netloc if re.fullmatch(r"N[A-Z2-7]{55}", name) else name


class NamespacedName(NamedTuple):
    """Names an object of a namespace; a kind of its own for each kind of object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class SecretKey(NamespacedName):
    """Names a Secret."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"Secret {super().__str__()}"


class Access(NamedTuple):
    """An address and the Secret with the credentials for it; None: the operator's own, if any are for it."""

    url: str
    secret: SecretKey | None = None


class SecretRef(Struct, frozen=True, forbid_unknown_fields=True):
    """Names a Secret in the rule's namespace."""

    name: Annotated[
        str,
        Meta(pattern=DNS_SUBDOMAIN, max_length=253, description="Name of a Secret in the rule's namespace."),
    ]


class Nats(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach NATS itself, for events."""

    url: Annotated[
        Annotated[
            str,
            Meta(
                pattern=SERVERS,
                max_length=2048,
            ),
        ]
        | None,
        Meta(
            description="Address of a NATS server to listen on for events, such as nats://nats:4222, or of"
            " several servers of one cluster between commas; tls:// requires TLS."
            " Default: derived from natsMonitoringURL.",
        ),
    ] = None
    secret_ref: Annotated[
        SecretRef | None,
        Meta(
            description="Secret with credentials for NATS: username and password, token, nkey or creds;"
            f" ca.crt, tls.crt and tls.key. {LABELLED}"
        ),
    ] = field(default=None, name="secretRef")


class MonitoringAccess(Struct, frozen=True, forbid_unknown_fields=True):
    """How natsscaler identifies itself to the monitoring endpoint."""

    secret_ref: Annotated[
        SecretRef | None,
        Meta(
            description="Secret with credentials for the monitoring endpoint: username and password, or token"
            " (a bearer token); header.NAME for a header of that name; ca.crt, tls.crt and tls.key."
            f" {LABELLED}"
        ),
    ] = field(default=None, name="secretRef")
