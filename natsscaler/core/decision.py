"""What to do with what was seen: a pure function of the rule, the observation, the history and the time.

No clock, no I/O, no log. Every outcome carries its reason, doing nothing too. The order is fixed: bounds
first (an edited minimum or maximum is a person's wish, backlog known or not), then the raw
recommendation, then what the history allows, then the bounds again, last.
"""

import math

import msgspec
from msgspec import Struct

from natsscaler.core.errors import Reason
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.rule import Rule, RuleSpec

_change = msgspec.structs.replace

MIN_SECONDS_BETWEEN_STEPS = 1.0
"""Least time between two steps up, or two steps down, of a rule with messagesPerReplica."""


class Observation(Struct, frozen=True):
    """What was seen at one moment."""

    backlog: Backlog | Unknown
    replicas: int
    """`spec.replicas` of the Deployment."""


class Want(Struct, frozen=True):
    """How many replicas the backlog asked for at a time."""

    time: float
    replicas: int


class History(Struct, frozen=True):
    """What earlier decisions leave for later ones. Times are seconds on the clock that `now` is read from."""

    last_up: float = -math.inf
    last_down: float = -math.inf
    last_beyond_max: float = -math.inf
    """When the backlog last asked for more than maxReplicas."""
    wants: tuple[Want, ...] = ()
    """Newest last and strictly falling: an older want counts only while it is higher than all newer ones."""

    def acted(self, before: int, after: int, now: float) -> "History":
        """Return the history after the replicas changed, by whomever."""
        if after > before:
            return _change(self, last_up=now)
        return _change(self, last_down=now) if after < before else self

    def wanted(self, replicas: int, now: float, window: float) -> "History":
        """Return the history with one more want, and without those that no longer matter."""
        still = (want for want in self.wants if want.replicas > replicas and want.time + window > now)
        return _change(self, wants=(*still, Want(now, replicas)))


class Decision(Struct, frozen=True, kw_only=True):
    """How many replicas there should be, and why."""

    desired: int
    recommendation: int
    """What the backlog alone asks for, before history and bounds; the present replicas if it is unknown."""
    reason: Reason
    message: str
    held_by: str = ""
    """What keeps the recommendation from being followed at once, apart from the bounds; "" if nothing."""
    limited_by: Reason | None = None
    """TooManyReplicas or TooFewReplicas, where a bound changed the recommendation."""
    next_change: float | None = None
    """When time alone could change this decision, on the clock of `now`."""
    history: History


def decide(rule: Rule, seen: Observation, history: History, now: float) -> Decision:
    """Decide how many replicas the rule's Deployment should have."""
    spec, replicas = rule.spec, seen.replicas
    if replicas == 0:
        return Decision(
            desired=0,
            recommendation=0,
            reason=Reason.SCALING_DISABLED,
            message="The Deployment has 0 replicas, which switches scaling off: set 1 or more to resume",
            history=history,
        )
    base = min(max(replicas, spec.min_replicas), spec.max_replicas)
    if isinstance(seen.backlog, Unknown):
        decision = _hold(seen.backlog.reason, f"Holding: {seen.backlog.message}", base, history)
    elif seen.backlog.paused:
        names = ", ".join(seen.backlog.source.consumers)
        paused = f"Holding: workers get no messages, as this is paused in NATS: {names}"
        decision = _hold(Reason.CONSUMER_PAUSED, paused, base, history)
    elif spec.messages_per_replica is None:
        decision = _step(spec, seen.backlog.messages, base, history, now)
    else:
        backlog = seen.backlog.messages
        at_max = base == spec.max_replicas
        draft = _want(spec, spec.messages_per_replica, backlog, history, now, at_max=at_max)
        decision = _proportional(draft, spec, backlog, base, now)
    if base != replicas and decision.desired == base:
        return _bounded(decision, spec, replicas)
    return decision


def messages_until_change(rule: Rule, seen: Observation) -> int | None:
    """Say after how many further messages the recommendation would first be more than the replicas now.

    None if no number of messages would change it: at maxReplicas, at 0 replicas, paused, unknown, or if
    it is above already and only time keeps it from being acted upon.
    """
    backlog, spec = seen.backlog, rule.spec
    if isinstance(backlog, Unknown) or backlog.paused or rule.paused or seen.replicas == 0:
        return None
    base = min(max(seen.replicas, spec.min_replicas), spec.max_replicas)
    if base >= spec.max_replicas:
        return None
    ceiling = spec.scale_up_threshold
    if spec.messages_per_replica is not None:
        ceiling = max(ceiling, base * spec.messages_per_replica)
    missing = ceiling - backlog.messages + 1
    return missing if missing > 0 else None


def _hold(reason: Reason, message: str, base: int, history: History) -> Decision:
    return Decision(desired=base, recommendation=base, reason=reason, message=message, history=history)


def _bounded(decision: Decision, spec: RuleSpec, replicas: int) -> Decision:
    low = replicas < spec.min_replicas
    bound = f"minReplicas {spec.min_replicas}" if low else f"maxReplicas {spec.max_replicas}"
    return _change(
        decision,
        reason=Reason.BELOW_MIN_REPLICAS if low else Reason.ABOVE_MAX_REPLICAS,
        message=f"{replicas} replicas are {'below' if low else 'above'} {bound}. {decision.message}",
        limited_by=Reason.TOO_FEW_REPLICAS if low else Reason.TOO_MANY_REPLICAS,
    )


def _step(spec: RuleSpec, backlog: int, base: int, history: History, now: float) -> Decision:
    """One replica at a time, as the contract has it: up at once on the first occasion, then on cadence."""
    up, down, interval = spec.scale_up_threshold, spec.scale_down_threshold, spec.poll_interval_seconds
    if backlog > up:
        above = f"Backlog {backlog} is above scaleUpThreshold {up}"
        if base >= spec.max_replicas:
            return Decision(
                desired=base,
                recommendation=base + 1,
                reason=Reason.AT_MAX_REPLICAS,
                message=f"{above}, and maxReplicas {spec.max_replicas} is reached",
                limited_by=Reason.TOO_MANY_REPLICAS,
                history=history,
            )
        gate = history.last_up + interval
        waits = gate > now
        held_by = f"the last step up was less than {interval} s ago" if waits else ""
        return Decision(
            desired=base if waits else base + 1,
            recommendation=base + 1,
            reason=Reason.WAITING_TO_STEP_UP if waits else Reason.BACKLOG_ABOVE_THRESHOLD,
            message=f"{above}; {held_by}" if waits else above,
            held_by=held_by,
            next_change=gate if waits else now + interval,
            history=history,
        )
    if backlog < down:
        below = f"Backlog {backlog} is below scaleDownThreshold {down}"
        if base <= spec.min_replicas:
            return Decision(
                desired=base,
                recommendation=base - 1,
                reason=Reason.AT_MIN_REPLICAS,
                message=f"{below}, and minReplicas {spec.min_replicas} is reached",
                history=history,
            )
        gate = max(history.last_up, history.last_down) + interval
        waits = gate > now
        held_by = f"the last step was less than {interval} s ago" if waits else ""
        return Decision(
            desired=base if waits else base - 1,
            recommendation=base - 1,
            reason=Reason.WAITING_TO_STEP_DOWN if waits else Reason.BACKLOG_BELOW_THRESHOLD,
            message=f"{below}; {held_by}" if waits else below,
            held_by=held_by,
            next_change=gate if waits else now + interval,
            history=history,
        )
    within = f"Backlog {backlog} is within the thresholds {down} to {up}"
    return _hold(Reason.WITHIN_THRESHOLDS, within, base, history)


def _proportional(draft: Decision, spec: RuleSpec, backlog: int, base: int, now: float) -> Decision:
    """As many replicas as the backlog asks for: up in one go, down to the highest want of the window."""
    if draft.desired > base:
        return _rise(draft, spec, backlog, base, now)
    if draft.desired < base:
        return _fall(draft, spec, backlog, base, now)
    if draft.recommendation > spec.max_replicas:
        return _change(draft, reason=Reason.AT_MAX_REPLICAS)
    if backlog < spec.scale_down_threshold:
        reached = f"{draft.message}, and minReplicas {spec.min_replicas} is reached"
        return _change(draft, reason=Reason.AT_MIN_REPLICAS, message=reached)
    return draft


def _want(
    spec: RuleSpec, per_replica: int, backlog: int, history: History, now: float, *, at_max: bool
) -> Decision:
    window = spec.behavior.scale_down.stabilization_window_seconds
    raw = -(-backlog // per_replica)
    sums = f"Backlog {backlog} at {per_replica} per replica wants {raw}"
    limited_by = None
    if backlog < spec.scale_down_threshold:
        raw = min(raw, spec.min_replicas)
        sums = f"Backlog {backlog} is below scaleDownThreshold {spec.scale_down_threshold}"
    elif raw > spec.max_replicas:
        sums = f"{sums}, more than maxReplicas {spec.max_replicas}"
        history = _change(history, last_beyond_max=now)
        limited_by = Reason.TOO_MANY_REPLICAS
    elif raw < spec.min_replicas:
        sums = f"{sums}, fewer than minReplicas {spec.min_replicas}"
        limited_by = Reason.TOO_FEW_REPLICAS
    if at_max and history.last_beyond_max + window > now:
        limited_by = Reason.TOO_MANY_REPLICAS  # for as long as the window holds the replicas there
    want = min(max(raw, spec.min_replicas), spec.max_replicas)
    return Decision(
        desired=want,
        recommendation=raw,
        reason=Reason.WITHIN_THRESHOLDS,
        message=sums,
        limited_by=limited_by,
        history=history.wanted(want, now, window),
    )


def _rise(draft: Decision, spec: RuleSpec, backlog: int, base: int, now: float) -> Decision:
    if backlog <= spec.scale_up_threshold:
        held_by = f"it is not above scaleUpThreshold {spec.scale_up_threshold}"
        return _change(draft, desired=base, message=f"{draft.message}, but {held_by}", held_by=held_by)
    gate = draft.history.last_up + MIN_SECONDS_BETWEEN_STEPS
    if gate > now:
        return _too_soon(draft, base, gate, "up", Reason.WAITING_TO_STEP_UP)
    return _change(draft, reason=Reason.BACKLOG_ABOVE_THRESHOLD)


def _fall(draft: Decision, spec: RuleSpec, backlog: int, base: int, now: float) -> Decision:
    window = spec.behavior.scale_down.stabilization_window_seconds
    highest = draft.history.wants[0]
    falls_at = highest.time + window if highest.replicas > draft.desired else None
    if falls_at is not None:
        held_by = f"up to {highest.replicas} were wanted in the last {window} s"
        draft = _change(draft, message=f"{draft.message}; {held_by}", held_by=held_by, next_change=falls_at)
    if highest.replicas >= base:
        return _change(draft, desired=base, reason=Reason.STABILIZING)
    gate = draft.history.last_down + MIN_SECONDS_BETWEEN_STEPS
    if gate > now:
        return _too_soon(draft, base, gate, "down", Reason.WAITING_TO_STEP_DOWN)
    low = backlog < spec.scale_down_threshold
    reason = Reason.BACKLOG_BELOW_THRESHOLD if low else Reason.FEWER_REPLICAS_SUFFICE
    return _change(draft, desired=highest.replicas, reason=reason)


def _too_soon(draft: Decision, base: int, gate: float, direction: str, reason: Reason) -> Decision:
    """Wait with a step, since the last one in its direction was less than MIN_SECONDS_BETWEEN_STEPS ago."""
    held_by = f"the last step {direction} was less than {MIN_SECONDS_BETWEEN_STEPS:.0f} s ago"
    return _change(
        draft,
        desired=base,
        reason=reason,
        message=f"{draft.message}; {held_by}",
        held_by=held_by,
        next_change=gate if draft.next_change is None else min(gate, draft.next_change),
    )
