"""The scaling actions of this process, newest first, for the page and for `/scaling-activity`."""

from collections import deque

from msgspec import Struct

MAX_ACTIONS = 100
"""How many actions `/scaling-activity` gives (the contract)."""


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
    """A bounded history of actions."""

    def __init__(self) -> None:
        self._actions: deque[Action] = deque(maxlen=MAX_ACTIONS)

    def record(self, action: Action) -> None:
        """Add the newest action; beyond MAX_ACTIONS the oldest one goes."""
        self._actions.appendleft(action)

    @property
    def actions(self) -> list[Action]:
        """All actions, newest first."""
        return list(self._actions)
