"""The metrics in a real Prometheus, and what the dashboard and the alerts make of them."""

import pathlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import pytest
import yaml

from natsscaler.demo.ports import free_port
from tests.support.prometheus import RULE_FILE, Prometheus, alert_rules, dashboard_queries
from tests.support.stage import LONG, Stage, listening

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs/observability.md"
CASES = pathlib.Path(__file__).parents[1] / "alerts.yaml"
embedded = pytest.mark.parametrize("kube_api", ["embedded"], indirect=True)
pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(180)]


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
async def prometheus(stage: Stage, metrics_port: int, tmp_path: pathlib.Path) -> AsyncIterator[Prometheus]:
    """A rule that a burst has scaled, and one for each thing that can be wrong with a rule; all scraped."""
    async with Prometheus(tmp_path, {"leader": metrics_port}) as server:
        for name in ("my-app", "unreachable", "polled"):
            await stage.create_deployment(name=name)
        nowhere = f"http://127.0.0.1:{free_port()}"
        await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
        await stage.apply_sample("unreachable", deploymentName="unreachable", natsMonitoringURL=nowhere)
        await stage.apply_sample("unable", deploymentName="missing")
        await stage.apply_sample("polled", deploymentName="polled", events=[])
        await stage.start("--host", "127.0.0.1", "--metrics-port", str(metrics_port))
        await listening(stage)
        replicas = partial(values, server, 'natsscaler_replicas{rule="my-app-scaling"}')
        await stage.becomes([1.0], replicas)
        await stage.publish(100)
        await stage.becomes([5.0], replicas)
        failures = 'count(rate(natsscaler_failures_total{operation="read"}[1m]))'
        await stage.becomes([1.0], partial(values, server, failures))
        yield server


async def values(server: Prometheus, expression: str) -> list[float]:
    return [value for _, value in await server.query(expression)]


@embedded
async def test_a_burst_and_every_fault_of_a_rule_are_seen_in_prometheus(
    stage: Stage, prometheus: Prometheus, metrics_port: int
) -> None:
    mine = f'{{namespace="{stage.namespace}",rule="my-app-scaling"}}'

    async def value(expression: str) -> float:
        (found,) = await values(prometheus, expression)
        return found

    assert await value(f"natsscaler_backlog_messages{mine}") == 100
    assert await value(f"natsscaler_desired_replicas{mine}") == 5
    assert await value(f"natsscaler_max_replicas{mine}") == 10
    assert 0 <= await value(f"time() - natsscaler_backlog_timestamp_seconds{mine}") < 60
    assert await value(f"sum(increase(natsscaler_scaling_actions_total{mine}[1m])) by (rule)") > 0
    assert await value("natsscaler_reaction_seconds_count") == 1
    assert await value("natsscaler_doorbell_deliveries_total") > 0
    assert await value("natsscaler_leader") == 1
    assert await value("natsscaler_rules") == 4
    assert await value("natsscaler_event_loop_lag_seconds_count") > 0
    states = [
        ("backlog_known", "unreachable", "MonitoringUnreachable"),
        ("able_to_scale", "unable", "TargetNotFound"),
        ("event_driven", "polled", "SwitchedOff"),
    ]
    for name, rule, reason in states:
        assert await value(f'natsscaler_{name}{{rule="{rule}",reason="{reason}"}}') == 0
    assert await prometheus.query('natsscaler_backlog_messages{rule="unreachable"}') == []
    assert await prometheus.scrape_errors() == []

    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{metrics_port}/metrics") as got,
    ):
        promtool("check", "metrics", stdin=await got.text())

    await stage.delete_rule()
    await stage.becomes([], partial(prometheus.query, '{__name__=~"natsscaler_.+",rule="my-app-scaling"}'))
    assert await prometheus.query('natsscaler_able_to_scale{rule="polled"}')


@embedded
async def test_every_panel_of_the_dashboard_shows_something_and_every_alert_can_be_evaluated(
    stage: Stage, prometheus: Prometheus
) -> None:
    queries = dashboard_queries()
    assert len(queries) > 30
    for query in queries:
        found = await prometheus.query(query.expression)
        assert found, f"{query.name} shows nothing"
        assert all(query.labels <= labels.keys() for labels, _ in found), query.name
    for expression in re.findall(r"^\| .+\? \| `(.+)` \|$", PAGE.read_text(), re.MULTILINE):
        await prometheus.query(expression)

    for rule in alert_rules():
        for name in re.findall(r"natsscaler_\w+", rule["expr"]):
            assert await prometheus.query(name), f"{rule['alert']} looks at {name}"

    async def states() -> dict[str, tuple[str, str]]:
        return await prometheus.alerts()

    pending = {"ScalingRuleBacklogUnknown", "ScalingRuleUnable", "ScalingRuleNotEventDriven"}
    expected = {
        rule["alert"]: ("ok", "pending" if rule["alert"] in pending else "inactive") for rule in alert_rules()
    }
    await stage.becomes(expected, states)


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: pathlib.Path) -> None:
    groups = yaml.safe_load(RULE_FILE.read_text())["spec"]
    (tmp_path / "with_annotations.yaml").write_text(yaml.safe_dump(groups))
    promtool("check", "rules", str(tmp_path / "with_annotations.yaml"))
    for group in groups["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # each case would have to repeat them
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    shutil.copy(CASES, tmp_path)
    promtool("test", "rules", str(tmp_path / CASES.name))


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases: list[dict[str, Any]] = [
        case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    for rule in alert_rules():
        mine = [case.get("exp_alerts") for case in cases if case["alertname"] == rule["alert"]]
        assert any(mine), f"{rule['alert']} never fires"
        assert not all(mine), f"{rule['alert']} always fires"


def test_alerts_say_which_rule_they_are_about_in_labels_that_they_have() -> None:
    fired = {
        case["alertname"]: set(alert["exp_labels"])
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        for alert in case.get("exp_alerts", ())
    }
    for rule in alert_rules():
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= fired[rule["alert"]], rule["alert"]


def test_prometheus_takes_the_configuration_of_the_local_stack() -> None:
    promtool("check", "config", str(ROOT / "hack/local-stack/prometheus.yml"))


def promtool(*arguments: str, stdin: str = "") -> None:
    done = subprocess.run(["promtool", *arguments], input=stdin, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
