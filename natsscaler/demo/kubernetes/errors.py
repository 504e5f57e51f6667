"""Failures as the Kubernetes API reports them: a `Status` object, its reason and its HTTP code.

Clients decide by `reason` and `code` (`kubectl`, kopf and our own retries on 409 and 422), so these are the
real API's, wording included.
"""

import http
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]


class ApiError(Exception):
    """A request that the API refuses; `status` is the body of the answer."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        as_text: bool = False,
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.as_text = code, reason, message, as_text
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": dict(details or {}),
            "code": code,
        }


def details(group: str, kind: str, name: str) -> Object:
    """Name the object concerned; empty parts are left out, as in the real answers."""
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details(group, plural, name))


def no_such_page() -> ApiError:
    """Answer for a path that no resource is served at: plain text, not a `Status`."""
    return ApiError(404, "NotFound", "404 page not found\n", as_text=True)


def already_exists(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Mapping[str, str]]) -> ApiError:
    """Refuse an object for its fields; each cause has `reason`, `message` and `field`."""
    lines = [f"{cause['field']}: {cause['message']}" for cause in causes]
    listed = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {listed}'
    return ApiError(
        422, "Invalid", message, {**details(group, kind, name), "causes": [dict(c) for c in causes]}
    )


def cause(field: str, message: str, reason: str = "FieldValueInvalid") -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}


def patch_refused() -> ApiError:
    """Answer for a JSON patch that does not fit the object, a failed `test` among them."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(revision: str) -> ApiError:
    """Answer for a resource version or continue token that history no longer reaches: list anew."""
    return ApiError(410, "Expired", f"The resourceVersion for the provided watch is too old: {revision}")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def no_pods(command: str) -> ApiError:
    """Answer to what only a kubelet could do."""
    message = f"{command}: the embedded Kubernetes API has no pods; the demo works in their place"
    return ApiError(501, "NotImplemented", message)


def unsupported_media_type(found: str) -> ApiError:
    message = f"the body of the request was in an unknown format - {found}"
    return ApiError(415, "UnsupportedMediaType", message)


def injected(code: int) -> ApiError:
    """Answer for a fault that a test asked for."""
    return ApiError(
        code, http.HTTPStatus(code).phrase.replace(" ", ""), "the server is made to fail this request"
    )
