"""Tells by a server's own clock whether it answered when it was asked, or a cache did with what it had kept.

Pure. Servers' clocks may be off by any time, but they go on as ours does: so how far one is ahead is learnt
from its answers, and an answer by which it would be less ahead is older than the request.
"""

import math
from datetime import datetime

BOUND_SECONDS = 0.25
"""How old an answer may be: this is the time that no clock is sure of."""
DRIFT = 0.001
"""How fast clocks may go apart: twice what NTP lets them (RFC 5905)."""


class Clock:
    """The clock of one server, from its start to its end. Local times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._ahead = -math.inf
        """How far it was ahead at least, when that was last seen."""
        self._seen_at = 0.0
        self._late: tuple[float, float, float] | None = None
        """How far the last old answer was ahead, when it was asked for, and how long after the one before."""

    def late(self, now: datetime, began: float, ended: float) -> float:
        """Say how many seconds older than its request an answer is; 0: it is not."""
        if now == self._last:
            return math.inf
        self._last = now
        most, least = now.timestamp() - began, now.timestamp() - ended
        known = self._ahead - DRIFT * (began - self._seen_at)
        if most >= known - BOUND_SECONDS or self._was_set_back(most, began):
            self._ahead = max(least, known) if most >= known - BOUND_SECONDS else least
            self._seen_at, self._late = ended, None
            return 0.0
        return known - most

    def _was_set_back(self, most: float, began: float) -> bool:
        """Tell whether two old answers in a row are equally old, though they came at different intervals."""
        before = self._late
        interval = began - before[1] if before else began - self._seen_at
        self._late = most, began, interval
        return (
            before is not None
            and abs(most - before[0]) < BOUND_SECONDS
            and abs(interval - before[2]) > 2 * BOUND_SECONDS
        )
