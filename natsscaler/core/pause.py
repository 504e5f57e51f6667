"""People's pauses: annotations of a rule that keep it from scaling, in one direction or both, for a while.

They are annotations and not fields, so that GitOps leaves them alone. Whatever cannot be read pauses fully:
who writes one wants less scaling, not more.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from natsscaler.core.errors import excerpt
from natsscaler.core.reasons import Finding, Reason

PAUSED_ANNOTATION = "scaling.example.com/paused"
REPLICAS_ANNOTATION = f"{PAUSED_ANNOTATION}-replicas"
UNTIL_ANNOTATION = f"{PAUSED_ANNOTATION}-until"
WHY_ANNOTATION = f"{PAUSED_ANNOTATION}-reason"
KINDS = {
    "true": Reason.PAUSED,
    "scale-up": Reason.PAUSED_SCALE_UP,
    "scale-down": Reason.PAUSED_SCALE_DOWN,
}
SUBJECTS = {
    Reason.PAUSED: "The rule is paused",
    Reason.PAUSED_SCALE_UP: "Scaling up is paused",
    Reason.PAUSED_SCALE_DOWN: "Scaling down is paused",
}
MOST_REPLICAS = 2**31 - 1


class Pause(Struct, frozen=True):
    """What the annotations of a rule ask for."""

    reason: Reason
    """Which kind of pause it is."""
    message: str
    until: float = math.inf
    """When it ends by itself, in seconds since the epoch; infinite: it does not."""
    replicas: int | None = None
    """The number that the Deployment is kept at; None: the one that it has."""

    @property
    def finding(self) -> Finding:
        """Say that the rule is paused, and how."""
        return Finding(self.reason, self.message)

    def permits(self, present: int, wanted: int) -> int:
        """Say what may become of a wish for other replicas than the present ones."""
        if self.reason is Reason.PAUSED_SCALE_UP:
            return min(present, wanted)
        if self.reason is Reason.PAUSED_SCALE_DOWN:
            return max(present, wanted)
        return present if self.replicas is None else self.replicas


class _Unreadable(Exception):
    """An annotation says what nobody understands."""


def pause(annotations: Mapping[str, str]) -> Pause | None:
    """Read the annotations of a rule; None: it is not paused, whatever the time.

    "false" switches all of them off. Without `paused`, each of the others but the reason pauses too.
    """
    asked = annotations.get(PAUSED_ANNOTATION)
    if asked is not None and asked.strip().lower() == "false":
        return None
    if not {PAUSED_ANNOTATION, REPLICAS_ANNOTATION, UNTIL_ANNOTATION} & set(annotations):
        return None
    try:
        return _read(annotations)
    except _Unreadable as error:
        message = f"The rule is paused, as {error}: correct or remove it"
        return Pause(Reason.PAUSED_UNREADABLE, message)


def _read(annotations: Mapping[str, str]) -> Pause:
    asked = annotations.get(PAUSED_ANNOTATION, "true")
    reason = KINDS.get(asked.strip().lower())
    if reason is None:
        raise _unreadable(PAUSED_ANNOTATION, asked, "true, scale-up, scale-down or false")
    subject, replicas, until = SUBJECTS[reason], None, math.inf
    number = annotations.get(REPLICAS_ANNOTATION)
    if number is not None:
        replicas = _replicas(number)
        if reason is not Reason.PAUSED:
            raise _Unreadable(
                f"annotation {PAUSED_ANNOTATION} {excerpt(asked)!r} and {REPLICAS_ANNOTATION} contradict each"
                " other"
            )
        reason, subject = Reason.PAUSED_AT_REPLICAS, f"The rule is paused at {replicas} replicas"
    time = annotations.get(UNTIL_ANNOTATION)
    if time is not None:
        until = _time(time)
        subject += f" until {time.strip()}"
    why = excerpt(annotations.get(WHY_ANNOTATION, "").strip())
    told = f' ("{why}")' if why else ""
    return Pause(reason, f"{subject} by annotation{told}: remove it or set it to false", until, replicas)


def _replicas(text: str) -> int:
    number = text.strip()
    if not (re.fullmatch(r"[0-9]{1,10}", number) and 1 <= int(number) <= MOST_REPLICAS):
        raise _unreadable(
            REPLICAS_ANNOTATION,
            text,
            "a whole number of 1 or more (to stop the workers, scale the Deployment to 0)",
        )
    return int(number)


def _time(text: str) -> float:
    try:
        read = datetime.fromisoformat(text.strip())
        if read.tzinfo:
            return read.timestamp()
    except (ValueError, OverflowError):
        pass
    raise _unreadable(UNTIL_ANNOTATION, text, "a time with its zone, such as 2026-12-24T18:00:00Z")


def _unreadable(annotation: str, value: str, wanted: str) -> _Unreadable:
    return _Unreadable(f"annotation {annotation} is {excerpt(value)!r} and must be {wanted}")
