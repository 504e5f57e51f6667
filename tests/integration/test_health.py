"""Each long-lived loop that hangs is found by /healthz, and none that only waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from natsscaler.app.health import WATCH_SILENT_SECONDS, Health
from natsscaler.app.rule_events import SILENT_SECONDS, Handlers
from natsscaler.core.errors import MonitoringError
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import parse
from natsscaler.core.status import RuleStatus
from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import KubeClient
from natsscaler.kube.refusals import Refusals
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.reactor.ports import ClusterPort, MonitoringPort
from natsscaler.reactor.reactor import Reactor
from natsscaler.settings import Settings
from tests.conftest import in_background
from tests.support.factories import SAMPLE_SPEC
from tests.support.until import until

METADATA = {"name": "a", "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}


class World:
    """A reactor with one rule, whose reads of NATS and writes to Kubernetes do as the test says."""

    def __init__(self) -> None:
        self.read: Callable[[], Awaitable[None]] = refuse
        self.write: Callable[[], Awaitable[None]] = at_once
        self.reads = 0
        monitoring = cast("MonitoringPort", SimpleNamespace(read=self._read, forget=lambda _: None))
        self.reactor = Reactor(
            Settings(), monitoring, Metrics(), Activity(size=1), lambda *_: cast("Any", None)
        )
        self.watch = SimpleNamespace(name="deployments", heard_at=time.monotonic())
        kube = cast("Kube", SimpleNamespace(watches=[self.watch], synced=True))
        self.handlers = Handlers(self.reactor, cast("KubeClient", None))
        self.refusals = Refusals()
        self.health = Health(kube, self.reactor, self.handlers, self.refusals)

    @property
    def cluster(self) -> ClusterPort:
        ports = SimpleNamespace(
            replicas=lambda _: 1, autoscaler=lambda _: None, wait_synced=at_once, serves=lambda _: True,
            look=lambda _: at_once(), unusable=lambda _: None, ready=lambda _: None, workers=lambda _: None,
            write_status=self._write, emit=self._write,
        )  # fmt: skip
        return cast("ClusterPort", ports)

    async def _read(self, *_: object) -> None:
        self.reads += 1
        await self.read()

    async def _write(self, *_: object, **__: object) -> None:
        await self.write()


async def refuse() -> None:
    raise MonitoringError(Reason.MONITORING_UNREACHABLE, "nobody there")


async def at_once() -> None:
    pass


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The reactor runs; what hangs is found after half a second."""
    monkeypatch.setattr("natsscaler.reactor.reactor.STALLED_SECONDS", 0.5)
    made = World()
    async with in_background(made.reactor.run(made.cluster)):
        made.reactor.elected.set()
        await asyncio.sleep(0)
        made.reactor.upsert(parse({"metadata": METADATA, "spec": SAMPLE_SPEC}), RuleStatus())
        yield made


async def test_waiting_for_the_first_lists_or_backing_off_is_no_fault(world: World) -> None:
    found: list[str] = []

    def looked() -> bool:
        found.extend(world.health.live())
        return world.reads >= 3

    assert world.health.live() == []
    assert world.health.ready() == ["ScalingRules have not been listed yet: Is their CRD installed?"]
    world.reactor.listed.set()
    await until(looked, 15)
    assert found == []
    assert world.health.ready() == []


async def test_a_loop_that_hangs_in_a_read_is_found(world: World) -> None:
    world.read = for_ever
    world.reactor.listed.set()
    await until(lambda: world.health.live() == ["rules of http://nats:8222 are not evaluated any more"], 15)


async def test_a_write_that_does_not_end_is_found(world: World) -> None:
    world.write = for_ever
    world.reactor.listed.set()
    await until(lambda: world.health.live() == ["writing for rule default/a does not end"], 15)


async def test_a_watch_that_hangs_is_found(world: World) -> None:
    world.watch.heard_at -= WATCH_SILENT_SECONDS + 1
    assert world.health.live() == ["The watch of deployments has been silent for 300 s"]


async def test_kopf_that_asks_no_more_is_found(world: World) -> None:
    world.handlers.asked_at -= SILENT_SECONDS + 1
    assert world.health.live() == []  # it has nothing to ask for before the CRD is there
    world.reactor.listed.set()
    assert world.health.live() == ["The operator has not asked for ScalingRules for 600 s"]


LISTED = "/apis/apps/v1/deployments"


class Time:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "it does not accept the credentials: renew them"), (403, "the account may do nothing")],
)
def test_requests_that_are_refused_for_longer_than_a_minute_are_told_once(
    caplog: pytest.LogCaptureFixture, status: int, why: str
) -> None:
    clock = Time()
    refusals = Refusals(clock=clock)
    refusals.note(LISTED, 200)
    refusals.note("/apis", 200)
    for clock.now in (0.0, 59.0):
        refusals.note(LISTED, status)
        assert refusals.problem() == ""
    clock.now = 61.0
    assert why in refusals.problem()
    for clock.now in (61.0, 70.0, 80.0):
        refusals.note(LISTED, status)
    assert len([line for line in caplog.records if why in line.message]) == 1
    refusals.note(LISTED, 500)
    assert refusals.problem(), "a failure accepts nothing"
    refusals.note(LISTED, 409)
    assert refusals.problem() == ""


def test_an_account_that_may_do_something_is_ready() -> None:
    clock = Time()
    refusals = Refusals(clock=clock)
    refusals.note(LISTED, 200)
    for clock.now in (0.0, 100.0):
        refusals.note("/api/v1/namespaces/a/secrets/nats", 403)
        refusals.note("/apis/events.k8s.io/v1/namespaces/a/events", 403)
    assert refusals.problem() == "", "it still watches Deployments"
    refusals.note("/apis/apps/v1/namespaces/gone/deployments", 403)
    clock.now = 190.0
    assert refusals.problem() == "", "that is another namespace"
    refusals.note(LISTED, 403)
    clock.now = 300.0
    refusals.note("/apis", 200)
    assert refusals.problem(), "what there is, is told to everybody"


def test_a_process_that_is_refused_is_not_ready(world: World) -> None:
    world.reactor.listed.set()
    assert world.health.ready() == []
    world.refusals._seconds = -1.0
    world.refusals.note(LISTED, 401)
    assert "401" in "".join(world.health.ready())
    world.refusals.note(LISTED, 200)
    assert world.health.ready() == []
