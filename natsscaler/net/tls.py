"""Certificates and keys as PEM texts, and how a connection failed that they did not help.

No key is ever written to a disk, which in the image cannot be written anyway.
"""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NOT_ACCEPTED = "its certificate is not accepted"


def client_context(ca: str = "") -> ssl.SSLContext:
    """Make a context that trusts `ca` (PEM) alone, or without it the system's authorities.

    It accepts what kubectl, curl and NATS's own clients accept. From Python 3.13 on, the default would refuse
    certificates without key identifiers, which many clusters and companies have (VERIFY_X509_STRICT).
    """
    made = ssl.create_default_context(cadata=ca or None)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM texts; empty: none."""

    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    def context(self) -> ssl.SSLContext | None:
        """Make a context that trusts `ca` alone, or without it the system; None: all are empty."""
        if not (self.ca or self.certificate):
            return None
        made = client_context(self.ca)
        if self.certificate:
            with _file(self.certificate) as certificate, _file(self.key) as key:
                made.load_cert_chain(certificate, key, password=lambda: "")
        return made


NO_TLS = Tls()


UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's codes for a certificate whose authority is unknown (X509_V_ERR_…)."""


def failure(error: Exception, secret: str) -> str:
    """Say how a connection failed, in the words of what caused it; the text may be long.

    `secret`: where a rule names the Secret that may lack the authority's certificate.
    """
    refused = certificate_error(error)
    if refused:
        fix = f": put its authority's certificate as ca.crt into the Secret of {secret}"
        why = refused.verify_message.rstrip(".")
        return f"{NOT_ACCEPTED}: {why}{fix if refused.verify_code in UNKNOWN_AUTHORITY else ''}"
    cause: BaseException | None = error
    while cause and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return re.sub(r" \(_ssl\.c:\d+\)", "", str(cause or "")) or type(error).__name__


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Find out whether a connection failed by the server's certificate."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def _file(text: str) -> Iterator[str]:
    """Give the name of a file in memory: OpenSSL reads keys from files alone."""
    with os.fdopen(os.memfd_create("pem", os.MFD_CLOEXEC), "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
