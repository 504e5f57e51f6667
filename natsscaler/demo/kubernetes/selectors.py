"""Label and field selectors, as far as `kubectl` and clients like ours use them."""

import re
from collections.abc import Callable

from natsscaler.demo.kubernetes.errors import Object, bad_request
from natsscaler.demo.kubernetes.resources import Resource

Selector = Callable[[Object], bool]
TERM = re.compile(r"^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$")
EVENT_FIELDS = {
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
}  # fmt: skip
FIELDS = {"Event": EVENT_FIELDS, "Pod": {"spec.nodeName", "status.phase"}, "Secret": {"type"}}


def by_labels(text: str) -> Selector:
    """Parse terms `a=b`, `a!=b`, `a` and `!a`; raises a 400 for others (`in`, `notin`)."""
    return _all([_label_term(term.strip()) for term in text.split(",") if term.strip()])


def by_fields(text: str, resource: Resource) -> Selector:
    """Parse terms `a.b=c` and `a.b!=c`; raises a 400 for fields that the real API does not index."""
    return _all([_field_term(term, resource) for term in text.split(",") if term.strip()])


def both(labels: str, fields: str, resource: Resource) -> Selector:
    return _all([by_labels(labels), by_fields(fields, resource)])


def _all(terms: list[Selector]) -> Selector:
    return lambda obj: all(term(obj) for term in terms)


def _label_term(term: str) -> Selector:
    if matched := TERM.match(term):
        key, operator, value = matched.groups()
        wanted = operator != "!="
        return lambda obj: (obj["metadata"].get("labels", {}).get(key) == value) is wanted
    if re.fullmatch(r"!?[\w./-]+", term):
        wanted = not term.startswith("!")
        key = term.lstrip("!")
        return lambda obj: (key in obj["metadata"].get("labels", {})) is wanted
    raise bad_request(f"unable to parse requirement: {term}")


def _field_term(term: str, resource: Resource) -> Selector:
    matched = TERM.match(term)
    if not matched:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path, operator, value = matched.groups()
    if path not in {"metadata.name", "metadata.namespace"} | FIELDS.get(resource.kind, set()):
        raise bad_request(f"field label not supported: {path}")
    wanted = operator != "!="
    return lambda obj: (_field(obj, path) == value) is wanted


def _field(obj: Object, path: str) -> str:
    if path == "source":
        path = "source.component"
    value: object = obj
    for key in path.split("."):
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)
