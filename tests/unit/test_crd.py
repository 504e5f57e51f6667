"""What the API server accepts is what the parser accepts, and the contract's columns are there."""

import json
import re
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from natsscaler.core.crd import VALIDATIONS, crd, differences
from natsscaler.core.errors import InvalidRule
from natsscaler.core.jetstream.selection import Match
from natsscaler.core.rule import EventSource, RuleSpec, parse
from natsscaler.core.selector import ALIKE, MAX_NEEDS, MIXED, BacklogMode
from natsscaler.core.status import RuleStatus
from tests.support.factories import SAMPLE_SPEC, body

FILE = Path(__file__).parents[2] / "config/crd/bases/scaling.example.com_scalingrules.yaml"
CRD: dict[str, Any] = json.loads(json.dumps(crd()))
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
ROOT: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]
SPEC: dict[str, Any] = ROOT["properties"]["spec"]
STATUS: dict[str, Any] = ROOT["properties"]["status"]
INT32 = {"type": "integer", "format": "int32", "maximum": 2**31 - 1}

MATCHES = re.compile(r"self\.matches\('((?:[^'\\]|\\.)*)'\)")
ONE_OF = re.compile(r"has\(self\.(\w+)\) != has\(self\.(\w+)\)")
BY_MESSAGE = {one["message"]: one["rule"] for one in VALIDATIONS}
ANY_OF = re.compile(r"!?has\(self\.[\w.]+\)( \|\| !?has\(self\.[\w.]+\))*")
COMPARES = re.compile(r"self\.(\w+) <= self\.(\w+)")


def _all_differ(sources: list[dict[str, Any]]) -> bool:
    names = ("subject", "stream", "consumer", "account")
    return len({tuple(one.get(name) for name in names) for one in sources}) == len(sources)


def _sized(spec: dict[str, Any]) -> bool:
    return bool(spec.get("sources")) and all("messagesPerReplica" in one for one in spec["sources"])


def _tolerates(side: str, spec: dict[str, Any]) -> bool:
    tolerance = "tolerance" in spec.get("behavior", {}).get(side, {})
    return "sources" not in spec or _sized(spec) or not tolerance


OTHERS: dict[str, Callable[[Any], bool]] = {
    "self.start != self.end": lambda value: value["start"] != value["end"],
    "has(self.minReplicas) || has(self.maxReplicas)": lambda value: bool(
        {"minReplicas", "maxReplicas"} & set(value)
    ),
    VALIDATIONS[3]["rule"]: lambda spec: (
        spec.get("fallback", {"behavior": "Hold"})["behavior"] == "Hold" or "replicas" in spec["fallback"]
    ),
    BY_MESSAGE[f"sources {ALIKE}"]: lambda spec: _all_differ(spec.get("sources", [])),
    BY_MESSAGE[f"sources {MIXED}"]: lambda spec: (
        len({"messagesPerReplica" in one for one in spec.get("sources", [])}) <= 1
    ),
    BY_MESSAGE[MAX_NEEDS]: lambda spec: spec.get("combine") != "Max" or _sized(spec),
    **{
        one["rule"]: partial(_tolerates, side)
        for side in ("scaleUp", "scaleDown")
        for one in VALIDATIONS
        if f"{side}.tolerance" in one["rule"] and ".all(" in one["rule"]
    },
    VALIDATIONS[2]["rule"]: lambda spec: all(
        one.get("minReplicas", spec["minReplicas"]) <= one.get("maxReplicas", spec["maxReplicas"])
        for one in spec.get("schedules", [])
    ),
}


def admits(schema: dict[str, Any], value: Any) -> bool:
    """Tell whether the API server would admit a value (structural schema, then CEL rules)."""
    well_formed = {
        "object": lambda: isinstance(value, dict) and _admits_object(schema, value),
        "array": lambda: isinstance(value, list) and _admits_array(schema, value),
        "string": lambda: isinstance(value, str) and _admits_text(schema, value),
        "integer": lambda: type(value) is int and _admits_integer(schema, value),
        "number": lambda: type(value) in (int, float) and _admits_integer(schema, value),
        "boolean": lambda: isinstance(value, bool),
    }[schema["type"]]()
    return well_formed and all(_holds(rule, value) for rule in schema.get("x-kubernetes-validations", []))


def _admits_object(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    properties = schema["properties"]
    return set(schema.get("required", [])) <= set(value) and all(
        admits(properties[name], child) for name, child in value.items() if name in properties
    )


def _admits_array(schema: dict[str, Any], value: list[Any]) -> bool:
    if not all(admits(schema["items"], item) for item in value):
        return False
    keys: dict[str, Callable[[Any], Any]] = {
        "set": str,
        "map": lambda item: item[schema["x-kubernetes-list-map-keys"][0]],
    }
    key = keys.get(schema.get("x-kubernetes-list-type", ""), id)
    few = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
    return few and len(set(map(key, value))) == len(value)


def _admits_text(schema: dict[str, Any], value: str) -> bool:
    return (
        schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        and value in schema.get("enum", [value])
        and re.search(schema.get("pattern", ""), value) is not None
    )


def _admits_integer(schema: dict[str, Any], value: int) -> bool:
    least = schema.get("minimum", value)
    above = value > least or (value == least and not schema.get("exclusiveMinimum"))
    return bool(above and value <= schema.get("maximum", value))


def _holds(rule: dict[str, Any], value: Any) -> bool:
    if rule["rule"] in OTHERS:
        return OTHERS[rule["rule"]](value)
    if ANY_OF.fullmatch(rule["rule"]):
        parts = rule["rule"].split(" || ")
        return any(_has(value, one.split(".", 1)[1][:-1]) != one.startswith("!") for one in parts)
    if rule["rule"].startswith("!"):
        return not _holds({"rule": rule["rule"][1:]}, value)
    if one_of := ONE_OF.fullmatch(rule["rule"]):
        return _has(value, one_of[1]) != _has(value, one_of[2])
    matches, compares = MATCHES.fullmatch(rule["rule"]), COMPARES.fullmatch(rule["rule"])
    if matches:
        pattern = re.sub(r"\\(.)", r"\1", matches[1])  # what the CEL string says
        assert pattern.endswith("$"), "not anchored"
        return re.search(pattern[:-1] + r"\Z", value) is not None  # in RE2, `$` is the end of the text
    assert compares, f"an unknown kind of rule: {rule['rule']}"
    return bool(value[compares[1]] <= value[compares[2]])


def _has(value: Any, path: str) -> bool:
    for name in path.split("."):
        if name not in value:
            return False
        value = value[name]
    return True


def parses(spec: dict[str, Any]) -> bool:
    made = body()
    made["spec"] = spec
    try:
        parse(made)
    except InvalidRule:
        return False
    return True


def properties_of(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """List all properties below a schema with their paths."""
    found = []
    for name, child in schema.get("properties", {}).items():
        found += [(f"{path}.{name}", child), *properties_of(child, f"{path}.{name}")]
    if "items" in schema:
        found += properties_of(schema["items"], f"{path}[]")
    return found


def test_the_committed_file_is_what_the_code_makes() -> None:
    assert yaml.safe_load(FILE.read_text()) == CRD, "run `make generate`"


def test_the_names_are_those_of_the_contract() -> None:
    made = CRD
    assert made["metadata"]["name"] == "scalingrules.scaling.example.com"
    assert made["spec"]["group"] == "scaling.example.com"
    assert made["spec"]["scope"] == "Namespaced"
    names = made["spec"]["names"]
    assert (names["kind"], names["plural"], names["shortNames"]) == ("ScalingRule", "scalingrules", ["sr"])
    assert [version["name"] for version in made["spec"]["versions"]] == ["v1"]
    assert VERSION["served"]
    assert VERSION["storage"]
    assert VERSION["subresources"] == {"status": {}}
    assert ROOT["required"] == ["spec"]


def test_kubectl_shows_the_columns_of_the_contract_in_its_order() -> None:
    shown = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    contract = ["Deployment", "Namespace", "Current Replicas", "Pending Messages", "Last Action", "Age"]
    assert shown == [*contract, "Ready", "Reason"]


def test_every_column_shows_a_field_that_exists() -> None:
    for column in VERSION["additionalPrinterColumns"]:
        node = {"properties": {**ROOT["properties"], "metadata": {"properties": {"creationTimestamp": {}}}}}
        for name in column["jsonPath"].split("[")[0].strip(".").split("."):
            node = node["properties"][name]
        assert node.get("type", "string") == {"date": "string"}.get(column["type"], column["type"]) or (
            "[" in column["jsonPath"]
        )


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param("minReplicas", {**INT32, "minimum": 0}, id="minReplicas"),
        pytest.param("idleSeconds", {**INT32, "minimum": 1, "default": 300}, id="idleSeconds"),
        pytest.param("activation", {"type": "object", "default": {}}, id="activation"),
        pytest.param("maxReplicas", {**INT32, "minimum": 1}, id="maxReplicas"),
        pytest.param("pollIntervalSeconds", {**INT32, "minimum": 1}, id="pollIntervalSeconds"),
        pytest.param("scaleUpThreshold", {**INT32, "minimum": 0}, id="scaleUpThreshold"),
        pytest.param("scaleDownThreshold", {**INT32, "minimum": 0}, id="scaleDownThreshold"),
        pytest.param("messagesPerReplica", {**INT32, "minimum": 1}, id="messagesPerReplica"),
        pytest.param("deploymentName", {"type": "string", "maxLength": 253}, id="deploymentName"),
        pytest.param("namespace", {"type": "string", "maxLength": 63}, id="namespace"),
        pytest.param("natsMonitoringURL", {"type": "string", "maxLength": 2048}, id="natsMonitoringURL"),
        pytest.param("subject", {"type": "string", "maxLength": 1024}, id="subject"),
        pytest.param("stream", {"type": "string", "maxLength": 255}, id="stream"),
        pytest.param("consumer", {"type": "string", "maxLength": 255}, id="consumer"),
        pytest.param("account", {"type": "string", "minLength": 1, "maxLength": 255}, id="account"),
        pytest.param("dryRun", {"type": "boolean", "default": False}, id="dryRun"),
        pytest.param(
            "backlog",
            {
                "type": "string",
                "enum": ["Pending", "PendingAndUnacknowledged"],
                "default": "PendingAndUnacknowledged",
            },
            id="backlog",
        ),
        pytest.param("events", {"type": "array", "default": ["Advisories", "Doorbell"]}, id="events"),
        pytest.param("behavior", {"type": "object", "default": {}}, id="behavior"),
        pytest.param("fallback", {"type": "object", "required": ["behavior"]}, id="fallback"),
        pytest.param(
            "schedules",
            {"type": "array", "maxItems": 20, "x-kubernetes-list-map-keys": ["name"]},
            id="schedules",
        ),
        pytest.param("sources", {"type": "array", "minItems": 1, "maxItems": 8}, id="sources"),
        pytest.param("combine", {"type": "string", "enum": ["Max", "Sum"], "default": "Sum"}, id="combine"),
        pytest.param("nats", {"type": "object"}, id="nats"),
        pytest.param("monitoring", {"type": "object"}, id="monitoring"),
    ],
)
def test_a_field_has_its_type_bounds_words_and_default(field: str, expected: dict[str, Any]) -> None:
    beside = {"description", "x-kubernetes-validations", "x-kubernetes-list-type", "properties", "items"}
    assert {key: value for key, value in SPEC["properties"][field].items() if key not in beside} == expected


def test_every_field_of_a_rule_is_in_the_schema_and_no_other() -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(RuleSpec)}
    assert set(SPEC["properties"]) == set(fields)
    assert sorted(SPEC["required"]) == sorted(name for name, field in fields.items() if field.required)
    contract = set(SAMPLE_SPEC) - {
        "deploymentName",
        "subject",
    }  # or scaleTargetRef, and sources: exactly one, by CEL
    assert set(SPEC["required"]) == contract, "only the contract's fields are required"


def test_the_defaults_of_the_schema_are_those_of_the_parser() -> None:
    for field in msgspec.structs.fields(RuleSpec):
        schema = SPEC["properties"][field.encode_name]
        if field.required or field.default in (None, ()):
            assert "default" not in schema
        else:
            assert schema["default"] == json.loads(msgspec.json.encode(field.default))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param(SPEC["properties"]["backlog"], BacklogMode, id="backlog"),
        pytest.param(SPEC["properties"]["events"]["items"], EventSource, id="events"),
        pytest.param(STATUS["properties"]["backlogSource"]["properties"]["match"], Match, id="match"),
    ],
)
def test_the_words_of_a_field_are_those_of_the_code(schema: dict[str, Any], words: type[StrEnum]) -> None:
    assert set(schema["enum"]) == set(words)


def test_the_fields_of_the_contract_are_in_the_status() -> None:
    properties = STATUS["properties"]
    assert properties["currentReplicas"]["type"] == "integer"
    assert properties["pendingMessages"]["type"] == "integer"
    assert properties["lastScalingAction"] | {"description": ""} == {
        "type": "string",
        "format": "date-time",
        "description": "",
    }
    assert properties["lastScalingReason"]["type"] == "string"
    assert properties["conditions"]["items"]["required"][:4] == ["type", "status", "reason", "message"]
    assert properties["conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_no_status_field_is_required() -> None:
    assert "required" not in STATUS
    assert set(STATUS["properties"]) == {field.encode_name for field in msgspec.structs.fields(RuleStatus)}


@pytest.mark.parametrize(
    ("path", "schema"),
    [pytest.param(*found, id=found[0]) for found in properties_of(ROOT, "") if found[0].count(".") > 1],
)
def test_every_field_is_explained_and_structural(path: str, schema: dict[str, Any]) -> None:
    assert schema["description"].endswith((".", ";")), path
    assert schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}
    for forbidden in ("$ref", "$defs", "title", "additionalProperties", "anyOf", "pattern", "uniqueItems"):
        assert forbidden not in schema


@pytest.mark.parametrize(
    ("path", "schema"), [pytest.param(*found, id=found[0]) for found in properties_of(SPEC, "spec")]
)
def test_every_pattern_is_explained_in_words_that_name_the_field(path: str, schema: dict[str, Any]) -> None:
    for rule in schema.get("x-kubernetes-validations", []):
        assert rule["message"].startswith(path.removeprefix("spec.") + " must ")
        assert schema["maxLength"], "without a length, the API server refuses the cost of a rule"


def test_the_rules_between_fields_name_the_field_to_fix() -> None:
    rules = {rule["rule"]: rule for rule in SPEC["x-kubernetes-validations"]}
    assert rules["self.minReplicas <= self.maxReplicas"]["fieldPath"] == ".minReplicas"
    assert rules["self.scaleDownThreshold <= self.scaleUpThreshold"]["fieldPath"] == ".scaleDownThreshold"
    assert all("lower the one or raise the other" in rule["message"] for rule in list(rules.values())[:2])


# What follows generates specs: mostly right ones, with one or two fields near or past a bound.

around_int32 = st.sampled_from([-(2**31) - 1, -(2**31), -1, 0, 1, 2, 10, 2**31 - 1, 2**31, 2**63])
wrong_type = st.sampled_from([True, 1.5, "1", [], {}, ""])
text = st.text(alphabet="aA0-._*>/\\ \n\r\v:@?#ø\u00a0\u2028\x1c\x85", max_size=8)
subject = st.lists(st.sampled_from(["a", "B-1", "*", ">", "a>", ">a", "", " ", "\n", "ø"]), max_size=4).map(
    ".".join
)
url = st.tuples(
    st.sampled_from(["http://", "https://", "nats://", "tls://", "HTTP://", "://", ""]),
    st.sampled_from(
        ["nats", "nats:8222", "[::1]:8222", "u:p@nats", "a b", "", "ø", "nats\n", "a,b", "a.:1, b"]
    ),
    st.sampled_from(
        ["", "/", "/mon", "/a/b", "?q", "#f", "/?q", "/a#f", "/a@b", "\n", "/\n", "/jsz", "/a/varz//"]
    ),
).map("".join)
name = st.one_of(
    text,
    st.sampled_from(["my-app", "a.b", "-a", "a-", "A", "a\n", "a" * 63, "a" * 64, "a" * 253, "a" * 256]),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "deploymentName": name,
    "namespace": name,
    "minReplicas": around_int32,
    "maxReplicas": around_int32,
    "natsMonitoringURL": st.one_of(url, text, st.just("http://" + "a" * 2048)),
    "subject": st.one_of(subject, text, st.sampled_from(["a" * 1024, "a" * 1025])),
    "scaleUpThreshold": around_int32,
    "scaleDownThreshold": around_int32,
    "pollIntervalSeconds": around_int32,
    "stream": st.one_of(name, text),
    "consumer": st.one_of(name, text),
    "account": st.one_of(name, text),
    "backlog": st.sampled_from(["Pending", "PendingAndUnacknowledged", "pending", "All"]),
    "messagesPerReplica": around_int32,
    "behavior": st.one_of(
        st.just({}),
        st.just({"scaleDown": {}}),
        st.sampled_from([-1, 0, 300, 3600, 3601, "300", True]).map(
            lambda seconds: {"scaleDown": {"stabilizationWindowSeconds": seconds}}
        ),
        st.sampled_from(["Ignore", "Floor", "UntilIdle", "idle"]).map(
            lambda kind: {"scaleDown": {"busyWorkers": kind}}
        ),
        around_int32.map(lambda number: {"scaleDown": {"messagesInFlightPerReplica": number}}),
        st.sampled_from([0, 1, 86_400, 86_401]).map(
            lambda seconds: {"scaleDown": {"maxWaitSeconds": seconds}}
        ),
    ),
    "events": st.lists(st.sampled_from(["Advisories", "Doorbell", "doorbell"]), max_size=3),
    "dryRun": st.sampled_from([True, False, 0, "true"]),
    "fallback": st.fixed_dictionaries(
        {"behavior": st.sampled_from(["Hold", "Static", "AtLeast", "AtMost", "hold"])},
        optional={
            "afterSeconds": st.sampled_from([0, 1, 180, 86_400, 86_401, "180"]),
            "replicas": around_int32,
        },
    ),
    "schedules": st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["a", "b", "A", "a" * 64]),
                "start": st.sampled_from(["0 8 * * *", "0 8 * * MON-FRI", "0 8 * *", "0 0 8 * * *", " "]),
                "end": st.sampled_from(["0 8 * * *", "*/5 8,9 * * 1#2", "0 8 * * *\n", "@daily"]),
            },
            optional={
                "timeZone": st.sampled_from(["UTC", "Europe/Berlin", "Etc/GMT+1", "", "../x", "a b"]),
                "minReplicas": around_int32,
                "maxReplicas": around_int32,
            },
        ),
        max_size=2,
    ),
    "nats": st.one_of(
        st.just({}),
        st.one_of(url, text).map(lambda value: {"url": value}),
        name.map(lambda value: {"secretRef": {"name": value}}),
    ),
    "monitoring": st.one_of(
        st.just({}), st.just({"secretRef": {}}), name.map(lambda value: {"secretRef": {"name": value}})
    ),
}


RIGHT: dict[str, Any] = {
    **SAMPLE_SPEC,
    "stream": "ORDERS",
    "consumer": "workers",
    "account": "A B",
    "backlog": "Pending",
    "messagesPerReplica": 20,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3600}},
    "events": ["Doorbell", "Advisories"],
    "dryRun": True,
    "fallback": {"afterSeconds": 60, "behavior": "AtLeast", "replicas": 5},
    "schedules": [
        {"name": "a", "timeZone": "Asia/Tokyo", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 2}
    ],
    "nats": {"url": "nats://nats:4222", "secretRef": {"name": "nats"}},
    "monitoring": {"secretRef": {"name": "nats"}},
}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    spec = dict(SAMPLE_SPEC)
    for field in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True)):
        spec[field] = draw(st.one_of(FIELDS[field], FIELDS[field], FIELDS[field], wrong_type))
    if draw(st.integers(0, 9)) == 0:
        del spec[draw(st.sampled_from(sorted(SAMPLE_SPEC)))]
    return spec


@given(specs())
def test_the_api_server_and_the_parser_accept_the_same(spec: dict[str, Any]) -> None:
    assert admits(SPEC, spec) == parses(spec)


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_they_accept_the_same_in_each_field(field: str) -> None:
    @given(st.one_of(FIELDS[field], FIELDS[field], wrong_type))
    @example(RIGHT[field])
    @example(1.5)
    def agree(value: Any) -> None:
        spec = {**SAMPLE_SPEC, field: value}
        assert admits(SPEC, spec) == parses(spec)

    agree()
    assert parses({**SAMPLE_SPEC, field: RIGHT[field]})
    assert not parses({**SAMPLE_SPEC, field: 1.5})


def test_the_api_server_admits_the_sample() -> None:
    assert admits(SPEC, RIGHT)
    assert admits(ROOT, {"spec": SAMPLE_SPEC})
    assert not admits(ROOT, {})


def test_a_crd_of_another_version_is_told_field_by_field() -> None:
    served: Any = json.loads(json.dumps(crd()))
    assert differences(served) == []
    properties = served["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    del properties["dryRun"]
    properties["newer"] = {"type": "string"}
    properties["minReplicas"]["minimum"] = 5
    assert differences(served) == [
        "it lacks spec.dryRun",
        "spec.minReplicas is defined differently",
        "spec.newer is unknown here",
    ]
    served["spec"]["versions"][0]["name"] = "v2"
    assert differences(served) == ["no version v1"]
