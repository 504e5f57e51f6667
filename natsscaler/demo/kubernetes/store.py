"""What etcd is to the real API: objects by key, one revision for all writes, and a bounded history to watch.

Stored objects are never changed in place, so lists, watches and snapshots share them without copying.
"""

import asyncio
import collections
import itertools
from dataclasses import dataclass
from typing import Literal

from natsscaler.demo.kubernetes.errors import Object

Bucket = tuple[str, str]
"""API group and plural name: all versions of a resource share one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write; `before` is None for a new object, `after` is the last state, with the write's revision."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    revision: int
    before: Object | None
    after: Object


class TooOldError(Exception):
    """The history no longer reaches back to the revision asked for."""


class Store:
    def __init__(self, *, history: int = 4096) -> None:
        """`history`: how many changes of each bucket a watch can go back."""
        self.revision = 1
        self._history = history
        self._objects: dict[Bucket, dict[tuple[str, str], Object]] = {}
        self._changes: dict[Bucket, collections.deque[Change]] = {}
        self._forgotten: dict[Bucket, int] = {}
        self._changed = asyncio.Event()

    def copy(self) -> "Store":
        """Return a store with the same objects, whose writes nobody sees."""
        other = Store()
        other.revision = self.revision
        other._objects = {bucket: dict(objects) for bucket, objects in self._objects.items()}
        return other

    def get(self, bucket: Bucket, namespace: str, name: str) -> Object | None:
        return self._objects.get(bucket, {}).get((namespace, name))

    def all(self, bucket: Bucket, namespace: str = "") -> list[Object]:
        """Return the objects of one namespace (of all: ""), in the order of etcd's keys."""
        objects = self._objects.get(bucket, {})
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def put(self, bucket: Bucket, obj: Object) -> Object:
        """Write the object under its namespace and name; return it with its new resource version."""
        key = _key(obj)
        before = self._objects.get(bucket, {}).get(key)
        after = self._revised(obj)
        self._objects.setdefault(bucket, {})[key] = after
        kind: Literal["ADDED", "MODIFIED"] = "ADDED" if before is None else "MODIFIED"
        self._record(bucket, Change(kind, self.revision, before, after))
        return after

    def remove(self, bucket: Bucket, obj: Object) -> Object:
        """Remove the object; return its last state, which carries the revision of the removal."""
        before = self._objects[bucket].pop(_key(obj))
        after = self._revised(obj)
        self._record(bucket, Change("DELETED", self.revision, before, after))
        return after

    def since(self, bucket: Bucket, revision: int) -> list[Change]:
        """Return the changes after `revision`, oldest first; raises TooOldError."""
        if revision < self._forgotten.get(bucket, 0):
            raise TooOldError(revision)
        newest_first = reversed(self._changes.get(bucket, ()))
        return list(itertools.takewhile(lambda change: change.revision > revision, newest_first))[::-1]

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes: older resource versions are gone (410)."""
        self._changes.clear()
        self._forgotten = dict.fromkeys(self._objects, self.revision)

    def next_change(self) -> asyncio.Event:
        """Return an event that the next write (or `wake`) sets; take it before reading `since`."""
        return self._changed

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _revised(self, obj: Object) -> Object:
        self.revision += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}

    def _record(self, bucket: Bucket, change: Change) -> None:
        changes = self._changes.setdefault(bucket, collections.deque())
        changes.append(change)
        if len(changes) > self._history:
            self._forgotten[bucket] = changes.popleft().revision
        self.wake()


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
