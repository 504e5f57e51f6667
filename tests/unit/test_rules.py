"""What a user may write, and what the refusal of anything else says."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from natsscaler.core.access import Nats
from natsscaler.core.errors import EXCERPT_LENGTH, InvalidRule
from natsscaler.core.pause import PAUSED_ANNOTATION
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import (
    EventSource,
    RuleKey,
    Target,
    parse,
)
from natsscaler.core.selector import BacklogMode
from tests.support.factories import SAMPLE_SPEC, body, rule

SAMPLE = Path(__file__).parents[2] / "config/samples/scaling_v1_scalingrule.yaml"
INT32_MAX = 2**31 - 1


def refusal(changed: dict[str, Any]) -> str:
    with pytest.raises(InvalidRule) as caught:
        parse(changed)
    assert caught.value.reason is Reason.INVALID_RULE
    assert str(caught.value) == caught.value.message
    return caught.value.message


def without(field: str) -> dict[str, Any]:
    made = body()
    del made["spec"][field]
    return made


def test_the_sample_of_the_contract_is_understood() -> None:
    sample = yaml.safe_load(SAMPLE.read_text())
    assert sample["spec"] == SAMPLE_SPEC
    sample["metadata"] |= {"uid": "6f1c", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
    parsed = parse(sample)
    assert parsed.key == RuleKey("default", "my-app-scaling")
    assert parsed.target == Target("default", "my-app")
    assert (parsed.uid, parsed.generation, parsed.created) == ("6f1c", 1, "2026-01-01T00:00:00Z")
    spec = parsed.spec
    assert (spec.min_replicas, spec.max_replicas) == (1, 10)
    assert (spec.scale_up_threshold, spec.scale_down_threshold) == (50, 10)
    assert spec.poll_interval_seconds == 30
    assert spec.nats_monitoring_url == "http://nats:8222"
    assert spec.subject == "orders.processing"


def test_everything_beyond_the_contract_is_optional_and_defaults_to_it() -> None:
    parsed = rule()
    spec = parsed.spec
    assert parsed.pause is None
    assert (spec.account, spec.stream, spec.consumer) == (None, None, None)
    assert spec.backlog is BacklogMode.PENDING_AND_UNACKNOWLEDGED
    assert spec.messages_per_replica is None
    assert spec.behavior.scale_down.stabilization_window_seconds == 300
    assert spec.events == (EventSource.ADVISORIES, EventSource.DOORBELL)
    assert spec.dry_run is False
    assert spec.nats is None


def test_every_optional_field_is_understood() -> None:
    spec = rule(
        account="A",
        stream="ORDERS",
        consumer="workers",
        backlog="Pending",
        messagesPerReplica=20,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 60}},
        events=["Advisories"],
        dryRun=True,
        nats={"url": "tls://nats:4222"},
    ).spec
    assert (spec.account, spec.stream, spec.consumer) == ("A", "ORDERS", "workers")
    assert spec.backlog is BacklogMode.PENDING
    assert spec.messages_per_replica == 20
    assert spec.behavior.scale_down.stabilization_window_seconds == 60
    assert spec.events == (EventSource.ADVISORIES,)
    assert spec.dry_run is True
    assert spec.nats == Nats(url="tls://nats:4222")


@pytest.mark.parametrize("field", sorted(SAMPLE_SPEC))
def test_a_missing_field_is_named(field: str) -> None:
    assert field in refusal(without(field))


def test_a_rule_without_spec_is_refused() -> None:
    made = body()
    del made["spec"]
    assert "namespace" in refusal(made)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param({"idleSeconds": 0}, "spec.idleSeconds", id="idle-of-zero"),
        pytest.param({"activation": {"messages": -1}}, "spec.activation.messages", id="activation"),
        pytest.param({"activation": {"maxAgeSeconds": 0}}, "spec.activation.maxAgeSeconds", id="age"),
        pytest.param({"minReplicas": -1}, "spec.minReplicas", id="no-negative-minimum"),
        pytest.param({"minReplicas": INT32_MAX + 1}, "spec.minReplicas", id="minimum-is-int32"),
        pytest.param({"minReplicas": "1"}, "spec.minReplicas", id="minimum-is-a-number"),
        pytest.param({"minReplicas": 1.5}, "spec.minReplicas", id="minimum-is-a-whole-number"),
        pytest.param({"minReplicas": True}, "spec.minReplicas", id="true-is-no-number"),
        pytest.param({"minReplicas": None}, "spec.minReplicas", id="null-is-no-number"),
        pytest.param({"maxReplicas": 0}, "spec.maxReplicas", id="no-maximum-of-zero"),
        pytest.param({"maxReplicas": INT32_MAX + 1}, "spec.maxReplicas", id="maximum-is-int32"),
        pytest.param({"scaleUpThreshold": INT32_MAX + 1}, "spec.scaleUpThreshold", id="up-is-int32"),
        pytest.param({"scaleUpThreshold": -1}, "spec.scaleUpThreshold", id="up-is-negative"),
        pytest.param({"scaleDownThreshold": INT32_MAX + 1}, "spec.scaleDownThreshold", id="down-is-int32"),
        pytest.param({"scaleDownThreshold": -1}, "spec.scaleDownThreshold", id="down-is-negative"),
        pytest.param({"pollIntervalSeconds": 0}, "spec.pollIntervalSeconds", id="interval-of-zero"),
        pytest.param({"deploymentName": ""}, "spec.deploymentName", id="empty-deployment"),
        pytest.param({"deploymentName": "My_App"}, "spec.deploymentName", id="deployment-is-a-dns-name"),
        pytest.param({"deploymentName": "a" * 254}, "spec.deploymentName", id="deployment-length"),
        pytest.param({"deploymentName": "app\n"}, "spec.deploymentName", id="deployment-line-break"),
        pytest.param({"namespace": "a.b"}, "spec.namespace", id="namespace-has-no-dots"),
        pytest.param({"namespace": "-a"}, "spec.namespace", id="namespace-starts-with-a-letter"),
        pytest.param({"namespace": "a" * 64}, "spec.namespace", id="namespace-length"),
        pytest.param({"namespace": "default\n"}, "spec.namespace", id="namespace-line-break"),
        pytest.param({"natsMonitoringURL": "nats:8222"}, "spec.natsMonitoringURL", id="url-scheme"),
        pytest.param({"natsMonitoringURL": "ftp://nats"}, "spec.natsMonitoringURL", id="url-other-scheme"),
        pytest.param({"natsMonitoringURL": "http://u:p@nats"}, "spec.natsMonitoringURL", id="url-user"),
        pytest.param({"natsMonitoringURL": "http://nats/jsz?acc=A"}, "spec.natsMonitoringURL", id="query"),
        pytest.param({"natsMonitoringURL": "http://nats/#a"}, "spec.natsMonitoringURL", id="url-fragment"),
        pytest.param({"natsMonitoringURL": "http://"}, "spec.natsMonitoringURL", id="url-without-host"),
        pytest.param({"natsMonitoringURL": "http://nats\n"}, "spec.natsMonitoringURL", id="url-break"),
        pytest.param(
            {"natsMonitoringURL": "http://" + "a" * 2048}, "spec.natsMonitoringURL", id="url-length"
        ),
        pytest.param({"subject": "orders..a"}, "spec.subject", id="subject-empty-token"),
        pytest.param({"subject": "orders.>.a"}, "spec.subject", id="subject-tail-in-the-middle"),
        pytest.param({"subject": "orders a"}, "spec.subject", id="subject-white-space"),
        pytest.param({"subject": "orders\n"}, "spec.subject", id="subject-line-break"),
        pytest.param({"subject": "a" * 1025}, "spec.subject", id="subject-length"),
        pytest.param({"subject": 5}, "spec.subject", id="subject-is-text"),
        pytest.param({"stream": "A.B"}, "spec.stream", id="stream-without-dots"),
        pytest.param({"stream": ""}, "spec.stream", id="empty-stream"),
        pytest.param({"stream": "A\n"}, "spec.stream", id="stream-line-break"),
        pytest.param({"stream": "a" * 256}, "spec.stream", id="stream-length"),
        pytest.param({"consumer": "a/b"}, "spec.consumer", id="consumer-without-slashes"),
        pytest.param({"consumer": "a\\b"}, "spec.consumer", id="consumer-without-backslashes"),
        pytest.param({"consumer": "a*"}, "spec.consumer", id="consumer-without-wildcards"),
        pytest.param({"consumer": "a\n"}, "spec.consumer", id="consumer-line-break"),
        pytest.param({"account": ""}, "spec.account", id="empty-account"),
        pytest.param({"account": "a" * 256}, "spec.account", id="account-length"),
        pytest.param({"backlog": "All"}, "spec.backlog", id="backlog-word"),
        pytest.param({"messagesPerReplica": 0}, "spec.messagesPerReplica", id="messages-of-zero"),
        pytest.param({"messagesPerReplica": INT32_MAX + 1}, "spec.messagesPerReplica", id="messages-int32"),
        pytest.param(
            {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}},
            "spec.behavior.scaleDown.stabilizationWindowSeconds",
            id="window-too-long",
        ),
        pytest.param(
            {"behavior": {"scaleDown": {"stabilizationWindowSeconds": -1}}},
            "spec.behavior.scaleDown.stabilizationWindowSeconds",
            id="window-negative",
        ),
        pytest.param(
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 60}]}}},
            "spec.behavior.scaleUp.policies[0].value",
            id="policy-value",
        ),
        pytest.param(
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 1801}]}}},
            "spec.behavior.scaleUp.policies[0].periodSeconds",
            id="policy-period",
        ),
        pytest.param(
            {"behavior": {"scaleDown": {"policies": [{"type": "Pod", "value": 4, "periodSeconds": 60}]}}},
            "spec.behavior.scaleDown.policies[0].type",
            id="policy-type",
        ),
        pytest.param(
            {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 4}]}}},
            "periodSeconds",
            id="policy-without-period",
        ),
        pytest.param(
            {
                "behavior": {
                    "scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}] * 11},
                }
            },
            "spec.behavior.scaleUp.policies",
            id="many-policies",
        ),
        pytest.param(
            {"behavior": {"scaleUp": {"selectPolicy": "None"}}}, "selectPolicy", id="select-policy-word"
        ),
        pytest.param(
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}},
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
            id="window-up",
        ),
        pytest.param(
            {"messagesPerReplica": 10, "behavior": {"scaleUp": {"tolerance": 1.1}}},
            "spec.behavior.scaleUp.tolerance",
            id="tolerance",
        ),
        pytest.param(
            {"behavior": {"scaleDown": {"tolerance": 0.1}}},
            "spec.behavior.scaleDown.tolerance needs messagesPerReplica",
            id="tolerance-alone",
        ),
        pytest.param({"events": ["Advisory"]}, "spec.events", id="events-word"),
        pytest.param({"events": "Doorbell"}, "spec.events", id="events-are-a-list"),
        pytest.param({"events": ["Doorbell", "Doorbell"]}, "spec.events", id="events-are-a-set"),
        pytest.param({"dryRun": "true"}, "spec.dryRun", id="dry-run-is-a-boolean"),
        pytest.param({"nats": {"secretRef": {}}}, "name", id="secret-without-name"),
        pytest.param(
            {"monitoring": {"secretRef": {"name": "A"}}}, "spec.monitoring.secretRef", id="secret-name"
        ),
        pytest.param({"natsMonitoringURL": "http://a,b"}, "spec.natsMonitoringURL", id="url-list"),
        pytest.param({"natsMonitoringURL": "http://nats:8222/jsz"}, "leave out /jsz", id="url-jsz"),
        pytest.param({"natsMonitoringURL": "http://nats/path/varz/"}, "leave out /jsz", id="url-varz"),
        pytest.param({"nats": {"url": "http://nats:4222"}}, "spec.nats.url", id="nats-url-scheme"),
        pytest.param({"nats": {"url": "nats://a,"}}, "spec.nats.url", id="nats-url-list-end"),
        pytest.param({"nats": {"url": "nats://a,http://b"}}, "spec.nats.url", id="nats-url-list-scheme"),
        pytest.param({"nats": {"url": "nats://a:99999"}}, "spec.nats.url", id="nats-url-port"),
        pytest.param({"nats": {"url": "nats://a,nats://u:p@b"}}, "spec.nats.url", id="nats-url-list-user"),
        pytest.param({"nats": {"url": "nats://u:p@nats:4222"}}, "spec.nats.url", id="nats-url-credentials"),
        pytest.param({"nats": {"url": "nats://nats:4222\n"}}, "spec.nats.url", id="nats-url-line-break"),
        pytest.param({"minReplica": 1}, "minReplica", id="unknown-field"),
    ],
)
def test_a_bound_or_pattern_names_its_field(spec: dict[str, Any], named: str) -> None:
    message = refusal(body(**spec))
    assert named in message
    assert "$" not in named
    assert "\n" not in message
    assert len(message) <= EXCERPT_LENGTH


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"minReplicas": INT32_MAX, "maxReplicas": INT32_MAX}, id="largest-replicas"),
        pytest.param({"minReplicas": 10}, id="minimum-is-maximum"),
        pytest.param({"scaleDownThreshold": 50}, id="thresholds-equal"),
        pytest.param({"scaleUpThreshold": INT32_MAX, "scaleDownThreshold": 0}, id="widest-thresholds"),
        pytest.param({"pollIntervalSeconds": 1}, id="shortest-interval"),
        pytest.param({"deploymentName": "a.b-c.1"}, id="deployment-with-dots"),
        pytest.param({"natsMonitoringURL": "https://nats.default.svc:8222/"}, id="url-with-slash"),
        pytest.param({"natsMonitoringURL": "http://[::1]:8222"}, id="url-with-ipv6"),
        pytest.param({"natsMonitoringURL": "http://proxy/nats/mon"}, id="url-with-path"),
        pytest.param({"natsMonitoringURL": "http://proxy/jszz"}, id="url-with-path-of-another-name"),
        pytest.param({"natsMonitoringURL": "https://nats.svc.cluster.local.:8222"}, id="url-with-final-dot"),
        pytest.param({"nats": {"url": "nats://a:4222,nats://b:4222"}}, id="nats-url-list"),
        pytest.param({"nats": {"url": " tls://a.svc. , b:4222,[::1]:4222/"}}, id="nats-url-as-people-write"),
        pytest.param({"subject": "orders.*.>"}, id="subject-with-wildcards"),
        pytest.param({"behavior": {}}, id="empty-behavior"),
        pytest.param({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}, id="window-of-zero"),
        pytest.param({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3600}}}, id="longest-window"),
        pytest.param({"events": []}, id="no-events"),
        pytest.param({"events": ["Doorbell", "Advisories"]}, id="events-in-any-order"),
        pytest.param({"account": "ACCOUNT WITH SPACES"}, id="account-is-any-text"),
    ],
)
def test_a_value_on_the_bound_is_accepted(spec: dict[str, Any]) -> None:
    rule(**spec)


def test_a_minimum_above_the_maximum_is_refused_naming_both() -> None:
    message = refusal(body(minReplicas=11))
    assert "spec.minReplicas (11)" in message
    assert "spec.maxReplicas (10)" in message


def test_a_down_threshold_above_the_up_threshold_is_refused_naming_both() -> None:
    message = refusal(body(scaleDownThreshold=51))
    assert "spec.scaleDownThreshold (51)" in message
    assert "spec.scaleUpThreshold (50)" in message


def test_objects_that_differ_in_what_others_write_make_equal_rules() -> None:
    before = body()
    after = copy.deepcopy(before)
    after["metadata"] |= {"resourceVersion": "101", "managedFields": [{}], "annotations": {"other": "x"}}
    after["status"] = {"currentReplicas": 3, "conditions": []}
    assert parse(before) == parse(after)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"spec": {**SAMPLE_SPEC, "maxReplicas": 11}}, id="spec"),
        pytest.param({"metadata": {**body()["metadata"], "uid": "other"}}, id="created-anew"),
        pytest.param(
            {"metadata": {**body()["metadata"], "annotations": {PAUSED_ANNOTATION: "true"}}}, id="paused"
        ),
    ],
)
def test_objects_that_differ_in_what_a_user_wants_make_different_rules(changed: dict[str, Any]) -> None:
    assert parse(body()) != parse({**body(), **changed})


def test_a_selector_changes_with_each_word_that_a_backlog_is_looked_for_by() -> None:
    words: list[dict[str, Any]] = [{}, {"subject": "a"}, {"account": "a"}, {"stream": "a"}, {"consumer": "a"}]
    assert len({str(rule(**word).selectors[0]) for word in words}) == len(words)
    assert str(rule(maxReplicas=3, backlog="Pending").selectors[0]) == str(rule().selectors[0])


def test_defaults_written_out_change_nothing() -> None:
    written_out: dict[str, Any] = {
        "backlog": "PendingAndUnacknowledged",
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        "events": ["Advisories", "Doorbell"],
        "dryRun": False,
    }
    assert rule(**written_out) == rule()


def test_a_key_and_a_target_are_written_as_kubectl_users_do() -> None:
    assert str(rule().key) == "default/my-app-scaling"
    assert str(rule().target) == "default/my-app"
