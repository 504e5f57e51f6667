"""Wait, read, decide, act, record. Knows the world only through the Protocols in `ports`."""

from natsscaler.reactor.registry import Reactor

__all__ = ["Reactor"]
