"""The description of the API, made from the structs of its answers; `make generate` writes it down."""

from typing import Any

import msgspec
from msgspec import Struct

from natsscaler import __version__
from natsscaler.web.answers import (
    ActivityAnswer,
    Beat,
    ErrorAnswer,
    HealthAnswer,
    RuleAnswer,
    RulesAnswer,
    Update,
)

Schema = dict[str, Any]
STREAM = (
    "Server-sent events. `update` says what has changed, `beat` that nothing has, every 2 seconds: a longer"
    " silence means that the operator is gone. Come back with the last id as `Last-Event-ID` to miss nothing;"
    " a process that does not know it sends everything anew."
)
RULE = [
    {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
    for name, text in (("namespace", "The rule's namespace."), ("name", "The rule's name."))
]
LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the reader knows.",
    "schema": {"type": "string"},
}


def openapi() -> Schema:
    """Make the OpenAPI document."""
    answers = (ActivityAnswer, HealthAnswer, RulesAnswer, RuleAnswer, Update, Beat, ErrorAnswer)
    _, schemas = msgspec.json.schema_components(answers, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "natsscaler",
            "version": __version__,
            "description": "What natsscaler sees and does. It only reads; nothing can be changed here.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/scaling-activity": _get("The last scaling actions", ActivityAnswer),
            "/health": _get(
                "Whether the process answers; never asks for the token", HealthAnswer, open_=True
            ),
            "/api/rules": _get("All rules", RulesAnswer),
            "/api/rules/{namespace}/{name}": _get("One rule, with its history", RuleAnswer, rule=True),
            "/api/events": _stream("All rules and actions, live", Update),
            "/api/rules/{namespace}/{name}/events": _stream("One rule, live", RuleAnswer, rule=True),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "For browsers: any user name, the token as password.",
                },
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _get(title: str, answer: type[Struct], *, rule: bool = False, open_: bool = False) -> Schema:
    operation = {
        "summary": title,
        "responses": {
            "200": {"description": answer.__doc__, "content": {"application/json": {"schema": _ref(answer)}}}
        },
    }
    return _path(operation, rule=rule, open_=open_)


def _stream(title: str, update: type[Struct], *, rule: bool = False) -> Schema:
    data = {"oneOf": [_ref(update), _ref(Beat)], "description": "The data of each event."}
    operation = {
        "summary": title,
        "description": STREAM,
        "responses": {
            "200": {"description": update.__doc__, "content": {"text/event-stream": {"schema": data}}},
            "503": {"description": "Too many readers."},
        },
        "parameters": [LAST_EVENT],
    }
    return _path(operation, rule=rule)


def _path(operation: Schema, *, rule: bool, open_: bool = False) -> Schema:
    path: Schema = {"get": operation}
    if open_:
        operation["security"] = []
    else:
        operation["responses"]["401"] = {"description": "The token is missing or wrong."}
    if rule:
        path["parameters"] = RULE
        if "application/json" in operation["responses"]["200"]["content"]:
            error = {"application/json": {"schema": _ref(ErrorAnswer)}}
            operation["responses"]["404"] = {"description": "There is no such rule.", "content": error}
    return path


def _ref(struct: type[Struct]) -> Schema:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}
