"""As much of OpenAPI v3 as kubectl needs: to leave validation to the server, and to explain what CRDs define.

For the former it looks for a PATCH of the kind with a parameter `fieldValidation`, for the latter for a GET
of the kind and a schema of the same group, version and kind.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from natsscaler.demo.kubernetes.errors import Object, no_such_page
from natsscaler.demo.kubernetes.resources import Resource

ALWAYS: Object = {
    "apiVersion": {
        "type": "string",
        "description": "Group and version of this representation of the object.",
    },
    "kind": {"type": "string", "description": "The kind of the object."},
    "metadata": {"type": "object", "description": "Standard object's metadata."},
}
"""Properties of every object; the schema of a CRD need not describe them."""


def document(path: str, resources: Iterable[Resource]) -> Object:
    """Answer `/openapi/v3` (path "") or `/openapi/v3/apis/GROUP/VERSION`; raises a 404."""
    versions: dict[str, list[Resource]] = {}
    for resource in resources:
        prefix = "apis" if resource.group else "api"
        versions.setdefault(f"{prefix}/{resource.group_version}", []).append(resource)
    if not path:
        return {"paths": {version: {"serverRelativeURL": f"/openapi/v3/{version}"} for version in versions}}
    if path not in versions:
        raise no_such_page()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.34.0"},
        "paths": {f"/{path}/{resource.plural}/{{name}}": _verbs(resource) for resource in versions[path]},
        "components": {
            "schemas": {
                f"{resource.group}.{resource.version}.{resource.kind}": _schema(resource, resource.schema)
                for resource in versions[path]
                if resource.schema
            }
        },
    }


def _verbs(resource: Resource) -> Object:
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    known: Object = {"x-kubernetes-group-version-kind": _kind(resource), "responses": {}}
    return {"get": known, "patch": {**known, "parameters": [parameter]}}


def _schema(resource: Resource, schema: Mapping[str, Any]) -> Object:
    described = {name: {**ALWAYS.get(name, {}), **known} for name, known in schema["properties"].items()}
    return {
        **schema,
        "properties": {**ALWAYS, **described},
        "x-kubernetes-group-version-kind": [_kind(resource)],
    }


def _kind(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}
