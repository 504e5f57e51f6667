"""What the reactor remembers of one rule between two evaluations."""

import math
from dataclasses import dataclass
from datetime import datetime

from natsscaler.core.arming import Arm, Off, due_at
from natsscaler.core.contention import Others, SetBacks
from natsscaler.core.decision.pipeline import Decision
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.feeds import Feeds
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.remembering import restore
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus, of_no_deployment
from natsscaler.core.waking import WakeSource
from natsscaler.observe.rule_metrics import RuleSeries
from natsscaler.reactor.backoff import Backoff
from natsscaler.reactor.ports import ConnectionPort, DoorbellPort

DOUBT_SECONDS = (1.0, 8.0)
"""Before an unknown backlog that may be passing is read again: the first wait, and where doubling ends."""
ELECTION_DOUBTS = 10
"""After so many reads doubling begins: an election takes up to 10 s, and its end may go unheard."""
LED_SECONDS = 1.0
"""For how long a node must have led before its count is believed. A new leader says so before it has counted:
nats-server 2.15.1 gave 0 for up to 30 ms."""
QUIET_SECONDS = 3.0
"""For how long evaluations are put off for the sake of new leaders before that is said."""


@dataclass(slots=True)
class Telling:
    """What of a rule is still to be written to its status."""

    rule: Rule | None = None
    """The rule as it was when it was evaluated last; a status never speaks of two versions of a rule."""
    waits: bool = False
    """A task waits for its turn to write the status."""
    unsaved: bool = False
    """A step was taken that the status has not got yet."""
    written_at: float = -math.inf


@dataclass(slots=True)
class Fed:
    """What NATS said that feeds a rule's backlog."""

    claim: object = None
    """What it was asked about: another one is asked about anew."""
    feeds: Feeds | None = None
    """None: it has not been asked."""
    again_at: float = math.inf
    """When it is asked again, should the feeds not be known."""


@dataclass(slots=True)
class Led:
    """Who leads what the backlog is counted on."""

    leaders: tuple[str, ...] = ()
    since: float = -math.inf
    """Since when these were seen to."""
    put_off_since: float = math.inf
    """Since when evaluations wait until the leader is no longer new."""


class RuleState:
    """One rule, its timers (seconds on the monotonic clock, infinite: none), its doorbell and its past."""

    def __init__(self, rule: Rule, status: RuleStatus, series: RuleSeries) -> None:
        self.rule = rule
        self.series = series
        self.status = status
        """As written last."""
        self.scaled_at: float | None = None
        """When another process was seen to scale for this rule; None: not while this one looked."""
        self.memory: Memory | None = None
        """None until the replicas are seen for the first time."""
        self.replicas: int | None = None
        self.source: Source | None = status.backlog_source
        self.source_seen = _last_seen(status)
        """When that was last seen, by the clock of NATS; after a restart, as far as the status tells."""
        self.seen: Observation | None = None
        self.decision: Decision | None = None
        self.unable: Finding | None = None
        self.others = Others()
        self.scale_backoff, self.status_backoff = Backoff(), Backoff()
        self.events: Finding | None = None
        """Listening, or why not; None: not known yet."""
        self.connection: ConnectionPort | None = None
        self.arm: Arm = Off()
        """The state of its doorbell; `reactor.doorbells.Doorbells` alone changes it and what follows."""
        self.doorbell: DoorbellPort | None = None
        self.fed = Fed()
        self.armed_for: tuple[ConnectionPort | None, tuple[str, ...]] = (None, ())
        """The connection that the doorbell is armed on, and is lost with; and its subjects."""
        self.message_size = 1
        self.rings: set[WakeSource] = set()
        self.rung_at = math.inf
        self.woken: dict[WakeSource, float] = {}
        """When each source last caused an evaluation, in seconds since the epoch."""
        self.gone = False
        """The rule was deleted, or replaced by another of its name."""
        self.telling = Telling()
        self.busy = False
        """A task is taking a step or writing the status."""
        self.in_hand = False
        """It is being evaluated, or its doorbell armed; both may wait for NATS."""
        self.writing_since = math.inf
        """When it began to write, after having waited for its turn."""
        self.deadline = -math.inf
        self.next_change = self.confirm_at = self.retry_at = math.inf
        self.late = False
        self.doubts = 0
        """How many reads in a row left the backlog in doubt."""
        self.led = Led()

    @property
    def free(self) -> bool:
        """Whether nobody is at work for it."""
        return not (self.busy or self.in_hand)

    @property
    def due(self) -> float:
        """When the rule is to be evaluated, if nothing rings before."""
        if self.rings:
            return -math.inf
        return min(self.deadline, self.next_change, due_at(self.arm), self.confirm_at, self.retry_at)

    @property
    def waiting_since(self) -> float:
        """Since when an evaluation has been asked for, or when it will be due."""
        return self.rung_at if self.rings else self.due

    def answer(self) -> float:
        """Take all rings, as a read that begins now serves them; return when the first one came."""
        rung_at, self.rung_at = self.rung_at, math.inf
        self.rings.clear()
        return rung_at

    def follow(self, status: RuleStatus, now: float) -> None:
        """Take in what the process that leads has written."""
        if status.last_scaling != self.status.last_scaling:
            self.scaled_at = now
        self.status, self.source = status, status.backlog_source
        self.source_seen = _last_seen(status)

    def ring(self, source: WakeSource, now: float) -> None:
        """Ask for an evaluation."""
        self.rings.add(source)
        self.rung_at = min(self.rung_at, now)

    def acts(self, now: float) -> bool:
        """Tell whether the last decision is to change the replicas, and whether that may be done now."""
        if not (self.seen and self.decision) or self.unable or self.rule.spec.dry_run:
            return False
        permitted = self.decision.permitted
        return permitted != self.seen.replicas and self.others.may_step_at(permitted) <= now

    @property
    def obstacle(self) -> Finding | None:
        """What keeps the Deployment from being scaled by this rule as it should be."""
        return self.unable or self.others.set_backs.finding(self.rule.target, self.others.writer or "")

    def decided(self, seen: Observation, decision: Decision, now: float) -> None:
        """Take a decision, and see to what others make of it."""
        self.seen, self.decision, self.memory = seen, decision, decision.memory
        firm = isinstance(seen.backlog, Backlog) and not decision.held
        self.others = self.others.decided(decision.permitted, seen.replicas, now, firm=firm)
        waits = self.others.next_change(decision.permitted, seen.replicas, now)
        self.next_change = min(decision.next_change or math.inf, waits)

    def observe(self, replicas: int, now: float, wall: float) -> Memory:
        """Take note of the replicas; a change that is not this rule's counts as an action of this moment."""
        if self.memory is None:
            self.memory = restore(self.status, replicas, now, wall, self.scaled_at)
            able = self.status.condition("AbleToScale")
            if able and able.reason == Reason.CONFLICT:
                self.others = Others(set_backs=SetBacks.begun(now))
        elif self.replicas is not None and replicas != self.replicas:
            unexplained = (self.replicas, replicas) if self.others.unanswered is None else None
            self.others = self.others.changed(replicas, now)._replace(unexplained=unexplained)
            window = self.rule.spec.behavior.scale_down.stabilization_window_seconds
            self.memory = self.memory.acted(self.replicas, replicas, now).wanted(replicas, now, window)
        self.replicas = replicas
        return self.memory

    def lose_deployment(self) -> None:
        """Begin anew with the next Deployment of that name."""
        self.memory = self.replicas = None
        self.others = Others()
        self.status = of_no_deployment(self.status)

    def believe(self, found: Backlog | Unknown) -> Backlog | Unknown:
        """Accept a backlog as the one that later ones must go on from, unless its leaders are new."""
        if isinstance(found, Backlog) and self.led.put_off_since < math.inf:
            return Unknown(
                Reason.LEADER_UNCLEAR,
                f"{', '.join(found.leaders)} lead it only since a moment ago, again and again",
            )
        if isinstance(found, Backlog):
            self.source, self.source_seen = found.source, found.at or self.source_seen
        return found

    def puts_off(self, found: Backlog | Unknown, began: float, now: float) -> bool:
        """Tell whether to wait for the next read, as what was found is the word of a new leader.

        `began`: when the read did. It happens in silence, unless it happens again and again.
        """
        new = isinstance(found, Backlog) and self._is_new(found, began, now)
        self.led.put_off_since = min(self.led.put_off_since, now) if new else math.inf
        return new and now - self.led.put_off_since <= QUIET_SECONDS

    def _is_new(self, found: Backlog, began: float, now: float) -> bool:
        if found.leaders != self.led.leaders:
            self.led.leaders, self.led.since = found.leaders, now
        return found.led_seconds < LED_SECONDS and began - self.led.since < LED_SECONDS

    def doubted(self, now: float) -> float:
        """Say when to look again at a backlog that may become known by itself; infinite: no need to."""
        backlog = self.seen.backlog if self.seen else None
        if not isinstance(backlog, Unknown) or not backlog.reason.about.passes:
            self.doubts = 0
            return math.inf
        first, last = DOUBT_SECONDS
        self.doubts += 1
        return now + min(first * 2.0 ** max(0, self.doubts - ELECTION_DOUBTS), last)

    def at_rest(self, now: float) -> None:
        """Drop what an evaluation makes up for: all timers but the deadline and the doorbell's."""
        self.deadline = now + self.rule.spec.poll_interval_seconds
        self.next_change = self.confirm_at = self.retry_at = math.inf


def _last_seen(status: RuleStatus) -> datetime | None:
    seen = status.backlog_source_seen
    return datetime.fromisoformat(seen) if seen else None
