"""The states of a rule's doorbell, and all transitions between them.

A doorbell is armed when it is due, rings once, and is due again after a back-off, which doubles while it
rings again and again. Times are seconds on one monotonic clock.
"""

import math
from enum import Enum
from typing import NamedTuple

BACKOFF_SECONDS = (0.05, 2.0)
"""Before a doorbell that rang in vain is armed again: the first wait, and the longest one."""
CONFIRM_SECONDS = 1.0
"""How long NATS may take to store what it has delivered (measured with `sync_interval: always`)."""
QUIET_SECONDS = BACKOFF_SECONDS[1] + CONFIRM_SECONDS
"""A doorbell that listened for longer than this before it rang begins with the first wait again."""
SETTLE_SECONDS = 0.02
"""How long further rings are waited for after the first one."""
DOORBELL_LIMIT = 64
"""Messages that a doorbell may cost before it rings, at the most."""
NO_ROOM_SECONDS = 30.0
"""After how long a doorbell that found no room among NATS's subscriptions is tried again."""


class Why(Enum):
    """What a doorbell waits for before it is armed."""

    NOTHING = "it is needed now"
    BACK_OFF = "it rang, or could not be armed"
    NO_ROOM = "NATS limits its subscriptions, and there was no room"
    FEEDS = "NATS did not say what feeds the backlog"


class Off(NamedTuple):
    """There is none, and none is needed."""

    wait: float = BACKOFF_SECONDS[0]
    """The next back-off, in this state and in all others."""


class Due(NamedTuple):
    """It is to be armed at this time."""

    at: float
    why: Why
    wait: float


class Arming(NamedTuple):
    """NATS is being asked what feeds the backlog, and then for the subscriptions."""

    wait: float


class Armed(NamedTuple):
    """It has missed no message since this time."""

    since: float
    wait: float


Arm = Off | Due | Arming | Armed


def due_at(arm: Arm) -> float:
    """Say when it is to be armed; infinite: not as things are."""
    return arm.at if isinstance(arm, Due) else math.inf


def need(arm: Arm, now: float, *, room: bool) -> Arm:
    """Need a doorbell that is not there, or another one; `room`: NATS has room for subscriptions again."""
    waits = isinstance(arm, Due) and not (room and arm.why is Why.NO_ROOM)
    return arm if waits or isinstance(arm, Arming) else Due(now, Why.NOTHING, arm.wait)


def ask(arm: Arm, now: float) -> Arm:
    """Have NATS asked now what feeds the backlog, whatever it waits for."""
    return arm if due_at(arm) <= now or isinstance(arm, Arming) else Due(now, Why.NOTHING, arm.wait)


def begin(arm: Due) -> Arming:
    """Begin to arm it."""
    return Arming(arm.wait)


def armed(arm: Arming, now: float) -> Armed:
    """Take note that it misses nothing from now on."""
    return Armed(now, arm.wait)


def failed(arm: Arming, now: float, *, room: bool) -> Due:
    """Try again later what NATS did not let us arm."""
    return _backed_off(arm.wait, now) if room else Due(now + NO_ROOM_SECONDS, Why.NO_ROOM, arm.wait)


def rang(arm: Arm, now: float) -> Arm:
    """Arm one that rang again after a back-off, unless it waits for that already."""
    if not isinstance(arm, Armed):
        return arm
    return _backed_off(BACKOFF_SECONDS[0] if now - arm.since > QUIET_SECONDS else arm.wait, now)


def drop(arm: Arm, again_at: float = math.inf) -> Off | Due:
    """Do without it, for good or until NATS is asked again what feeds the backlog."""
    return Off(arm.wait) if again_at == math.inf else Due(again_at, Why.FEEDS, arm.wait)


def calm(arm: Arm) -> Arm:
    """Begin with the first back-off again: it did not ring in vain."""
    return arm._replace(wait=BACKOFF_SECONDS[0])


def _backed_off(wait: float, now: float) -> Due:
    return Due(now + wait, Why.BACK_OFF, min(2 * wait, BACKOFF_SECONDS[1]))
