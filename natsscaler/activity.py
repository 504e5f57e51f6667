"""The scaling actions of this process, newest first, for the page and for `/scaling-activity`."""

from collections import deque

from msgspec import Struct


class Action(Struct, frozen=True, kw_only=True, rename="camel"):
    """One change of replicas."""

    timestamp: str
    """RFC 3339, UTC."""
    deployment: str
    namespace: str
    from_replicas: int
    to_replicas: int
    reason: str
    pending_messages: int | None
    """The backlog that decided; None if it was not known (a bound was enforced)."""


class Activity:
    """The last `size` actions."""

    def __init__(self, size: int) -> None:
        self._actions: deque[Action] = deque(maxlen=size)

    def record(self, action: Action) -> None:
        """Add the newest action; beyond its size the oldest one goes."""
        self._actions.appendleft(action)

    @property
    def actions(self) -> list[Action]:
        """All actions, newest first."""
        return list(self._actions)
