"""What the probes answer: is the process alive, and is it ready. NATS being down fails neither.

Alive means that every long-lived loop still comes round: a task that dies takes the process with it, so what
is left to find is one that hangs. Each loop is bounded in all that it waits for; the bounds here are far
above the sum of those, so that only a fault of natsscaler's own can exceed them.
"""

import time

from natsscaler.app.rule_events import SILENT_SECONDS, Handlers
from natsscaler.kube.cluster import Kube
from natsscaler.kube.refusals import Refusals
from natsscaler.reactor.reactor import Reactor

WATCH_SILENT_SECONDS = 300.0
"""A watch is given up after 90 s of silence, and tried again within a minute."""


class Health:
    """What the probes ask for; every sentence is something that is wrong."""

    def __init__(self, kube: Kube, reactor: Reactor, handlers: Handlers, refusals: Refusals) -> None:
        self._kube = kube
        self._reactor = reactor
        self._handlers = handlers
        self._refusals = refusals

    def live(self) -> list[str]:
        """Say what hangs; an answer at all proves the event loop."""
        now = time.monotonic()
        wrong = self._reactor.stalled()
        if self._reactor.listed.is_set() and now - self._handlers.asked_at > SILENT_SECONDS:
            wrong.append(f"The operator has not asked for ScalingRules for {SILENT_SECONDS:g} s")
        wrong += [
            f"The watch of {watch.name} has been silent for {WATCH_SILENT_SECONDS:g} s"
            for watch in self._kube.watches
            if now - watch.heard_at > WATCH_SILENT_SECONDS
        ]
        return wrong

    def ready(self) -> list[str]:
        """Say which first list is still missing, and whether the API server refuses everything."""
        problem = self._refusals.problem()
        missing = [problem] if problem else []
        if not self._kube.synced:
            missing.append("Deployments and HorizontalPodAutoscalers have not been listed yet")
        if not self._reactor.listed.is_set():
            why = self._handlers.problem or "Is their CRD installed?"
            missing.append(f"ScalingRules have not been listed yet: {why}")
        return missing
