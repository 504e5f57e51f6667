"""What all endpoints of one process share."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import Rule
from natsscaler.core.time_budget import Budget
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.reactor.ports import ClusterPort, ConnectionPort, MonitoringPort
from natsscaler.reactor.questions import Asking
from natsscaler.reactor.read_turns import ReadTurns
from natsscaler.reactor.rule_state import RuleState
from natsscaler.reactor.write_turns import Turns
from natsscaler.settings import Settings


@dataclass(kw_only=True)
class Shared:
    """The world as the endpoints see it, and what only the registry of all rules can tell them."""

    settings: Settings
    monitoring: MonitoringPort
    cluster: ClusterPort
    metrics: Metrics
    activity: Activity
    clock: Callable[[], float]
    """Seconds on a monotonic clock."""
    wall: Callable[[], float]
    """Seconds since the epoch."""
    obstacle: Callable[[Rule], Finding | None]
    """What keeps a rule from scaling its Deployment, apart from what a read tells."""
    connect: Callable[[Rule, Reading | None], ConnectionPort | None]
    """The NATS connection of a rule, as far as its address is known without a reading, too; None: all of its
    events are switched off, or the address is unknown."""
    evaluated: Callable[[RuleState], None]
    """To be told after each evaluation of a rule."""
    spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
    """Start a named task that the reactor owns."""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while this process acts; nothing is read, evaluated or written before all rules and Deployments
    are known and, with leader election, it leads."""
    opened_at: float = math.inf
    """Since when, on `clock`."""
    turns: Turns = field(default_factory=Turns)
    reads: ReadTurns = field(default_factory=ReadTurns)
    asking: Asking = field(init=False)
    _budgets: WeakValueDictionary[str, Budget] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        self.asking = Asking(self.clock)

    def budget(self, place: str) -> Budget:
        """Return the read budget of who answers at ADDRESS:PORT; it is kept by those who read it."""
        return self._budgets.setdefault(place, Budget(self.settings.read_budget, self.clock()))
