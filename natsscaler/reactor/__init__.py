"""Wait, read, decide, act, record. Knows the world only through the Protocols in `ports`."""

from natsscaler.reactor.reactor import Reactor

__all__ = ["Reactor"]
