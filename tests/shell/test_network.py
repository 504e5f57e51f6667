"""The allow-list: literal addresses need no resolver, and `localhost` every machine has."""

import pytest

from natsscaler.errors import NotAllowed, Reason, SettingsError
from natsscaler.network import AllowList

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
        "fd00:ec2::254",
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
        ("10.96.0.1", 8222, True),
        ("10.96.0.2", 443, True),
        pytest.param(
            "::ffff:10.96.0.1",
            443,
            False,
        ),
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


async def test_resolves_to_addresses() -> None:
    addresses = await AllowList(in_cluster=False).resolve("localhost", 1)
    assert set(addresses) <= {"127.0.0.1", "::1"}


async def test_the_refusal_names_host_port_and_mend() -> None:
    with pytest.raises(NotAllowed, match=r"10\.0\.0\.1:8222.*--allow-hosts"):
        await AllowList(["*.svc"], in_cluster=True).resolve("10.0.0.1", 8222)


def test_the_refusal_has_a_reason() -> None:
    assert NotAllowed("no").reason is Reason.ADDRESS_NOT_ALLOWED


def test_a_wrong_cidr_names_the_flag() -> None:
    with pytest.raises(SettingsError, match=r"--allow-hosts 10\.0\.0\.0/99"):
        AllowList(["10.0.0.0/99"], in_cluster=True)
