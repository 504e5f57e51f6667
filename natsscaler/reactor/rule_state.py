"""What the reactor remembers of one rule between two evaluations."""

import math
from dataclasses import dataclass

from natsscaler.core.arming import Arm, Off, due_at
from natsscaler.core.contention import Others, SetBacks
from natsscaler.core.decision.pipeline import Decision
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.evaluation import Evaluation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.feeds import Feeds
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.remembering import restore, restore_trusts
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus, of_no_deployment
from natsscaler.core.waking import WakeSource
from natsscaler.observe.rule_metrics import RuleSeries
from natsscaler.reactor.backoff import Backoff
from natsscaler.reactor.ports import ConnectionPort, DoorbellPort


@dataclass(slots=True)
class Telling:
    """What of a rule is still to be written to its status."""

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


class RuleState:
    """One rule, its timers (seconds on the monotonic clock, infinite: none), its doorbell and its past."""

    def __init__(self, rule: Rule, status: RuleStatus, series: RuleSeries) -> None:
        self.rule = rule
        self.series = series
        self.status = status
        """As written last."""
        self.scaled_at: float | None = None
        """When another process was seen to scale for this rule; None: not while this one looked."""
        self.asleep = status.claims_zero
        """The rule itself has scaled its target to zero."""
        self.memory: Memory | None = None
        """None until the replicas are seen for the first time."""
        self.replicas: int | None = None
        self.trusts = restore_trusts(status)
        self.evaluation = Evaluation(rule)
        """The last one."""
        self.others = Others()
        self.scale_backoff, self.status_backoff = Backoff(), Backoff()
        self.connection: ConnectionPort | None = None
        self.arm: Arm = Off()
        """The state of its doorbell; `reactor.doorbells.Doorbells` alone changes it and what follows."""
        self.doorbell: DoorbellPort | None = None
        self.fed = Fed()
        self.armed_for: tuple[ConnectionPort | None, tuple[str, ...]] = (None, ())
        """The connection that the doorbell is armed on, and is lost with; and its subjects."""
        self.heard: tuple[DoorbellPort | None, int] = (None, 0)
        """The doorbell at the last evaluation, and how many messages it had been delivered."""
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

    @property
    def seen(self) -> Observation | None:
        """What the last evaluation saw."""
        return self.evaluation.seen

    @property
    def outdated(self) -> bool:
        """Whether the rule was edited since its last evaluation, which then is not to be carried out."""
        return self.evaluation.rule is not self.rule

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
        self.status, self.trusts, self.asleep = status, restore_trusts(status), status.claims_zero

    def ring(self, source: WakeSource, now: float) -> None:
        """Ask for an evaluation."""
        self.rings.add(source)
        self.rung_at = min(self.rung_at, now)

    def step(self, now: float) -> tuple[int, int] | None:
        """Return the replicas before and after the step that the last evaluation asks for.

        None: it asks for none, or the step may not be taken now.
        """
        one = self.evaluation
        if not (one.seen and one.decision) or one.unable or one.rule.dry_run:
            return None
        before, after = one.seen.replicas, one.decision.permitted
        return (before, after) if after != before and self.others.may_step_at(after) <= now else None

    @property
    def obstacle(self) -> Finding | None:
        """What keeps the Deployment from being scaled by this rule as it should be."""
        others = self.others
        return self.evaluation.unable or others.set_backs.finding(self.rule.target, others.writer or "")

    def decided(self, seen: Observation, decision: Decision, now: float) -> None:
        """Take note of a decision, and see to what others make of it."""
        self.memory = decision.memory
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
            self.asleep = self.asleep or (replicas == 0 and self.others.unanswered == 0)
            self.others = self.others.changed(replicas, now)._replace(unexplained=unexplained)
            window = self.rule.spec.behavior.scale_down.stabilization_window_seconds
            self.memory = self.memory.acted(self.replicas, replicas, now).wanted(replicas, now, window)
        self.asleep = self.asleep and replicas == 0
        self.replicas = replicas
        return self.memory

    def hears(self, deliveries: int) -> bool:
        """Tell whether the doorbell has been delivered messages since the last time; `deliveries`: so far."""
        before, self.heard = self.heard, (self.doorbell, deliveries)
        return deliveries > 0 and self.heard != before

    def lose_deployment(self) -> None:
        """Begin anew with the next Deployment of that name."""
        self.memory = self.replicas = None
        self.asleep = False
        self.others = Others()
        self.status = of_no_deployment(self.status)

    def at_rest(self, now: float) -> None:
        """Drop what an evaluation makes up for: all timers but the deadline and the doorbell's."""
        self.deadline = now + self.rule.spec.poll_interval_seconds
        self.next_change = self.confirm_at = self.retry_at = math.inf
