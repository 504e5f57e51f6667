"""Lists in pages, and watches: the two ways in which clients follow a whole kind."""

import asyncio
import collections
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

from natsscaler.demo.kubernetes.errors import Object, bad_request, expired
from natsscaler.demo.kubernetes.objects import ObjectPath, Objects
from natsscaler.demo.kubernetes.resources import Resource
from natsscaler.demo.kubernetes.selectors import Selector, both
from natsscaler.demo.kubernetes.store import Change, TooOldError

KEPT_SNAPSHOTS = 100
WATCH_SECONDS = 1800.0
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class Pages:
    """The rest of lists that are read in pages: every page shows the moment of the first one."""

    def __init__(self) -> None:
        self._rest: collections.OrderedDict[str, tuple[int, list[Object]]] = collections.OrderedDict()

    def page(self, objects: Objects, at: ObjectPath, query: Mapping[str, str]) -> tuple[list[Object], Object]:
        """Return a page of stored objects and the list's metadata; raises a 410 for a forgotten token."""
        if token := query.get("continue"):
            if token not in self._rest:
                raise expired(token)
            revision, found = self._rest[token]
        else:
            selects = _selector(at.resource, query)
            found = [obj for obj in objects.store.all(at.resource.bucket, at.namespace) if selects(obj)]
            revision = objects.store.revision
        limit = _number(query, "limit") or len(found)
        rest = found[limit:]
        metadata: Object = {"resourceVersion": str(revision)}
        if rest:
            metadata["continue"] = self._keep(revision, rest)
            metadata["remainingItemCount"] = len(rest)
        return found[:limit], metadata

    def _keep(self, revision: int, rest: list[Object]) -> str:
        token = uuid.uuid4().hex
        self._rest[token] = revision, rest
        if len(self._rest) > KEPT_SNAPSHOTS:
            self._rest.popitem(last=False)
        return token


async def watch(
    objects: Objects,
    at: ObjectPath,
    query: Mapping[str, str],
    *,
    bookmark_seconds: float,
    stopping: Callable[[], bool],
) -> AsyncIterator[Object]:
    """Yield watch events until `timeoutSeconds` are over or `stopping` says so.

    Without a resource version (or with "0") what exists comes first, as ADDED. Bookmarks come whenever
    nothing else has for `bookmark_seconds` (the real API: about once a minute). A version that history no
    longer has: an ERROR event of code 410, and the end.
    """
    store, selects = objects.store, _selector(at.resource, query)
    wait = bookmark_seconds if query.get("allowWatchBookmarks") in {"true", "1"} else WATCH_SECONDS
    deadline = time.monotonic() + (_number(query, "timeoutSeconds") or WATCH_SECONDS)
    revision = _number(query, "resourceVersion")
    streams_list = query.get("sendInitialEvents") == "true"
    if not revision or streams_list:
        revision = store.revision
        for event in _initial(objects, at, selects):
            yield event
    if streams_list:
        yield _bookmark(at.resource, revision, INITIAL_EVENTS_END)
    while not stopping() and (left := deadline - time.monotonic()) > 0:
        changed = store.next_change()
        try:
            changes = store.since(at.resource.bucket, revision)
        except TooOldError:
            yield {"type": "ERROR", "object": expired(str(revision)).status}
            return
        revision = max(revision, store.revision)
        for event in _events(objects, at, selects, changes):
            yield event
        if at.resource not in objects.resources:  # its CRD was deleted
            return
        if not await _set_within(changed, min(wait, left)) and wait < left:
            yield _bookmark(at.resource, revision, {})


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _initial(objects: Objects, at: ObjectPath, selects: Selector) -> Iterator[Object]:
    for obj in objects.store.all(at.resource.bucket, at.namespace):
        if selects(obj):
            yield {"type": "ADDED", "object": objects.shown(at.resource, obj)}


def _events(
    objects: Objects, at: ObjectPath, selects: Selector, changes: Iterable[Change]
) -> Iterator[Object]:
    """Yield what a watch with this selector sees: an object may also enter or leave what is selected."""
    for change in changes:
        if at.namespace and change.after["metadata"].get("namespace") != at.namespace:
            continue
        before = change.before is not None and selects(change.before)
        after = change.kind != "DELETED" and selects(change.after)
        if before or after:
            kind = "DELETED" if not after else "MODIFIED" if before else "ADDED"
            yield {"type": kind, "object": objects.shown(at.resource, change.after)}


def _bookmark(resource: Resource, revision: int, annotations: Mapping[str, str]) -> Object:
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata},
    }


def _selector(resource: Resource, query: Mapping[str, str]) -> Selector:
    return both(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource)


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not text.isdecimal():
        raise bad_request(f"invalid value for {name}: {text}")
    return int(text)
