"""The series of a rule, as both of the library's parsers read them."""

from collections.abc import Callable, Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import RuleKey
from natsscaler.observe.metrics import Metrics
from natsscaler.observe.rule_metrics import COUNTERS, GAUGES, STATES, RuleSeries
from tests.support import factories

KEY = RuleKey("shop", "orders")
LISTENING = Finding(Reason.LISTENING, "listening")
FORMATS = [
    pytest.param(parse_text, id="text"),
    pytest.param(parse_openmetrics, id="openmetrics"),
]
Parser = Callable[[str], Iterable[Metric]]


def evaluate(
    series: RuleSeries,
    backlog: int | Backlog | Unknown,
    *,
    replicas: int = 1,
    events: Finding | None = LISTENING,
    wall: float = 1_767_225_600.1239,
) -> None:
    rule, seen = factories.rule(), factories.seen(backlog, replicas)
    series.evaluated(rule, seen, decide(rule, seen, Memory(), 0.0), events, wall)
    series.unable(None)


def told(metrics: Metrics, parse: Parser = parse_text) -> dict[str, float]:
    """Read what is told of the rule; the labels that name it are left out."""
    found = {}
    for family in parse(metrics.write(openmetrics=parse is parse_openmetrics)[0].decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            if (labels.pop("namespace", ""), labels.pop("rule", "")) == KEY:
                name = "".join([sample.name.removeprefix("natsscaler_"), *(f" {v}" for v in labels.values())])
                found[name] = sample.value
    return found


@pytest.mark.parametrize("parse", FORMATS)
def test_a_rule_that_scales(parse: Parser) -> None:
    metrics = Metrics()
    series = metrics.follow(KEY)
    evaluate(series, 60)
    series.scaled(1, 2, Reason.BACKLOG_ABOVE_THRESHOLD)
    evaluate(series, 60, replicas=2)
    assert told(metrics, parse) == {
        "backlog_messages": 60,
        "backlog_timestamp_seconds": 1_767_225_600.124,
        "replicas": 2,
        "desired_replicas": 3,
        "min_replicas": 1,
        "max_replicas": 10,
        "scale_up_threshold_messages": 50,
        "scale_down_threshold_messages": 10,
        "backlog_known ValidMetricFound": 1,
        "able_to_scale ReadyForNewScale": 1,
        "event_driven Listening": 1,
        "paused NotPaused": 0,
        "decisions_total BacklogAboveThreshold": 2,
        "scaling_actions_total up BacklogAboveThreshold": 1,
        "scaling_actions_total down BacklogBelowThreshold": 0,
    }


@pytest.mark.parametrize("parse", FORMATS)
def test_types_and_units(parse: Parser) -> None:
    families = {
        family.name: family
        for family in parse(Metrics().write(openmetrics=parse is parse_openmetrics)[0].decode())
    }
    for name in COUNTERS:
        assert families[f"natsscaler_{name}"].type == "counter"
    for name in [*GAUGES, *STATES]:
        assert families[f"natsscaler_{name}"].type == "gauge"
    if parse is parse_openmetrics:
        assert families["natsscaler_backlog_messages"].unit == "messages"
        assert families["natsscaler_backlog_timestamp_seconds"].unit == "seconds"
        assert families["natsscaler_reaction_seconds"].unit == "seconds"


def test_an_unknown_backlog_is_no_number() -> None:
    metrics = Metrics()
    series = metrics.follow(KEY)
    evaluate(series, 60, wall=1000)
    evaluate(series, Unknown(Reason.MONITORING_TIMEOUT, "no answer"), wall=2000)
    found = told(metrics)
    assert "backlog_messages" not in found
    assert found["backlog_known MonitoringTimeout"] == 0
    assert "backlog_known ValidMetricFound" not in found
    assert found["backlog_timestamp_seconds"] == 1000
    assert found["replicas"] == found["desired_replicas"] == 1


def test_a_rule_that_cannot_scale_its_deployment() -> None:
    metrics = Metrics()
    series = metrics.follow(KEY)
    evaluate(series, 60)
    series.evaluated(factories.rule(), None, None, LISTENING, 2000)
    series.unable(Finding(Reason.TARGET_NOT_FOUND, "there is no Deployment"))
    found = told(metrics)
    assert found["able_to_scale TargetNotFound"] == 0
    assert found.keys().isdisjoint({"replicas", "desired_replicas", "backlog_messages"})
    assert not any(name.startswith("backlog_known") for name in found)


def test_a_rule_that_is_only_polled() -> None:
    metrics = Metrics()
    series = metrics.follow(KEY)
    evaluate(series, 60, events=None)
    assert not any(name.startswith("event_driven") for name in told(metrics)), "it is not yet known"
    evaluate(series, 60, events=Finding(Reason.NOT_CONNECTED, "not connected"))
    assert told(metrics)["event_driven NotConnected"] == 0


def test_nothing_is_told_before_the_first_evaluation() -> None:
    metrics = Metrics()
    metrics.follow(KEY)
    assert told(metrics) == {}


def test_a_rule_that_is_gone_is_not_told_of_whatever_still_happens_to_it() -> None:
    metrics = Metrics()
    series = metrics.follow(KEY)
    evaluate(series, 60)
    metrics.forget(KEY)
    evaluate(series, 60)
    series.scaled(1, 2, Reason.BACKLOG_ABOVE_THRESHOLD)
    assert told(metrics) == {}


def test_a_rule_of_the_same_name_begins_anew() -> None:
    metrics = Metrics()
    evaluate(metrics.follow(KEY), 60)
    series = metrics.follow(KEY)
    evaluate(series, 0)
    assert {name for name in told(metrics) if "decisions" in name} == {"decisions_total AtMinReplicas"}
