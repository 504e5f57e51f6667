"""Every metric of a process, and how they are read: OpenMetrics or the older text, as the reader prefers.

Names follow the Prometheus conventions (base units, `_total` for counters). What is told of each rule is in
`series`.
"""

import asyncio

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from natsscaler import __version__
from natsscaler.core.rule import RuleKey
from natsscaler.core.waking import WakeSource
from natsscaler.observe import rule_metrics
from natsscaler.observe.rule_metrics import PREFIX, RuleSeries

REACTION_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_SECONDS = 1.0
"""Between two measurements of the event loop's lag."""
OPENMETRICS = "application/openmetrics-text"
END = b"# EOF\n"
"""The last line of OpenMetrics."""


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        # They would be a second series for each counter, which Prometheus stores as a gauge.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._rules: dict[RuleKey, RuleSeries] = {}
        self.rules = self._gauge("rules", "ScalingRules that are usable")
        self.leader = self._gauge("leader", "1 if this process acts, 0 if it stands by for another one")
        self._failures = self._counter("failures", "What failed, by reason", ("operation", "reason"))
        self.wakeups = self._counter("wakeups", "What asked for evaluations", ("source",))
        for source in WakeSource:
            self.wakeups.labels(source)
        self.reaction = self._histogram(
            "reaction_seconds", "From the first ring to the patch of the replicas", REACTION_BUCKETS
        )
        self.reads = self._histogram(
            "monitoring_read_seconds", "How long a node took to answer a read of /jsz", READ_BUCKETS
        )
        self.late = self._histogram(
            "deadline_delay_seconds", "How late the read budget made an evaluation", REACTION_BUCKETS
        )
        self.doorbell = self._counter("doorbell_deliveries", "Messages delivered to doorbells")
        self.connections = self._gauge("nats_connections", "NATS connections that rules ask for")
        self.connected = self._gauge("nats_connected", "NATS connections that are up")
        self._lag = self._histogram(
            "event_loop_lag_seconds", "How much later than due the event loop came round", LAG_BUCKETS
        )
        Info(f"{PREFIX}build", "Version", registry=self.registry).info({"version": __version__})
        ProcessCollector(registry=self.registry)

    def failed(self, operation: str, reason: str) -> None:
        """Count a failure: of read, evaluate, scale, status, event, watch or lease."""
        self._failures.labels(operation, reason).inc()

    def follow(self, key: RuleKey) -> RuleSeries:
        """Begin the series of a rule anew."""
        made = self._rules[key] = rule_metrics.of_rule(key)
        return made

    def forget(self, key: RuleKey) -> None:
        """Drop all series of a rule that is gone."""
        self._rules.pop(key, None)

    def write(self, *, openmetrics: bool) -> tuple[bytes, str]:
        """Write everything in one of the two formats; return it and its content type."""
        encode, content_type = choose_encoder(OPENMETRICS if openmetrics else "")
        body = bytearray(encode(self.registry).removesuffix(END))
        for family in rule_metrics.write(self._rules.values(), openmetrics=openmetrics):
            body += family.encode()
        if openmetrics:
            body += END
        return bytes(body), content_type

    async def watch_event_loop(self) -> None:
        """Measure the event loop's lag, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(0.0, clock() - due))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(PREFIX + name, text, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, text, unit="seconds", buckets=buckets, registry=self.registry)
