"""Kinds of values that settings take: how a value is written, and what is refused. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from natsscaler.core.access import servers
from natsscaler.core.rule import EventSource

NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HOST_PATTERN = re.compile(r"[A-Za-z0-9._*?\[\]!-]+")
ENDPOINT = re.compile(r"https?://([A-Za-z0-9._*-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?(/[A-Za-z0-9._~/-]*)?")
"""Scheme, host pattern or IPv6 address, port and path prefix."""


@dataclass(frozen=True)
class ValueKind:
    """One kind of value."""

    placeholder: str
    """Stands for the value in a usage text."""
    read: Callable[[str], object]
    """Reads a value; raises ValueError with what is wrong and what would be right."""
    values: str = ""
    """The values that it takes, with their unit; empty: the placeholder says it."""
    repeatable: bool = False
    """Takes several values, with commas between them or by repeating the flag."""


def items(text: str) -> tuple[str, ...]:
    """Split at commas; spaces around them, and empty items, do not count."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def whole(least: int, most: int, unit: str = "") -> ValueKind:
    """Take whole numbers within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return ValueKind(unit or "NUMBER", read, f"{least} to {most} {unit}".rstrip())


def duration(least: int, most: int) -> ValueKind:
    """Take durations in whole seconds within bounds."""

    def read(text: str) -> int:
        found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s?)?", text)
        if not text or not found:
            raise ValueError(f"{text!r} is not a duration in whole seconds, such as 15s or 1m")
        minutes, rest = found.groups(default="0")
        seconds = 60 * int(minutes) + int(rest)
        if not least <= seconds <= most:
            raise ValueError(f"{text} is out of range: {least}s to {most}s")
        return seconds

    return ValueKind("DURATION", read, f"{least}s to {most}s")


def one_of(*names: str) -> ValueKind:
    """Take one of some words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"{text!r} is not one of {', '.join(names)}")
        return text.lower()

    return ValueKind("WORD", read, ", ".join(names))


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} must be true or false")
    return text.lower() == "true"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not a share of time, which is above 0 and at most 1")
    return share


def _events(text: str) -> frozenset[EventSource]:
    names = () if text.strip().lower() == "none" else items(text)
    unknown = [name for name in names if name not in tuple(EventSource)]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is not a source of events: known are {', '.join(EventSource)} and none"
        )
    return frozenset(map(EventSource, names))


def _proxy(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+/?", text):
        raise ValueError("it must be a URL such as http://proxy:3128")
    return text


def _namespace(text: str) -> str:
    if text and not NAMESPACE_NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not the name of a namespace, which has up to 63 lower-case letters, digits and"
            " hyphens"
        )
    return text


def _hosts(text: str) -> tuple[str, ...]:
    for pattern in items(text):
        if not _is_host_pattern(pattern):
            raise ValueError(f"{_not_a_host(pattern)}; leave out scheme and port")
    return items(text)


def _hosts_and_endpoints(text: str) -> tuple[str, ...]:
    for pattern in items(text):
        if not _is_host_pattern(pattern) and not _is_endpoint(pattern):
            raise ValueError(f"{_not_a_host(pattern)}, nor a URL, such as https://nats:8222")
    return items(text)


def _not_a_host(pattern: str) -> str:
    return (
        f"{pattern!r} is neither a host pattern, such as *.nats.svc, nor an address, nor a CIDR,"
        " such as 10.0.0.0/8"
    )


def _is_host_pattern(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return bool(HOST_PATTERN.fullmatch(text))
    return True


def _is_endpoint(text: str) -> bool:
    try:
        return bool(ENDPOINT.fullmatch(text)) and urlsplit(text).port != 0
    except ValueError:  # no port, or no IPv6 address
        return False


TEXT = ValueKind("TEXT", str)
ADDRESS = ValueKind("ADDRESS", str)
FILE = ValueKind("FILE", Path)
DIRECTORY = ValueKind("DIRECTORY", Path)
PORT = ValueKind("PORT", whole(0, 2**16 - 1).read, "0 to 65535")
SWITCH = ValueKind("true|false", _switch)
SHARE = ValueKind("SHARE", _share, "above 0, at most 1")
PROXY = ValueKind("URL", _proxy)
SERVERS = ValueKind("URL", lambda text: ",".join(servers(text)))
EVENTS = ValueKind("EVENTS", _events, f"{', '.join(EventSource)}, both with a comma between them, or none")
NAMESPACE = ValueKind("NAMESPACE", _namespace)
NAMESPACES = ValueKind("NAMESPACE", lambda text: tuple(map(_namespace, items(text))), repeatable=True)
HOSTS = ValueKind("HOST", _hosts, "host patterns and CIDRs", repeatable=True)
ENDPOINTS = ValueKind("HOST", _hosts_and_endpoints, "URLs, host patterns and CIDRs", repeatable=True)
