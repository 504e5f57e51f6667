"""How a rule gets at a server of NATS: by which address, and with whose credentials."""

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

USE_LABEL, USE = "scaling.example.com/use", "nats"
"""The label, and its value, without which no Secret is used (docs/security.md)."""
LABELLED = f"It is used only if it has the label {USE_LABEL}={USE}."
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"


class SecretKey(NamedTuple):
    """Names a Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"


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
                pattern=r"^(nats|tls)://[^ \t\r\n\f\v/@]+\Z",
                max_length=2048,
            ),
        ]
        | None,
        Meta(
            description="Address of a NATS server to listen on for events, such as nats://nats:4222;"
            " tls:// requires TLS. Default: derived from natsMonitoringURL.",
        ),
    ] = None
    secret_ref: Annotated[
        SecretRef | None,
        Meta(
            description="Secret with credentials for NATS: username and password, token, nkey or creds;"
            f" ca.crt, tls.crt and tls.key. {LABELLED}"
        ),
    ] = field(default=None, name="secretRef")


class Monitoring(Struct, frozen=True, forbid_unknown_fields=True):
    """How natsscaler identifies itself to the monitoring endpoint."""

    secret_ref: Annotated[
        SecretRef | None,
        Meta(
            description="Secret with credentials for the monitoring endpoint: username and password, or token"
            " (a bearer token); header.NAME for a header of that name; ca.crt, tls.crt and tls.key."
            f" {LABELLED}"
        ),
    ] = field(default=None, name="secretRef")
