"""Certificates of a test: one authority, a server known as `localhost` alone, a client, and a stranger's."""

import pathlib
import subprocess
from typing import NamedTuple

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")

NO_IDENTIFIERS = ("subjectKeyIdentifier=none", "authorityKeyIdentifier=none")
"""Many authorities leave key identifiers out; only the X.509 strictness of Python 3.13 asks for them."""
NAMES = "\n".join(("subjectAltName=DNS:localhost", *NO_IDENTIFIERS, ""))

PLAIN_CA = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = plain authority
[extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,keyEncipherment,keyCertSign
subjectKeyIdentifier = none
authorityKeyIdentifier = none
"""
PLAIN_NAMES = """
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = none
authorityKeyIdentifier = none
subjectAltName = IP:127.0.0.1,DNS:localhost
"""
"""An authority and a server without key identifiers, as many clusters and companies have."""


class Certificates(NamedTuple):
    """A directory with ca.crt, and server, client and stranger, each .crt and .key.

    The server `plain` and its authority `plain-ca` have no key identifiers; its address is 127.0.0.1, too.
    """

    directory: pathlib.Path

    def path(self, name: str) -> pathlib.Path:
        return self.directory / name

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def nats_tls(self, *, verify: bool = False) -> str:
        """Write a server's configuration; `verify`: clients must show a certificate."""
        files = f'cert_file: "{self.path("server.crt")}", key_file: "{self.path("server.key")}"'
        return f'tls {{ {files}, ca_file: "{self.path("ca.crt")}", verify: {str(verify).lower()} }}\n'


def make_certificates(directory: pathlib.Path) -> Certificates:
    """Make them by openssl; those of server and client are the authority's, the stranger's is its own."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.crt", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-addext", NO_IDENTIFIERS[0], "-addext", NO_IDENTIFIERS[1])  # fmt: skip
    for name in ("server", "client"):
        (directory / f"{name}.names").write_text(NAMES)
        openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.names", "-out", f"{name}.crt")  # fmt: skip
    (directory / "plain.cnf").write_text(PLAIN_CA)
    (directory / "plain.names").write_text(PLAIN_NAMES)
    openssl("req", "-x509", *KEY, "-days", "2", "-config", "plain.cnf",
            "-keyout", "plain-ca.key", "-out", "plain-ca.crt")  # fmt: skip
    openssl("req", *KEY, "-subj", "/CN=plain", "-keyout", "plain.key", "-out", "plain.csr")
    openssl("x509", "-req", "-in", "plain.csr", "-CA", "plain-ca.crt", "-CAkey", "plain-ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "plain.names", "-out", "plain.crt")  # fmt: skip
    return Certificates(directory)
