"""What the reactor needs of the world. Monitoring, Connection and Kube satisfy these; tests may too."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from natsscaler.core.access import Access
from natsscaler.core.decision.rates import Workers
from natsscaler.core.jetstream.documents import ConsumerInfo, StreamTold
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import RuleKey, Target
from natsscaler.core.status import RuleStatus


class MonitoringPort(Protocol):
    """Reads NATS."""

    async def read(self, access: Access, tenant: str) -> Reading:
        """Raise MonitoringError; tenants share what large answers take."""

    async def forget(self, access: Access) -> None:
        """Drop what is remembered of an endpoint."""


class DoorbellPort(Protocol):
    """Counts messages and rings once."""

    last_delivery: float
    largest: int

    @property
    def deliveries(self) -> int: ...

    @property
    def spent(self) -> bool: ...

    async def lower(self, limit: int) -> None: ...

    async def close(self) -> None: ...


class AdvisoryLike(Protocol):
    """A JetStream event."""

    @property
    def action(self) -> str: ...

    @property
    def stream(self) -> str: ...

    @property
    def consumer(self) -> str: ...


class ConnectionPort(Protocol):
    """A connection to NATS."""

    account: str
    server_id: str
    cluster: str

    @property
    def state(self) -> Finding | None: ...

    @property
    def whose(self) -> object:
        """Whose word it is that comes over it; another one once that may be another word."""

    @property
    def limited(self) -> bool: ...

    def denied(self, subjects: Sequence[str]) -> str | None: ...

    async def doorbell(
        self, subjects: Sequence[str], limit: int, ring: Callable[[], None]
    ) -> DoorbellPort | None: ...

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo | NotTold: ...

    async def stream_info(self, stream: str) -> StreamTold | NotTold: ...

    async def settle(self) -> bool: ...

    async def run(self) -> None: ...


class ClusterPort(Protocol):
    """The Kubernetes API; everything raises KubernetesError."""

    def replicas(self, target: Target) -> int | None: ...

    def workers(self, target: Target) -> Workers | None: ...

    def autoscaler(self, target: Target) -> str | None: ...

    async def wait_synced(self) -> None: ...

    def serves(self, target: Target) -> bool: ...

    async def look(self, targets: Collection[Target]) -> None: ...

    def unusable(self, target: Target) -> Finding | None: ...

    def ready(self, target: Target) -> int | None: ...

    async def scale(self, target: Target, before: int, after: int) -> int: ...

    async def writer(self, target: Target) -> str: ...

    async def fresh_replicas(self, target: Target) -> int: ...

    async def write_status(self, key: RuleKey, uid: str, status: RuleStatus) -> None: ...

    async def emit(
        self, key: RuleKey, uid: str, *, warning: bool, reason: str, action: str, note: str, when: float
    ) -> None: ...
