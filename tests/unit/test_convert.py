"""`natsscaler convert`: ScaledObjects in, ScalingRules and comments out.

`tests/unit/keda` has manifests, and beside each what becomes of it: `python -m tests.unit.keda` writes that.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from natsscaler.core.keda.manifests import convert_manifests
from natsscaler.core.rule import KIND, parse
from tests.unit.keda import INPUTS, converted, expected

SERVER = {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
MINIMAL = yaml.safe_load((pathlib.Path(__file__).parent / "keda/minimal.yaml").read_text())


def changed(change: Callable[[Any], object]) -> str:
    """Write the smallest ScaledObject that has a nats-jetstream trigger, changed."""
    body = yaml.safe_load(yaml.safe_dump(MINIMAL))
    change(body)
    return yaml.safe_dump(body)


@pytest.mark.parametrize("name", INPUTS)
def test_what_becomes_of_a_manifest(name: str) -> None:
    assert converted(name) == expected(name).read_text()


@pytest.mark.parametrize("name", INPUTS)
def test_every_rule_is_one_that_the_operator_takes(name: str) -> None:
    rules = [one for one in yaml.safe_load_all(converted(name)) if one]
    assert rules
    for rule in rules:
        assert rule["kind"] == KIND
        assert parse({**rule, "metadata": rule["metadata"] | SERVER}).spec.dry_run


@pytest.mark.parametrize("name", INPUTS)
def test_nothing_is_as_secret_as_it_was_and_told(name: str) -> None:
    assert "hunter2" not in converted(name)


@pytest.mark.parametrize(
    "path",
    [
        "metadata.generateName",
        "spec.newField",
        "spec.scaleTargetRef.newField",
        "spec.advanced.newField",
        "spec.advanced.horizontalPodAutoscalerConfig.newField",
        "spec.advanced.horizontalPodAutoscalerConfig.behavior.newField",
        "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.newField",
        "spec.fallback.newField",
        "newField",
    ],
)
def test_no_field_is_dropped_in_silence(path: str) -> None:
    def add(body: Any) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            body = body.setdefault(parent, {})
        body[name] = {"some": ["value"]}

    made = convert_manifests({"a.yaml": changed(add)}, None)
    assert f"# - {path}: " in made.text


def test_metadata_of_the_trigger_that_keda_does_not_know_is_told_too() -> None:
    made = convert_manifests(
        {"a.yaml": changed(lambda body: body["spec"]["triggers"][0]["metadata"].update(region="hunter2"))},
        None,
    )
    assert "# - spec.triggers[0].metadata.region: a nats-jetstream trigger does not have it" in made.text
    assert "hunter2" not in made.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda body: body["metadata"].pop("namespace"),
            "metadata.namespace is missing: add it, or convert with",
        ),
        (lambda body: body["metadata"].pop("name"), "metadata.name is missing: add it"),
        (lambda body: body["spec"].pop("scaleTargetRef"), "spec.scaleTargetRef.name is missing: add it"),
        (
            lambda body: body["spec"].update(minReplicaCount="two"),
            "spec.minReplicaCount 'two' is no whole number: write one, such as 10",
        ),
        (
            lambda body: body["spec"].update(minReplicaCount=5, maxReplicaCount=2),
            r"spec.minReplicas (5) is greater than spec.maxReplicas (2)",
        ),
        (lambda body: body["spec"].update(scaleTargetRef="workers"), "spec.scaleTargetRef must be an object"),
        (
            lambda body: body["spec"]["triggers"][0]["metadata"].update(lagThreshold="ten"),
            "spec.triggers[0].metadata.lagThreshold 'ten' is no whole number",
        ),
        (
            lambda body: body["spec"]["triggers"][0]["metadata"].update(lagThreshold="0"),
            "spec.triggers[0].metadata.lagThreshold 0 must be 1 or more",
        ),
        (
            lambda body: body["spec"]["triggers"][0]["metadata"].update(useHttps="yes"),
            """spec.triggers[0].metadata.useHttps 'yes' is neither "true" nor "false": write one of them""",
        ),
        (
            lambda body: body["spec"]["triggers"][0]["metadata"].pop("natsServerMonitoringEndpoint"),
            "spec.triggers[0].metadata.natsServerMonitoringEndpoint is missing: write HOST:PORT there",
        ),
        (
            lambda body: body["spec"]["triggers"][0]["metadata"].pop("consumer"),
            "spec.triggers[0].metadata.consumer is missing: add it",
        ),
        (lambda body: body["spec"]["triggers"].append({"metadata": {}}), "spec.triggers[1].type is missing"),
        (
            lambda body: body["spec"].update(
                advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"selectPolicy": "Sum"}}}}
            ),
            "behavior.scaleUp.selectPolicy must be Max, Min or Disabled",
        ),
        (
            lambda body: body["spec"].update(
                advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"tolerance": "some"}}}}
            ),
            "behavior.scaleUp.tolerance 'some' is no quantity: write a number such as 0.1",
        ),
    ],
)
def test_an_error_names_file_document_field_and_fix(change: Callable[[Any], object], told: str) -> None:
    made = convert_manifests({"a.yaml": f"---\n---\n{changed(change)}"}, None)
    (error,) = made.errors
    assert error.startswith("a.yaml, document 2 (ScaledObject ")
    assert told in error
    assert made.text == ""


def test_an_endpoint_from_a_secret_is_told_with_the_secret() -> None:
    secret = {"parameter": "natsServerMonitoringEndpoint", "name": "nats", "key": "url"}
    authentication = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": "nats", "namespace": "shop"},
        "spec": {"secretTargetRef": [secret]},
    }

    def change(body: Any) -> None:
        trigger = body["spec"]["triggers"][0]
        trigger["authenticationRef"] = {"name": "nats"}
        del trigger["metadata"]["natsServerMonitoringEndpoint"]

    made = convert_manifests({"a.yaml": f"{changed(change)}---\n{yaml.safe_dump(authentication)}"}, None)
    (error,) = made.errors
    assert error.startswith("a.yaml, document 1 (ScaledObject shop/workers): spec.triggers[0].metadata.")
    assert "is in key url of Secret nats, which a rule does not read: write HOST:PORT there" in error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "a.yaml, document 1, line 1: this is no YAML"),
        ("a: 1\n---\nb: {{ .Values.b }}\n", "a.yaml, document 2, line "),
        ("just words", "a.yaml, document 1: this is no Kubernetes object"),
        ("{kind: List, items: [1]}", "a.yaml, document 1, item 1: this is no Kubernetes object"),
    ],
)
def test_what_is_no_manifest_is_told(text: str, told: str) -> None:
    (error,) = convert_manifests({"a.yaml": text}, None).errors
    assert told in error


def test_one_bad_object_does_not_keep_the_others_from_being_converted() -> None:
    bad = changed(lambda body: body["spec"].update(minReplicaCount="two"))
    made = convert_manifests({"a.yaml": f"{bad}---\n{yaml.safe_dump(MINIMAL)}", "b.yaml": "a: ["}, None)
    assert (made.rules, len(made.errors)) == (1, 2)
    assert yaml.safe_load(made.text)["metadata"]["name"] == "workers"


def natsscaler(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "natsscaler", "convert", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def test_the_command_reads_stdin_and_tells_what_it_did() -> None:
    done = natsscaler(stdin=yaml.safe_dump(MINIMAL))
    assert (done.returncode, yaml.safe_load(done.stdout)["kind"]) == (0, KIND)
    assert done.stderr == "natsscaler convert: 1 ScalingRule, 0 comments to read, 0 not converted\n"


def test_the_command_fails_if_something_was_not_converted(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.yaml").write_text(changed(lambda body: body["metadata"].pop("namespace")))
    done = natsscaler(str(tmp_path / "a.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("a.yaml, document 1 .*namespace is missing", done.stderr)
    assert natsscaler(str(tmp_path / "a.yaml"), "-n", "shop").returncode == 0


@pytest.mark.parametrize("arguments", [["nowhere.yaml"], ["."], ["--nonsense"]])
def test_wrong_usage_of_the_command(arguments: list[str]) -> None:
    done = natsscaler(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_manifest_without_anything_for_natsscaler_is_no_success() -> None:
    done = natsscaler(stdin="{apiVersion: v1, kind: Secret, metadata: {name: a}}")
    assert (done.returncode, done.stdout) == (1, "# Secret a: not converted, as it is no ScaledObject.\n")
