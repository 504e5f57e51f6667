"""`natsscaler simulate`: what a rule would do, told before it does anything. It asks no cluster."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from natsscaler.commands.simulated_page import page
from natsscaler.commands.simulating_arguments import simulate_parser
from natsscaler.commands.traces import from_file, from_operator, from_prometheus, rule_key
from natsscaler.core.errors import InvalidRule, SettingsError
from natsscaler.core.rule import KIND, Rule, parse
from natsscaler.settings import parse as parse_settings
from natsscaler.simulate import keda
from natsscaler.simulate.arrivals import DAY, HOUR, Arrivals, pattern
from natsscaler.simulate.outcome import Simulated
from natsscaler.simulate.plant import Speed
from natsscaler.simulate.recording import Recording, arrivals_of
from natsscaler.simulate.report import Document, document, limit, table
from natsscaler.simulate.run import UNKNOWN_TO_IT, simulate

KEDA = "keda"
SCALED_OBJECT = "ScaledObject"
PEAK = 0.6
"""The highest rate of a pattern: what this share of maxReplicas can work off."""


class Told(NamedTuple):
    """What the command prints, and its exit status."""

    text: str
    failures: tuple[str, ...]


def run_simulation(program: str, arguments: Sequence[str], width: int) -> Told:
    """Simulate what the arguments name. Raises SettingsError."""
    options = simulate_parser(program).parse_args(arguments)
    rule = _rule(options.rule)
    arrivals, rate, replicas = _arrivals(options, rule)
    speed = Speed(rate, options.startup_seconds, options.limit_rate)
    limits = [limit(text) for text in options.fail_if]
    results = [simulate(rule, arrivals, speed, replicas)]
    results += [_compared(what, rule, arrivals, speed, replicas) for what in options.compare]
    failures = tuple(filter(None, (one.exceeded(results[0].figures) for one in limits)))
    made = Document(
        start=arrivals.start,
        seconds=arrivals.seconds,
        replica_rate=rate,
        results=tuple(results),
        failed=failures,
        assumptions=UNKNOWN_TO_IT,
    )
    if options.html:
        options.html.write_text(page(made))
    return Told(document(made) if options.output == "json" else table(made, width), failures)


def _arrivals(options: argparse.Namespace, rule: Rule) -> tuple[Arrivals, float, int | None]:
    """Give the arrivals, the rate of a replica, and the replicas at the start (None: as usual)."""
    found: Arrivals | Recording | None = None
    key = rule_key(options.key) if options.key else rule.key
    if options.trace:
        found = from_file(options.trace)
    elif options.from_operator:
        token = parse_settings([]).activity_token
        found = from_operator(options.from_operator, key, token, options.range or HOUR)
    elif options.from_prometheus:
        found = from_prometheus(options.from_prometheus, key, options.range or HOUR)
    measured = found.replica_rate if isinstance(found, Recording) else None
    rate: float = options.replica_rate or measured or 0.0
    if not rate:
        raise SettingsError(
            "--replica-rate is needed: how many messages a replica works off per second is unknown"
        )
    if isinstance(found, Recording):
        known = next((point.replicas for point in found.points if point.replicas is not None), None)
        return arrivals_of(found, rate), rate, known
    if found is None:
        seconds = options.range or (DAY if options.pattern == "daily" else HOUR)
        peak = options.peak_rate or PEAK * rule.spec.max_replicas * rate
        found = pattern(options.pattern, peak, seconds)
    return found, rate, None


def _compared(what: str, rule: Rule, arrivals: Arrivals, speed: Speed, replicas: int | None) -> Simulated:
    start = max(1, rule.spec.min_replicas) if replicas is None else replicas
    threshold = rule.spec.scale_up_threshold
    if what == KEDA:
        return keda.simulate_keda(keda.of_rule(rule), arrivals, speed, start, threshold)
    found = _manifest(Path(what))
    if found.get("kind") == SCALED_OBJECT:
        return keda.simulate_keda(keda.read(found), arrivals, speed, start, threshold)
    other = simulate(_parsed(Path(what), found), arrivals, speed, replicas)
    return type(other)(name=what, figures=other.figures, steps=other.steps, series=other.series)


def _rule(path: Path) -> Rule:
    return _parsed(path, _manifest(path))


def _manifest(path: Path) -> Mapping[str, Any]:
    """Read the first ScalingRule or ScaledObject of a file. Raises SettingsError."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    kinds = (KIND, SCALED_OBJECT)
    found = [one for one in documents if isinstance(one, dict) and one.get("kind") in kinds]
    if not found:
        raise SettingsError(f"{path} has no {KIND}")
    manifest: Mapping[str, Any] = found[0]
    return manifest


def _parsed(path: Path, manifest: Mapping[str, Any]) -> Rule:
    metadata = {"namespace": "default", "name": path.stem, "uid": "", "creationTimestamp": ""}
    try:
        rule = parse({**manifest, "metadata": {**metadata, **(manifest.get("metadata") or {})}})
    except InvalidRule as error:
        raise SettingsError(f"{path}: {error.message}") from error
    if len(rule.selectors) > 1:
        raise SettingsError(f"{path}: several sources cannot be simulated. Leave one of spec.sources")
    return rule
