"""Paths and verbs of the Kubernetes API over HTTP, in the order in which a request passes through them."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import web

from natsscaler.demo.kubernetes import errors, openapi, resources, tables
from natsscaler.demo.kubernetes.errors import Object
from natsscaler.demo.kubernetes.lists import Pages, watch
from natsscaler.demo.kubernetes.objects import ObjectPath, Objects
from natsscaler.demo.kubernetes.resources import NAMESPACES, Resource

VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "embedded", "goVersion": "none"}
FIXED: dict[str, Object] = {"version": VERSION, "api": {"kind": "APIVersions", "versions": ["v1"]}}
WRITES = {"POST", "PUT", "PATCH"}
NEED_PODS = {f"kubectl {command}" for command in ("attach", "cp", "debug", "exec", "logs", "port-forward")}
"""What kubectl says it does, in a header: it would look for pods and wait for them."""
APPLY = "application/apply-patch+yaml"
NAMESPACE_PARTS = {"status", "finalize"}


class Routes:
    """Answers requests from `objects`; `stopping` ends the watches, `clock` gives Unix seconds."""

    def __init__(
        self,
        objects: Objects,
        *,
        bookmark_seconds: float,
        stopping: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._objects, self._pages = objects, Pages()
        self._bookmark_seconds, self._stopping, self._clock = bookmark_seconds, stopping, clock

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; raises ApiError."""
        match [part for part in request.path.split("/") if part]:
            case ["healthz" | "livez" | "readyz"]:
                return web.Response(text="ok")
            case ["api", version, *rest] if rest:
                return await self._resource(request, self._target("", version, rest))
            case ["apis", group, version, *rest] if rest:
                return await self._resource(request, self._target(group, version, rest))
            case path:
                return reply(self._discovery(path))

    def _discovery(self, path: list[str]) -> Object:
        match path:
            case [name] if name in FIXED:
                return FIXED[name]
            case ["apis"]:
                return resources.group_list(self._objects.resources)
            case ["openapi", "v3", *rest]:
                return openapi.document("/".join(rest), self._objects.resources)
            case ["apis", group]:
                return self._group(group)
            case ["api", version]:
                return self._version("", version)
            case ["apis", group, version]:
                return self._version(group, version)
        raise errors.no_such_page()

    def _group(self, group: str) -> Object:
        versions = {r.version: None for r in self._objects.resources if r.group == group}
        if not versions:
            raise errors.no_such_page()
        document = resources.group_document(group, versions)
        return {"kind": "APIGroup", "apiVersion": "v1", **document}

    def _version(self, group: str, version: str) -> Object:
        served = [r for r in self._objects.resources if (r.group, r.version) == (group, version)]
        if not served:
            raise errors.no_such_page()
        return resources.resource_list(served[0].group_version, served)

    async def _resource(self, request: web.Request, at: ObjectPath) -> web.StreamResponse:
        if (command := request.headers.get("Kubectl-Command", "")) in NEED_PODS:
            raise errors.no_pods(command)
        body: Any = None if request.method == "GET" else await _body(request)
        dry = request.query.getall("dryRun", []) or (request.method == "DELETE" and body.get("dryRun"))
        if dry not in ([], False, None, ["All"]):
            raise errors.bad_request(f'dryRun: Unsupported value: {dry}: supported values: "All"')
        objects = self._objects.rehearsal() if dry else self._objects
        response = await (self._one if at.name else self._many)(request, at, objects, body)
        if request.method in WRITES and request.query.get("fieldValidation", "Warn") == "Warn":
            for field in objects.unknown:
                response.headers.add("Warning", f'299 - "unknown field \\"{field}\\""')
        return response

    def _target(self, group: str, version: str, rest: list[str]) -> ObjectPath:
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACE_PARTS:  # noqa: PLR2004 - the third part
            namespace, rest = rest[1], rest[2:]
        resource = self._objects.resource(group, version, rest[0])
        if len(rest) > 3 or bool(namespace) > resource.namespaced:  # noqa: PLR2004 - kind, name, subresource
            raise errors.no_such_page()
        name, part = [*rest[1:], "", ""][:2]
        if name and resource.namespaced and not namespace:
            raise errors.no_such_page()
        served = {"status": resource.has_status, "scale": resource.scale is not None, "": True}
        if not served.get(part, False) and resource != NAMESPACES:
            raise errors.not_found(resource.group, resource.plural, name)
        return ObjectPath(resource, namespace, name, part)

    async def _many(
        self, request: web.Request, at: ObjectPath, objects: Objects, body: Any
    ) -> web.StreamResponse:
        strict = request.query.get("fieldValidation") == "Strict"
        if request.method == "GET" and request.query.get("watch") in {"true", "1"}:
            return await self._watch(request, at)
        if request.method == "GET":
            found, metadata = self._pages.page(self._objects, at, request.query)
            return self._listed(request, at, found, metadata)
        if request.method == "POST":
            if at.resource.namespaced and not at.namespace:
                raise errors.method_not_allowed()
            return reply(objects.create(at.resource, at.namespace, body, strict=strict), 201)
        if request.method == "DELETE":
            found, metadata = self._pages.page(objects, at, request.query)
            for obj in found:
                namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
                objects.delete(ObjectPath(at.resource, namespace, name))
            return self._listed(request, at, found, metadata)
        raise errors.method_not_allowed()

    async def _one(
        self, request: web.Request, at: ObjectPath, objects: Objects, body: Any
    ) -> web.StreamResponse:
        strict = request.query.get("fieldValidation") == "Strict"
        if request.method == "GET":
            obj = objects.get(at)
            return self._table(request, at.resource, [obj], {}) or reply(obj)
        if request.method == "PUT":
            return reply(objects.replace(at, body, strict=strict))
        if request.method == "PATCH":
            return reply(objects.patch(at, request.content_type, body, strict=strict))
        if request.method == "DELETE" and not at.part:
            obj, gone = objects.delete(at, body.get("preconditions"))
            return reply(_deleted(at.resource, obj) if gone else obj)
        raise errors.method_not_allowed()

    def _listed(
        self, request: web.Request, at: ObjectPath, found: list[Object], metadata: Object
    ) -> web.StreamResponse:
        shown = [self._objects.shown(at.resource, obj) for obj in found]
        if tabular := self._table(request, at.resource, shown, metadata):
            return tabular
        if not at.resource.custom:  # as the real API: typed lists omit what the list's own kind says
            shown = [{k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}} for obj in shown]
        kind = f"{at.resource.kind}List"
        version = at.resource.group_version
        return reply({"kind": kind, "apiVersion": version, "metadata": metadata, "items": shown})

    def _table(
        self, request: web.Request, resource: Resource, shown: list[Object], metadata: Object
    ) -> web.Response | None:
        if not _wants_table(request):
            return None
        include = request.query.get("includeObject", "Metadata")
        return reply(tables.table(resource, shown, metadata, include, self._clock()))

    async def _watch(self, request: web.Request, at: ObjectPath) -> web.StreamResponse:
        events = watch(
            self._objects,
            at,
            request.query,
            bookmark_seconds=self._bookmark_seconds,
            stopping=self._stopping,
        )
        if _wants_table(request):
            events = self._rows(request, at.resource, events)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # the client may leave at any time
            async for event in events:
                await response.write(msgspec.json.encode(event) + b"\n")
        return response

    async def _rows(
        self, request: web.Request, resource: Resource, events: AsyncIterator[Object]
    ) -> AsyncIterator[Object]:
        """Turn each event's object into a table of one row; only the first names the columns."""
        include = request.query.get("includeObject", "Metadata")
        named = False
        async for event in events:
            if event["type"] in {"ERROR", "BOOKMARK"}:
                yield event
                continue
            metadata = {"resourceVersion": event["object"]["metadata"]["resourceVersion"]}
            row = tables.table(resource, [event["object"]], metadata, include, self._clock())
            yield {"type": event["type"], "object": {**row, "columnDefinitions": []} if named else row}
            named = True


def reply(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")


def _wants_table(request: web.Request) -> bool:
    return "as=Table;v=v1;g=meta.k8s.io" in request.headers.get("Accept", "").replace(" ", "")


def _deleted(resource: Resource, obj: Object) -> Object:
    details = errors.details(resource.group, resource.plural, obj["metadata"]["name"])
    details["uid"] = obj["metadata"]["uid"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def _body(request: web.Request) -> Any:
    if request.content_type == APPLY:
        raise errors.bad_request(
            "the embedded Kubernetes API knows no server-side apply: leave out --server-side"
        )
    if not request.content_type.endswith("json") and request.content_type != "application/octet-stream":
        found = f"{request.content_type}: the embedded API takes JSON, as kubectl apply -f sends it"
        raise errors.unsupported_media_type(found)
    try:
        return msgspec.json.decode(await request.read() or b"{}")
    except msgspec.DecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
