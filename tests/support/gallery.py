"""A page with a rule in every state that there is, or with many: `python -m tests.support.gallery`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from natsscaler.core.conditions import Facts, invalid
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, RuleKey, parse
from natsscaler.core.status import Action, RuleStatus, rfc3339
from natsscaler.core.waking import WakeSource
from natsscaler.demo.ports import free_port
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.settings import Settings
from natsscaler.web.api import Leader
from natsscaler.web.server import Web
from tests.support.factories import backlog, body, seen

LISTENING = Finding(Reason.LISTENING, "messages of orders.processing ring")
DEAF = Finding(Reason.NOT_CONNECTED, "nats://nats:4222: connection refused")
LOST = Unknown(Reason.MONITORING_UNREACHABLE, "http://nats:8222 refuses connections: is http_port set?")
NOWHERE = Unknown(
    Reason.CONSUMER_NOT_FOUND, "Stream ORDERS has no consumer for orders.processing; there are: audit, backup"
)
ABSENT = Finding(
    Reason.TARGET_NOT_FOUND,
    "Deployment shop/missing-app, which spec.deploymentName names, does not exist",
)
RIVAL = Finding(
    Reason.TARGET_OWNED_BY_ANOTHER, "HorizontalPodAutoscaler web scales Deployment shop/web already"
)


def rule(name: str, *, paused: bool = False, **spec: Any) -> Rule:
    given = {"namespace": "shop", "deploymentName": f"{name}-app", "messagesPerReplica": 50}
    made = body(**given | spec)
    made["metadata"] |= {"name": name, "namespace": "shop"}
    made["metadata"]["annotations"] = {"scaling.example.com/paused": str(paused).lower()}
    return parse(made)


class Gallery:
    """An activity that tests and people fill; it has no operator behind it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.activity = Activity(100)
        self.clock = clock
        self.leader: Leader | None = None
        self.health = Healthy()

    def web(self, port: int, **settings: Any) -> Web:
        return Web(
            Settings(host="127.0.0.1", activity_port=port, metrics_port=0, probe_port=0, **settings),
            self.activity,
            Metrics(),
            self.health,
            self.clock,
            leader=lambda: self.leader,
        )

    def show(
        self,
        rule: Rule,
        waiting: Any,
        replicas: int,
        *,
        ago: float = 0,
        unable: Finding | None = None,
        events: Finding | None = LISTENING,
        memory: Memory | None = None,
        ready: int | None = None,
    ) -> None:
        now = self.clock() - ago
        if not self.activity.rule(rule.key):
            self.activity.learn(rule.key, rule, RuleStatus())
        observation = None if unable else seen(waiting, replicas)
        decision = decide(rule, observation, memory or Memory(), now) if observation else None
        next_change = decision.next_change if decision else None
        found = Facts(
            rule,
            observation,
            decision,
            unable,
            events,
            late=False,
            next_change=next_change,
            now=now,
            ready=replicas if ready is None else ready,
        )
        woken = {WakeSource.RULE: now - 4000, WakeSource.DEADLINE: now - 12, WakeSource.DOORBELL: now}
        self.activity.evaluated(found, RuleStatus(), woken)

    def act(self, rule: Rule, before: int, after: int, waiting: int, *, ago: float) -> None:
        why = "BacklogAboveThreshold" if after > before else "FewerReplicasSuffice"
        self.activity.record(
            rule.key,
            Action(
                timestamp=rfc3339(self.clock() - ago),
                deployment=rule.target.name,
                namespace=rule.target.namespace,
                from_replicas=before,
                to_replicas=after,
                reason=f"{why}: Backlog {waiting} at 50 per replica wants {after}",
                pending_messages=waiting,
            ),
        )

    def burst(self, rule: Rule, *, ago: float = 300) -> None:
        """Let a burst come and go, with its two actions."""
        self.show(rule, 4, 1, ago=ago + 120)
        self.show(rule, 430, 1, ago=ago)
        self.act(rule, 1, 9, 430, ago=ago)
        for second in range(0, 120, 6):
            self.show(rule, max(3, 430 - 4 * second), 9, ago=ago - second)
        self.show(rule, 3, 1, ago=ago - 180)
        self.act(rule, 9, 1, 3, ago=ago - 180)

    def every_state(self) -> None:
        """Show a rule in each state that a newcomer must understand."""
        paused_consumer = backlog(300, paused=True)
        steady = rule("steady")
        self.burst(steady)
        self.show(steady, 3, 1)
        self.show(rule("scaling-up"), 430, 2)
        self.show(rule("at-max", maxReplicas=4), 430, 4)
        self.show(rule("within", messagesPerReplica=None), 20, 3)
        self.show(rule("stabilizing"), 3, 6, memory=Memory().wanted(6, self.clock() - 60, 300))
        self.show(
            rule("cadence", messagesPerReplica=None, scaleUpThreshold=50),
            90,
            2,
            memory=Memory(last_up=self.clock() - 5),
        )
        unknown = rule("unknown-backlog")
        self.show(unknown, 40, 3, ago=240)
        self.show(unknown, LOST, 3, events=DEAF)
        self.show(rule("no-consumer"), NOWHERE, 1)
        self.show(rule("paused", paused=True), 430, 2)
        self.show(rule("rehearsal", dryRun=True), 430, 2)
        self.show(rule("off"), 430, 0)
        self.show(rule("consumer-paused"), paused_consumer, 2)
        self.show(rule("missing"), 0, 0, unable=ABSENT)
        self.show(rule("web", deploymentName="web"), 0, 0, unable=RIVAL)
        self.show(rule("not-event-driven"), 20, 2, events=DEAF)
        broken = Finding(Reason.INVALID_RULE, "spec.subject: must be a NATS subject without white space")
        self.activity.learn(RuleKey("shop", "invalid"), None, invalid(broken, 1, RuleStatus(), self.clock()))
        fresh = rule("fresh")
        self.activity.learn(fresh.key, fresh, RuleStatus())

    def many(self, number: int) -> None:
        """Show so many rules, of which some are in trouble."""
        for index in range(number):
            made = rule(f"rule-{index:04}", subject=f"orders.{index}")
            trouble = LOST if index % 100 == 99 else index % 60
            self.show(made, trouble, 1 + index % 9)
            if index % 50 == 0:
                self.act(made, 1, 1 + index % 9, 60, ago=index)


class Served:
    """A gallery at an address, until it is stopped."""

    def __init__(self, gallery: Gallery, port: int, settings: dict[str, Any]) -> None:
        self.gallery, self.port, self._settings = gallery, port, settings
        self.url = f"http://127.0.0.1:{port}/"
        self._task: asyncio.Task[None] | None = None

    def rule(self, name: str) -> str:
        return f"{self.url}rules/shop/{name}"

    async def start(self) -> None:
        self._task = asyncio.create_task(self.gallery.web(self.port, **self._settings).run())
        async with asyncio.timeout(10):
            while not self._task.done():
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    return
        await self._task

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def serve(gallery: Gallery, **settings: Any) -> AsyncIterator[Served]:
    served = Served(gallery, free_port(), settings)
    await served.start()
    yield served
    await served.stop()


class Healthy:
    """Nothing is wrong, but what a test says."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def live(self) -> list[str]:
        return []

    def ready(self) -> list[str]:
        return self.wrong


async def main() -> None:
    gallery = Gallery()
    gallery.every_state()
    print("http://127.0.0.1:8082/")  # noqa: T201
    await gallery.web(8082).run()


if __name__ == "__main__":
    asyncio.run(main())
