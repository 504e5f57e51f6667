"""When a write that failed is tried again."""

import math
import random

from natsscaler.core.reasons import Finding

WAIT_SECONDS = (1.0, 60.0)
"""The first wait, and the one that doubling ends at."""


class Backoff:
    """Waits that double from one failure to the next, apart by chance, so that not all come back at once."""

    def __init__(self) -> None:
        self.until = -math.inf
        """No attempt before this, on the clock that `failed` is given."""
        self.why: Finding | None = None
        """What failed last; None: nothing did."""
        self._failures = 0

    def failed(self, now: float, why: Finding, asked: float = 0.0) -> None:
        """Wait for longer than the last time, and for as long as was `asked` for at least (Retry-After)."""
        self.why = why
        first, last = WAIT_SECONDS
        wait = min(first * 2.0 ** min(self._failures, 10), last)
        self._failures += 1
        self.until = now + max(asked, wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self.until, self.why, self._failures = -math.inf, None, 0
