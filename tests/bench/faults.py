"""The faults of a soak: each is there while its context is open."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

from aiohttp import web

from tests.bench.faulty_fleet import FaultyFleet, nats_config
from tests.support import faulty_monitoring as monitoring
from tests.support.faulty_monitoring import Answer
from tests.support.faulty_proxy import Matches, Spoilt, patches, watches

Fault = Callable[[FaultyFleet, Random], AbstractAsyncContextManager[None]]
OWN_WATCHES = ("deployments", "horizontalpodautoscalers")
WATCHES = ("scalingrules", *OWN_WATCHES)
HUGE = 50 * 2**20
SUBSCRIPTIONS = 30
"""Of one connection: fewer than the operator wants, more than any of the model's has."""
CONTENDED = range(5)
"""The rules whose Deployments GitOps writes too."""
CAP = 3


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
async def nats_limited(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    await _restart(fleet, nats_config(subscriptions=SUBSCRIPTIONS))
    yield
    await _restart(fleet, nats_config())


async def _restart(fleet: FaultyFleet, config: str) -> None:
    await fleet.server.stop()
    fleet.server.config = config
    await fleet.server.start()


def permissions(denied: str) -> Fault:
    """Take permissions from the operator, and give them back."""

    @asynccontextmanager
    async def fault(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
        fleet.server.reload(nats_config(denied=denied))
        yield
        fleet.server.reload(nats_config())

    return fault


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
        fleet.proxy.fix()

    return fault


@asynccontextmanager
async def capped(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    """Have admission make CAP of every step up to more, as a policy of the cluster may."""

    def admit(request: web.Request, body: bytes) -> bytes:
        if not patches("/scale")(request):
            return body
        test, change = json.loads(body)
        if change["value"] > test["value"]:
            change["value"] = min(change["value"], max(CAP, test["value"]))
        return json.dumps([test, change]).encode()

    true, fleet.proxy.admit = fleet.proxy.admit, admit
    yield
    fleet.proxy.admit = true


@asynccontextmanager
async def set_back(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    """Have GitOps set the replicas of a few Deployments to the same number again and again."""

    async def repeat() -> None:
        while True:
            for number in CONTENDED:
                fleet.set_back(number, CAP)
            await asyncio.sleep(1)

    task = asyncio.create_task(repeat(), name="GitOps")
    yield
    task.cancel()


@asynccontextmanager
async def token_rotated(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    fleet.rotate_token()
    yield


@asynccontextmanager
async def token_expired(fleet: FaultyFleet, _: Random) -> AsyncIterator[None]:
    fleet.proxy.accepted = "another one"
    yield
    fleet.rotate_token()


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
    "nats limits subscriptions": nats_limited,
    "nats denies doorbells": permissions('subscribe: {deny: "soak.>"}'),
    "nats denies advisories": permissions('subscribe: {deny: "$JS.EVENT.ADVISORY.>"}'),
    "nats denies answers": permissions('subscribe: {deny: "_INBOX.>"}'),
    "nats denies questions": permissions('publish: {deny: "$JS.API.>"}'),
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
    "replicas capped": capped,
    "replicas set back": set_back,
    "token rotated": token_rotated,
    "token expired": token_expired,
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
