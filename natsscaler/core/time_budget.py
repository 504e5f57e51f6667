"""Keeps a NATS server from being read more than it can bear, and from keeping natsscaler busy.

A token bucket of time: it fills with a share of the time that passes, and what is done takes its own duration
out, as each successful read. After a quiet spell it is done at once; over any longer time no more than that
share is spent on it.
"""

CAPACITY_SECONDS = 1.0
"""Time that a quiet spell can save up."""


class Budget:
    """The budget of one server or connection. Times are seconds on one monotonic clock."""

    def __init__(self, share: float, now: float, capacity: float = CAPACITY_SECONDS) -> None:
        self._share = share
        self._capacity = self._level = capacity
        self._at = now

    def delay(self, now: float) -> float:
        """Say how many seconds to wait before the next read, or whatever it is, may begin."""
        self._fill(now)
        return 0.0 if self._level > 0 else -self._level / self._share + 1e-3

    def spend(self, seconds: float, now: float) -> None:
        """Take out what it has cost."""
        self._fill(now)
        self._level -= seconds

    def _fill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + max(0.0, now - self._at) * self._share)
        self._at = now
