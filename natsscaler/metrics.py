"""Every metric, with its labels and help, on a registry of its own.

Names follow the Prometheus conventions (base units, `_total` for counters). Series of a rule go when
the rule goes.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from natsscaler import __version__
from natsscaler.rules import RuleKey

REACTION_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
RULE = ("namespace", "rule")


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.backlog = self._gauge("backlog_messages", "Messages that wait, as last known", RULE)
        self.replicas = self._gauge("replicas", "Replicas that the Deployment asks for", RULE)
        self.desired = self._gauge("desired_replicas", "Replicas that the last decision wants", RULE)
        self.known = self._gauge("backlog_known", "1 if the backlog is known, 0 if replicas are held", RULE)
        self.decisions = self._counter("decisions", "Decisions by reason", (*RULE, "reason"))
        self.actions = self._counter("scaling_actions", "Changes of replicas", (*RULE, "direction"))
        self.failures = self._counter("failures", "Failed reads and writes by reason", ("reason",))
        self.wakeups = self._counter("wakeups", "Evaluations by what caused them", ("source",))
        self.reads = self._histogram("monitoring_read_seconds", "Time to read /jsz", READ_BUCKETS)
        self.late = self._histogram(
            "deadline_delay_seconds", "How late the read budget made an evaluation", REACTION_BUCKETS
        )
        self.reaction = self._histogram(
            "reaction_seconds", "From the first ring to the patch", REACTION_BUCKETS
        )
        self.doorbell = self._counter("doorbell_deliveries", "Messages delivered to doorbells")
        self.connected = self._gauge("nats_connected", "NATS connections that are up")
        self.leader = self._gauge("leader", "1 if this process acts, 0 if it stands by for another one")
        self.rules = self._gauge("rules", "ScalingRules that are evaluated")
        Info("natsscaler_build", "Version", registry=self.registry).info({"version": __version__})

    def forget(self, key: RuleKey) -> None:
        """Remove the series of a rule that is gone."""
        for metric in (self.backlog, self.replicas, self.desired, self.known, self.decisions, self.actions):
            metric.remove_by_labels({"namespace": key.namespace, "rule": key.name})

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"natsscaler_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"natsscaler_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"natsscaler_{name}", text, buckets=buckets, registry=self.registry)
