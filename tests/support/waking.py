"""An endpoint's loop over an imagined NATS, in virtual time: nothing waits, and every second is exact."""

import asyncio
import selectors
from collections.abc import Callable, Collection, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from natsscaler.core.access import Access
from natsscaler.core.decision.rates import Workers
from natsscaler.core.errors import MonitoringError
from natsscaler.core.jetstream.documents import ConsumerInfo, StreamTold, Varz
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, RuleKey, Target
from natsscaler.core.status import RuleStatus
from natsscaler.core.waking import WakeSource
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.observe.rule_metrics import of_rule
from natsscaler.reactor.context import Shared
from natsscaler.reactor.endpoint_loop import EndpointLoop
from natsscaler.reactor.rule_state import RuleState
from natsscaler.settings import Settings
from tests.support import factories

SERVER = Varz(server_id="NA", server_name="n1", port=4222)
TICK = 1e-6


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    class Selector(selectors.SelectSelector):
        """Waits for nothing, and passes the time that it should have waited."""

        now = 0.0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            assert timeout is not None, "everything waits for something that will never come"
            self.now += timeout + TICK if timeout else 0.0
            return super().select(0)

    def __init__(self) -> None:
        self._virtual = self.Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def in_virtual_time(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


def worker(pending: int) -> ConsumerInfo:
    made = factories.consumer("worker", "orders.processing", pending=pending)
    return replace(made, created=factories.MOMENT)


class Bell:
    """A doorbell on the imagined NATS (natsscaler.reactor.ports.DoorbellPort)."""

    def __init__(self, world: "ImaginedWorld", limit: int, ring: Callable[[], None]) -> None:
        self.last_delivery = -1.0
        self.largest = 0
        self.deliveries = 0
        self.limit = limit
        self.spent = False
        self._world, self._ring = world, ring

    def deliver(self, size: int) -> None:
        if self.deliveries < self.limit:
            self.deliveries += 1
            self.largest = max(self.largest, size)
            self.last_delivery = self._world.clock()
            self._ring_at_limit()

    async def lower(self, limit: int) -> None:
        await asyncio.sleep(0)
        self.limit = min(self.limit, limit)
        self._ring_at_limit()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.spent = True

    def _ring_at_limit(self) -> None:
        if self.deliveries >= self.limit and not self.spent:
            self.spent = True
            self._ring()


class ImaginedWorld:
    """NATS, its connection and Kubernetes in one: what the endpoint of one rule needs of them."""

    account, server_id, cluster = "$G", SERVER.server_id, ""
    whose: object = account

    def __init__(self, rule: Rule, *, storing: float = 0.0, reading: float = 0.002) -> None:
        self.replicas_now = 1
        self.bells: list[Bell] = []
        self.armings: list[float] = []
        """When each was."""
        self.reads: list[float] = []
        """When each began."""
        self.failing = False
        self.state: Finding | None = Finding(Reason.LISTENING, "listening")
        self.published: list[tuple[float, int]] = []
        self.acknowledged = 0
        self._storing, self._reading = storing, reading
        """Seconds from a message's delivery to its being stored, and that a read takes."""
        self._tasks = asyncio.TaskGroup()
        shared = Shared(
            settings=Settings(),
            monitoring=self,
            cluster=self,
            metrics=Metrics(),
            activity=Activity(1),
            clock=self.clock,
            wall=self.clock,
            obstacle=lambda _: None,
            connect=lambda _rule, _reading: self,
            evaluated=lambda _: None,
            spawn=lambda work, name: self._tasks.create_task(work, name=name),
        )
        shared.opened.set()
        self.rule = RuleState(rule, RuleStatus(), of_rule(rule.key))
        self.endpoint = EndpointLoop(Access("http://nats:8222"), shared)
        self.endpoint.rules[rule.key] = self.rule

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self.endpoint.run(), name="endpoint")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.endpoint.rules.clear()
        self.endpoint.wake()
        await self._tasks.__aexit__(kind, error, trace)

    @staticmethod
    def clock() -> float:
        return asyncio.get_running_loop().time()

    @property
    def backlog(self) -> int:
        return sum(count for _, count in self.published) - self.acknowledged

    def publish(self, count: int, size: int = 1) -> None:
        self.published.append((self.clock(), count))
        for _ in range(count):
            for bell in list(self.bells):
                bell.deliver(size)

    def acknowledge(self, count: int) -> None:
        stored = sum(count for at, count in self.published if at + self._storing <= self.clock())
        self.acknowledged = min(stored, self.acknowledged + count)

    def fails(self, failing: bool) -> None:
        """Let reads fail from now on, or work again."""
        self.failing = failing

    def connected(self, finding: Finding) -> None:
        """Lose the connection, or have it back."""
        for bell in self.bells:
            bell.spent = True
        self.bells.clear()
        self.state = finding
        self.endpoint.ring(self.rule, WakeSource.CONNECTION)

    # Monitoring
    async def read(self, access: Access, _tenant: str) -> Reading:
        began = self.clock()
        self.reads.append(began)
        stored = sum(count for at, count in self.published if at + self._storing <= began)
        pending = stored - self.acknowledged
        await asyncio.sleep(self._reading)
        if self.failing:
            raise MonitoringError(Reason.MONITORING_UNREACHABLE, f"{access.url} cannot be reached")
        view = factories.view(factories.stream("ORDERS", ["orders.>"], worker(pending)))
        return Reading(view, SERVER, "nats://nats:4222", [(SERVER.server_id, self._reading)])

    async def forget(self, access: Access) -> None:
        assert access.url

    # Connection
    limited = False

    def denied(self, subjects: Sequence[str]) -> str | None:
        assert subjects
        return None

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo | NotTold:
        assert stream
        assert consumer
        return worker(0)

    async def stream_info(self, stream: str) -> StreamTold | NotTold:
        raise NotImplementedError

    async def doorbell(self, subjects: Sequence[str], limit: int, ring: Callable[[], None]) -> Bell | None:
        assert subjects == ("orders.processing",)
        await asyncio.sleep(0)
        if self.state is None or self.state.reason is not Reason.LISTENING:
            return None
        bell = Bell(self, limit, ring)
        self.bells.append(bell)
        self.armings.append(self.clock())
        return bell

    async def settle(self) -> bool:
        await asyncio.sleep(0.001)
        return self.state is not None and self.state.reason is Reason.LISTENING

    async def run(self) -> None:
        raise NotImplementedError

    # Kubernetes
    def replicas(self, target: Target) -> int:
        assert target
        return self.replicas_now

    def workers(self, target: Target) -> Workers:
        assert target
        return Workers(self.replicas_now, "1")

    def autoscaler(self, target: Target) -> str | None:
        assert target
        return None

    async def wait_synced(self) -> None:
        raise NotImplementedError

    def serves(self, target: Target) -> bool:
        assert target
        return True

    async def look(self, targets: Collection[Target]) -> None:
        assert targets

    def unusable(self, target: Target) -> Finding | None:
        assert target
        return None

    def ready(self, target: Target) -> int | None:
        assert target
        return None

    async def scale(self, target: Target, before: int, after: int) -> int:
        await asyncio.sleep(0.005)
        assert (target.name, before) == ("my-app", self.replicas_now)
        self.replicas_now = after
        return after

    async def writer(self, target: Target) -> str:
        assert target
        return ""

    async def fresh_replicas(self, target: Target) -> int:
        return self.replicas(target)

    async def write_status(self, key: RuleKey, uid: str, status: RuleStatus) -> None:
        assert (key, uid) == (self.rule.rule.key, self.rule.rule.uid)
        assert status.last_decision
        await asyncio.sleep(0.005)

    async def emit(self, *_: Any, **event: Any) -> None:
        assert event["note"]
