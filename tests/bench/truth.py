"""What is true of the backlogs of a soak, and whether it excuses a scale-down."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

AGE_SECONDS = 15.0
"""The oldest truth that may be acted upon: a read takes 5 s at the most, then a decision is carried out
within 5 s, and the Kubernetes API has 5 s to take it."""
UNKNOWABLE = math.inf
"""The backlog while nobody can know it, as its stream is gone: it excuses no scale-down."""


class Truth:
    """The backlog of one rule over time: while it is not certain, the least that it can be."""

    def __init__(self, now: float) -> None:
        self._since: deque[tuple[float, float]] = deque([(now, 0)])

    @property
    def now(self) -> float:
        return self._since[-1][1]

    def becomes(self, messages: float, now: float) -> None:
        """Note the backlog, or the least that it can be, from this time on (monotonic seconds)."""
        self._since.append((now, messages))
        while len(self._since) > 1 and self._since[1][0] < now - 2 * AGE_SECONDS:
            self._since.popleft()

    def least(self, now: float) -> float:
        """Return the least that it can have been at any time that may be acted upon now."""
        begin = now - AGE_SECONDS
        current = [messages for at, messages in self._since if at <= begin][-1:]
        return min([*current, *(messages for at, messages in self._since if at > begin)])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a rule's spec makes of a backlog."""

    spec: dict[str, Any]

    def excuses(self, backlog: float, before: int, after: int) -> bool:
        """Tell whether this backlog allows the step down."""
        if "messagesPerReplica" in self.spec:
            return bool(after >= self.at_least(backlog))
        return bool(backlog < self.spec["scaleDownThreshold"]) and after == before - 1

    def at_least(self, backlog: float) -> float:
        """Return how many replicas there must be in the end."""
        low, high = self.spec["minReplicas"], self.spec["maxReplicas"]
        if backlog == UNKNOWABLE:
            return math.inf
        per_replica = self.spec.get("messagesPerReplica")
        if per_replica is None:
            return int(high if backlog > self.spec["scaleUpThreshold"] else low)
        if backlog < self.spec["scaleDownThreshold"]:
            return int(low)
        return int(min(max(math.ceil(backlog / per_replica), low), high))
