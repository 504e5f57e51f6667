"""A recording: what a rule has seen, in a format of its own that stays readable (docs/simulate.md)."""

from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from natsscaler.core.errors import SettingsError
from natsscaler.simulate.arrivals import Arrivals, of_rows

VERSION = 1


class Recorded(Struct, frozen=True, array_like=True):
    """What holds from this time on, until the next one."""

    time: float
    """Seconds since the epoch."""
    backlog: int | None
    """Messages that wait; None: unknown."""
    replicas: int | None
    """None: unknown."""
    arriving: float | None = None
    """Messages that come, per second; None: unknown, and guessed from the backlog."""


class Recording(Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a rule's past."""

    format: Literal["natsscaler-recording"] = "natsscaler-recording"
    version: Annotated[int, Meta(ge=1)] = VERSION
    namespace: str
    name: str
    replica_rate: Annotated[
        float | None, Meta(description="Messages per second that a ready replica works off, as measured.")
    ] = None
    points: tuple[Recorded, ...]


def read_recording(text: str | bytes) -> Recording:
    """Read a recording. Raises SettingsError."""
    try:
        found = msgspec.json.decode(text, type=Recording)
    except msgspec.DecodeError as error:
        raise SettingsError(f"this is no recording: {error}") from error
    if found.version > VERSION:
        told = f"the recording is of version {found.version}, and this natsscaler reads up to {VERSION}"
        raise SettingsError(f"{told}: use a newer one")
    return found


def arrivals_of(recording: Recording, rate: float) -> Arrivals:
    """Say what came, as far as the recording tells; `rate`: messages per second of a replica, for the rest.

    Times at which the backlog is unknown count as they were before. Raises SettingsError.
    """
    points = [point for point in recording.points if point.backlog is not None and point.replicas is not None]
    if len(points) < 2:  # noqa: PLR2004 - two make a time
        raise SettingsError(
            "the recording has fewer than two moments at which the backlog is known: record longer"
        )
    rows = list[tuple[float, float]]()
    for now, later in pairwise(points):
        seconds = later.time - now.time
        before, after = now.backlog or 0, later.backlog or 0
        if now.arriving is not None:
            rows.append((now.time, now.arriving * seconds))
        else:  # while messages wait, the workers are busy; what never waits, is not seen
            done = (now.replicas or 0) * rate * seconds if before and after else 0.0
            rows.append((now.time, max(0.0, after - before + done)))
    return of_rows([*rows, (points[-1].time, 0.0)])
