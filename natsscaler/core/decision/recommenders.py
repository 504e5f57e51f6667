"""How many replicas a backlog asks for, before the bounds and what was before: one recommender for each mode.

Each also tells its inverse, the largest backlog that asks for no more replicas than there are: doorbells are
armed by it.
"""

import math
from fractions import Fraction
from typing import NamedTuple, Protocol

from natsscaler.core.decision.situation import Note, Situation, StepKind
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import RuleSpec


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


def recommender(spec: RuleSpec) -> Recommender:
    """Return the recommender that a rule asks for."""
    return OneByOne() if spec.messages_per_replica is None else PerReplica(spec.messages_per_replica)


def _tolerance(situation: Situation, *, up: bool) -> Fraction:
    """Give the share exactly as it is written: a float's 0.1 is a little more than a tenth."""
    return Fraction(str(situation.direction(up=up).tolerance or 0))


def _below(spec: RuleSpec, messages: int) -> str:
    return f"Backlog {messages} is below scaleDownThreshold {spec.scale_down_threshold}"


def _recommended(replicas: int, reason: Reason, text: str) -> Note:
    return Note(step=StepKind.RECOMMENDATION, replicas=replicas, reason=reason, text=text)
