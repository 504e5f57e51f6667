"""Keeps a NATS server from being read more than it can bear.

A token bucket of read time: it fills with a share of the time that passes, and each successful read takes
its own duration out. After a quiet spell reads are served at once; over any longer time the server is
busy with them for no more than that share.
"""

CAPACITY_SECONDS = 1.0
"""Read time that a quiet spell can save up."""


class Budget:
    """The budget of one server. Times are seconds on one monotonic clock."""

    def __init__(self, share: float, now: float) -> None:
        self._share = share
        self._level = CAPACITY_SECONDS
        self._at = now

    def delay(self, now: float) -> float:
        """Say how many seconds to wait before the next read may begin."""
        self._fill(now)
        return 0.0 if self._level > 0 else -self._level / self._share + 1e-3

    def spend(self, seconds: float, now: float) -> None:
        """Take out what a read has cost."""
        self._fill(now)
        self._level -= seconds

    def _fill(self, now: float) -> None:
        self._level = min(CAPACITY_SECONDS, self._level + max(0.0, now - self._at) * self._share)
        self._at = now
