"""The operator's own loop over the workers of a simulation, in virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from natsscaler.core.access import Access
from natsscaler.core.decision.rates import Workers
from natsscaler.core.jetstream.documents import ConsumerInfo, Jsz, SequenceInfo
from natsscaler.core.jetstream.snapshot import Reading, View
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.rule import Rule, Target
from natsscaler.simulate.loop import Delays
from natsscaler.simulate.plant import Plant
from tests.support import factories
from tests.support.waking import SERVER, ImaginedWorld

DELAYS = Delays(read=0.003, arm=0.001, write=0.005)
"""What the imagined world takes."""


class PlantBell:
    """A doorbell that hears the messages of a plant (natsscaler.reactor.ports.DoorbellPort)."""

    largest = 1

    def __init__(self, world: "PlantWorld", limit: int, ring: Callable[[], None]) -> None:
        self.limit = limit
        self.spent = False
        self._world, self._ring = world, ring
        self._since = world.passed.ever
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    @property
    def deliveries(self) -> int:
        return min(self.limit, self._world.passed.ever - self._since)

    @property
    def last_delivery(self) -> float:
        return self._world.plant.when_came(self._since + self.deliveries) if self.deliveries else -1.0

    async def lower(self, limit: int) -> None:
        self.limit = min(self.limit, limit)
        self._wait()

    async def close(self) -> None:
        self.spent = True
        if self._timer:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        rings_at = self._world.plant.when_came(self._since + self.limit)
        if rings_at <= self._world.clock():
            self._rings()
        elif rings_at < self._world.plant.arrivals.seconds + 1:
            self._timer = asyncio.get_running_loop().call_at(rings_at, self._rings)

    def _rings(self) -> None:
        if not self.spent:
            self.spent = True
            self._ring()


class PlantWorld(ImaginedWorld):
    """The imagined NATS and Kubernetes, whose workers are a plant."""

    def __init__(self, rule: Rule, plant: Plant) -> None:
        super().__init__(rule, reading=DELAYS.read)
        self.plant = plant
        self.replicas_now = plant.replicas
        self.steps: list[tuple[float, int, int]] = []

    @property
    def passed(self) -> Plant:
        self.plant.advance(self.clock())
        return self.plant

    async def read(self, access: Access, _tenant: str) -> Reading:
        assert access.url
        told, ever = self._worker(), self.passed.ever
        at = datetime.fromtimestamp(self.clock(), UTC)
        await asyncio.sleep(DELAYS.read)
        made = factories.stream("ORDERS", ["orders.processing"], told)
        stream = replace(made, state=replace(made.state, last_seq=ever))
        document = Jsz(server_id="NA", now=at, account_details=(factories.account("$G", stream),))
        view = View([factories.node("n1", document)])
        return Reading(view, SERVER, "nats://nats:4222", [(SERVER.server_id, DELAYS.read)])

    def _worker(self) -> ConsumerInfo:
        found = self.passed.backlog(self.rule.rule.spec.backlog)
        made = factories.consumer(
            "worker", "orders.processing", pending=found.pending, unacknowledged=found.unacknowledged
        )
        [counters] = found.counters
        return replace(
            made,
            created=factories.MOMENT,
            delivered=SequenceInfo(consumer_seq=counters.delivered or 0),
            ack_floor=SequenceInfo(consumer_seq=counters.floor),
            num_waiting=counters.waiting,
        )

    async def doorbell(self, subjects: Sequence[str], limit: int, ring: Callable[[], None]) -> Any:
        assert subjects == ("orders.processing",)
        return PlantBell(self, limit, ring)

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo | NotTold:
        assert (stream, consumer) == ("ORDERS", "worker")
        return self._worker()

    def workers(self, target: Target) -> Workers:
        assert target
        return self.passed.workers()

    async def scale(self, target: Target, before: int, after: int) -> int:
        assert target
        await asyncio.sleep(DELAYS.write)
        self.passed.scale(after)
        self.replicas_now = after
        self.steps.append((self.clock(), before, after))
        return after
