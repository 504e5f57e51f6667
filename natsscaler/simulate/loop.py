"""The operator's loop for one rule, in virtual time: it looks when the operator would, and asks `decide`.

A rule is looked at when its doorbell rings, a second after the last message that it heard, when time alone
may change the decision, after a step, and once per poll interval: see reactor/endpoint_loop.py and
reactor/doorbells.py, with which a test compares it. Messages are taken to be small: those of more than a KiB
would ring a doorbell earlier, up to DOORBELL_BYTES.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from natsscaler.core.arming import (
    CONFIRM_SECONDS,
    DOORBELL_LIMIT,
    SETTLE_SECONDS,
    Arm,
    Armed,
    Due,
    Off,
    armed,
    begin,
    calm,
    drop,
    due_at,
    need,
    rang,
)
from natsscaler.core.decision.pipeline import Decision, decide, messages_until_change
from natsscaler.core.decision.situation import Observation
from natsscaler.core.remembering import restore
from natsscaler.core.rule import BusyWorkers, EventSource, Rule
from natsscaler.core.status import RuleStatus
from natsscaler.simulate.plant import Plant


class Delays(NamedTuple):
    """How long the world takes, in seconds."""

    read: float = 0.003
    """From the begin of a read to the decision."""
    arm: float = 0.001
    """To subscribe a doorbell."""
    write: float = 0.005
    """To change the replicas, or to write the status."""


USUAL = Delays()


class Stepped(NamedTuple):
    """A step that was taken."""

    time: float
    """Seconds since the start."""
    before: int
    after: int
    backlog: int
    reason: str
    message: str


@dataclass(slots=True)
class Bell:
    """A doorbell: rings once, after so many messages since it was armed."""

    since: int
    """Messages that had come by then."""
    limit: int = DOORBELL_LIMIT
    spent: bool = False


Outcome = tuple[tuple[object, ...], int | None]
"""What the steps of a decision made of a backlog, and which backlog would change it."""


class Known(NamedTuple):
    """Backlogs that lead to the same decision, one that changes nothing, until time alone may change it."""

    lowest: int
    highest: int
    seen: Observation
    """One of them."""
    outcome: Outcome
    next_change: float | None


class Loop:
    """One rule, its Deployment and its doorbell. Times: seconds since the start of the arrivals."""

    def __init__(self, rule: Rule, plant: Plant, delays: Delays = USUAL) -> None:
        self.rule, self.plant, self.delays = rule, plant, delays
        self.steps: list[Stepped] = []
        self.decisions = 0
        """How often `decide` was asked."""
        self._memory = restore(RuleStatus(), plant.replicas, 0.0, plant.arrivals.start)
        self._asleep = plant.replicas == 0
        self._arm: Arm = Off()
        self._bell: Bell | None = None
        self._heard: tuple[Bell | None, int] = (None, 0)
        self._listens = EventSource.DOORBELL in rule.spec.events
        self._rung = True
        self._deadline = self._next_change = self._confirm_at = math.inf
        waits = rule.spec.behavior.scale_down.busy_workers is not BusyWorkers.IGNORE
        self._by_backlog = not (rule.spec.drain_time or waits or rule.spec.goes_to_zero)
        """Whether what is decided depends on nothing but backlog, replicas, what was wanted, and time."""
        self._known: Known | None = None
        self._passed: float | None = None
        """When the last look was taken that led to what was known."""

    def run(self, until: float) -> None:
        """Let the time pass."""
        while (due := self._due()) + SETTLE_SECONDS < until:
            self.plant.advance(due + SETTLE_SECONDS)
            if not self._subscribed():
                self._look()
                self._subscribed()
        self.plant.advance(until)

    def _due(self) -> float:
        if self._rung:
            return self.plant.now
        due = min(self._deadline, self._next_change, self._confirm_at, due_at(self._arm))
        bell = self._bell
        if bell and not bell.spent and self.plant.came_by(due) >= bell.since + bell.limit:
            due = self.plant.when_came(bell.since + bell.limit)
        return max(self.plant.now, due)

    def _subscribed(self) -> bool:
        """Arm the doorbell if that is due."""
        if not isinstance(self._arm, Due) or self._arm.at > self.plant.now:
            return False
        arming = begin(self._arm)
        self.plant.advance(self.plant.now + self.delays.arm)
        self._bell = Bell(self.plant.ever)
        self._confirm_at = self.plant.now
        self._arm = armed(arming, self.plant.now)
        return True

    def _look(self) -> None:
        plant, known = self.plant, self._known
        began, heard, messages = plant.now, self._deliveries(), plant.counted(self.rule.spec.backlog)
        self._rung = False
        if self._bell and heard >= self._bell.limit:
            self._bell.spent = True
        now = began + self.delays.read
        if known and known.lowest <= messages <= known.highest and now < self._next_change:
            plant.advance(now)
            self._passed = now
            self._rest(now, known.next_change)
            ceiling = known.outcome[1]
            self._tend(began, heard, None if ceiling is None else ceiling - messages, steps=False)
            return
        self._catch_up()
        seen = self._observed(now, heard)
        plant.advance(now)
        before, decision = self._memory, self._decide(seen, now)
        if decision.desired < plant.replicas:  # before a step down, the operator asks the consumer's leader
            seen, self._memory = replace(seen, backlog=plant.backlog(self.rule.spec.backlog)), before
            messages, decision = plant.counted(self.rule.spec.backlog), self._decide(seen, now)
        missing = messages_until_change(self.rule, seen, decision.memory)
        self._rest(now, decision.next_change)
        steps = decision.permitted != plant.replicas
        self._known = None if steps else self._known
        if self._by_backlog and not steps:
            self._learn(seen, decision, messages, missing)
        self._tend(began, heard, missing, steps=steps)
        if steps:
            self._step(decision, messages)

    def _deliveries(self) -> int:
        bell = self._bell
        return 0 if bell is None else min(bell.limit, self.plant.ever - bell.since)

    def _observed(self, now: float, heard: int) -> Observation:
        plant = self.plant
        before, self._heard = self._heard, (self._bell, heard)
        return Observation(
            plant.backlog(self.rule.spec.backlog),
            plant.replicas,
            plant.arrivals.start + now,
            asleep=self._asleep,
            heard=heard > 0 and (self._bell is not before[0] or heard != before[1]),
            workers=plant.workers(),
        )

    def _decide(self, seen: Observation, now: float) -> Decision:
        self.decisions += 1
        decision = decide(self.rule, seen, self._memory, now)
        self._memory = decision.memory
        return decision

    def _catch_up(self) -> None:
        """Remember the last of the looks that were passed over: what was wanted then, is."""
        known, passed, self._passed = self._known, self._passed, None
        if known and passed is not None:
            self._decide(replace(known.seen, at=self.plant.arrivals.start + passed), passed)

    def _learn(self, seen: Observation, decision: Decision, messages: int, missing: int | None) -> None:
        """Note that this backlog led to nothing: so does each between it and another that led to the same."""
        notes = (*decision.trace, decision.switch) if decision.switch else decision.trace
        outcome: Outcome = (
            tuple((one.step, one.replicas, one.reason, one.limits, _rounded(one.until)) for one in notes),
            None if missing is None else missing + messages,
        )
        known, lowest, highest = self._known, messages, messages
        if known and known.outcome == outcome:
            lowest, highest = min(lowest, known.lowest), max(highest, known.highest)
        self._known = Known(lowest, highest, seen, outcome, decision.next_change)

    def _rest(self, now: float, next_change: float | None) -> None:
        self._deadline = now + self.rule.spec.poll_interval_seconds
        self._next_change = math.inf if next_change is None else next_change
        self._confirm_at = math.inf

    def _tend(self, began: float, heard: int, missing: int | None, *, steps: bool) -> None:
        """Leave the doorbell as the decision needs it (reactor/doorbells.py)."""
        bell, now = self._bell, self.plant.now
        if bell:
            delivered = self._deliveries()
            since = self._arm.since if isinstance(self._arm, Armed) else -math.inf
            if delivered:
                since = max(since, self.plant.when_came(bell.since + delivered))
            certain_at = since + CONFIRM_SECONDS
            self._confirm_at = certain_at if began < certain_at else math.inf
            self._hear(bell)
        if steps:
            self._arm = calm(self._arm)
        elif missing is None or not self._listens:
            self._arm, self._bell = drop(self._arm), None
        elif bell is None:
            self._arm = need(self._arm, now, room=True)
        elif bell.spent:
            self._arm = rang(self._arm, now)
        else:
            bell.limit = min(bell.limit, heard + missing)
            self._hear(bell)

    def _hear(self, bell: Bell) -> None:
        if not bell.spent and self._deliveries() >= bell.limit:
            bell.spent = self._rung = True

    def _step(self, decision: Decision, messages: int) -> None:
        plant, before, after = self.plant, self.plant.replicas, decision.permitted
        self._asleep = after == 0
        writes = 1 if after else 2  # whose zero it is, is written first
        plant.advance(plant.now + writes * self.delays.write)
        plant.scale(after)
        self._memory = self._memory.acted(before, after, plant.now).stepped(before, after, plant.now)
        self._rung = True
        cause, message = decision.cause
        self.steps.append(Stepped(round(plant.now, 3), before, after, messages, str(cause), message))
        plant.advance(plant.now + self.delays.write)


def _rounded(until: float | None) -> float | None:
    return None if until is None else round(until, 3)
