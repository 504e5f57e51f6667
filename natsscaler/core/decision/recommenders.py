"""How many replicas a backlog asks for, before the bounds and what was before: one recommender for each mode.

Each also tells its inverse, the largest backlog that asks for no more replicas than there are: doorbells are
armed by it.
"""

import math
from fractions import Fraction
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from natsscaler.core.decision.situation import Note, Situation, StepKind, arrivals_window
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import LONGEST_STARTUP_SECONDS, DrainTime, RuleSpec

PRECISION = 100_000
"""Messages per second are counted in so small parts: a float's last digits must not ask for a replica."""


class Recommender(Protocol):
    """One way to get from a backlog to a number of replicas."""

    def recommend(self, situation: Situation, messages: int) -> Note:
        """Say how many replicas this many messages ask for."""

    def ceiling(self, situation: Situation) -> int:
        """Say how many messages ask for no more than the present replicas, at the most."""


class OneByOne:
    """One replica more above the one threshold, one fewer below the other, as the contract has it."""

    def recommend(self, situation: Situation, messages: int) -> Note:
        spec, base = situation.spec, situation.base
        low, high = spec.scale_down_threshold, spec.scale_up_threshold
        if messages > high:
            above = f"Backlog {messages} is above scaleUpThreshold {high}"
            return _recommended(base + 1, Reason.BACKLOG_ABOVE_THRESHOLD, above)
        if messages < low:
            return _recommended(base - 1, Reason.BACKLOG_BELOW_THRESHOLD, _below(spec, messages))
        within = f"Backlog {messages} is within the thresholds {low} to {high}"
        return _recommended(base, Reason.WITHIN_THRESHOLDS, within)

    def ceiling(self, situation: Situation) -> int:
        return situation.spec.scale_up_threshold


class PerReplica(NamedTuple):
    """One replica for so many messages each; below the lower threshold minReplicas, if that is fewer."""

    messages_per_replica: int

    def recommend(self, situation: Situation, messages: int) -> Note:
        spec, base = situation.spec, situation.base
        wanted = -(-messages // self.messages_per_replica)
        if messages < spec.scale_down_threshold:
            fewest = min(wanted, situation.low)
            return _recommended(fewest, Reason.BACKLOG_BELOW_THRESHOLD, _below(spec, messages))
        reason = Reason.WITHIN_THRESHOLDS
        if wanted != base and self._tolerates(situation, messages, up=wanted > base):
            share = situation.direction(up=wanted > base).tolerance
            tolerated = f"is within the tolerance of {share:g} around {base}"
            return _recommended(
                base, reason, f"Backlog {messages} at {self.messages_per_replica} per replica {tolerated}"
            )
        if wanted != base:
            reason = Reason.BACKLOG_ABOVE_THRESHOLD if wanted > base else Reason.FEWER_REPLICAS_SUFFICE
        wants = f"Backlog {messages} at {self.messages_per_replica} per replica wants {wanted}"
        return _recommended(wanted, reason, wants)

    def ceiling(self, situation: Situation) -> int:
        borne = situation.base * self.messages_per_replica
        return max(
            situation.spec.scale_up_threshold, math.floor(borne * (1 + _tolerance(situation, up=True)))
        )

    def _tolerates(self, situation: Situation, messages: int, *, up: bool) -> bool:
        """Tell whether a backlog is near enough to what the present replicas are for (KEP-4951)."""
        borne = situation.base * self.messages_per_replica
        return abs(messages - borne) <= borne * _tolerance(situation, up=up)


class Drain(NamedTuple):
    """As many replicas as process what comes, and what waits within the target."""

    drain: DrainTime
    rate: float
    """What one ready replica processes per second."""

    def replicas(self, arriving: Fraction, messages: int, *, startup: int = 0) -> int:
        """Say how many replicas it takes, for so many messages that come per second and that wait.

        `startup`: seconds until they work, in which more come.
        """
        steady = arriving * 100 / self.drain.utilization_percent
        waiting = (messages + arriving * startup) / self.drain.target_seconds
        return math.ceil((steady + waiting) / _exactly(self.rate))

    def recommend(self, situation: Situation, messages: int) -> Note:
        arriving, base = self._arriving(situation), situation.base
        wanted = self.replicas(arriving, messages)
        if wanted > base:
            wanted = self.replicas(arriving, messages, startup=self._startup(situation))
        reason = Reason.WITHIN_THRESHOLDS
        if wanted != base:
            reason = Reason.BACKLOG_ABOVE_THRESHOLD if wanted > base else Reason.FEWER_REPLICAS_SUFFICE
        text = (
            f"Backlog {messages} with {float(arriving):.3g}/s arriving wants {wanted}, to be worked off in"
            f" {self.drain.target_seconds} s at {self.rate:.3g}/s per replica"
        )
        return _recommended(wanted, reason, text)

    def ceiling(self, situation: Situation) -> int:
        backlog = situation.usable
        messages = backlog.messages if isinstance(backlog, Backlog) else 0
        share = Fraction(100, self.drain.utilization_percent)
        each = share / arrivals_window(self.drain) + Fraction(1, self.drain.target_seconds)
        """What one further message asks for, as it also counts as one more that came."""
        asked = self._arriving(situation) * share + Fraction(messages, self.drain.target_seconds)
        further = math.floor((situation.base * _exactly(self.rate) - asked) / each)
        return max(situation.spec.scale_up_threshold, messages + further)

    def _startup(self, situation: Situation) -> int:
        if self.drain.startup_seconds is not None:
            return self.drain.startup_seconds
        return min(math.ceil(situation.memory.startup_seconds or 0), LONGEST_STARTUP_SECONDS)

    def _arriving(self, situation: Situation) -> Fraction:
        mean = Fraction(situation.memory.work.arriving(arrivals_window(self.drain)))
        return mean.limit_denominator(PRECISION)


class NotLearnt(PerReplica):
    """What decides by messagesPerReplica until it is known how much one replica processes."""

    __slots__ = ()

    def recommend(self, situation: Situation, messages: int) -> Note:
        note = super().recommend(situation, messages)
        pushed = isinstance(situation.seen.backlog, Backlog) and any(
            one.pushed for one in situation.seen.backlog.counters
        )
        why = "drainTime waits until it knows what a replica processes"
        if pushed:
            why = "what a replica processes cannot be learnt, as NATS pushes: set drainTime.replicaRate"
        return replace(note, text=f"{note.text} ({why})")


def recommender(situation: Situation) -> Recommender:
    """Return the recommender that a rule asks for."""
    spec, drain = situation.spec, situation.spec.drain_time
    if drain:
        rate = drain.replica_rate or situation.memory.work.replica_rate
        if rate:
            return Drain(drain, rate)
    if spec.messages_per_replica is None:
        return OneByOne()
    return NotLearnt(spec.messages_per_replica) if drain else PerReplica(spec.messages_per_replica)


def _exactly(number: float) -> Fraction:
    """Give a number as it is written."""
    return Fraction(str(number))


def _tolerance(situation: Situation, *, up: bool) -> Fraction:
    """Give the share exactly as it is written: a float's 0.1 is a little more than a tenth."""
    return Fraction(str(situation.direction(up=up).tolerance or 0))


def _below(spec: RuleSpec, messages: int) -> str:
    return f"Backlog {messages} is below scaleDownThreshold {spec.scale_down_threshold}"


def _recommended(replicas: int, reason: Reason, text: str) -> Note:
    return Note(step=StepKind.RECOMMENDATION, replicas=replicas, reason=reason, text=text)
