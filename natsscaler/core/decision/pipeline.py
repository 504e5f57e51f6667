"""What to do in a situation: a fold of small steps, each a pure function that may leave a note.

No clock, no I/O, no log. Every outcome carries its reason, doing nothing too. The notes are the trace of a
decision: all that is told of it is read from there. After the bounds no step moves the number but towards
the present replicas, so the bounds hold in the end; replicas that a person's edit left out of bounds are set
right whether the backlog is known or not.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from natsscaler.core.decision import behavior_limits
from natsscaler.core.decision.recommenders import least, recommender
from natsscaler.core.decision.situation import Memory, Note, Observation, Situation, StepKind
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import BusyWorkers, Rule, SelectPolicy

MIN_SECONDS_BETWEEN_STEPS = 1
"""Least time between two steps up, or two steps down, where they are no poll interval apart."""
NOTHING = Memory()
"""What is remembered of a rule that has not been decided before."""
HOLDING = (
    StepKind.WORKERS,
    StepKind.IDLENESS,
    StepKind.THRESHOLD,
    StepKind.STABILIZATION,
    StepKind.POLICIES,
    StepKind.BUSY,
    StepKind.PACE,
)
"""Steps that may keep a recommendation from being followed at once."""
JOINTS = {
    StepKind.BOUNDS: "{before}, {text}",
    StepKind.FALLBACK: "{before}, {text}",
    StepKind.THRESHOLD: "{before}, but {text}",
    StepKind.WORKERS: "{before}, but {text}",
    StepKind.OUT_OF_BOUNDS: "{text}. {before}",
}
"""How a note is joined to those before it; others by a semicolon."""


class Decision(Struct, frozen=True, kw_only=True):
    """How many replicas there should be, and why."""

    trace: tuple[Note, ...]
    """What the steps made of it, first to last; never empty."""
    switch: Note | None
    """What a person's pause makes of the last one; None: it is carried out as it is."""
    memory: Memory

    @property
    def desired(self) -> int:
        """How many replicas there should be."""
        return self.trace[-1].replicas

    @property
    def permitted(self) -> int:
        """How many replicas there may be: as desired, unless a person's pause makes another number of it."""
        return self.switch.replicas if self.switch else self.desired

    @property
    def cause(self) -> Finding:
        """Why there may be so many."""
        if self.switch and self.permitted != self.desired:
            return Finding(self.switch.reason, self.switch.text)
        return Finding(self.reason, self.message)

    @property
    def reason(self) -> Reason:
        """Why, in one word."""
        return self.trace[-1].reason

    @property
    def message(self) -> str:
        """Why, in a sentence."""
        said = self.trace[0].text
        for note in self.trace[1:]:
            if note.text:
                said = JOINTS.get(note.step, "{before}; {text}").format(before=said, text=note.text)
        return said

    @property
    def recommendation(self) -> int:
        """What the backlog alone asks for; the present replicas if it is unknown."""
        return self.trace[0].replicas

    @property
    def held(self) -> tuple[Note, ...]:
        """What keeps the recommendation from being followed at once, apart from the bounds."""
        return tuple(note for note in self.trace if note.step in HOLDING and note.text)

    @property
    def limited_by(self) -> Reason | None:
        """What a bound or a policy does not allow, where it matters: the reason of ScalingLimited."""
        return next((note.limits for note in reversed(self.trace) if note.limits), None)

    @property
    def next_change(self) -> float | None:
        """When time alone could change this decision, on the clock of the situation."""
        notes = (*self.trace, self.switch) if self.switch else self.trace
        return min((note.until for note in notes if note.until is not None), default=None)


def decide(rule: Rule, seen: Observation, memory: Memory, now: float) -> Decision:
    """Decide how many replicas the rule's Deployment should have."""
    situation = Situation.of(rule, seen, memory, now)
    so_far = Note(step=StepKind.DEPLOYMENT, replicas=situation.base, reason=Reason.NOT_YET_READ)
    trace: list[Note] = []
    for step in PIPELINE:
        note = step(situation, so_far)
        if note:
            trace.append(note)
            so_far = note
            if note.final:
                break
    memory = _remember(situation, trace)
    return Decision(trace=tuple(trace), switch=switch(situation, so_far), memory=memory)


def falls(rule: Rule, seen: Observation, memory: Memory, now: float) -> bool:
    """Tell whether the rule would step down on what was seen, before it is confirmed."""
    return decide(rule, seen, memory, now).desired < seen.replicas


def messages_until_change(rule: Rule, seen: Observation, memory: Memory = NOTHING) -> int | None:
    """Say after how many further messages the recommendation would first be more than the replicas now.

    `memory`: that of the decision on what was seen; it matters to drainTime.

    None if no number of messages would change what is done: at maxReplicas, at 0 replicas, paused, unknown,
    with steps up disabled, or if it is above already and only time keeps it from being acted upon.
    """
    situation = Situation.of(rule, seen, memory, 0.0)
    usable = situation.usable
    backlog = usable if isinstance(usable, Backlog) else seen.least
    paused = situation.pause and situation.pause.reason is not Reason.PAUSED_SCALE_DOWN
    disabled = situation.direction(up=True).select_policy is SelectPolicy.DISABLED
    asleep = seen.replicas == 0 and seen.asleep and situation.to_zero
    off = seen.replicas == 0 and not seen.asleep
    stays = (
        paused
        or off
        or situation.idle_workers
        or (situation.most_busy is not None and situation.most_busy <= situation.base)
        or (disabled and not asleep)
        or situation.base >= situation.high
    )
    if stays or backlog is None:
        return None
    if asleep:
        missing = rule.spec.activation.messages - backlog.messages + 1
    else:
        missing = recommender(situation).missing(situation, backlog)
    return missing if missing > 0 else None


def switched_off(situation: Situation, _: Note) -> Note | None:
    """Leave a Deployment alone that a person has set to 0 replicas."""
    if situation.seen.replicas or situation.seen.asleep:
        return None
    return Note(
        step=StepKind.DEPLOYMENT,
        replicas=0,
        reason=Reason.SCALING_DISABLED,
        text="The Deployment has 0 replicas, which switches scaling off: set 1 or more to resume",
        final=True,
    )


def recommend(situation: Situation, so_far: Note) -> Note:
    """Ask the rule's recommender; hold the replicas if there is no backlog to ask it by.

    What is known of a backlog that is unknown in part is enough for a step up.
    """
    backlog = situation.usable
    if isinstance(backlog, Backlog):
        return recommender(situation).recommend(situation, backlog)
    known = _rise(situation)
    if known:
        text = f"{known.text}, at the least, as a part of the backlog is unknown. {backlog.message}"
        return replace(known, text=text)
    unknown = isinstance(situation.seen.backlog, Unknown)
    text = f"The backlog is unknown. {backlog.message}" if unknown else backlog.message
    return Note(step=StepKind.BACKLOG, replicas=so_far.replicas, reason=backlog.reason, text=text)


def _rise(situation: Situation) -> Note | None:
    """Say how many more replicas what is known of an unknown backlog asks for, if it does."""
    found, backlog = least(situation), situation.seen.least
    if found is None or backlog is None or found.replicas <= situation.base:
        return None
    wakes = situation.seen.replicas == 0
    return found if wakes or backlog.messages > situation.spec.scale_up_threshold else None


def fall_back(situation: Situation, so_far: Note) -> Note | None:
    """Ask for what spec.fallback names once the backlog has been unknown for long enough."""
    at, fallback = situation.fallback_at, situation.fallback
    if fallback is None:
        if at is None:
            return None
        return Note(step=StepKind.FALLBACK, replicas=so_far.replicas, reason=so_far.reason, until=at)
    wanted, known = fallback.wanted(situation.base), least(situation)
    text = f"for {fallback.after_seconds} s or longer, so spec.fallback asks for {fallback} replicas"
    fewest = min(known.replicas, so_far.replicas) if known else 0
    if fewest > wanted:
        wanted, text = fewest, f"{text}, and what is known for {fewest}"
    return Note(step=StepKind.FALLBACK, replicas=wanted, reason=Reason.FALLBACK, text=text)


def stand_still(situation: Situation, so_far: Note) -> Note | None:
    """Hold the replicas while their number changes nothing, as workers finish nothing."""
    found = situation.idle_workers
    if found is None or so_far.step is not StepKind.RECOMMENDATION or so_far.replicas == situation.base:
        return None
    return Note(step=StepKind.WORKERS, replicas=situation.base, reason=found.reason, text=found.message)


def spare(situation: Situation, so_far: Note) -> Note | None:
    """Add no replica that max_ack_pending of the consumer would leave without messages."""
    most, base = situation.most_busy, situation.base
    if most is None or so_far.step is not StepKind.RECOMMENDATION or so_far.replicas <= max(most, base):
        return None
    replicas = max(most, base)
    return Note(
        step=StepKind.WORKERS,
        replicas=replicas,
        reason=Reason.MAX_ACK_PENDING if replicas == base else so_far.reason,
        text=f"max_ack_pending of the consumer allows work for {most} replicas only",
    )


def schedule(situation: Situation, so_far: Note) -> Note | None:
    """Look again when other bounds may apply by schedule."""
    until = situation.moment(situation.bounds.until)
    if until is None:
        return None
    return Note(step=StepKind.SCHEDULE, replicas=so_far.replicas, reason=so_far.reason, until=until)


def zero(situation: Situation, so_far: Note) -> Note | None:
    """Let the last replica go once the rule is idle, and wake from zero with as many as are asked for."""
    usable = situation.usable
    if not situation.to_zero:
        return None
    if situation.seen.replicas == 0:
        known = situation.seen.least if least(situation) else None
        backlog = usable if isinstance(usable, Backlog) else known
        return _wake(situation, so_far, backlog.messages) if backlog else None
    if so_far.replicas > 0 or not isinstance(usable, Backlog):
        return None
    wakeful = situation.wakeful
    if wakeful is None:
        idle = f"nothing has moved for idleSeconds {situation.spec.idle_seconds}"
        return Note(step=StepKind.ZERO, replicas=0, reason=Reason.IDLE, text=idle)
    return Note(
        step=StepKind.IDLENESS,
        replicas=1,
        reason=wakeful.reason if situation.base == 1 else so_far.reason,
        text=wakeful.text,
        until=wakeful.until,
    )


def _wake(situation: Situation, so_far: Note, messages: int) -> Note:
    activation, since = situation.spec.activation, situation.memory.waiting_since
    oldest_at = None
    if activation.max_age_seconds is not None and since is not None:
        oldest_at = since + activation.max_age_seconds
    old = oldest_at is not None and oldest_at <= situation.now
    if messages <= activation.messages and not old:
        return Note(
            step=StepKind.ZERO,
            replicas=0,
            reason=Reason.IDLE,
            text=f"at zero, it wakes above {activation.messages} messages",
            until=oldest_at,
            final=True,
        )
    wanted = max(1, so_far.replicas)
    age = f"messages have waited for {activation.max_age_seconds} s" if old else ""
    return Note(
        step=StepKind.ZERO,
        replicas=min(wanted, situation.high),
        reason=Reason.ACTIVATED,
        text=age or f"at zero, {messages} wakes it: more than activation.messages {activation.messages}",
        limits=Reason.TOO_MANY_REPLICAS if wanted > situation.high else None,
        final=True,
    )


def bound(situation: Situation, so_far: Note) -> Note | None:
    """Keep the recommendation within minReplicas and maxReplicas."""
    low, high, base, wanted = situation.low, situation.high, situation.base, so_far.replicas
    lowest, highest = situation.bounds.lowest, situation.bounds.highest
    text, reason, limits = "", so_far.reason, None
    if reason is Reason.BACKLOG_BELOW_THRESHOLD:
        if base == low:
            last = "one replica stays while messages wait"
            text = f"and {last if situation.to_zero else f'{lowest} is reached'}"
            reason = Reason.AT_MIN_REPLICAS
    elif wanted > high:
        text = f"and {highest} is reached" if situation.one_by_one else f"more than {highest}"
        limits = Reason.TOO_MANY_REPLICAS
        if base == high:
            reason = Reason.AT_MAX_REPLICAS
    elif wanted < low:
        text, limits = f"fewer than {lowest}", Reason.TOO_FEW_REPLICAS
        if base == low and not situation.fallback:
            reason = Reason.WITHIN_THRESHOLDS
    allowed = situation.within_bounds(wanted)
    if allowed == wanted and reason is so_far.reason:
        return None
    return Note(step=StepKind.BOUNDS, replicas=allowed, reason=reason, text=text, limits=limits)


def pass_threshold(situation: Situation, so_far: Note) -> Note | None:
    """Take no step up before the backlog is above scaleUpThreshold."""
    threshold, backlog = situation.spec.scale_up_threshold, situation.usable
    rises = so_far.replicas > situation.base
    if not rises or not isinstance(backlog, Backlog) or backlog.messages > threshold:
        return None
    return Note(
        step=StepKind.THRESHOLD,
        replicas=situation.base,
        reason=Reason.WITHIN_THRESHOLDS,
        text=f"it is not above scaleUpThreshold {threshold}",
    )


def stabilize(situation: Situation, so_far: Note) -> Note | None:
    """Go up no higher, and down no lower, than was wanted all along the stabilization window."""
    rises = so_far.replicas > situation.base
    if not (isinstance(situation.usable, Backlog) or situation.fallback or rises):
        return None
    return _stabilize_up(situation, so_far) or _stabilize_down(situation, so_far)


def _stabilize_up(situation: Situation, so_far: Note) -> Note | None:
    now, window, base, wanted = situation.now, situation.window_up, situation.base, so_far.replicas
    lowest = situation.memory.wanted_low(wanted, now, window).lows[0]
    if wanted <= base or lowest.replicas == wanted:
        return None
    replicas = max(lowest.replicas, base)
    return Note(
        step=StepKind.STABILIZATION,
        replicas=replicas,
        reason=Reason.STABILIZING_UP if replicas == base else so_far.reason,
        text=f"only {lowest.replicas} were wanted at times in the last {window} s",
        until=lowest.time + window,
    )


def _stabilize_down(situation: Situation, so_far: Note) -> Note | None:
    now, window, base, wanted = situation.now, situation.window, situation.base, so_far.replicas
    if window is None:
        return None
    reason, replicas, text, until, limits = so_far.reason, wanted, "", None, None
    if base == situation.high and situation.memory.last_beyond_max + window > now:
        limits = Reason.TOO_MANY_REPLICAS
    highest = situation.memory.wanted(wanted, now, window).wants[0]
    if highest.replicas > wanted and wanted < base:
        text, until = f"up to {highest.replicas} were wanted in the last {window} s", highest.time + window
        replicas = min(highest.replicas, base)
        reason = Reason.STABILIZING if replicas == base else reason
    if not (limits or text):
        return None
    return Note(
        step=StepKind.STABILIZATION, replicas=replicas, reason=reason, text=text, until=until, limits=limits
    )


def limit(situation: Situation, so_far: Note) -> Note | None:
    """Go no further than the policies of spec.behavior allow."""
    base, wanted = situation.base, so_far.replicas
    if wanted == base:
        return None
    up = wanted > base
    direction, name = situation.direction(up=up), "behavior.scaleUp" if up else "behavior.scaleDown"
    if direction.select_policy is SelectPolicy.DISABLED:
        reason = Reason.SCALE_UP_DISABLED if up else Reason.SCALE_DOWN_DISABLED
        text = f"{name}.selectPolicy is Disabled"
        return Note(step=StepKind.POLICIES, replicas=base, reason=reason, text=text, limits=reason)
    found = behavior_limits.limit(direction, base, situation.memory.steps, situation.now)
    if found is None:
        return None
    if found.replicas >= wanted if up else found.replicas <= wanted:
        if found.until is None:
            return None
        return Note(step=StepKind.POLICIES, replicas=wanted, reason=so_far.reason, until=found.until)
    reason = Reason.SCALE_UP_LIMIT if up else Reason.SCALE_DOWN_LIMIT
    return Note(
        step=StepKind.POLICIES,
        replicas=found.replicas,
        reason=reason if found.replicas == base else so_far.reason,
        text=f"{name} allows no {'more' if up else 'fewer'} than {found.replicas} yet: {found.policy}",
        until=found.until,
        limits=reason,
    )


def protect(situation: Situation, so_far: Note) -> Note | None:
    """Take no replica away that may be at work, as far as spec.behavior.scaleDown.busyWorkers asks."""
    down, backlog, base = situation.spec.behavior.scale_down, situation.usable, situation.base
    if so_far.replicas >= base or not isinstance(backlog, Backlog) or not backlog.unacknowledged:
        return None
    unacknowledged = f"{backlog.unacknowledged} messages are delivered and not yet acknowledged"
    if down.busy_workers is BusyWorkers.FLOOR:
        floor = -(-backlog.unacknowledged // down.messages_in_flight_per_replica)
        if floor <= so_far.replicas:
            return None
        replicas, until = min(floor, base), None
        text = f"{unacknowledged}, which {floor} replicas may be working on"
    elif down.busy_workers is BusyWorkers.UNTIL_IDLE:
        since = situation.now if situation.memory.busy_since is None else situation.memory.busy_since
        replicas, until = base, since + down.max_wait_seconds
        text = (
            f"{unacknowledged}, and behavior.scaleDown waits for none, for {down.max_wait_seconds} s at most"
        )
        if until <= situation.now:  # a note all the same, as the time runs on
            return Note(step=StepKind.BUSY, replicas=so_far.replicas, reason=so_far.reason)
    else:
        return None
    reason = Reason.BUSY_WORKERS if replicas == base else so_far.reason
    return Note(step=StepKind.BUSY, replicas=replicas, reason=reason, text=text, until=until)


def pace(situation: Situation, so_far: Note) -> Note | None:
    """Keep steps apart: single replicas by the poll interval, others by a second."""
    memory, base = situation.memory, situation.base
    if so_far.replicas == base:
        return None
    up = so_far.replicas > base
    by_interval = situation.keeps_interval(up=up)
    seconds = situation.spec.poll_interval_seconds if by_interval else MIN_SECONDS_BETWEEN_STEPS
    last, which = (memory.last_up, "step up") if up else (memory.last_down, "step down")
    if by_interval and not up:
        last, which = max(memory.last_up, memory.last_down), "step"
    if last + seconds > situation.now:
        return Note(
            step=StepKind.PACE,
            replicas=base,
            reason=Reason.WAITING_TO_STEP_UP if up else Reason.WAITING_TO_STEP_DOWN,
            text=f"the last {which} was less than {seconds} s ago",
            until=last + seconds,
        )
    if not situation.one_by_one:
        return None
    next_one = situation.now + seconds
    return Note(step=StepKind.PACE, replicas=so_far.replicas, reason=so_far.reason, until=next_one)


def come_within_bounds(situation: Situation, so_far: Note) -> Note | None:
    """Say that the replicas are out of bounds, if nothing but that changes them."""
    replicas, base = situation.seen.replicas, situation.base
    if replicas == base or so_far.replicas != base:
        return None
    few = replicas < base
    bound = f"below {situation.bounds.lowest}" if few else f"above {situation.bounds.highest}"
    return Note(
        step=StepKind.OUT_OF_BOUNDS,
        replicas=base,
        reason=Reason.BELOW_MIN_REPLICAS if few else Reason.ABOVE_MAX_REPLICAS,
        text=f"{replicas} replicas are {bound}",
        limits=Reason.TOO_FEW_REPLICAS if few else Reason.TOO_MANY_REPLICAS,
    )


def switch(situation: Situation, decided: Note) -> Note | None:
    """Let a person's pause have the last word, which leaves alone what a person has set to 0 replicas.

    It stands beside the trace, which goes on telling what would be done.
    """
    pause = situation.pause
    if pause is None or decided.reason is Reason.SCALING_DISABLED:
        return None
    return Note(
        step=StepKind.SWITCH,
        replicas=pause.permits(situation.seen.replicas, decided.replicas),
        reason=pause.reason,
        text=pause.message,
        until=situation.moment(pause.until),
    )


Step = Callable[[Situation, Note], Note | None]
PIPELINE: tuple[Step, ...] = (
    switched_off,
    recommend,
    stand_still,
    spare,
    fall_back,
    schedule,
    zero,
    bound,
    pass_threshold,
    stabilize,
    limit,
    protect,
    pace,
    come_within_bounds,
)


def _remember(situation: Situation, trace: list[Note]) -> Memory:
    """Add what is asked for to the memory, where later decisions look back at it."""
    memory, window, now = situation.memory, situation.window, situation.now
    since = situation.unknown_since if situation.spec.fallback else None
    busy_since = _busy_since(situation, trace)
    if (since, busy_since) != (memory.unknown_since, memory.busy_since):
        memory = replace(memory, unknown_since=since, busy_since=busy_since)
    asks = StepKind.FALLBACK if situation.fallback else StepKind.RECOMMENDATION
    first = next((note for note in trace if note.step is asks), None)
    if first is None:
        return memory
    wanted, beyond = situation.within_bounds(first.replicas), first.replicas > situation.high
    if situation.to_zero:  # the last replica is kept for another reason than that it was wanted
        wanted = min(first.replicas, situation.high)
    if window is not None:
        memory = memory.wanted(wanted, now, window, beyond_max=beyond)
    return memory.wanted_low(wanted, now, situation.window_up) if situation.window_up else memory


def _busy_since(situation: Situation, trace: list[Note]) -> float | None:
    """Say since when a step down waits for idle workers; an unknown backlog leaves that as it was."""
    since = situation.memory.busy_since
    waits = situation.spec.behavior.scale_down.busy_workers is BusyWorkers.UNTIL_IDLE
    if waits and not isinstance(situation.usable, Backlog):
        return since
    if not waits or all(note.step is not StepKind.BUSY for note in trace):
        return None
    return situation.now if since is None else since
