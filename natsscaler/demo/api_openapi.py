"""The least OpenAPI v3 with which `kubectl create` leaves validation to the server.

It looks for a PATCH of the kind with a parameter `fieldValidation`, and for nothing else.
"""

from collections.abc import Iterable

from natsscaler.demo.api_errors import Object, no_such_page
from natsscaler.demo.api_resources import Resource


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
        "paths": {f"/{path}/{resource.plural}/{{name}}": _patch(resource) for resource in versions[path]},
    }


def _patch(resource: Resource) -> Object:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    return {"patch": {"parameters": [parameter], "x-kubernetes-group-version-kind": kind, "responses": {}}}
