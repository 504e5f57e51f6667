"""The part of structural schemas that a CRD's users notice: defaults, pruned fields, types, bounds and enums.

Of the rules in CEL (`x-kubernetes-validations`) only `self.matches('REGEX')`, its negation,
`self.a <= self.b`, `has(self.a) != has(self.b)` and alternatives such as `has(self.a) || !has(self.b.c)` are
understood; the others, `oneOf` and the like, and list types are not looked at.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from natsscaler.demo.kubernetes.errors import cause

Schema = Mapping[str, Any]
MATCHES = re.compile(r"self\.matches\('(.*)'\)")
AT_MOST = re.compile(r"self\.(\w+) <= self\.(\w+)")
ONE_OF = re.compile(r"has\(self\.(\w+)\) != has\(self\.(\w+)\)")
HAS = re.compile(r"(!?)has\(self\.([\w.]+)\)")
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


@dataclass(slots=True)
class Findings:
    """What was wrong with an object: causes of a 422, and fields that the schema does not know."""

    causes: list[dict[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def admit(schema: Schema, value: Any, findings: Findings, path: str = "") -> Any:
    """Return the value with defaults and without unknown fields; note in `findings` what is wrong."""
    if value is None and schema.get("nullable"):
        return None
    expected = "" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")
    if expected and not TYPES[expected](value):
        message = f'Invalid value: "{_type_name(value)}": {path} in body must be of type {expected}'
        findings.causes.append(cause(path, f'{message}: "{_type_name(value)}"', "FieldValueTypeInvalid"))
        return value
    findings.causes.extend(
        cause(path, message, reason) for reason, message in _violations(schema, value, path)
    )
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _holds(rule["rule"], value):
            shown = f'"{value}"' if isinstance(value, str) else '"object"'
            findings.causes.append(cause(path, f"Invalid value: {shown}: {rule['message']}"))
    if isinstance(value, dict):
        return _object(schema, value, findings, path)
    if isinstance(value, list) and "items" in schema:
        return [admit(schema["items"], item, findings, f"{path}[{i}]") for i, item in enumerate(value)]
    return value


def _object(schema: Schema, value: dict[str, Any], findings: Findings, path: str) -> dict[str, Any]:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    others = schema.get("additionalProperties", schema.get("x-kubernetes-preserve-unknown-fields", False))
    result: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path}.{key}".lstrip(".")
        if not path and key in {"apiVersion", "kind", "metadata"}:
            result[key] = item
        elif key in properties:
            if item is not None or "default" not in properties[key]:
                result[key] = admit(properties[key], item, findings, where)
        elif others:
            result[key] = admit(others, item, findings, where) if isinstance(others, Mapping) else item
        else:
            findings.unknown.append(where)
    for key, known in properties.items():
        if key not in result and "default" in known:
            result[key] = admit(known, known["default"], findings, f"{path}.{key}".lstrip("."))
    for key in schema.get("required", ()):
        if key not in result:
            findings.causes.append(cause(f"{path}.{key}".lstrip("."), "Required value", "FieldValueRequired"))
    return result


def _violations(schema: Schema, value: Any, path: str) -> Iterator[tuple[str, str]]:
    shown = f'"{value}"' if isinstance(value, str) else value
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{item}"' for item in schema["enum"])
        yield "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {supported}"
    if isinstance(value, int | float):
        if value < schema.get("minimum", value):
            what = f"{path} in body should be greater than or equal to {schema['minimum']}"
            yield "FieldValueInvalid", f"Invalid value: {shown}: {what}"
        if value == schema.get("minimum") and schema.get("exclusiveMinimum"):
            what = f"{path} in body should be greater than {schema['minimum']}"
            yield "FieldValueInvalid", f"Invalid value: {shown}: {what}"
        if value > schema.get("maximum", value):
            what = f"{path} in body should be less than or equal to {schema['maximum']}"
            yield "FieldValueInvalid", f"Invalid value: {shown}: {what}"
    if isinstance(value, str):
        yield from _string_violations(schema, value, path)
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            what = f"must have at most {schema['maxItems']} items"
            yield "FieldValueTooMany", f"Too many: {len(value)}: {what}"
        if len(value) < schema.get("minItems", 0):
            what = f"{path} in body should have at least {schema['minItems']} items"
            yield "FieldValueInvalid", f"Invalid value: {len(value)}: {what}"


def _string_violations(schema: Schema, value: str, path: str) -> Iterator[tuple[str, str]]:
    if len(value) > schema.get("maxLength", len(value)):
        yield "FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes"
    if len(value) < schema.get("minLength", 0):
        what = f"{path} in body should be at least {schema['minLength']} chars long"
        yield "FieldValueInvalid", f'Invalid value: "{value}": {what}'
    if "pattern" in schema and not re.search(schema["pattern"], value):
        what = f"{path} in body should match '{schema['pattern']}'"
        yield "FieldValueInvalid", f'Invalid value: "{value}": {what}'
    if schema.get("format") == "date-time" and not _is_time(value):
        what = f'{path} in body must be of type date-time: "{value}"'
        yield "FieldValueInvalid", f'Invalid value: "{value}": {what}'


def _holds(rule: str, value: Any) -> bool:
    if rule.startswith("!self.matches("):
        return not _holds(rule[1:], value)
    if matches := MATCHES.fullmatch(rule):
        return bool(re.search(matches[1].replace("\\\\", "\\"), value))
    if compares := AT_MOST.fullmatch(rule):
        lower, upper = value.get(compares[1]), value.get(compares[2])
        return not (isinstance(lower, int) and isinstance(upper, int)) or lower <= upper
    if one_of := ONE_OF.fullmatch(rule):
        return _has(value, one_of[1]) != _has(value, one_of[2])
    alternatives = [HAS.fullmatch(one) for one in rule.split(" || ")]
    return not all(alternatives) or any(one and _has(value, one[2]) != bool(one[1]) for one in alternatives)


def _has(value: Any, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def _is_time(text: str) -> bool:
    try:
        return dt.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _type_name(value: Any) -> str:
    return "null" if value is None else next(name for name, matches in TYPES.items() if matches(value))
