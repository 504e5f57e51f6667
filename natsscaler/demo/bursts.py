"""What is measured of a burst: when it began, and when the Deployment's replicas followed."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Burst:
    """One burst and what the Deployment did about it; times are monotonic."""

    number: int
    messages: int
    began: float
    before: int
    changes: list[tuple[float, int]] = field(default_factory=list)
    """When the replicas changed, and to how many."""
    came_down: float | None = None

    @property
    def scaled_up(self) -> bool:
        return any(replicas > self.before for _, replicas in self.changes)

    def changed(self, now: float, replicas: int) -> None:
        """Take note of new replicas. What follows after it has come down is not its doing."""
        if self.came_down is not None:
            return
        self.changes.append((now, replicas))
        if self.scaled_up and replicas == self.before:
            self.came_down = now

    def __str__(self) -> str:
        said = f"Burst {self.number}: {self.messages} messages"
        if not self.scaled_up:
            return said
        steps = []
        highest = self.before
        for when, replicas in self.changes:
            if replicas > highest:
                steps.append(f"→ {replicas} after {(when - self.began) * 1000:.0f} ms")
                highest = replicas
        said = f"{said}, scaled {self.before} {', '.join(steps)}"
        return (
            f"{said}; back to {self.before} after {self.came_down - self.began:.1f} s"
            if self.came_down
            else said
        )
