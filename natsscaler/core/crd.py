"""The CustomResourceDefinition, made from the structs that parse rules and write statuses.

`make generate` writes it to config/crd/bases. JSON Schema and the structural schemas of Kubernetes differ
in a few points, which are bridged here: references are resolved, and optional fields are absent, not null.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from natsscaler.core.rule import (
    DOCUMENT_PATH,
    DRAIN_TIME_NEEDS,
    FALLBACK_NEEDS,
    GROUP,
    JOBS,
    KIND,
    NO_DOCUMENT,
    NO_DRAIN_TIME,
    NO_JOB,
    ONE_BACKLOG,
    ONE_TARGET,
    PLURAL,
    TOLERANCE_NEEDS,
    VERSION,
    WITH_SUBJECT,
    RuleSpec,
)
from natsscaler.core.selector import ALIKE, INT32_MAX, MAX_NEEDS, MIXED
from natsscaler.core.status import RuleStatus

PRINTER_COLUMNS: list[dict[str, Any]] = [
    {"name": "Deployment", "type": "string", "jsonPath": ".spec.deploymentName"},
    {"name": "Namespace", "type": "string", "jsonPath": ".spec.namespace"},
    {"name": "Current Replicas", "type": "integer", "jsonPath": ".status.currentReplicas"},
    {"name": "Pending Messages", "type": "integer", "jsonPath": ".status.pendingMessages"},
    {"name": "Last Action", "type": "date", "jsonPath": ".status.lastScalingAction"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {
        "name": "Paused",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Paused")].reason',
        "priority": 1,
    },
]
VALIDATIONS = [
    {
        "rule": "self.minReplicas <= self.maxReplicas",
        "message": "minReplicas must not be greater than maxReplicas: lower the one or raise the other",
        "fieldPath": ".minReplicas",
    },
    {
        "rule": "self.scaleDownThreshold <= self.scaleUpThreshold",
        "message": "scaleDownThreshold must not be greater than scaleUpThreshold:"
        " lower the one or raise the other",
        "fieldPath": ".scaleDownThreshold",
    },
    {
        "rule": "!has(self.schedules) || self.schedules.all(one,"
        " (has(one.minReplicas) ? one.minReplicas : self.minReplicas)"
        " <= (has(one.maxReplicas) ? one.maxReplicas : self.maxReplicas))",
        "message": "in each of schedules, minReplicas must not be greater than maxReplicas; what it does not"
        " have is the rule's own: lower the one or raise the other",
        "fieldPath": ".schedules",
    },
    {
        "rule": "!has(self.fallback) || self.fallback.behavior == 'Hold' || has(self.fallback.replicas)",
        "message": FALLBACK_NEEDS,
        "fieldPath": ".fallback",
    },
    {
        "rule": "!has(self.drainTime) || has(self.drainTime.replicaRate) || has(self.messagesPerReplica)",
        "message": DRAIN_TIME_NEEDS,
        "fieldPath": ".drainTime",
    },
    {"rule": "has(self.subject) != has(self.sources)", "message": ONE_BACKLOG},
    *(
        {
            "rule": f"!has(self.sources) || !has(self.{name})",
            "message": WITH_SUBJECT,
            "fieldPath": f".{name}",
        }
        for name in ("stream", "consumer", "account", "messagesPerReplica")
    ),
    {
        "rule": "!has(self.sources) || !has(self.drainTime)",
        "message": NO_DRAIN_TIME,
        "fieldPath": ".drainTime",
    },
    {
        "rule": "!has(self.sources) || self.sources.all(one, self.sources.exists_one(other,"
        " one.subject == other.subject"
        " && (has(one.stream) ? one.stream : '') == (has(other.stream) ? other.stream : '')"
        " && (has(one.consumer) ? one.consumer : '') == (has(other.consumer) ? other.consumer : '')"
        " && (has(one.account) ? one.account : '') == (has(other.account) ? other.account : '')))",
        "message": f"sources {ALIKE}",
        "fieldPath": ".sources",
    },
    {
        "rule": "!has(self.sources) || self.sources.all(one, has(one.messagesPerReplica))"
        " || self.sources.all(one, !has(one.messagesPerReplica))",
        "message": f"sources {MIXED}",
        "fieldPath": ".sources",
    },
    {
        "rule": "self.combine != 'Max' || (has(self.sources)"
        " && self.sources.all(one, has(one.messagesPerReplica)))",
        "message": MAX_NEEDS,
        "fieldPath": ".combine",
    },
    {"rule": "has(self.deploymentName) != has(self.scaleTargetRef)", "message": ONE_TARGET},
    *(
        {
            "rule": f"{sized} || !has(self.behavior.{side}.tolerance)",
            "message": f"behavior.{side}.{TOLERANCE_NEEDS}",
            "fieldPath": f".behavior.{side}.tolerance",
        }
        for side in ("scaleUp", "scaleDown")
        for sized in (
            "has(self.messagesPerReplica) || has(self.sources)",
            "!has(self.sources) || self.sources.all(one, has(one.messagesPerReplica))",
        )
    ),
]
SCHEDULE_VALIDATIONS = [
    {
        "rule": "self.start != self.end",
        "message": "start and end must differ: a schedule is active from the one to the other",
        "fieldPath": ".end",
    },
    {
        "rule": "has(self.minReplicas) || has(self.maxReplicas)",
        "message": "a schedule must have minReplicas, maxReplicas or both",
    },
]
SCHEDULE_PATTERN_MESSAGES = {
    "name": "lower case letters, digits and -",
    "timeZone": "a name of the tz database, such as Europe/Berlin",
    "start": "a cron expression of five fields between single blanks, such as 0 8 * * MON-FRI",
    "end": "a cron expression of five fields between single blanks, such as 0 18 * * MON-FRI",
}
PATTERN_MESSAGES = {
    "deploymentName": "deploymentName must be the name of a Deployment: lower case letters, digits, - and .",
    "namespace": "namespace must be the name of a namespace: lower case letters, digits and -",
    "natsMonitoringURL": "natsMonitoringURL must be http://HOST:PORT or https://HOST:PORT,"
    " without user, query or fragment",
    "subject": "subject must be a NATS subject: tokens between dots, no white space,"
    " > only as the last token",
    "stream": "stream must be the name of a JetStream stream: no white space, dots, *, > or slashes",
    "consumer": "consumer must be the name of a JetStream consumer: no white space, dots, *, > or slashes",
}

REFERENCE_MESSAGES = {
    "apiVersion": "GROUP/VERSION, such as apps/v1",
    "kind": "a kind, such as StatefulSet: letters and digits, beginning with a capital letter",
    "name": "the name of an object: lower case letters, digits, - and .",
}


def crd() -> dict[str, Any]:
    """Make the CustomResourceDefinition of ScalingRule."""
    spec = structural(RuleSpec)
    spec["x-kubernetes-validations"] = VALIDATIONS
    for name, message in PATTERN_MESSAGES.items():
        _explain_pattern(spec["properties"][name], message)
    _explain_pattern(
        spec["properties"]["nats"]["properties"]["url"],
        "nats.url must be nats://HOST:PORT or tls://HOST:PORT, or several between commas;"
        " credentials do not belong in it",
    )
    for part in ("nats", "monitoring"):
        _explain_pattern(
            spec["properties"][part]["properties"]["secretRef"]["properties"]["name"],
            f"{part}.secretRef.name must be the name of a Secret: lower case letters, digits, - and .",
        )
    path = spec["properties"]["natsMonitoringURL"]["x-kubernetes-validations"]
    path.append({"rule": f"!self.matches('{DOCUMENT_PATH}')", "message": f"natsMonitoringURL {NO_DOCUMENT}"})
    reference = spec["properties"]["scaleTargetRef"]["properties"]
    for name, message in REFERENCE_MESSAGES.items():
        _explain_pattern(reference[name], f"scaleTargetRef.{name} must be {message}")
    reference["apiVersion"]["x-kubernetes-validations"].append(
        {"rule": f"!self.matches('{JOBS}')", "message": f"scaleTargetRef.apiVersion {NO_JOB}"}
    )
    sources = spec["properties"]["sources"]
    sources["minItems"] = 1
    sources["x-kubernetes-list-type"] = "atomic"
    for name in ("subject", "stream", "consumer"):
        _explain_pattern(sources["items"]["properties"][name], f"sources[].{PATTERN_MESSAGES[name]}")
    spec["properties"]["events"]["x-kubernetes-list-type"] = "set"
    schedules = spec["properties"]["schedules"]
    schedules["x-kubernetes-list-type"] = "map"
    schedules["x-kubernetes-list-map-keys"] = ["name"]
    schedules["items"]["x-kubernetes-validations"] = SCHEDULE_VALIDATIONS
    for name, message in SCHEDULE_PATTERN_MESSAGES.items():
        _explain_pattern(schedules["items"]["properties"][name], f"schedules[].{name} must be {message}")
    status = structural(RuleStatus)
    conditions = status["properties"]["conditions"]
    conditions["x-kubernetes-list-type"] = "map"
    conditions["x-kubernetes-list-map-keys"] = ["type"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["sr"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": PRINTER_COLUMNS,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "Scales workers on the backlog of a NATS JetStream subject.",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }


def differences(served: Mapping[str, Any]) -> list[str]:
    """Name what differs in the schema of a CRD that is served, by the paths of fields; sorted."""
    versions = {version["name"]: version for version in served["spec"]["versions"]}
    if VERSION not in versions:
        return [f"no version {VERSION}"]
    (ours,) = crd()["spec"]["versions"]
    return _differences(ours["schema"]["openAPIV3Schema"], versions[VERSION]["schema"]["openAPIV3Schema"], "")


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> list[str]:
    ours, theirs = dict(ours), dict(theirs)
    mine, other = ours.pop("properties", {}), theirs.pop("properties", {})
    found = [f"it lacks {path}{name}" for name in mine.keys() - other.keys()]
    found += [f"{path}{name} is unknown here" for name in other.keys() - mine.keys()]
    for name in mine.keys() & other.keys():
        found += _differences(mine[name], other[name], f"{path}{name}.")
    if ours != theirs:
        found.append(f"{path.removesuffix('.') or 'the schema'} is defined differently")
    return sorted(found)


def structural(struct: type) -> dict[str, Any]:
    """Turn a msgspec struct into a structural schema (Kubernetes: CustomResourceDefinition documentation)."""
    schema = msgspec.json.schema(struct)
    definitions = schema.pop("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        node = _plain(node, definitions)
        if "properties" in node:
            node["properties"] = {name: resolve(child) for name, child in node["properties"].items()}
        if isinstance(node.get("items"), dict):
            node["items"] = resolve(node["items"])
        return node

    return resolve(schema)


def _plain(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = dict(node)
    reference = node.pop("$ref", None)
    if reference:
        node = {**definitions[reference.rsplit("/", 1)[1]], **node}
    variants = node.pop("anyOf", None)
    if variants:
        (present,) = (variant for variant in variants if variant != {"type": "null"})
        node = {**_plain(present, definitions), **node}
    for key, worthless in (
        ("title", ...),
        ("additionalProperties", ...),
        ("default", None),
        ("default", ()),  # it would write empty lists into statuses
        ("required", []),
    ):
        if key in node and (worthless is ... or node[key] == worthless):
            del node[key]
    if node.get("exclusiveMinimum", True) is not True:  # OpenAPI 3.0 has it beside the minimum
        node["minimum"], node["exclusiveMinimum"] = node["exclusiveMinimum"], True
    if "enum" in node:
        node["type"] = "string"
    if node.get("type") == "integer":
        node["format"] = "int32" if node.get("maximum") == INT32_MAX else "int64"
    if isinstance(node.get("default"), tuple):
        node["default"] = list(node["default"])
    return node


def _explain_pattern(node: dict[str, Any], message: str) -> None:
    r"""Say in words what a pattern asks: the API server would only print the pattern.

    Python's `\Z`, the end of the text, is `$` there; Python's `$` also stands before a last line break.
    """
    pattern = re.sub(r"(['\\])", r"\\\1", node.pop("pattern").replace(r"\Z", "$"))
    node["x-kubernetes-validations"] = [{"rule": f"self.matches('{pattern}')", "message": message}]
