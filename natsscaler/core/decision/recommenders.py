"""How many replicas a backlog asks for, before the bounds and what was before: one recommender for each mode.

Each also tells its inverse, after how many further messages more replicas are asked for: doorbells are armed
by it.
"""

import math
from fractions import Fraction
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from natsscaler.core.decision.situation import Note, Situation, StepKind, arrivals_window
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import LONGEST_STARTUP_SECONDS, DrainTime, RuleSpec
from natsscaler.core.selector import Combine, Selector

PRECISION = 100_000
"""Messages per second are counted in so small parts: a float's last digits must not ask for a replica."""


class Recommender(Protocol):
    """One way to get from a backlog to a number of replicas."""

    def recommend(self, situation: Situation, backlog: Backlog) -> Note:
        """Say how many replicas this backlog asks for."""

    def missing(self, situation: Situation, backlog: Backlog) -> int:
        """Say after how many further messages it may first ask for more replicas; below 1: it does already.

        Of several sources, that many of the one whose messages count most, and more if others are among them.
        """


class OneByOne:
    """One replica more above the one threshold, one fewer below the other, as the contract has it."""

    def recommend(self, situation: Situation, backlog: Backlog) -> Note:
        spec, base, messages = situation.spec, situation.base, backlog.messages
        low, high, said = spec.scale_down_threshold, spec.scale_up_threshold, _said(spec, backlog)
        if messages > high:
            above = f"{said} is above scaleUpThreshold {high}"
            return _recommended(base + 1, Reason.BACKLOG_ABOVE_THRESHOLD, above)
        if messages < low:
            return _recommended(base - 1, Reason.BACKLOG_BELOW_THRESHOLD, _below(spec, backlog))
        within = f"{said} is within the thresholds {low} to {high}"
        return _recommended(base, Reason.WITHIN_THRESHOLDS, within)

    def missing(self, situation: Situation, backlog: Backlog) -> int:
        return situation.spec.scale_up_threshold - backlog.messages + 1


class PerReplica:
    """One replica for so many messages each; below the lower threshold minReplicas, if that is fewer."""

    def recommend(self, situation: Situation, backlog: Backlog) -> Note:
        spec, base, messages = situation.spec, situation.base, backlog.messages
        work = _work(spec, backlog)
        wanted, said = math.ceil(work), _said(spec, backlog)
        if messages < spec.scale_down_threshold:
            fewest = min(wanted, situation.low)
            return _recommended(fewest, Reason.BACKLOG_BELOW_THRESHOLD, _below(spec, backlog))
        reason = Reason.WITHIN_THRESHOLDS
        if wanted != base and _tolerates(situation, work, up=wanted > base):
            share = situation.direction(up=wanted > base).tolerance
            tolerated = f"is within the tolerance of {share:g} around {base}"
            return _recommended(base, reason, f"{said} {tolerated}")
        if wanted != base:
            reason = Reason.BACKLOG_ABOVE_THRESHOLD if wanted > base else Reason.FEWER_REPLICAS_SUFFICE
        return _recommended(wanted, reason, f"{said} wants {wanted}")

    def missing(self, situation: Situation, backlog: Backlog) -> int:
        spec = situation.spec
        borne = situation.base * (1 + _tolerance(situation, up=True))
        shares = _shares(spec, backlog)
        if spec.combine is Combine.MAX:
            further = min(math.floor(borne * size - messages) for messages, size in shares)
        else:
            smallest = min(size for _, size in shares)
            further = math.floor((borne - _work(spec, backlog)) * smallest)
        return max(further, spec.scale_up_threshold - backlog.messages) + 1


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

    def recommend(self, situation: Situation, backlog: Backlog) -> Note:
        arriving, base, messages = self._arriving(situation), situation.base, backlog.messages
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

    def missing(self, situation: Situation, backlog: Backlog) -> int:
        messages = backlog.messages
        share = Fraction(100, self.drain.utilization_percent)
        each = share / arrivals_window(self.drain) + Fraction(1, self.drain.target_seconds)
        """What one further message asks for, as it also counts as one more that came."""
        asked = self._arriving(situation) * share + Fraction(messages, self.drain.target_seconds)
        further = math.floor((situation.base * _exactly(self.rate) - asked) / each)
        return max(situation.spec.scale_up_threshold - messages, further) + 1

    def _startup(self, situation: Situation) -> int:
        if self.drain.startup_seconds is not None:
            return self.drain.startup_seconds
        return min(math.ceil(situation.memory.startup_seconds or 0), LONGEST_STARTUP_SECONDS)

    def _arriving(self, situation: Situation) -> Fraction:
        mean = Fraction(situation.memory.work.arriving(arrivals_window(self.drain)))
        return mean.limit_denominator(PRECISION)


class NotLearnt(PerReplica):
    """What decides by messagesPerReplica until it is known how much one replica processes."""

    def recommend(self, situation: Situation, backlog: Backlog) -> Note:
        note = super().recommend(situation, backlog)
        pushed = any(one.pushed for one in backlog.counters)
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
    if not spec.sized:
        return OneByOne()
    return NotLearnt() if drain else PerReplica()


def _exactly(number: float) -> Fraction:
    """Give a number as it is written."""
    return Fraction(str(number))


def least(situation: Situation) -> Note | None:
    """Say how many replicas there are to be at the least, by what is known of a backlog that is unknown."""
    backlog = situation.seen.least
    if backlog is None:
        return None
    note = recommender(situation).recommend(situation, backlog)
    if situation.seen.replicas == 0:
        wakes = backlog.messages > situation.spec.activation.messages
        return replace(note, replicas=max(1, note.replicas)) if wakes else None
    return None if note.reason is Reason.BACKLOG_BELOW_THRESHOLD else note


def _active(spec: RuleSpec, backlog: Backlog) -> list[tuple[Selector, Backlog]]:
    """List the sources whose messages are for workers, with what is known of them."""
    each = zip(spec.selectors, backlog.of_each, strict=True)
    known = [(by, part) for by, part in each if isinstance(part, Backlog)]
    return [(by, part) for by, part in known if not part.paused] or known


def _shares(spec: RuleSpec, backlog: Backlog) -> list[tuple[int, int]]:
    """List the messages of each source, and how many of them one replica is for."""
    return [(part.messages, by.messages_per_replica or 1) for by, part in _active(spec, backlog)]


def _work(spec: RuleSpec, backlog: Backlog) -> Fraction:
    """Say how many replicas a backlog is for, exactly."""
    shares = [Fraction(messages, size) for messages, size in _shares(spec, backlog)]
    return max(shares) if spec.combine is Combine.MAX else sum(shares, Fraction())


def _tolerates(situation: Situation, work: Fraction, *, up: bool) -> bool:
    """Tell whether a backlog is near enough to what the present replicas are for (KEP-4951)."""
    return abs(work - situation.base) <= situation.base * _tolerance(situation, up=up)


def _tolerance(situation: Situation, *, up: bool) -> Fraction:
    """Give the share exactly as it is written: a float's 0.1 is a little more than a tenth."""
    return Fraction(str(situation.direction(up=up).tolerance or 0))


def _said(spec: RuleSpec, backlog: Backlog) -> str:
    """Name a backlog, and that of each of several sources."""
    size = "" if not spec.sized else f" at {spec.messages_per_replica} per replica"
    if not backlog.parts:
        return f"Backlog {backlog.messages}{size}"
    each = zip(spec.selectors, backlog.parts, strict=True)
    of_each = ", ".join(_said_of(by, part) for by, part in each) + (" per replica" if spec.sized else "")
    most = ", of which the most counts" if spec.combine is Combine.MAX else ""
    return f"Backlog {backlog.messages} ({of_each}{most})"


def _said_of(by: Selector, part: Backlog | Unknown) -> str:
    size = f" at {by.messages_per_replica}" if by.messages_per_replica else ""
    if isinstance(part, Unknown):
        return f"{by.subject} unknown{size}"
    return f"{by.subject} {part.messages}{' paused' if part.paused else ''}{size}"


def _below(spec: RuleSpec, backlog: Backlog) -> str:
    said = _said(spec, backlog) if backlog.parts else f"Backlog {backlog.messages}"
    return f"{said} is below scaleDownThreshold {spec.scale_down_threshold}"


def _recommended(replicas: int, reason: Reason, text: str) -> Note:
    return Note(step=StepKind.RECOMMENDATION, replicas=replicas, reason=reason, text=text)
