"""NATS in operator mode: an operator, an account with JetStream, and the credentials files of its users."""

import base64
import json
import os
import time
from typing import Any

import nkeys  # type: ignore[import-untyped]

LIMITS = (
    *("subs", "data", "payload", "imports", "exports", "conn", "leaf"),
    *("mem_storage", "disk_storage", "streams", "consumer"),
)


class Key:
    """An nkey."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public: str = self._pair.public_key.decode()

    def sign(self, kind: str, subject: "Key", name: str, **claims: Any) -> str:
        """Make a JWT about another key (nats-io/jwt, version 2)."""
        expires = claims.pop("exp", None)
        body: dict[str, Any] = {
            "jti": base64.b32encode(os.urandom(20)).decode(),
            "iat": int(time.time()),
            "iss": self.public,
            "name": name,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        if expires:
            body["exp"] = expires
        parts = [_encode({"typ": "JWT", "alg": "ed25519-nkey"}), _encode(body)]
        signature = self._pair.sign(".".join(parts).encode())
        return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


class OperatorMode:
    """One operator with a system account and accounts with JetStream."""

    def __init__(self, *names: str) -> None:
        self._operator, self._system = Key(nkeys.PREFIX_BYTE_OPERATOR), Key(nkeys.PREFIX_BYTE_ACCOUNT)
        self.accounts = {name: Key(nkeys.PREFIX_BYTE_ACCOUNT) for name in names or ("ORDERS",)}
        self.config = self.limited()

    def limited(self, **limited: int) -> str:
        """Write a server's configuration, with these limits of each account."""
        operator, system = self._operator, self._system
        limits = dict.fromkeys(LIMITS, -1) | {"wildcards": True} | limited
        signed = [
            f"{key.public}: {operator.sign('account', key, name, limits=limits)}"
            for name, key in self.accounts.items()
        ]
        nobody = operator.sign(
            "account", system, "SYS", limits={**limits, "mem_storage": 0, "disk_storage": 0}
        )
        return f"""
            operator: {operator.sign("operator", operator, "operator", system_account=system.public)}
            resolver: MEMORY
            system_account: {system.public}
            resolver_preload: {{ {", ".join(signed)}, {system.public}: {nobody} }}
        """

    def creds(self, account: str = "ORDERS", *, lifetime: float | None = None) -> str:
        """Make the credentials file of a user; `lifetime`: seconds from now, in which it expires."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        expires = {"exp": int(time.time() + lifetime)} if lifetime else {}
        limits = {"subs": -1, "data": -1, "payload": -1}
        jwt = self.accounts[account].sign("user", user, "natsscaler", pub={}, sub={}, **limits, **expires)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )


def _encode(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
