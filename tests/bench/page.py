"""What the page costs: the memory of the past, and how long the event loop is held up by its readers."""

import gc
import time
import tracemalloc
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from natsscaler.core.status import rfc3339
from natsscaler.observe.feed import Activity
from natsscaler.observe.timeline import DAY, DAY_SLOT, HOUR, HOUR_SLOT, Timeline
from natsscaler.web.answers import Update
from natsscaler.web.api import detail, summary
from tests.support.gallery import Gallery

NOW = 1_767_225_600
QUIET = (NOW,)
BUSY = (*range(NOW - DAY, NOW - HOUR, DAY_SLOT), *range(NOW - HOUR, NOW, HOUR_SLOT))
"""When the rule changes: as often as its past has room for."""


class Cost(NamedTuple):
    """Per rule, and of the first event of a stream with all rules."""

    quiet_bytes: float
    busy_bytes: float
    table_seconds: float
    table_bytes: int
    detail_seconds: float


def past(rules: int, changes: Sequence[int]) -> float:
    """Return the bytes that the past of one of so many rules takes after these changes."""
    gc.collect()
    tracemalloc.start()
    kept = [Timeline() for _ in range(rules)]
    for history in kept:
        for number, moment in enumerate(changes):
            history.add(moment, number % 1000, 1 + number % 9)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / rules


def page_cost(rules: int) -> Cost:
    gallery = Gallery()
    gallery.many(rules)
    began = time.perf_counter()
    table = first_event(gallery.activity)
    table_seconds = time.perf_counter() - began
    busiest = gallery.activity.rules[0]
    for number, moment in enumerate(BUSY):
        busiest.history.add(moment + gallery.clock() - NOW, number % 1000, 1)
    began = time.perf_counter()
    msgspec.json.encode(detail(busiest, gallery.clock()))
    seconds = time.perf_counter() - began
    return Cost(past(rules, QUIET), past(rules, BUSY), table_seconds, len(table), seconds)


def first_event(activity: Activity) -> bytes:
    changes = activity.changes(0)
    return msgspec.json.encode(
        Update(
            timestamp=rfc3339(time.time()),
            everything=True,
            rules=[summary(seen, time.time()) for seen in changes.rules],
            gone=[],
            actions=changes.actions,
            leader=None,
            not_ready=[],
        )
    )
