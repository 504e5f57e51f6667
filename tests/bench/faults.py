"""The faults of a soak: each is there while its context is open."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

from aiohttp import web

from tests import faulty_monitoring as monitoring
from tests.bench.faulty_fleet import FaultyFleet
from tests.faulty_monitoring import Answer
from tests.faulty_proxy import Matches, Spoilt, patches, watches

Fault = Callable[[FaultyFleet, Random], AbstractAsyncContextManager[None]]
OWN_WATCHES = ("deployments", "horizontalpodautoscalers")
WATCHES = ("scalingrules", *OWN_WATCHES)
HUGE = 50 * 2**20


@asynccontextmanager
async def nats_killed(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    await fleet.server.kill()
    yield
    await fleet.server.start()


@asynccontextmanager
async def nats_stopped(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    await fleet.server.stop()
    yield
    await fleet.server.start()


@asynccontextmanager
async def nats_frozen(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    fleet.server.pause()
    yield
    fleet.server.resume()


def jsz(answer: Callable[[], Answer]) -> Fault:
    """Let one or all of the monitoring endpoints answer wrongly."""

    @asynccontextmanager
    async def fault(fleet: FaultyFleet, random: Random) -> AsyncIterator[None]:
        chosen = random.choice([[random.choice(fleet.fronts)], fleet.fronts])
        for front in chosen:
            front.fault = answer()
        yield
        for front in chosen:
            front.fault = None

    return fault


@asynccontextmanager
async def api_away(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    await fleet.kubernetes.stop()
    yield
    await fleet.kubernetes.start()


@asynccontextmanager
async def api_slow(fleet: FaultyFleet, random: Random) -> AsyncIterator[None]:
    fleet.proxy.delay = random.uniform(0.1, 3)
    yield
    fleet.proxy.delay = 0.0


def refused(matches: Matches, status: int | None, *, forwarded: bool = False, **headers: str) -> Fault:
    """Let requests fail; with the status None they are never answered."""

    @asynccontextmanager
    async def fault(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
        made = {name.replace("_", "-"): value for name, value in headers.items()}
        fleet.proxy.fault(matches, status, headers=made, forwarded=forwarded, times=None)
        yield
        fleet.proxy.mend()

    return fault


def spoilt(how: Spoilt, plurals: Sequence[str] = WATCHES) -> Fault:
    """Spoil the watches that are open; they stay so until the operator opens others."""

    @asynccontextmanager
    async def fault(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
        for plural in plurals:
            fleet.proxy.spoil(plural, how)
        yield

    return fault


@asynccontextmanager
async def clock_stepped(fleet: FaultyFleet, random: Random) -> AsyncIterator[None]:
    fleet.step_clock(random.choice([-86_400, -3600, -60, 60, 3600, 86_400]))
    yield
    fleet.step_clock(0)


@asynccontextmanager
async def operator_frozen(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    fleet.freeze()
    yield
    fleet.thaw()


def anything(_: web.Request) -> bool:
    return True


def writes(request: web.Request) -> bool:
    return request.method != "GET"


NATS: Mapping[str, Fault] = {
    "nats killed": nats_killed,
    "nats stopped": nats_stopped,
    "nats frozen": nats_frozen,
    "/jsz 500": jsz(lambda: monitoring.status(500)),
    "/jsz 401": jsz(lambda: monitoring.status(401)),
    "/jsz redirect": jsz(lambda: monitoring.status(302, Location="/varz")),
    "/jsz hanging": jsz(lambda: monitoring.never),
    "/jsz slow": jsz(lambda: monitoring.slow(0.7)),
    "/jsz cut off": jsz(lambda: monitoring.cut_off),
    "/jsz truncated": jsz(lambda: monitoring.changed(lambda truth: truth[: len(truth) // 2])),
    "/jsz not JSON": jsz(lambda: monitoring.changed(lambda _: b"<html>")),
    "/jsz another shape": jsz(lambda: monitoring.changed(lambda _: b"[]")),
    "/jsz without accounts": jsz(lambda: monitoring.with_fields(account_details=[], total=0)),
    "/jsz of 50 MB": jsz(lambda: monitoring.changed(lambda truth: truth + HUGE * b" ")),
    "/jsz too large": jsz(lambda: monitoring.changed(lambda truth: truth + 2 * HUGE * b" ")),
    "/jsz disabled": jsz(lambda: monitoring.with_fields(disabled=True, account_details=[], total=0)),
    "/jsz cached": jsz(monitoring.cached),
}
KUBERNETES: Mapping[str, Fault] = {
    "API server away": api_away,
    "API server slow": api_slow,
    "API server 429": refused(anything, 429, Retry_After="2"),
    "API server 500": refused(anything, 500),
    "API server 503": refused(writes, 503),
    "API server hanging": refused(anything, None),
    "patches 409": refused(patches("/scale"), 409),
    "patches hanging": refused(patches("/scale"), None),
    "patches done, unanswered": refused(patches("/scale"), None, forwarded=True),
    "statuses 500": refused(patches("/status"), 500),
    "watches 410": refused(watches("deployments"), 410),
    "watches muted": spoilt("mute"),
    "watches cut": spoilt("cut"),
    "watches garbage": spoilt("garbage", OWN_WATCHES),  # in its watch of rules it ends the operator
    "watches expired": spoilt("expired"),
}
HOST: Mapping[str, Fault] = {"clock stepped": clock_stepped, "operator frozen": operator_frozen}


async def suffer(
    fleet: FaultyFleet, faults: Mapping[str, Fault], random: Random, end: float, begun: Callable[[str], None]
) -> None:
    """Have one of these faults after another, with rests between them, until `end` (monotonic seconds)."""
    while time.monotonic() < end:
        await asyncio.sleep(random.uniform(1, 10))
        name = random.choice(list(faults))
        begun(name)
        async with faults[name](fleet, random):
            await asyncio.sleep(random.uniform(0.5, 12))
