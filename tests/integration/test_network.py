"""The allow-list: literal addresses need no resolver, and `localhost` every machine has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import ip_address
from typing import cast

import pytest
from aiodns import DNSResolver

from natsscaler.core.errors import NotAllowed, SettingsError
from natsscaler.core.reasons import Reason
from natsscaler.net import allowlist
from natsscaler.net.allowlist import AllowList

API_SERVER = ("10.96.0.1", 443)


async def is_allowed(allow: AllowList, host: str, port: int = 8222) -> bool:
    try:
        assert await allow.resolve(host, port)
    except NotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:c1::a9fe:a9fe",
        "fd20:ce::254",
        "fd00:42::42",
        "64:ff9b::192.0.0.192",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "::",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "::ffff:0.0.0.0",
        "64:ff9b::169.254.169.254",  # NAT64
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",  # 6to4
        "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo, to 169.254.169.254
    ],
)
@pytest.mark.parametrize("patterns", [(), ("*",), ("0.0.0.0/0", "::/0")])
@pytest.mark.parametrize("in_cluster", [True, False])
async def test_never_allowed(host: str, patterns: tuple[str, ...], in_cluster: bool) -> None:
    assert not await is_allowed(AllowList(patterns, in_cluster=in_cluster), host)


@pytest.mark.parametrize(
    ("patterns", "in_cluster", "host", "expected"),
    [
        ((), True, "10.1.2.3", True),
        ((), True, "8.8.8.8", True),
        ((), True, "2001:db8::1", True),
        ((), True, "::ffff:10.1.2.3", True),
        ((), True, "64:ff9b::8.8.8.8", True),
        ((), True, "2002:808:808::1", True),
        # Loopback: the sidecars of the Pod in a cluster, the developer's own machine elsewhere.
        ((), False, "127.0.0.1", True),
        ((), False, "::1", True),
        ((), False, "localhost", True),
        ((), True, "127.0.0.1", False),
        ((), True, "127.8.8.8", False),
        ((), True, "::1", False),
        ((), True, "::ffff:127.0.0.1", False),
        ((), True, "localhost", False),
        (("*.nats.svc",), True, "localhost", False),
        (("localhost",), True, "localhost", True),
        (("LocalHost",), True, "lOCALhOST", True),
        (("127.0.0.0/8",), True, "127.0.0.1", True),
        (("127.0.0.0/8",), True, "::ffff:127.0.0.1", True),
        (("127.0.0.0/8",), True, "::1", False),
        (("10.0.0.0/8",), False, "127.0.0.1", False),
        # Patterns and CIDRs.
        (("local*",), False, "localhost", True),
        (("*.svc",), False, "localhost", False),
        (("*.svc", "localhost"), False, "localhost", True),
        (("10.1.2.3",), True, "10.1.2.3", True),
        (("10.1.2.3",), True, "10.1.2.4", False),
        (("10.0.0.0/8",), True, "10.255.0.1", True),
        (("10.0.0.0/8",), True, "11.0.0.1", False),
        (("10.9.9.9/8",), True, "10.255.0.1", True),
        (("10.0.0.0/8",), True, "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), True, "::ffff:11.1.2.3", False),
        (("2001:db8::/32",), True, "2001:db8::1", True),
        (("2001:db8::/32",), True, "2001:db9::1", False),
    ],
)
async def test_allowed(patterns: tuple[str, ...], in_cluster: bool, host: str, expected: bool) -> None:
    assert await is_allowed(AllowList(patterns, in_cluster=in_cluster), host) is expected


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("10.96.0.1", 443, False),
        ("10.96.0.1", 8222, False),
        ("10.96.0.2", 443, True),
        ("::ffff:10.96.0.1", 443, False),
        ("64:ff9b::10.96.0.1", 8222, False),
    ],
)
@pytest.mark.parametrize("patterns", [(), ("*",)])
async def test_the_api_server_is_never_allowed(
    host: str, port: int, expected: bool, patterns: tuple[str, ...]
) -> None:
    allow = AllowList(patterns, in_cluster=True, api_server=API_SERVER)
    assert await is_allowed(allow, host, port) is expected


async def test_an_api_server_given_by_name_is_never_allowed() -> None:
    allow = AllowList(["*"], in_cluster=True, api_server=("localhost", 443))
    for host in await AllowList(in_cluster=False).resolve("localhost", 443):
        assert not await is_allowed(allow, host, 443)
        assert await is_allowed(allow, host, 444)


@pytest.mark.parametrize(("api_service", "expected"), [("10.96.0.1", False), ("", True)])
@pytest.mark.parametrize("port", [443, 6443, 8222])
async def test_the_api_server_is_refused_by_its_service_too_where_a_kubeconfig_names_another_address(
    api_service: str, port: int, expected: bool
) -> None:
    allow = AllowList(in_cluster=True, api_server=("192.0.2.1", 6443), api_service=api_service)
    assert await is_allowed(allow, "10.96.0.1", port) is expected
    assert not await is_allowed(allow, "192.0.2.1", port)
    await allow.close()


async def test_the_api_server_is_refused_by_all_addresses_of_its_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allowlist, "API_SERVICE", "kubernetes.good.")
    async with dns_server({b"good"}) as port:
        monkeypatch.setattr(
            allowlist, "DNSResolver", partial(DNSResolver, nameservers=["127.0.0.1"], udp_port=port)
        )
        allow = AllowList(in_cluster=True, api_server=API_SERVER, api_service=API_SERVER[0])
        assert not await is_allowed(allow, "10.1.2.3")
        assert await is_allowed(allow, "10.1.2.4")
        await allow.close()


async def test_a_name_server_that_is_silent_about_the_api_server_stops_no_plain_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allowlist, "API_SERVICE", "kubernetes.silent.")
    monkeypatch.setattr(allowlist, "API_SERVICE_SECONDS", 0.1)
    async with dns_server(set()) as port:
        monkeypatch.setattr(
            allowlist, "DNSResolver", partial(DNSResolver, nameservers=["127.0.0.1"], udp_port=port)
        )
        allow = AllowList(in_cluster=True, api_server=API_SERVER, api_service=API_SERVER[0])
        assert await is_allowed(allow, "10.1.2.4")
        assert not await is_allowed(allow, API_SERVER[0])
        await allow.close()


async def test_the_api_server_of_a_developers_machine_shares_its_address_with_nats() -> None:
    allow = AllowList(in_cluster=False, api_server=("127.0.0.1", 6443))
    assert not await is_allowed(allow, "127.0.0.1", 6443)
    assert await is_allowed(allow, "127.0.0.1", 8222)


async def test_resolves_to_addresses() -> None:
    addresses = await AllowList(in_cluster=False).resolve("localhost", 1)
    assert set(addresses) <= {"127.0.0.1", "::1"}


async def test_a_name_that_does_not_exist() -> None:
    allow = AllowList(in_cluster=False)
    with pytest.raises(OSError, match="name"):
        await allow.resolve("no-such-host.invalid", 1)
    await allow.close()


async def test_the_refusal_names_host_port_and_fix() -> None:
    with pytest.raises(NotAllowed, match=r"10\.0\.0\.1:8222.*--allow-hosts"):
        await AllowList(["*.svc"], in_cluster=True).resolve("10.0.0.1", 8222)


def test_the_refusal_has_a_reason() -> None:
    assert NotAllowed("no").reason is Reason.ADDRESS_NOT_ALLOWED


def test_a_wrong_cidr_names_the_flag() -> None:
    with pytest.raises(SettingsError, match=r"--allow-hosts .*'10\.0\.0\.0/99'"):
        AllowList(["10.0.0.0/99"], in_cluster=True)


async def test_names_that_nobody_answers_for_keep_no_other_name_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that answers for one zone, and is silent about another; 300 names of that wait."""
    async with dns_server({b"good"}) as port:
        monkeypatch.setattr(
            allowlist, "DNSResolver", partial(DNSResolver, nameservers=["127.0.0.1"], udp_port=port)
        )
        allow = AllowList(in_cluster=True)
        silent = [asyncio.create_task(allow.resolve(f"n{number}.silent.", 8222)) for number in range(300)]
        await asyncio.sleep(0)
        assert await allow.resolve("nats.good.", 8222) == ("10.1.2.3",)
        assert not any(task.done() for task in silent)
        assert await allow.resolve("other.good.", 8222) == ("10.1.2.3",)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        await allow.close()


@contextlib.asynccontextmanager
async def dns_server(zones: set[bytes]) -> AsyncIterator[int]:
    """Answer every question about a name that ends in one of the zones with 10.1.2.3, and no other."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            labels, at = [], 12
            while length := data[at]:
                labels.append(data[at + 1 : at + 1 + length])
                at += 1 + length
            if labels[-1] not in zones:
                return
            question = data[12 : at + 5]
            is_a = question[-4:-2] == b"\x00\x01"
            answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + ip_address("10.1.2.3").packed
            counts = b"\x00\x01" + (b"\x00\x01" if is_a else b"\x00\x00") + bytes(4)
            self.transport.sendto(data[:2] + b"\x81\x80" + counts + question + answer * is_a, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
