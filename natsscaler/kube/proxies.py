"""Which HTTP proxy leads to the API server: the kubeconfig's, else the environment's, as for kubectl.

aiohttp reads the environment too, but knows no networks in NO_PROXY, which is how clusters are written there.
"""

import contextlib
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from natsscaler.core.errors import SettingsError

DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(server: str, proxy_url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for an API server; None: go straight. Raises SettingsError."""
    if proxy_url:
        return _checked(proxy_url, "proxy-url")
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    found = environment.get(name.upper()) or environment.get(name) or ""
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    if not found or bypassed(parts.hostname or "", port, excluded):
        return None
    return _checked(found if "://" in found else f"http://{found}", f"${name.upper()}")


def bypassed(host: str, port: int, excluded: str) -> bool:
    """Say whether NO_PROXY names a host, in the way that Go reads it."""
    host = host.lower().rstrip(".")
    with contextlib.suppress(ValueError):
        if ip_address(host).is_loopback:
            return True
    entries = (entry.strip() for entry in excluded.lower().split(","))
    return host == "localhost" or any(_names(entry, host, port) for entry in entries)


def _names(entry: str, host: str, port: int) -> bool:
    """Say whether one entry of NO_PROXY names a host: `*`, a domain or a network, perhaps with a port."""
    name, colon, only = entry.rpartition(":")
    if colon and only.isdecimal() and (":" not in name or name.endswith("]")):
        if int(only) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").rstrip(".")
        within = host.endswith(domain if domain.startswith(".") else f".{domain}")
        return entry == "*" or bool(domain and (within or host == domain))
    try:
        return entry == "*" or address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _checked(url: str, origin: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"{origin} is not like http://HOST:PORT (SOCKS is not supported)")
    return url
