"""What a decision is made of: the rule, what is seen, what was before, and the notes that its steps leave."""

import math
from enum import StrEnum

import msgspec
from msgspec import Struct

from natsscaler.core.decision.rates import SHOWN_SECONDS, Work, Workers
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown, listed
from natsscaler.core.pause import Pause
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import (
    LONGEST_PERIOD_SECONDS,
    BusyWorkers,
    DrainTime,
    Fallback,
    FallbackBehavior,
    Rule,
    RuleSpec,
    ScaleDown,
    ScaleUp,
)
from natsscaler.core.schedules import Bounds

_change = msgspec.structs.replace


def arrivals_window(drain: DrainTime) -> int:
    """Say over how many seconds it is counted how fast messages come."""
    return min(max(drain.target_seconds, 30), 300)


class StepKind(StrEnum):
    """What a step of a decision, or of its explanation, speaks of. People read these words."""

    RULE = "Rule"
    DEPLOYMENT = "Deployment"
    NATS = "NATS"
    CONSUMER = "Consumer"
    BACKLOG = "Backlog"
    RATES = "Rates"
    RECOMMENDATION = "Recommendation"
    WORKERS = "Workers"
    FALLBACK = "Fallback"
    SCHEDULE = "Schedule"
    BOUNDS = "Bounds"
    IDLENESS = "Idleness"
    ZERO = "Zero"
    THRESHOLD = "Threshold"
    STABILIZATION = "Stabilization"
    POLICIES = "Policies"
    BUSY = "Busy workers"
    PACE = "Pace"
    SWITCH = "Switch"
    OUT_OF_BOUNDS = "Out of bounds"
    WAKING = "Waking"
    NEXT_CHANGE = "Next change"
    NOT_SEEN = "Not seen"
    OPERATOR = "Operator"
    OUTCOME = "Outcome"


class Observation(Struct, frozen=True):
    """What was seen at one moment."""

    backlog: Backlog | Unknown
    replicas: int
    """`spec.replicas` of the Deployment."""
    at: float
    """When, in seconds since the epoch."""
    asleep: bool = False
    """At 0 replicas: the rule itself has scaled it there; otherwise a person has."""
    heard: bool = False
    """The doorbell has heard messages since the last observation."""
    workers: Workers | None = None
    """The pods of the Deployment; None: unknown."""
    least: Backlog | None = None
    """Of several sources, what is known of a backlog that is unknown."""

    @property
    def counted(self) -> Backlog | None:
        """The backlog, or what is known of it."""
        return self.least if isinstance(self.backlog, Unknown) else self.backlog

    @property
    def usable(self) -> Backlog | Finding:
        """The backlog to decide by, or why there is none."""
        found = self.backlog
        if isinstance(found, Unknown):
            return Finding(found.reason, found.message)
        if found.paused:
            names = listed(found.source.consumers)
            message = f"Workers get no messages, because NATS has paused {names}"
            return Finding(Reason.CONSUMER_PAUSED, message)
        return found


class Want(Struct, frozen=True):
    """How many replicas the backlog asked for at a time."""

    time: float
    replicas: int


class Taken(Struct, frozen=True):
    """A step that the rule took: when, from how many replicas to how many."""

    time: float
    before: int
    after: int


class Memory(Struct, frozen=True):
    """What earlier decisions leave for later ones. Times are seconds on the clock that `now` is read from."""

    last_up: float = -math.inf
    last_down: float = -math.inf
    last_beyond_max: float = -math.inf
    """When the backlog last asked for more than maxReplicas."""
    wants: tuple[Want, ...] = ()
    """Newest last and strictly falling: an older want counts only while it is higher than all newer ones."""
    lows: tuple[Want, ...] = ()
    """Newest last and strictly rising: an older want counts only while it is lower than all newer ones."""
    steps: tuple[Taken, ...] = ()
    """The rule's own steps that a policy may still count; newest last."""
    active_at: float = -math.inf
    """When a message last waited or moved, for a rule that goes to zero."""
    delivered: int | None = None
    """How many messages had been delivered at the last look; None: nobody has looked."""
    waiting_since: float | None = None
    """At zero replicas: since when messages wait."""
    unknown_since: float | None = None
    """Since when the backlog has been unknown; None: it is known, or nothing asks for that."""
    busy_since: float | None = None
    """Since when fewer replicas are wanted while workers are busy; None: they are not, or nothing waits."""
    starting: Want | None = None
    """The last step up, until as many replicas are ready."""
    startup_seconds: float | None = None
    """How long the replicas of the last step up took to be ready; None: unknown."""
    work: Work = Work()
    """What was seen of the messages and those that work on them."""

    def acted(self, before: int, after: int, now: float) -> "Memory":
        """Return the memory after the replicas changed, by whomever."""
        if after > before:
            return _change(self, last_up=now, active_at=self.active_at if before else now)
        return _change(self, last_down=now) if after < before else self

    def stepped(self, before: int, after: int, now: float) -> "Memory":
        """Return the memory after a step of the rule itself."""
        if before == after:
            return self
        still = (step for step in self.steps if step.time + LONGEST_PERIOD_SECONDS > now)
        starting = Want(now, after) if after > before else None
        return _change(self, steps=(*still, Taken(now, before, after)), starting=starting)

    def awaited(self, seen: Observation, now: float) -> "Memory":
        """Return the memory after a look at whether the replicas of the last step up are ready."""
        if self.starting is None:
            return self
        if seen.replicas != self.starting.replicas:
            return _change(self, starting=None)
        if seen.workers is None or seen.workers.ready < seen.replicas:
            return self
        return _change(self, starting=None, startup_seconds=now - self.starting.time)

    def looked(self, seen: Observation, now: float) -> "Memory":
        """Return the memory after a look at what moves. What cannot be known counts as a movement."""
        traffic = seen.backlog.traffic if isinstance(seen.backlog, Backlog) else None
        if not isinstance(seen.backlog, Backlog) or traffic is None:
            return _change(self, active_at=now)
        told = now - traffic.quiet_seconds
        counted = self.delivered is not None and traffic.delivered != self.delivered
        if traffic.waiting or seen.heard or self.delivered is None or (counted and told == -math.inf):
            told = now
        waits = seen.replicas == 0 and seen.backlog.messages > 0
        return _change(
            self,
            active_at=max(self.active_at, told),
            delivered=traffic.delivered,
            waiting_since=(now if self.waiting_since is None else self.waiting_since) if waits else None,
        )

    def wanted(self, replicas: int, now: float, window: float, *, beyond_max: bool = False) -> "Memory":
        """Return the memory with one more want, and without those that no longer matter."""
        still = (want for want in self.wants if want.replicas > replicas and want.time + window > now)
        beyond = now if beyond_max else self.last_beyond_max
        return _change(self, wants=(*still, Want(now, replicas)), last_beyond_max=beyond)

    def wanted_low(self, replicas: int, now: float, window: float) -> "Memory":
        """Return the memory with one more want that steps up look back at; see `wanted`."""
        still = (want for want in self.lows if want.replicas < replicas and want.time + window > now)
        return _change(self, lows=(*still, Want(now, replicas)))


class Situation(Struct, frozen=True, kw_only=True):
    """All that a decision depends on."""

    spec: RuleSpec
    seen: Observation
    bounds: Bounds
    """What is allowed now."""
    pause: Pause | None
    """How a person has paused the rule, if so now."""
    memory: Memory
    now: float
    """Seconds, on the clock of the memory."""

    @classmethod
    def of(cls, rule: Rule, seen: Observation, memory: Memory, now: float) -> "Situation":
        """Gather it."""
        if rule.spec.goes_to_zero:
            memory = memory.looked(seen, now)
        if isinstance(seen.backlog, Backlog):
            drain = rule.spec.drain_time
            memory = memory.awaited(seen, now) if drain else memory
            window = max(SHOWN_SECONDS, arrivals_window(drain)) if drain else SHOWN_SECONDS
            memory = _change(memory, work=memory.work.observed(seen.backlog, seen.workers, window))
        return cls(
            spec=rule.spec,
            seen=seen,
            bounds=rule.bounds(seen.at),
            pause=rule.paused(seen.at),
            memory=memory,
            now=now,
        )

    @property
    def usable(self) -> Backlog | Finding:
        """The backlog to decide by, or why there is none."""
        return self.seen.usable

    @property
    def to_zero(self) -> bool:
        """Whether the bounds allow 0 replicas, once nothing needs the last one."""
        return self.bounds.low == 0

    @property
    def low(self) -> int:
        """The fewest replicas that are allowed now."""
        return 1 if self.to_zero and self.seen.replicas > 0 and self.wakeful else self.bounds.low

    @property
    def high(self) -> int:
        """The most replicas that are allowed now."""
        return self.bounds.high

    @property
    def wakeful(self) -> "Wakeful | None":
        """What keeps the last replica; None: nothing."""
        return _wakeful(self.spec, self.seen, self.memory, self.now)

    @property
    def idle_workers(self) -> Finding | None:
        """Why other numbers of replicas change nothing, where what workers do decides."""
        work = self.memory.work
        if self.spec.drain_time is None:
            return None
        if work.unconsumed:
            return Finding(Reason.NOT_CONSUMED, "messages wait, and no worker asks for any")
        if work.fruitless:
            return Finding(Reason.NO_PROGRESS, "workers get messages again and again, and finish none")
        return None

    @property
    def most_busy(self) -> int | None:
        """With drainTime, how many replicas the consumer's max_ack_pending keeps busy; None: unknown, or any.

        It is unknown while replicas start or stop, as the unacknowledged messages are not theirs alone.
        """
        tallies = self.memory.work.tallies
        if self.spec.drain_time is None or not tallies or tallies[-1].workers is None:
            return None
        return self.memory.work.most_replicas if tallies[-1].workers.ready == self.seen.replicas else None

    @property
    def one_by_one(self) -> bool:
        """Whether the backlog asks for one replica more or fewer at a time."""
        return self.spec.one_by_one

    def direction(self, *, up: bool) -> ScaleUp | ScaleDown:
        """Return how scaling that way behaves."""
        return self.spec.behavior.scale_up if up else self.spec.behavior.scale_down

    def keeps_interval(self, *, up: bool) -> bool:
        """Tell whether steps that way are a poll interval apart: nothing of spec.behavior asks otherwise.

        A direction that is as by default asks for nothing: the API server writes defaults into every rule.
        """
        if not self.one_by_one:
            return False
        if up:
            return self.spec.behavior.scale_up == ScaleUp()
        down = self.spec.behavior.scale_down
        return ScaleDown() == _change(
            down,
            busy_workers=BusyWorkers.IGNORE,
            messages_in_flight_per_replica=1,
            max_wait_seconds=ScaleDown().max_wait_seconds,
        )

    @property
    def window(self) -> int | None:
        """How many seconds of wants count for a step down; None: not even the last one."""
        if self.keeps_interval(up=False):
            return None
        drain, seconds = self.spec.drain_time, self.direction(up=False).stabilization_window_seconds
        return max(seconds, drain.target_seconds) if drain else seconds

    @property
    def window_up(self) -> int:
        """How many seconds of wants count for a step up."""
        return self.direction(up=True).stabilization_window_seconds

    @property
    def unknown_since(self) -> float | None:
        """Since when the backlog has been unknown, if that is nothing that the rule has wrong."""
        found = self.seen.backlog
        if not isinstance(found, Unknown) or found.reason.about.own_fault:
            return None
        return self.now if self.memory.unknown_since is None else self.memory.unknown_since

    @property
    def fallback_at(self) -> float | None:
        """When spec.fallback decides, or since when; None: it does not."""
        fallback, since = self.spec.fallback, self.unknown_since
        if fallback is None or since is None or fallback.behavior is FallbackBehavior.HOLD:
            return None
        return since + fallback.after_seconds

    @property
    def fallback(self) -> Fallback | None:
        """The fallback that decides now, if it does."""
        at = self.fallback_at
        return self.spec.fallback if at is not None and at <= self.now else None

    @property
    def base(self) -> int:
        """The replicas that steps start from: those that there are, or the bound that they are beyond."""
        return self.within_bounds(self.seen.replicas)

    def moment(self, at: float) -> float | None:
        """Turn seconds since the epoch into the clock of the memory; None: that never comes."""
        return None if math.isinf(at) else self.now + at - self.seen.at

    def within_bounds(self, replicas: int) -> int:
        """Return the number of replicas nearest to this one that is allowed."""
        return min(max(replicas, self.low), self.high)


class Wakeful(Struct, frozen=True):
    """What keeps the last replica of a rule that goes to zero."""

    reason: Reason
    text: str
    until: float | None = None
    """When time alone may end it, on the clock of the situation."""


def _wakeful(spec: RuleSpec, seen: Observation, memory: Memory, now: float) -> Wakeful | None:
    found, cannot = seen.usable, Reason.CANNOT_SCALE_TO_ZERO
    if isinstance(found, Finding):
        return Wakeful(found.reason, found.message)
    if found.traffic is None:
        return Wakeful(cannot, "it stays at 1, as there is no consumer that keeps messages: create it first")
    if found.traffic.fleeting:
        return Wakeful(cannot, f"it stays at 1, as {found.traffic.fleeting}")
    if found.traffic.waiting:
        text = f"{found.traffic.waiting} messages are not yet acknowledged"
        return Wakeful(Reason.WAITING_FOR_IDLE, text)
    until = memory.active_at + spec.idle_seconds
    if until <= now:
        return None
    text = f"less than idleSeconds {spec.idle_seconds} have passed since the last message"
    return Wakeful(Reason.WAITING_FOR_IDLE, text, until)


class Note(Struct, frozen=True, kw_only=True):
    """What one step of a decision made of it."""

    step: StepKind
    replicas: int
    """How many there should be, as far as this step and those before it go."""
    reason: Reason
    text: str = ""
    """Why, as a clause; "": there is nothing to say."""
    until: float | None = None
    """When time alone may change this, on the clock of the situation."""
    limits: Reason | None = None
    """The backlog asks for what the bounds or policies do not allow, or did: the reason of ScalingLimited."""
    final: bool = False
    """No further step applies."""
