"""Where a simulation's arrivals come from: a file, the operator's API, or Prometheus."""

import statistics
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from natsscaler.commands.options import split
from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import RuleKey
from natsscaler.simulate.arrivals import Arrivals, read_csv
from natsscaler.simulate.recording import Recorded, Recording, read_recording

TIMEOUT_SECONDS = 30.0
MOST_SAMPLES = 10_000
"""Of one series: Prometheus gives 11,000 at most."""
SERIES = {
    "backlog": "natsscaler_backlog_messages",
    "replicas": "natsscaler_replicas",
    "arriving": "natsscaler_arriving_messages_per_second",
    "rate": "natsscaler_replica_processed_messages_per_second",
}


def rule_key(text: str) -> RuleKey:
    """Read NAMESPACE/NAME. Raises SettingsError."""
    namespace, name = split(text, None)
    if namespace is None:
        raise SettingsError(f"{text!r} is not NAMESPACE/NAME")
    return RuleKey(namespace, name)


def from_file(path: Path) -> Arrivals | Recording:
    """Read a trace. Raises SettingsError."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--trace {path} cannot be read: {error}") from error
    try:
        return read_recording(text) if text.lstrip()[:1] == "{" else read_csv(text.splitlines())
    except SettingsError as error:
        raise SettingsError(f"--trace {path}: {error}") from error


def from_operator(url: str, key: RuleKey, token: str, seconds: float) -> Recording:
    """Ask the operator's API for the past of a rule, of so many seconds at most. Raises SettingsError."""
    place = f"{url.rstrip('/')}/api/rules/{quote(key.namespace)}/{quote(key.name)}"
    answer = _get(place, {}, token)
    rule = answer["rule"]
    rates = rule.get("rates") or {}
    history = rule["history"]
    if not history:
        raise SettingsError(f"{place} knows no past of {key} yet: try again once it was evaluated")
    now = max(_since_epoch(answer["timestamp"]), history[-1][0])
    points = [Recorded(float(at), backlog, replicas) for at, backlog, replicas, *_ in history]
    points.append(Recorded(float(now), points[-1].backlog, points[-1].replicas))
    return Recording(
        namespace=key.namespace,
        name=key.name,
        replica_rate=rates.get("processingPerReadyReplica"),
        points=_last(points, now - seconds),
    )


def _last(points: list[Recorded], since: float) -> tuple[Recorded, ...]:
    """Keep what holds from a time on."""
    kept = [point for point in points if point.time > since]
    before = [point for point in points if point.time <= since]
    if before:
        kept.insert(0, Recorded(since, before[-1].backlog, before[-1].replicas))
    unique = {point.time: point for point in kept}
    return tuple(unique.values())


def _since_epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def from_prometheus(url: str, key: RuleKey, seconds: float) -> Recording:
    """Ask Prometheus for natsscaler's own metrics of a rule. Raises SettingsError."""
    end = time.time()
    step = max(5, round(seconds / MOST_SAMPLES))
    found: dict[str, dict[float, float]] = {}
    for what, metric in SERIES.items():
        query = f'max({metric}{{namespace="{key.namespace}",rule="{key.name}"}})'
        asked = {"query": query, "start": f"{end - seconds:.0f}", "end": f"{end:.0f}", "step": str(step)}
        answer = _get(f"{url.rstrip('/')}/api/v1/query_range", asked, "")
        result = answer["data"]["result"]
        values = result[0]["values"] if result else []
        found[what] = {float(at): float(value) for at, value in values}
    if not found["backlog"]:
        raise SettingsError(f"{url} has no natsscaler_backlog_messages of {key}: check --rule and --range")
    return Recording(
        namespace=key.namespace,
        name=key.name,
        replica_rate=statistics.median(found["rate"].values()) if found["rate"] else None,
        points=tuple(
            Recorded(at, round(backlog), round(found["replicas"].get(at, 0)), found["arriving"].get(at))
            for at, backlog in sorted(found["backlog"].items())
        ),
    )


def _get(url: str, parameters: Mapping[str, str], token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(url, params=parameters, headers=headers, timeout=TIMEOUT_SECONDS)
        if answer.is_error:
            raise SettingsError(f"{url} answered {answer.status_code}: {answer.text[:200]}")
        return answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise SettingsError(f"{url} gives no answer: {error}") from error
