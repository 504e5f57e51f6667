"""From the facts of an evaluation to the status that states them, in the vocabulary of an HPA.

`AbleToScale` speaks of the Deployment, `ScalingActive` of the backlog and of people's switches,
`ScalingLimited` of the bounds, `EventDriven` of how the rule is woken, `Paused` of a person's annotations
once there are any, and `Ready` sums up: false while something is wrong; true, with the reason, while a person
has switched the rule off, or one direction.
"""

import itertools
from typing import Any

from msgspec.structs import replace

from natsscaler.core.access import server_shown
from natsscaler.core.contention import Admitted
from natsscaler.core.decision.pipeline import Decision, messages_until_change
from natsscaler.core.decision.situation import Observation, StepKind
from natsscaler.core.evaluation import Evaluation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown, listed
from natsscaler.core.jetstream.sources import exactly
from natsscaler.core.pause import Pause
from natsscaler.core.reasons import Finding, Reason, Topic
from natsscaler.core.rule import Rule
from natsscaler.core.status import (
    SCALED_TO_ZERO,
    Condition,
    Counted,
    LastDecision,
    Remembered,
    RuleStatus,
    SourceBacklog,
    WorkRates,
    rfc3339,
)

IN_TIME = "The rule is evaluated and its decisions are carried out"
LATE = f"{IN_TIME}. Deadlines are late, because --read-budget limits the reads of this NATS server"


class Facts(Evaluation, frozen=True):
    """An evaluation, and what is true of the rule besides. Times in seconds since the epoch."""

    next_change: float | None = None
    """When time alone may change the decision."""
    now: float = 0.0
    ready: int | None = None
    """Replicas that are ready; None: unknown."""
    admitted: Admitted | None = None
    """What the cluster's admission made of the number that the decision asks for."""
    asleep: bool = False
    """This rule has scaled the Deployment to zero, or is about to."""
    memory: Remembered | None = None
    """What a restart must not forget; None: what the status has of it still holds."""


def compose(facts: Facts, previous: RuleStatus) -> RuleStatus:
    """Write the status that says these facts, keeping what only the past knows."""
    rule, seen, decision = facts.rule, facts.seen, facts.decision
    backlog, url = (seen.backlog if seen else None), rule.spec.nats_monitoring_url
    known = backlog if isinstance(backlog, Backlog) else None
    last, schedule = None, rule.bounds(moment(facts)).schedule
    if seen and decision:
        last = LastDecision(
            time=rfc3339(facts.now),
            backlog=known.messages if known else None,
            pending=known.pending if known else None,
            unacknowledged=known.unacknowledged if known else None,
            source=known.via if known else None,
            leaders=tuple(server_shown(one, url) for one in known.leaders) if known else None,
            sources=_sources(rule, seen),
            recommendation=decision.recommendation,
            desired=decision.desired,
            schedule=schedule.name if schedule else None,
            reason=decision.reason,
            message=decision.message,
            messages_until_change=messages_until_change(rule, seen, decision.memory),
            next_change_time=rfc3339(facts.next_change) if facts.next_change else None,
        )
    findings = _conditions(facts)
    if rule.pause or previous.condition("Paused"):
        findings["Paused"] = _paused(facts)
    conditions = merge(findings, previous, rule.generation, facts.now)
    events = previous.condition("EventDriven")
    if facts.events is None and events:
        conditions += (events,)
    return replace(
        previous,
        observed_generation=rule.generation,
        current_replicas=seen.replicas if seen else None,
        ready_replicas=facts.ready if seen else None,
        pending_messages=known.messages if known else None,
        **_counted(rule, seen, previous),
        last_decision=last,
        rates=rates(known, decision) if known and decision else None,
        memory=facts.memory or previous.memory,
        conditions=conditions,
    )


def _counted(rule: Rule, seen: Observation | None, previous: RuleStatus) -> dict[str, Any]:
    """Keep what each source is counted on; of one that is unknown, what it was counted on before."""
    kept = {one.source.selector: one for one in previous.counted}
    for part in seen.counted.of_each if seen and seen.counted else ():
        if isinstance(part, Backlog):
            before = kept.get(part.source.selector)
            when = exactly(part.at) if part.at else before.seen if before else None
            kept[part.source.selector] = Counted(source=part.source, seen=when)
    found = tuple(kept[str(by)] for by in rule.selectors if str(by) in kept)
    if rule.spec.sources:
        return {"backlog_source": None, "backlog_source_seen": None, "backlog_sources": found}
    if not found:
        return {"backlog_sources": ()}
    return {"backlog_source": found[0].source, "backlog_source_seen": found[0].seen, "backlog_sources": ()}


def _sources(rule: Rule, seen: Observation) -> tuple[SourceBacklog, ...]:
    """Tell the backlog of each of several sources."""
    if not rule.spec.sources:
        return ()
    parts = seen.counted.of_each if seen.counted else itertools.repeat(None)
    return tuple(
        SourceBacklog(
            subject=by.subject,
            backlog=part.messages if isinstance(part, Backlog) else None,
            messages_per_replica=by.messages_per_replica,
            consumers=part.source.consumers if isinstance(part, Backlog) else (),
        )
        for by, part in zip(rule.selectors, parts, strict=False)
    )


def rates(backlog: Backlog, decision: Decision) -> WorkRates | None:
    """Say how fast the messages of a backlog come and are worked off, to three digits; None: unknown."""
    found = decision.memory.work.rates()
    said = WorkRates(
        arriving_per_second=_rounded(found.arriving),
        processing_per_second=_rounded(found.processing),
        processing_per_ready_replica=_rounded(found.per_replica),
        drain_seconds=_rounded(found.drain_seconds(backlog)),
        estimated=found.estimated,
    )
    return said if said.arriving_per_second is not None else None


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.3g}")


def invalid(finding: Finding, generation: int, previous: RuleStatus, now: float) -> RuleStatus:
    """Write the status of a rule that cannot be used at all."""
    findings = {"Ready": ("False", finding), "ScalingActive": ("False", finding)}
    conditions = merge(findings, previous, generation, now)
    zero = previous.condition(SCALED_TO_ZERO)
    if zero:  # once the rule is valid again, it must know whose zero it is
        conditions += (zero,)
    return replace(
        previous,
        observed_generation=generation,
        pending_messages=None,
        last_decision=None,
        rates=None,
        conditions=conditions,
    )


def merge(
    findings: dict[str, tuple[str, Finding]], previous: RuleStatus, generation: int, now: float
) -> tuple[Condition, ...]:
    """Make conditions of findings; one whose status stays the same keeps its transition time."""
    merged = []
    for kind, (status, finding) in findings.items():
        old = previous.condition(kind)
        merged.append(
            Condition(
                type=kind,
                status=status,
                reason=finding.reason,
                message=finding.message,
                last_transition_time=old.last_transition_time
                if old and old.status == status
                else rfc3339(now),
                observed_generation=generation,
            )
        )
    return tuple(merged)


def _conditions(facts: Facts) -> dict[str, tuple[str, Finding]]:
    able = facts.unable or Finding(
        Reason.READY_FOR_NEW_SCALE, f"The {facts.rule.target.kind} can be scaled by this rule"
    )
    doubt = _doubt(facts)
    obstacle = facts.unable or doubt
    off, inactive = switched_off(facts), inactivity(facts)
    scaling = Finding(Reason.SCALING, LATE if facts.late else IN_TIME)
    findings = {
        "Ready": (
            ("False", obstacle)
            if obstacle
            else (
                "True",
                off or _one_way(facts) or _deprived(facts) or scaling,
            )
        ),
        "AbleToScale": ("False" if facts.unable else "True", able),
        "ScalingActive": (
            ("False", inactive) if inactive else ("True", Finding(Reason.VALID_METRIC_FOUND, _source(facts)))
        ),
        "ScalingLimited": _limit(facts),
    }
    if facts.asleep or facts.rule.spec.goes_to_zero:
        findings[SCALED_TO_ZERO] = _zero(facts)
    if facts.events:
        listening = facts.events.reason is Reason.LISTENING
        findings["EventDriven"] = ("True" if listening else "False", facts.events)
    return findings


def _zero(facts: Facts) -> tuple[str, Finding]:
    spec = facts.rule.spec
    if facts.asleep:
        wakes = f"it wakes above {spec.activation.messages} messages"
        return "True", Finding(Reason.IDLE, f"This rule has scaled the Deployment to zero; {wakes}")
    for note in facts.decision.trace if facts.decision else ():
        if note.step is StepKind.IDLENESS and note.reason is Reason.CANNOT_SCALE_TO_ZERO:
            return "False", Finding(note.reason, note.text[:1].upper() + note.text[1:])
    return "False", Finding(Reason.AWAKE, "This rule has not scaled the Deployment to zero")


def _limit(facts: Facts) -> tuple[str, Finding]:
    if facts.admitted:
        return "True", facts.admitted.finding
    if facts.decision and facts.decision.limited_by:
        if facts.decision.limited_by.about.topic is Topic.DECISION:
            allowed = "The policies of spec.behavior do not allow at once what the backlog asks for"
            return "True", Finding(facts.decision.limited_by, allowed)
        beyond = "The backlog asks, or did in the stabilization window, for replicas beyond the bounds"
        return "True", Finding(facts.decision.limited_by, beyond)
    if facts.decision is None:
        why = facts.unable.reason if facts.unable else Reason.NOT_YET_READ
        return "Unknown", Finding(why, "The desired replicas are not yet known")
    return "False", Finding(Reason.DESIRED_WITHIN_RANGE, "The desired replicas are within the bounds")


def _source(facts: Facts) -> str:
    if facts.seen is None or isinstance(facts.seen.backlog, Unknown):
        return "The backlog was not read"
    source, wider = facts.seen.backlog.source, facts.seen.backlog.wider
    known = f"The backlog is known: {listed(source.consumers)} in account {source.account}"
    if wider:
        known += f". It takes {listed(wider)}, not only {facts.rule.subjects}: all of that counts"
    return known


def _deprived(facts: Facts) -> Finding | None:
    """Say what a rule that scales asks for and does not get: the credentials of spec.nats.secretRef."""
    nats = facts.rule.spec.nats
    asked = nats and nats.secret_ref
    refused = facts.events and facts.events.reason.about.topic is Topic.CREDENTIALS
    return facts.events if asked and refused else None


def moment(facts: Facts) -> float:
    """Say when the facts were seen, in seconds since the epoch."""
    return facts.seen.at if facts.seen else facts.now


def paused(facts: Facts) -> Pause | None:
    """Say how a person has paused the rule, if so."""
    return facts.rule.paused(moment(facts))


def _one_way(facts: Facts) -> Finding | None:
    """Say which direction a person has switched off, if it is one only."""
    pause = paused(facts)
    return pause.finding if pause and pause.reason.about.topic is Topic.ONE_WAY else None


def _paused(facts: Facts) -> tuple[str, Finding]:
    pause = paused(facts)
    if pause:
        return "True", pause.finding
    none, over = "No annotation pauses the rule", "The pause by annotation is over: remove the annotations"
    return "False", Finding(Reason.NOT_PAUSED, over if facts.rule.pause else none)


def switched_off(facts: Facts) -> Finding | None:
    """Say which person's wish keeps the rule from scaling, if one does."""
    if facts.decision and facts.decision.reason is Reason.SCALING_DISABLED:
        return Finding(facts.decision.reason, facts.decision.message)
    pause = paused(facts)
    if pause and pause.reason.about.topic is Topic.SWITCH:
        return pause.finding
    if facts.rule.dry_run:
        return Finding(
            Reason.DRY_RUN,
            f"This is a dry run ({facts.rule.dry_run}): decisions are recorded but not carried out",
        )
    return None


def inactivity(facts: Facts) -> Finding | None:
    """Say why the rule does not scale even if it could: a person's wish, or a doubt about the backlog."""
    return switched_off(facts) or _fallback(facts) or _doubt(facts)


def _fallback(facts: Facts) -> Finding | None:
    """Say that spec.fallback decides, if it does."""
    notes = facts.decision.trace if facts.decision else ()
    found = any(note.reason is Reason.FALLBACK for note in notes)
    return Finding(Reason.FALLBACK, facts.decision.message) if facts.decision and found else None


def _doubt(facts: Facts) -> Finding | None:
    """Say what is wrong with the backlog, if something is."""
    if facts.seen is None or facts.decision is None:
        return facts.unable or Finding(Reason.NOT_YET_READ, "The backlog has not been read yet")
    usable = facts.seen.usable
    if isinstance(usable, Backlog):
        return None
    unknown = isinstance(facts.seen.backlog, Unknown)
    kept = (
        "The backlog is unknown, so the replicas do not change" if unknown else "The replicas do not change"
    )
    if facts.seen.least:
        kept = "A part of the backlog is unknown, so the replicas may rise, but do not fall"
    if _fallback(facts):
        kept = "The backlog is unknown, so spec.fallback decides"
    return Finding(usable.reason, f"{kept}. {usable.message}")
