"""Ports for servers that are told theirs: by the time one listens, nothing else may have taken it."""

import contextlib
import itertools
import random
import socket

RANGE = range(10_000, 32_768)
"""Below those that the kernel gives to connections: net.ipv4.ip_local_port_range, ip(7)."""

_candidates = itertools.cycle(random.SystemRandom().sample(RANGE, len(RANGE)))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that this process has not been given before."""
    while True:
        port = next(_candidates)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_ports(count: int) -> list[int]:
    """Return as many of them."""
    return [free_port() for _ in range(count)]
