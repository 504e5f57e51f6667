"""The allow-list in front of every connection that a rule can cause.

Whoever may create rules chooses addresses that natsscaler, with its place in the network, connects to.
So a name is resolved once, each address is checked, and what was checked is what is connected to: a name
that resolves differently a moment later (DNS rebinding) gains nothing.
"""

import asyncio
import math
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatch
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx
from aiodns import DNSResolver
from aiodns.error import DNSError

from natsscaler.core.access import bare_host
from natsscaler.core.errors import NotAllowed, SettingsError, excerpt
from natsscaler.settings import SETTINGS, Settings

Address = IPv4Address | IPv6Address
METADATA_ADDRESSES = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle Cloud
            "fd00:c1::a9fe:a9fe",  # Oracle Cloud
            "fd00:ec2::254",  # Amazon EC2
            "fd00:ec2::23",  # Amazon EKS Pod Identity
            "fd20:ce::254",  # Google Cloud
            "fd00:42::42",  # Scaleway
        ),
    )
)
"""Services outside the link-local ranges that give a machine or a pod its data and credentials."""
API_SERVICE = "kubernetes.default.svc"
API_SERVICE_SECONDS = 1.0
"""For looking that name up, so that rules with plain addresses do not depend on a name server."""
API_SERVICE_AGAIN_SECONDS = 60.0
"""After a look-up that failed. The addresses of a Service never change."""
LOOKUP_SECONDS = 5.0
"""For one name, with all search domains and servers of resolv.conf."""
NAT64 = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))


class Resolver:
    """Finds the addresses of names as /etc/hosts and resolv.conf have it.

    The operating system's own resolver needs a thread for as long as a name server is silent: names of a zone
    that never answers would keep everybody's names waiting. This one needs none, so names wait for nobody; it
    keeps answers for as long as their name server says.
    """

    def __init__(self) -> None:
        self._dns: DNSResolver | None = None

    async def addresses(self, host: str) -> list[Address]:
        """Return all addresses of a host; an address is its own. Raises OSError if there are none."""
        try:
            return [_unmapped(host)]
        except ValueError:
            pass
        try:
            found = await self._look_up(host)
        except OSError:
            if not host.endswith("."):
                raise
            found = await self._look_up(host[:-1])  # as /etc/hosts has it
        return list(dict.fromkeys(map(_unmapped, found)))

    async def close(self) -> None:
        """End all look-ups."""
        if self._dns:
            await self._dns.close()

    async def _look_up(self, host: str) -> list[str]:
        self._dns = self._dns or DNSResolver(timeout=LOOKUP_SECONDS / 4, tries=2)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._dns.getaddrinfo(host, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise OSError(f"no name server answered within {LOOKUP_SECONDS:g} s") from error
        except DNSError as error:
            raise OSError(str(error.args[1])) from error
        except UnicodeError as error:  # an empty or too long label
            raise OSError(f"{excerpt(host)} is no host name") from error
        return [node.addr[0].decode().split("%")[0] for node in found.nodes]


class AllowList:
    """Decides which hosts and addresses rules may lead to.

    `patterns` are host patterns (`*.nats.svc`, matched without case) and CIDRs; none given: every address
    is allowed but those that are never allowed. Link-local, metadata, multicast and unspecified addresses
    and the Kubernetes API server are never allowed; loopback in a cluster only by a pattern that names it.

    In a cluster the API server is refused at every port of its addresses and of its Service's: `api_service`
    is what KUBERNETES_SERVICE_HOST says. Elsewhere, and on loopback, other servers share its address, so
    only its own port is refused.
    """

    def __init__(
        self,
        patterns: Iterable[str] = (),
        *,
        in_cluster: bool,
        api_server: tuple[str, int] | None = None,
        api_service: str = "",
    ) -> None:
        self._hosts: list[str] = []
        self._networks: list[IPv4Network | IPv6Network] = []
        for pattern in patterns:
            if "/" not in pattern:
                self._hosts.append(bare_host(pattern))
                continue
            try:
                self._networks.append(ip_network(pattern, strict=False))
            except ValueError as error:
                raise SettingsError(f"{SETTINGS['allow_hosts']}: {error}") from error
        self._in_cluster = in_cluster
        self._api_server = api_server
        hosts = (api_server[0] if api_server else "", api_service, API_SERVICE if api_service else "")
        self._api_hosts = dict.fromkeys(filter(None, hosts if in_cluster else ()), frozenset[Address]())
        self._api_again = dict.fromkeys(self._api_hosts, -math.inf)
        self._resolver = Resolver()

    @classmethod
    def of(cls, settings: Settings, api_url: str) -> "AllowList":
        """Make the list of a process that reaches the API server by this URL."""
        url = httpx.URL(api_url)
        return cls(
            settings.allow_hosts,
            in_cluster=settings.in_cluster,
            api_server=(url.host, url.port or (443 if url.scheme == "https" else 80)),
            api_service=settings.api_service,
        )

    async def close(self) -> None:
        """Look up no more names."""
        await self._resolver.close()

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """Return the addresses of a host that may be connected to.

        Raises NotAllowed if there are addresses but none is allowed, OSError if there are none.
        """
        found = await self._resolver.addresses(host)
        forbidden_server = await self._addresses_of_api_server(port)
        allowed = [
            address
            for address in found
            if self._allows(host, address) and not forbidden_server.intersection((address, *_led_to(address)))
        ]
        if not allowed:
            raise NotAllowed(
                f"The operator may not connect to {excerpt(host)}:{port}. An administrator can permit it"
                " by --allow-hosts, unless it is a link-local, metadata or Kubernetes API address"
            )
        return tuple(map(str, allowed))

    async def _addresses_of_api_server(self, port: int) -> frozenset[Address]:
        found = set[Address]()
        if self._api_server and port == self._api_server[1]:
            found.update(await self._resolver.addresses(self._api_server[0]))
        for host, known in self._api_hosts.items():
            if not known and time.monotonic() >= self._api_again[host]:
                with suppress(OSError):  # a TimeoutError is one
                    async with asyncio.timeout(API_SERVICE_SECONDS):
                        self._api_hosts[host] = frozenset(await self._resolver.addresses(host))
                self._api_again[host] = time.monotonic() + API_SERVICE_AGAIN_SECONDS
            found.update(address for address in self._api_hosts[host] if not address.is_loopback)
        return frozenset(found)

    def _allows(self, host: str, address: Address) -> bool:
        if any(map(_never, (address, *_led_to(address)))):
            return False
        named = any(fnmatch(bare_host(host), pattern) for pattern in self._hosts) or any(
            address in network for network in self._networks
        )
        if address.is_loopback and self._in_cluster:
            return named
        return named or not (self._hosts or self._networks)


def _never(address: Address) -> bool:
    special = address.is_link_local or address.is_multicast or address.is_unspecified
    return special or address in METADATA_ADDRESSES


def _led_to(address: Address) -> list[IPv4Address]:
    """List the IPv4 addresses that a gateway may lead on to from this IPv6 one (RFC 6052, 3056, 4380)."""
    if not isinstance(address, IPv6Address):
        return []
    found = [address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in NAT64):
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return [one for one in found if one]


def _unmapped(text: str) -> Address:
    """Read an address; an IPv4 address written as an IPv6 one is the same place."""
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
