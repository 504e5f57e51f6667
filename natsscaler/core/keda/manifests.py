"""Manifests with ScaledObjects in, ScalingRules with comments out. Pure: the caller reads and prints."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from natsscaler.core.errors import excerpt
from natsscaler.core.keda.parts import Part, Unconvertible
from natsscaler.core.keda.scaled_object import Converted, convert, is_for_jetstream

GROUP = "keda.sh/"
COMMENT_WIDTH = 100


class Output(NamedTuple):
    """What became of some manifests."""

    text: str
    """YAML."""
    rules: int
    notes: int
    """How many comments a person has to read."""
    errors: list[str]
    """What could not be converted: where, why, and how to fix it."""


class Found(NamedTuple):
    """An object of a manifest."""

    place: str
    """Such as orders.yaml, document 2, item 1."""
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body.get("kind") or "object without a kind")

    @property
    def is_kedas(self) -> bool:
        return str(self.body.get("apiVersion") or "").startswith(GROUP)

    @property
    def name(self) -> str:
        """Name it, as far as it has a name."""
        metadata = self.body.get("metadata")
        has = metadata if isinstance(metadata, Mapping) else {}
        return "/".join(str(has[part]) for part in ("namespace", "name") if has.get(part))

    def __str__(self) -> str:
        return excerpt(f"{self.kind} {self.name}".strip())


def convert_manifests(manifests: Mapping[str, str], namespace: str | None) -> Output:
    """Convert all ScaledObjects of these texts, by the names of their files.

    `namespace`: of those objects that name none.
    """
    errors: list[str] = []
    found = [one for name, text in manifests.items() for one in _objects(name, text, errors)]
    authentications = {
        _full_name(one, namespace): Part("", one.body, [])
        for one in found
        if one.is_kedas and one.kind == "TriggerAuthentication"
    }
    documents, rules, notes = [], 0, 0
    for one in found:
        if not (one.is_kedas and one.kind == "ScaledObject" and _has_triggers(one)):
            documents.append(_comment(f"{one}: {_left(one)}"))
            continue
        try:
            converted = convert(one.body, authentications, namespace)
        except Unconvertible as error:
            errors.append(f"{one.place} ({one}): {error}")
            continue
        documents.append(_document(converted))
        rules, notes = rules + 1, notes + len(converted.notes)
    return Output("---\n".join(documents), rules, notes, errors)


def _objects(name: str, text: str, errors: list[str]) -> Iterator[Found]:
    """Give the objects of a text, those of Lists too; what is no YAML ends it with an error."""
    documents, number = yaml.safe_load_all(text), 0
    while True:
        number += 1
        try:
            body = next(documents)
        except StopIteration:
            return
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be read"
            errors.append(f"{name}, document {number}{line}: this is no YAML: {problem}. Correct it")
            return
        if body is None:
            continue
        place = f"{name}, document {number}"
        if not isinstance(body, Mapping):
            errors.append(f"{place}: this is no Kubernetes object: remove it, or give it apiVersion and kind")
        elif isinstance(body.get("items"), list) and str(body.get("kind")).endswith("List"):
            yield from _items(place, body["items"], errors)
        else:
            yield Found(place, body)


def _items(place: str, items: list[Any], errors: list[str]) -> Iterator[Found]:
    for number, item in enumerate(items, 1):
        if isinstance(item, Mapping):
            yield Found(f"{place}, item {number}", item)
        else:
            errors.append(f"{place}, item {number}: this is no Kubernetes object: remove it")


def _full_name(one: Found, namespace: str | None) -> str:
    return one.name if "/" in one.name else f"{namespace}/{one.name}"


def _has_triggers(one: Found) -> bool:
    try:
        return is_for_jetstream(one.body)
    except (AttributeError, TypeError):  # spec is no mapping: converting it tells what is wrong
        return True


def _left(one: Found) -> str:
    """Say why an object does not become a rule."""
    if not one.is_kedas:
        return "not converted, as it is no ScaledObject."
    if one.kind == "ScaledObject":
        return "not converted, as it has no nats-jetstream trigger. Leave it to KEDA."
    if one.kind == "ScaledJob":
        return "not converted, as natsscaler scales replicas and starts no Jobs. Leave it to KEDA."
    return "not converted. The rules that need credentials say so."


def _document(converted: Converted) -> str:
    head = [
        f"From ScaledObject {converted.source}. dryRun: until KEDA no longer scales it (docs/migration.md)."
    ]
    lines = [*head, *(f"- {note}" for note in converted.notes)]
    made = yaml.safe_dump(dict(converted.rule), sort_keys=False, allow_unicode=True, width=COMMENT_WIDTH)
    return "".join(map(_comment, lines)) + made


def _comment(said: str) -> str:
    lines = textwrap.wrap(
        excerpt(said, len(said)),
        COMMENT_WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines)
