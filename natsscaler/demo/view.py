"""What the demo shows: the backlog, the replicas and each decision, line by line."""

import time
from dataclasses import dataclass, field
from typing import TextIO

BAR = "█"
LINE_SECONDS = 1.0


@dataclass(slots=True)
class Burst:
    """One burst and what the Deployment did about it; times are monotonic."""

    messages: int
    began: float
    before: int
    changes: list[tuple[float, int]] = field(default_factory=list)
    """When the replicas changed, and to how many."""
    came_down: float | None = None

    @property
    def scaled_up(self) -> bool:
        return any(replicas > self.before for _, replicas in self.changes)

    def __str__(self) -> str:
        said = f"{self.messages} messages, "
        if not self.scaled_up:
            return said + "nothing scaled"
        steps = []
        highest = self.before
        for when, replicas in self.changes:
            if replicas > highest:
                steps.append(f"→ {replicas} after {(when - self.began) * 1000:.0f} ms")
                highest = replicas
        said += f"scaled {self.before} {', '.join(steps)}"
        if self.came_down is None:
            return f"{said}; it did not come back to {self.before}"
        return f"{said}; back to {self.before} after {self.came_down - self.began:.1f} s"


class View:
    """Writes plain lines, each with the time since the beginning."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._shown_at = float("-inf")
        self._replicas: int | None = None

    def say(self, text: str) -> None:
        """Tell what happens or what can be done."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def step(self, text: str) -> None:
        """Tell what the scenario does now."""
        self._line(f"-- {text}")

    def decision(self, reason: str, note: str) -> None:
        """Show an Event of the operator."""
        self._line(f">> {reason}: {note}")

    def sample(self, backlog: int, replicas: int) -> None:
        """Show the present state if the replicas have changed, and otherwise once a second."""
        now = time.monotonic()
        if replicas == self._replicas and now - self._shown_at < LINE_SECONDS:
            return
        self._shown_at, self._replicas = now, replicas
        self._line(f"backlog {backlog:4d}   replicas {replicas:2d} {BAR * replicas}")

    def _line(self, text: str) -> None:
        self.say(f"{time.monotonic() - self._began:6.1f} s  {text}")
