"""All rules of the process: their endpoints, who owns a Deployment, which rules an event concerns."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from natsscaler.core.access import Access
from natsscaler.core.conditions import invalid
from natsscaler.core.errors import KubernetesError
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.ownership import obstacle, owner, unseen
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule, RuleKey, Target
from natsscaler.core.status import RuleStatus, of_no_deployment
from natsscaler.core.waking import WakeSource
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.reactor.advisories import Advised, Advisories
from natsscaler.reactor.context import Shared
from natsscaler.reactor.endpoint_loop import EndpointLoop
from natsscaler.reactor.executor import RETRY_SECONDS, Notice, announce, publish
from natsscaler.reactor.ports import ClusterPort, ConnectionPort, MonitoringPort
from natsscaler.reactor.rule_state import RuleState
from natsscaler.reactor.write_turns import Kind
from natsscaler.settings import Settings

log = logging.getLogger(__name__)

STALLED_SECONDS = 240.0
"""Longer than any round of an endpoint's loop and all writes of one rule may take, by their own timeouts."""


class Reactor:
    """Turns rules, events and time into evaluations. Its tasks live in `run`."""

    def __init__(
        self,
        settings: Settings,
        monitoring: MonitoringPort,
        metrics: Metrics,
        activity: Activity,
        connect: Callable[[Access, Advised], ConnectionPort],
    ) -> None:
        self._settings = settings
        self._monitoring = monitoring
        self._metrics = metrics
        self._activity = activity
        self._connect = connect
        self._endpoints: dict[Access, EndpointLoop] = {}
        self._connections: dict[Access, tuple[ConnectionPort, asyncio.Task[None]]] = {}
        self._by_target: dict[Target, dict[RuleKey, Rule]] = {}
        self._owners: dict[Target, Rule] = {}
        """Those that may scale: with thousands of rules for one Deployment each has but one to look at."""
        self._states: dict[RuleKey, RuleState] = {}
        self._advisories = Advisories(self._ring, self._spawn)
        self._group: asyncio.TaskGroup | None = None
        self._shared: Shared | None = None
        self.listed = asyncio.Event()
        """To be set once every rule that exists has been given to `upsert` or `reject`."""
        self.elected = asyncio.Event()
        """To be set once this process is to act, and knows all rules as the one before left them."""
        self._rejected: dict[RuleKey, tuple[str, RuleStatus, RuleStatus]] = {}
        """Uid, new and old status of the unusable rules that are still to be told so."""

    async def run(self, cluster: ClusterPort) -> None:
        """Evaluate rules, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._shared = Shared(
                settings=self._settings,
                monitoring=self._monitoring,
                cluster=cluster,
                metrics=self._metrics,
                activity=self._activity,
                clock=time.monotonic,
                wall=time.time,
                obstacle=self._obstacle,
                connect=self._connection,
                evaluated=self._advisories.index.note,
                spawn=self._spawn,
            )
            await cluster.wait_synced()
            await self.listed.wait()
            await self.elected.wait()
            self._shared.opened.set()
            self._shared.opened_at = self._shared.clock()
            for endpoint in self._endpoints.values():
                endpoint.wake()
            for key in self._rejected:
                self._spawn(self._say_invalid(key), f"reject {key}")
            await asyncio.Event().wait()

    async def drain(self) -> None:
        """Begin no further write, and return once those under way have ended."""
        if self._shared:
            self._shared.opened.clear()
            await self._shared.turns.idle()

    @property
    def keys(self) -> set[RuleKey]:
        """All rules that are known and usable."""
        return set(self._states)

    def stalled(self) -> list[str]:
        """Say what hangs: work that nobody has taken up, or that does not end, for STALLED_SECONDS."""
        shared = self._shared
        if shared is None or not shared.opened.is_set():
            return []
        idle = [access.url for access, one in self._endpoints.items() if one.overdue() > STALLED_SECONDS]
        since = shared.clock() - STALLED_SECONDS
        writing = [str(key) for key, state in self._states.items() if state.writing_since < since]
        return [f"rules of {url} are not evaluated any more" for url in idle] + [
            f"writing for rule {key} does not end" for key in writing
        ]

    def upsert(self, rule: Rule, status: RuleStatus) -> None:
        """Take a rule as it is now; once this process acts, the status counts only for rules new to it."""
        rule = replace(rule, operator_dry_run=self._settings.dry_run)
        old = self._states.get(rule.key)
        if old and not self._acts:
            old.follow(status, time.monotonic())
            self._activity.learn(rule.key, rule, status)
        if old and old.rule == rule:
            return
        if old and old.rule.target != rule.target:
            status = of_no_deployment(status)
        if old and _identity(old.rule) == _identity(rule):
            still = {str(by) for by in rule.selectors}
            old.trusts = {by: trust for by, trust in old.trusts.items() if by in still}
            old.rule = rule
            state = old
        else:
            self.forget(rule.key)
            state = self._states[rule.key] = RuleState(rule, status, self._metrics.follow(rule.key))
            self._endpoint(rule).rules[rule.key] = state
        self._activity.learn(rule.key, rule, status)
        self._by_target.setdefault(rule.target, {})[rule.key] = rule
        self._metrics.rules.set(len(self._states))
        self._ring(state, WakeSource.RULE)
        self._find_owner(rule.target, rule)

    def deleted(self, key: RuleKey) -> None:
        """Drop a rule that was deleted; where it leaves a Deployment at zero, say how to start it by hand."""
        state = self._states.get(key)
        if state and state.asleep and self._acts:
            self._spawn(self._say_left_at_zero(state.rule), f"tell of {key}")
        self.forget(key)

    async def _say_left_at_zero(self, rule: Rule) -> None:
        shared, target = self._shared, rule.target
        if shared is None:
            return
        command = f"kubectl scale {target.resource} {target.name} -n {target.namespace} --replicas=1"
        notice = Notice(
            warning=True,
            reason=Reason.LEFT_AT_ZERO,
            action="Scale",
            note=f"The rule is gone, and {target.shown} stays at 0 replicas. To start it: {command}",
            when=shared.wall(),
        )
        await announce(shared, rule.key, rule.uid, [notice])

    def forget(self, key: RuleKey) -> None:
        """Drop a rule that is gone. The replicas stay as they are."""
        self._rejected.pop(key, None)
        self._activity.forget(key)
        state = self._states.pop(key, None)
        if state is None:
            return
        state.gone = True
        self._leave_target(state.rule)
        self._advisories.index.note(state)
        endpoint = self._endpoints[state.rule.monitoring]
        del endpoint.rules[key]
        if state.doorbell:
            self._spawn(state.doorbell.close(), f"close the doorbell of {key}")
        if not endpoint.rules:
            endpoint.wake()  # to end
        self._release(state.connection)
        self._metrics.forget(key)
        self._metrics.rules.set(len(self._states))

    def reject(self, key: RuleKey, uid: str, generation: int, finding: Finding, status: RuleStatus) -> None:
        """Stop evaluating a rule that cannot be used, and say so on it."""
        self.forget(key)
        new = invalid(finding, generation, status, time.time())
        self._activity.learn(key, None, new)
        if new != status:
            self._rejected[key] = uid, new, status
            if self._acts:
                self._spawn(self._say_invalid(key), f"reject {key}")

    def ring_target(self, target: Target) -> None:
        """Ring the rules of a Deployment that changed."""
        for key in self._by_target.get(target, {}):
            self._ring(self._states[key], WakeSource.DEPLOYMENT)

    @property
    def _acts(self) -> bool:
        return self._shared is not None and self._shared.opened.is_set()

    def _endpoint(self, rule: Rule) -> EndpointLoop:
        access = rule.monitoring
        if access not in self._endpoints:
            if self._shared is None:
                raise RuntimeError("the reactor takes rules only while it runs")
            endpoint = EndpointLoop(access, self._shared)
            self._endpoints[access] = endpoint
            self._spawn(self._serve(endpoint), f"endpoint {access.url}")
        return self._endpoints[access]

    async def _serve(self, endpoint: EndpointLoop) -> None:
        """Have an endpoint serve its rules, also those that come while it reads for the last one."""
        await endpoint.run()
        del self._endpoints[endpoint.access]
        await self._monitoring.forget(endpoint.access)

    def _connection(self, rule: Rule, reading: Reading | None) -> ConnectionPort | None:
        access = rule.nats(self._settings.nats_url or (reading.nats_url if reading else ""))
        connection = None
        if self._settings.events & set(rule.spec.events):
            if not access.url:  # what was known of it before holds
                return self._states[rule.key].connection
            if access not in self._connections:
                made = self._connect(access, self._advisories.advised)
                self._connections[access] = made, self._spawn(made.run(), "NATS connection")
                self._metrics.connections.set(len(self._connections))
            connection = self._connections[access][0]
        state = self._states[rule.key]
        if state.connection is not connection:
            old, state.connection = state.connection, connection
            self._advisories.index.note(state)
            self._release(old)
        return connection

    def _release(self, connection: ConnectionPort | None) -> None:
        if connection is None or self._advisories.index.of(connection):
            return
        for access, (known, task) in list(self._connections.items()):
            if known is connection:
                task.cancel()
                del self._connections[access]
                self._metrics.connections.set(len(self._connections))

    def _obstacle(self, rule: Rule) -> Finding | None:
        cluster = self._shared.cluster if self._shared else None
        found = obstacle(
            rule,
            [self._owners[rule.target]] if rule.target in self._owners else [],
            cluster.autoscaler(rule.target) if cluster else None,
            allow_cross_namespace=self._settings.allow_cross_namespace,
            namespaces=self._settings.namespaces,
        )
        if found is None and cluster:
            found = cluster.unusable(rule.target) if cluster.serves(rule.target) else unseen(rule)
        return found

    def _leave_target(self, rule: Rule) -> None:
        rules = self._by_target[rule.target]
        del rules[rule.key]
        if not rules:
            del self._by_target[rule.target]
        self._find_owner(rule.target)

    def _find_owner(self, target: Target, changed: Rule | None = None) -> None:
        """See who owns a Deployment; if that is another rule than before, both look at it again."""
        rules, before = self._by_target.get(target, {}), self._owners.pop(target, None)
        stays = before if before and before.key in rules else None
        found = owner([stays, changed] if stays and changed and stays.key != changed.key else rules.values())
        if found:
            self._owners[target] = found
        for one in (before, found):
            if one and one.key in rules and not (before and found and before.key == found.key):
                self._ring(self._states[one.key], WakeSource.RULE)

    def _ring(self, state: RuleState, source: WakeSource) -> None:
        self._endpoint(state.rule).ring(state, source)

    async def _say_invalid(self, key: RuleKey) -> None:
        """Write what is wrong with a rule, as often as it takes, unless there is other news of it."""
        shared, said = self._shared, self._rejected.get(key)
        while shared and said:
            uid, new, old = said
            try:
                async with shared.turns.turn(Kind.STATUS, key.namespace):
                    if not shared.opened.is_set() or self._rejected.get(key) is not said:
                        return
                    notices = await publish(shared, key, uid, new, old)
                await announce(shared, key, uid, notices)
            except KubernetesError as error:
                log.warning("%s: %s", key, error.message)
                self._metrics.failed("status", error.reason)
            except Exception:  # a supervision point: one bad rule never disturbs another
                log.exception("Writing the status of %s failed", key)
                self._metrics.failed("evaluate", "Internal")
            else:
                if self._rejected.get(key) is said:
                    del self._rejected[key]
                return
            await asyncio.sleep(RETRY_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            raise RuntimeError("the reactor has tasks only while it runs")
        return self._group.create_task(work, name=name)


def _identity(rule: Rule) -> tuple[str, Access, Target]:
    """What cannot change without making it another rule, of which nothing is remembered."""
    return rule.uid, rule.monitoring, rule.target
