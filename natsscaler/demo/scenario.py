"""The story that the demo tells: quiet, a burst, scaling up, draining, scaling down, and a smaller burst.

Meanwhile a second Deployment idles at zero; at the end a message wakes it.

The reaction to a burst is measured from outside: from its first message to the change of the Deployment's
replicas, as a watch of the API sees it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.rule import KIND, Target
from natsscaler.demo.bursts import Burst
from natsscaler.demo.display import Display, Sample
from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.manifests import (
    MAX_REPLICAS,
    MIN_REPLICAS,
    NAMESPACE,
    NOT_FOUND,
    REPORTS,
    RULES,
    SCALE_DOWN_THRESHOLD,
    STABILIZATION_SECONDS,
    TARGET,
)
from natsscaler.demo.workload import TRICKLE_PER_SECOND, Workload
from natsscaler.kube.objects import Deployment
from natsscaler.kube.watch import Watch

BURSTS = (800, 190)
"""Messages: more than maxReplicas can be wanted for, and what four replicas are enough for."""
QUIET_SECONDS, END_SECONDS = 6.0, 3.0
READY_SECONDS, UP_SECONDS, DOWN_SECONDS = 30.0, 35.0, 90.0
CHECK_SECONDS, SAMPLE_SECONDS = 0.1, 0.25
QUIET = f"quiet: {TRICKLE_PER_SECOND} messages/s, which one worker keeps up with"
WORKING = {"Ready", "EventDriven"}


class Scenario:
    """What happens, and what is seen of it."""

    def __init__(
        self,
        api: client.ApiClient,
        workload: Workload,
        reports: Workload,
        view: Display,
        bursts: list[Burst],
    ) -> None:
        self._custom, self._workload, self._view = client.CustomObjectsApi(api), workload, view
        self._reports = reports
        call = client.AppsV1Api(api).list_namespaced_deployment_without_preload_content
        self._watch = Watch("deployments", partial(call, NAMESPACE), Deployment, self._changed)
        self._known = 1
        self._bounds = (MIN_REPLICAS, MAX_REPLICAS)
        self.bursts = bursts
        self.background: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "watch": self._watch.run,
            "trickle": workload.trickle,
            "workers": partial(workload.work, self.replicas),
            "workers of reports": partial(reports.work, partial(self.replicas, REPORTS)),
            "events": self._show_events,
            "samples": self._show_samples,
        }

    def replicas(self, target: Target = TARGET) -> int:
        """Return the replicas that a Deployment asks for, as last seen."""
        known = self._watch.find(target)
        return known.spec.replicas if known else 0

    async def burst(self, messages: int) -> None:
        """Publish one more burst, and take note of what follows."""
        number = len(self.bursts) + 1
        self._view.step(f"burst {number}: {messages} messages")
        burst = Burst(number, messages, time.monotonic(), self.replicas())
        self.bursts.append(burst)
        burst.began = await self._workload.burst(messages)

    async def play(self) -> None:
        """Play the scenario. Raises DemoFailed if it does not show scaling up and down."""
        self._view.step("the operator starts")
        await _until(self._ready, READY_SECONDS, "the ScalingRule did not become Ready and EventDriven")
        for messages in BURSTS:
            self._view.step(QUIET)
            await asyncio.sleep(QUIET_SECONDS)
            await self.burst(messages)
            await self._watch_burst(self.bursts[-1])
        await self._wake_reports()
        self._view.step(QUIET)
        await asyncio.sleep(END_SECONDS)

    async def _wake_reports(self) -> None:
        """Show that the Deployment which nobody needs is at zero, and that one message wakes it."""
        asleep = f"{REPORTS.name} did not go to zero, though nothing happened there"
        await _until(lambda: self.replicas(REPORTS) == 0, DOWN_SECONDS, asleep)
        self._view.step(f"{REPORTS.name} has gone to zero, as nobody asked for one; now somebody does")
        await self._reports.burst(1)
        await _until(lambda: self.replicas(REPORTS), UP_SECONDS, f"{REPORTS.name} did not wake")

    async def _watch_burst(self, burst: Burst) -> None:
        await _until(lambda: burst.scaled_up, UP_SECONDS, f"burst {burst.number} did not scale anything")
        down = f"after burst {burst.number} the replicas did not come down to {burst.before}"
        self._view.step(f"{self.replicas()} workers drain it")
        await _until(self._drained, DOWN_SECONDS, down)
        self._view.step(f"drained; the stabilization window keeps the replicas for {STABILIZATION_SECONDS} s")
        await _until(lambda: burst.came_down, DOWN_SECONDS, down)

    async def _ready(self) -> bool:
        rule: Any = await self._custom.get_namespaced_custom_object(*RULES, TARGET.name)
        conditions = rule.get("status", {}).get("conditions", [])
        return {c["type"] for c in conditions if c["status"] == "True"} >= WORKING

    async def _drained(self) -> bool:
        return await self._workload.backlog() < SCALE_DOWN_THRESHOLD

    def _changed(self, _target: Target) -> None:
        replicas = self.replicas()
        if replicas != self._known and self.bursts:
            self.bursts[-1].changed(time.monotonic(), replicas)
        self._known = replicas

    async def _show_samples(self) -> None:
        await self._watch.synced.wait()
        while True:
            replicas = self.replicas() if self._watch.find(TARGET) else None
            self._view.sample(Sample(await self._workload.backlog(), replicas, *self._bounds), self.bursts)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _show_events(self) -> None:
        shown = set()
        while True:
            await self._read_bounds()
            found: Any = await self._custom.list_namespaced_custom_object(
                "events.k8s.io", "v1", NAMESPACE, "events"
            )
            for event in sorted(found["items"], key=lambda event: event.get("eventTime") or ""):
                uid = event["metadata"]["uid"]
                if event.get("regarding", {}).get("kind") == KIND and uid not in shown:
                    shown.add(uid)
                    rule, note = event["regarding"]["name"], event.get("note", "")
                    self._view.decision(event["reason"], note if rule in note else f"{rule}: {note}")
            await asyncio.sleep(CHECK_SECONDS)

    async def _read_bounds(self) -> None:
        try:
            rule: Any = await self._custom.get_namespaced_custom_object(*RULES, TARGET.name)
        except ApiException as error:
            if error.status != NOT_FOUND:  # a person may have deleted it
                raise
        else:
            self._bounds = (rule["spec"]["minReplicas"], rule["spec"]["maxReplicas"])


async def _until(condition: Callable[[], Any], seconds: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = condition()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(CHECK_SECONDS)
    except TimeoutError as error:
        raise DemoFailed(f"{otherwise} within {seconds:g} s") from error
