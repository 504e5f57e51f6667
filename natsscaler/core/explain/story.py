"""Why a rule does what it does: a decision told step by step, for the page and for `natsscaler explain`.

Nothing is decided here. Each step says one thing that the decision rests on, in the rule's own numbers; where
the chain breaks, what would have come next is left out, and the last step says what happens all the same.
"""

import math
from collections.abc import Iterator

from natsscaler.core.access import server_shown
from natsscaler.core.conditions import Facts, inactivity, moment, paused, rates, switched_off
from natsscaler.core.decision.pipeline import Decision, messages_until_change
from natsscaler.core.decision.situation import Observation, StepKind
from natsscaler.core.explain.steps import Step, blocked, fix, next_change
from natsscaler.core.jetstream.backlog import Backlog, Via
from natsscaler.core.jetstream.selection import Match, Unknown, listed
from natsscaler.core.reasons import Finding, Fix, Reason, State, Topic
from natsscaler.core.rule import Behavior, Rule, RuleSpec
from natsscaler.core.selector import BacklogMode, Combine, Selector
from natsscaler.core.status import rfc3339
from natsscaler.core.words import amount, duration

MATCHES = {
    Match.NAMED: "named by {field}.consumer",
    Match.EQUAL: "durable, and its filter is the rule's subject {subject}",
    Match.WITHIN: "durable, and all that it takes lies within the rule's subject {subject}",
    Match.STREAM: "no consumer, but a work queue on {subject} alone: each message in it waits for a worker",
}
NARROW = Fix(
    "Give the workers a consumer whose filter lies within {subject}, or make {field}.subject what it takes"
)


def explain(facts: Facts) -> tuple[Step, ...]:
    """Tell how the rule's replicas come about; the last step says what happens."""
    seen, decision = facts.seen, facts.decision
    steps = [_rule(facts), _deployment(facts)]
    if seen and decision:
        steps += _backlog(facts.rule, seen)
        if isinstance(seen.backlog, Backlog):
            steps.append(Step(StepKind.RATES, _rates(seen.backlog, decision)))
        steps += _decided(facts, decision)
        steps += _fallback(facts, decision)
        steps += _schedules(facts.rule, seen)
        steps.append(_bounds(facts.rule, seen, decision))
    elif facts.unable is None:
        unread = Finding(Reason.NOT_YET_READ, "The backlog has not been read yet")
        steps.append(blocked(StepKind.NATS, unread, facts.rule))
    outcome = Step(StepKind.OUTCOME, _outcome(facts), _worst(steps))
    steps.append(_waking(facts))
    if seen and decision:
        steps.append(_next(facts, seen))
    return (*steps, outcome)


def _rule(facts: Facts) -> Step:
    rule, spec = facts.rule, facts.rule.spec
    default, bounds = spec.behavior == Behavior(), rule.bounds(moment(facts))
    by = f" (schedule {bounds.schedule.name})" if bounds.schedule else ""
    pace = f"every {spec.poll_interval_seconds} s at most" if default else "at the pace of spec.behavior"
    size = f"one replica at a time, {pace}" if spec.one_by_one else _size(spec)
    asks = (
        f"{rule.key} asks for {bounds.low} to {bounds.high} replicas{by}: more above"
        f" {spec.scale_up_threshold} messages, fewer below {spec.scale_down_threshold}, {size}"
    )
    pause = paused(facts)
    if pause:
        return Step(StepKind.RULE, f"{asks}. {pause.message}", State.ATTENTION, fix(pause.reason, rule))
    if rule.dry_run:
        return Step(
            StepKind.RULE,
            f"{asks}. It is a dry run ({rule.dry_run})",
            State.ATTENTION,
            fix(Reason.DRY_RUN, rule),
        )
    return Step(StepKind.RULE, asks)


def _size(spec: RuleSpec) -> str:
    """Tell how many messages one replica is for, or how long they may wait."""
    if spec.drain_time:
        target = spec.drain_time.target_seconds
        return f"as many replicas as keep messages from waiting longer than about {target} s"
    if not spec.sources:
        return f"one replica for every {spec.messages_per_replica} messages"
    each = ", ".join(f"{by.messages_per_replica} messages of {by.subject}" for by in spec.selectors)
    most = ", the most of these" if spec.combine is Combine.MAX else ", added up"
    return f"one replica for every {each}{most}"


def _deployment(facts: Facts) -> Step:
    rule, target = facts.rule, facts.rule.target.shown
    if facts.unable:
        return blocked(StepKind.DEPLOYMENT, facts.unable, rule)
    if facts.seen is None:
        return Step(StepKind.DEPLOYMENT, f"{target} has not been read yet")
    if facts.seen.replicas == 0 and facts.seen.asleep:
        return Step(StepKind.DEPLOYMENT, f"{target} has 0 replicas, as this rule has scaled it to zero")
    if facts.seen.replicas == 0:
        text = f"{target} has 0 replicas, which turns scaling off"
        return Step(StepKind.DEPLOYMENT, text, State.ATTENTION, fix(Reason.SCALING_DISABLED, rule))
    ready = "" if facts.ready is None else f" ({facts.ready} ready)"
    text = f"{target} asks for {_replicas(facts.seen.replicas)}{ready}, and nothing else scales it"
    return Step(StepKind.DEPLOYMENT, text)


def _backlog(rule: Rule, seen: Observation) -> list[Step]:
    backlog, url, known = seen.backlog, rule.spec.nats_monitoring_url, seen.least
    if isinstance(backlog, Backlog):
        known = backlog
    elif known is None:
        finding = Finding(backlog.reason, f"The backlog is unknown. {backlog.message}")
        if backlog.reason.about.topic is Topic.SELECTION:
            return [Step(StepKind.NATS, f"{url} has answered"), blocked(StepKind.CONSUMER, finding, rule)]
        return [blocked(StepKind.NATS, finding, rule)]
    leaders = ", ".join(server_shown(name, url) for name in known.leaders)
    asked = f"{leaders or 'the server'} answered at {url}"
    if known.via is Via.CONSUMER_INFO:
        asked = f"{leaders} answered over NATS, as {url} does not lead there"
    each = zip(rule.selectors, known.of_each, strict=True)
    return [
        Step(StepKind.NATS, asked),
        *(_consumer(rule, by, part) for by, part in each),
        _waits(rule, seen, known),
    ]


def _consumer(rule: Rule, by: Selector, backlog: Backlog | Unknown) -> Step:
    """Tell what the backlog of a source is counted on."""
    if isinstance(backlog, Unknown):
        finding = Finding(backlog.reason, f"The backlog of {by.subject} is unknown. {backlog.message}")
        return blocked(StepKind.CONSUMER, finding, rule)
    source, wider = backlog.source, listed(backlog.wider) if backlog.wider else ""
    why = MATCHES[source.match].format(subject=by.subject, field=by.field)
    if wider:
        why += f"; it takes {wider}, so all that waits for it counts, not only {by.subject}"
    several = f", {len(source.consumers)} that share no message" if len(source.consumers) > 1 else ""
    return Step(
        StepKind.CONSUMER,
        f"{listed(source.consumers)} in account {source.account}{several}: {why}",
        State.ATTENTION if wider else State.OK,
        NARROW.filled(subject=by.subject, field=by.field) if wider else None,
    )


def _waits(rule: Rule, seen: Observation, known: Backlog) -> Step:
    """Tell what waits for the workers."""
    text, paused = _counted(known), [known] if known.paused else []
    if known.parts:
        parts = [(by, one) for by, one in zip(rule.selectors, known.parts, strict=True)]
        told = (f"{by.subject}: {_counted(one)}" for by, one in parts if isinstance(one, Backlog))
        least = "At least " if seen.least else ""
        text = f"{least}{known.messages} messages in all. {'. '.join(told)}"
        paused = [one for _, one in parts if isinstance(one, Backlog) and one.paused]
    if not paused:
        return Step(StepKind.BACKLOG, text)
    names = listed(name for one in paused for name in one.source.consumers)
    return Step(
        StepKind.BACKLOG,
        f"{names} is paused in NATS, so workers get no messages. {text}",
        State.BLOCKED if known.paused else State.ATTENTION,
        fix(Reason.CONSUMER_PAUSED, rule),
    )


def _counted(backlog: Backlog) -> str:
    messages, verb = amount(backlog.messages, "message"), "is" if backlog.messages == 1 else "are"
    if backlog.source.match is Match.STREAM:
        return f"{messages} {verb} in the stream"
    if backlog.mode is BacklogMode.PENDING:
        rest = f"the {backlog.unacknowledged} not yet acknowledged do not count (spec.backlog)"
        return f"{messages} {verb} not yet delivered; {rest}"
    return (
        f"{messages}: {backlog.pending:,} not yet delivered"
        f" and {backlog.unacknowledged:,} not yet acknowledged"
    )


def _rates(backlog: Backlog, decision: Decision) -> str:
    """Tell how fast messages come and are worked off."""
    found = rates(backlog, decision)
    if found is None:
        return "How fast messages come and are worked off is unknown: it takes two looks that fit together"
    said = f"{_rate(found.arriving_per_second)} messages come per second"
    if found.processing_per_second is None:
        said += "; how many are processed is unknown"
    else:
        said += f", {_rate(found.processing_per_second)} are processed"
        if found.processing_per_ready_replica is not None:
            said += f" ({_rate(found.processing_per_ready_replica)} per ready replica)"
    if backlog.messages and found.drain_seconds is not None:
        said += f". At this rate, the backlog takes about {duration(found.drain_seconds)}"
    if found.estimated:
        said += ". Messages that are delivered again may count as new ones"
    return said


def _rate(number: float | None) -> str:
    return "an unknown number" if number is None else f"{number:g}"


def _decided(facts: Facts, decision: Decision) -> Iterator[Step]:
    """Tell what the backlog asks for, and what holds that back."""
    first, held = decision.trace[0], decision.held
    if first.step is StepKind.RECOMMENDATION:
        yield Step(first.step, f"{_replicas(first.replicas)}: {first.text}")
    for note in decision.trace:
        if note.step is StepKind.ZERO:
            yield Step(note.step, note.text[:1].upper() + note.text[1:])
    for note in held:
        ends_at = facts.next_change if note is held[-1] and note.until == decision.next_change else None
        until = f", until {rfc3339(ends_at)}" if ends_at else ""
        lasts = note.reason.about.state is State.ATTENTION
        state, what = (State.ATTENTION, fix(note.reason, facts.rule)) if lasts else (State.WAITING, None)
        yield Step(note.step, f"Not yet: {note.text}{until}", state, what)


def _schedules(rule: Rule, seen: Observation) -> Iterator[Step]:
    bounds = rule.bounds(seen.at)
    if rule.spec.schedules:
        active = f"{bounds.schedule.name} is active" if bounds.schedule else "None is active"
        until = f" until {rfc3339(bounds.until)}" if bounds.until < math.inf else ""
        yield Step(StepKind.SCHEDULE, f"{active}{until}")


def _fallback(facts: Facts, decision: Decision) -> Iterator[Step]:
    note = next((note for note in decision.trace if note.step is StepKind.FALLBACK), None)
    fallback = facts.rule.spec.fallback
    if note is None or fallback is None:
        return
    if note.text:
        text = f"The backlog has been unknown {note.text}"
        yield Step(note.step, text, State.ATTENTION, fix(Reason.FALLBACK, facts.rule))
        return
    ends_at = facts.next_change if note.until == decision.next_change else None
    text = f"spec.fallback asks for {fallback} replicas once that has lasted {fallback.after_seconds} s"
    yield Step(note.step, f"{text}, at {rfc3339(ends_at)}" if ends_at else text, State.WAITING)


def _bounds(rule: Rule, seen: Observation, decision: Decision) -> Step:
    bounds, last = rule.bounds(seen.at), decision.trace[-1]
    within = f"{bounds.lowest} to {bounds.highest}"
    if decision.reason is Reason.SCALING_DISABLED:
        return Step(StepKind.BOUNDS, f"{within} do not apply at 0 replicas")
    if last.step is StepKind.OUT_OF_BOUNDS:
        return Step(last.step, f"{last.text}, which is corrected whatever the backlog is", State.ATTENTION)
    if decision.limited_by is Reason.TOO_MANY_REPLICAS:
        text = f"More than {bounds.highest} are asked for, or were in the stabilization window"
        return Step(StepKind.BOUNDS, text, State.ATTENTION, fix(Reason.TOO_MANY_REPLICAS, rule))
    if decision.recommendation < bounds.low:
        return Step(StepKind.BOUNDS, f"Never fewer than {bounds.lowest}")
    return Step(StepKind.BOUNDS, f"{decision.desired} is within {within}")


def _waking(facts: Facts) -> Step:
    interval, events = facts.rule.spec.poll_interval_seconds, facts.events
    late = ". Deadlines are late, because --read-budget limits the reads of this server" if facts.late else ""
    if events is None:
        text = f"It is evaluated every {interval} s. Whether events wake it is not yet known{late}"
        return Step(StepKind.WAKING, text)
    if events.reason is Reason.SWITCHED_OFF:
        return Step(StepKind.WAKING, f"It is evaluated every {interval} s. {events.message}{late}")
    if events.reason is not Reason.LISTENING:
        text = f"No message wakes it, so it is evaluated every {interval} s. {events.message}{late}"
        return Step(StepKind.WAKING, text, State.ATTENTION, fix(events.reason, facts.rule))
    text = f"Messages wake it at once, and so do {interval} s without any. {events.message}{late}"
    return Step(StepKind.WAKING, text, State.ATTENTION if late else State.OK)


def _next(facts: Facts, seen: Observation) -> Step:
    inactive = switched_off(facts) if seen.least else inactivity(facts)
    return next_change(
        unable=facts.unable is not None,
        inactive=inactive and inactive.reason,
        further=messages_until_change(facts.rule, seen, facts.decision.memory) if facts.decision else None,
        at=rfc3339(facts.next_change) if facts.next_change else None,
    )


def _outcome(facts: Facts) -> str:
    seen, decision, target = facts.seen, facts.decision, facts.rule.target
    if seen is None or decision is None:
        return f"The replicas of {target} do not change"
    stay = f"{target} keeps {_replicas(seen.replicas)}"
    scale = f"{target} is scaled from {seen.replicas} to {{}}".format
    change, moves = decision.desired != seen.replicas, decision.permitted != seen.replicas
    if facts.unable:
        return f"{stay}, although the backlog asks for {decision.desired}" if change else stay
    off = switched_off(facts)
    if moves and not facts.rule.dry_run:
        return f"{scale(decision.permitted)}: {decision.cause.message}"
    off = off or (decision.cause if change else None)
    if off and off.reason is not decision.reason:
        otherwise = scale(decision.desired) if change else "it would keep them too"
        return f"{stay} {off.reason.about.holds}; otherwise {otherwise}"
    if isinstance(seen.backlog, Unknown):
        return f"{stay}, because the backlog is unknown. {seen.backlog.message}"
    return f"{stay}: {decision.message}"


def _worst(steps: list[Step]) -> State:
    order = list(State)
    return max((step.state for step in steps), key=order.index)


def _replicas(number: int) -> str:
    return f"{number} replica" if number == 1 else f"{number} replicas"
