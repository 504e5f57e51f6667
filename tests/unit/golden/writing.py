"""Writes a situation, and all that natsscaler makes of it, as a few lines that people can compare."""

import json
import math
import pathlib
from collections.abc import Iterator
from itertools import groupby

from natsscaler.core.conditions import compose
from natsscaler.core.decision.pipeline import messages_until_change
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.explain.headline import headline
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.rule import Rule
from natsscaler.core.status import RuleStatus
from tests.support.factories import NOW
from tests.unit.golden.situations import Situation, situations
from tests.unit.golden.trusting import reads

FOLDER = pathlib.Path(__file__).parent
HEAD = "# Made by `python -m tests.unit.golden`. Times are in seconds from the moment of the decision.\n"
WELL = {
    "Ready": "True, Scaling, The rule is evaluated and its decisions are carried out",
    "AbleToScale": "True, ReadyForNewScale, The Deployment can be scaled by this rule",
    "ScalingActive": "True, ValidMetricFound, The backlog is known: ORDERS/workers in account $G",
    "ScalingLimited": "False, DesiredWithinRange, The desired replicas are within the bounds",
    "EventDriven": "True, Listening, Listening on NATS at nats:4222",
}
"""Conditions that are not written."""


def files() -> dict[str, str]:
    """Make the files, by name: one for each kind of situation."""
    made = {
        f"{kind}.yaml": HEAD + "".join(f"\n{one.name}:\n{_lines(_decided(one))}" for one in several)
        for kind, several in groupby(situations(), key=lambda one: one.kind)
    }
    told = (f"\n{name}:\n{_lines([('read', given), ('then', outcome)])}" for name, given, outcome in reads())
    return {**made, "trust.yaml": HEAD + "".join(told)}


def _decided(one: Situation) -> Iterator[tuple[str, str]]:
    facts = one.facts
    yield "rule", _rule(facts.rule)
    yield "before", _memory(one.memory)
    message = ""
    if facts.seen and facts.decision:
        seen, decision = facts.seen, facts.decision
        message = decision.message
        yield "seen", _seen(seen)
        yield "replicas", f"{seen.replicas} -> {decision.desired}, recommended {decision.recommendation}"
        yield "reason", decision.reason
        yield "message", message
        yield "held by", decision.held[-1].text if decision.held else ""
        yield "limited by", decision.limited_by or ""
        yield "messages until change", str(messages_until_change(facts.rule, seen) or "")
        yield "after", _memory(decision.memory)
    yield "next change", "" if facts.next_change is None else _in(facts.next_change)
    status = compose(facts, RuleStatus())
    said = headline(facts.rule.key, facts.rule, status)
    yield "headline", f"{said.state}, {said.title}" + (f": {said.text}" if said.text != message else "")
    for condition in status.conditions:
        if condition.type not in WELL:
            continue  # Paused says what ScalingActive does
        told = f"{condition.status}, {condition.reason}, {condition.message}"
        yield condition.type, "" if told == WELL[condition.type] else told


def _lines(told: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    """Write what there is to say; what is left out is none, or as it is when all is well."""
    return "".join(f"  {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in told if value)


def _rule(rule: Rule) -> str:
    spec = rule.spec
    bounds = f"{spec.min_replicas}-{spec.max_replicas} replicas"
    thresholds = f"thresholds {spec.scale_down_threshold} and {spec.scale_up_threshold}"
    pace = f"every {spec.poll_interval_seconds} s"
    if spec.messages_per_replica:
        window = spec.behavior.scale_down.stabilization_window_seconds
        pace = f"{spec.messages_per_replica} messages per replica, window {window} s"
    switches = [name for name, on in (("paused", rule.paused(NOW)), ("dryRun", spec.dry_run)) if on]
    return ", ".join([bounds, thresholds, pace, *switches])


def _seen(seen: Observation) -> str:
    if isinstance(seen.backlog, Unknown):
        return f"{seen.replicas} replicas, unknown: {seen.backlog.reason}"
    paused = ", paused in NATS" if seen.backlog.paused else ""
    return f"{seen.replicas} replicas, {seen.backlog.messages} messages{paused}"


def _memory(memory: Memory) -> str:
    times = (("up", memory.last_up), ("down", memory.last_down), ("beyond max", memory.last_beyond_max))
    told = [f"{name} {_in(time)}" for name, time in times if time > -math.inf]
    told += [f"wanted {want.replicas} {_in(want.time)}" for want in memory.wants]
    return "; ".join(told)


def _in(time: float) -> str:
    return f"{round(time - NOW, 3):+g} s"
