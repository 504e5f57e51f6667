"""Explains rules: what the operator would decide now, by its own functions, read from where the command runs.

Its memory is what the rule's status keeps. Whether events reach the operator only the operator can know, so
that is its last word.
"""

import asyncio
import difflib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from msgspec.structs import replace

from natsscaler.commands.options import Options
from natsscaler.core.access import Access
from natsscaler.core.conditions import LATE, Facts
from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Observation, StepKind
from natsscaler.core.errors import InvalidRule, KubernetesError, MonitoringError
from natsscaler.core.explain.operator_report import Lease, at_work, from_outside, last_word, remembered
from natsscaler.core.explain.steps import Step, explain_invalid
from natsscaler.core.explain.story import explain
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown, did_you_mean
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.together import Measured, together
from natsscaler.core.jetstream.trust import Trusts
from natsscaler.core.ownership import missing, obstacle
from natsscaler.core.reasons import Finding, Reason, State
from natsscaler.core.remembering import restore, restore_trusts
from natsscaler.core.rule import Rule, RuleKey, Target, parse
from natsscaler.core.status import RuleStatus, read_back
from natsscaler.kube.lease import NAME as LEASE
from natsscaler.kube.reader import ClusterReader
from natsscaler.kube.scales import Look
from natsscaler.nats.connection import Connection
from natsscaler.nats.credential_store import Keyring
from natsscaler.nats.http import Fetching
from natsscaler.nats.monitoring import Monitoring
from natsscaler.net.allowlist import AllowList
from natsscaler.reactor.leader_query import counts, draft
from natsscaler.reactor.questions import Asking
from natsscaler.settings import Settings

Body = Mapping[str, Any]

CONNECT_SECONDS = 5.0
"""How long a connection to NATS is waited for, where one is needed."""


class NoSuchRule(Exception):
    """There is no such rule, and the message names those that are called nearly so; or it is not watched."""


@dataclass(kw_only=True)
class World:
    """What rules share, as far as the caller may see it."""

    rules: list[Rule]
    """Without those that cannot be used: they scale nothing."""
    targets: dict[Target, Look]
    """What rules may scale, as far as it exists and is looked at."""
    autoscalers: dict[Target, str] = field(default_factory=dict)
    lease: Lease | None = None
    unseen: list[str] = field(default_factory=list)
    """What could not be seen, and why."""

    @cached_property
    def rules_of(self) -> Mapping[Target, list[Rule]]:
        """The rules that name each target."""
        found: dict[Target, list[Rule]] = {}
        for rule in self.rules:
            found.setdefault(rule.target, []).append(rule)
        return found


def key_of(body: Body) -> RuleKey:
    """Name a ScalingRule as the Kubernetes API gives it."""
    return RuleKey(body["metadata"]["namespace"], body["metadata"]["name"])


def find(key: RuleKey, bodies: Iterable[Body]) -> Body:
    """Find a rule by its name. Raises NoSuchRule."""
    known = {key_of(body): body for body in bodies}
    if key in known:
        return known[key]
    near = [str(one) for one in known if one.name == key.name]
    near += difflib.get_close_matches(str(key), map(str, known), cutoff=0.5)
    near += [str(one) for one in known if one.namespace == key.namespace]
    hint = ", ".join(list(dict.fromkeys(near))[:5]) or "none that you can see"
    meant = did_you_mean(str(key), map(str, known))
    raise NoSuchRule(f"There is no ScalingRule {key}. {meant}These exist: {hint}")


class Explainer:
    """Explains rules, by one read of each NATS server, a second one in doubt, and one connection to it."""

    def __init__(self, options: Options, cluster: ClusterReader, allow: AllowList, keyring: Keyring) -> None:
        self._options = options
        self._keyring = keyring
        self._cluster = cluster
        self._monitoring = Monitoring(allow, keyring.monitoring, Fetching.of(options.settings))
        self._allow = allow
        self._reads: dict[tuple[Access, float], asyncio.Task[Reading | Unknown]] = {}
        self._connections: dict[Access, asyncio.Task[Connection]] = {}
        self._supervised: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """Close all connections."""
        tasks = [*self._reads.values(), *self._connections.values(), *self._supervised]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._monitoring.close()

    async def rules(self, namespace: str) -> list[Body]:
        """List the rules that the operator sees, or where that is forbidden those of one namespace.

        Raises KubernetesError.
        """
        try:
            return await self._cluster.rules(*self._options.settings.namespaces)
        except KubernetesError as error:
            if error.reason is not Reason.FORBIDDEN:
                raise
            return await self._cluster.rules(namespace)

    async def look_around(
        self, bodies: Iterable[Body], namespaces: Sequence[str] = (), only: Target | None = None
    ) -> World:
        """Look at what rules are about; no namespaces: in all; `only`: at this target.

        Raises KubernetesError, but only if Deployments cannot be seen.
        """
        world = World(rules=[], targets={})
        for body in bodies:
            with suppress(InvalidRule):
                world.rules.append(parse(body))
        others = {rule.target for rule in world.rules if not rule.target.is_deployment}
        others &= {only} if only else others
        if not (only and others):
            for namespace in namespaces or [""]:
                world.targets |= await self._cluster.deployments(namespace, only.name if only else "")
        looks = await asyncio.gather(*(self._cluster.look(one) for one in others))
        world.targets |= {
            one: look for one, look in zip(others, looks, strict=True) if look.unusable or look.exists
        }
        try:
            for namespace in namespaces or [""]:
                world.autoscalers |= await self._cluster.autoscalers(namespace)
        except KubernetesError as error:
            world.unseen.append(f"Whether a HorizontalPodAutoscaler scales it too: {error.message}")
        try:
            world.lease = await self._cluster.lease(self._options.installed.operator.namespace, LEASE)
        except KubernetesError:
            world.lease = None  # then only the status tells of the operator
        return world

    async def read(self, access: Access, after: float = 0.0) -> Reading | Unknown:
        """Read a monitoring endpoint, for all rules once; `after`: once more, so many seconds later."""
        if (access, after) not in self._reads:
            task = asyncio.create_task(self._read(access, after), name=f"read {access.url}")
            self._reads[access, after] = task
        return await self._reads[access, after]

    async def explain(self, body: Body, world: World) -> tuple[Step, ...]:
        """Tell step by step what is true of a rule now; the last step says what happens."""
        status = read_back(body.get("status"))
        try:
            rule = parse(body)
        except InvalidRule as error:
            return explain_invalid(Finding(error.reason, error.message), key_of(body))
        rule = replace(rule, operator_dry_run=_runs_dry(rule, status, self._options.settings))
        if self._options.monitoring_url:
            rule = replace(rule, spec=replace(rule.spec, nats_monitoring_url=self._options.monitoring_url))
        facts = await self._facts(rule, status, world)
        *steps, outcome = explain(facts)
        operator = self._options.installed.operator
        unknown = facts.seen.backlog if facts.seen else None
        if (
            isinstance(unknown, Unknown)
            and unknown.reason.about.unanswered
            and not self._options.settings.in_cluster
        ):
            url, command = rule.spec.nats_monitoring_url, f"explain {rule.key}"
            steps = [
                from_outside(one, url, operator, command) if one.title == StepKind.NATS else one
                for one in steps
            ]
        steps += [Step(StepKind.NOT_SEEN, text, State.ATTENTION) for text in world.unseen]
        said = at_work(rule, status, world.lease, here=_trouble(facts), operator=operator, now=facts.now)
        if said.state is State.BLOCKED and outcome.state is not State.BLOCKED:
            text = f"The operator does not act. Otherwise: {outcome.text}"
            outcome = replace(outcome, text=text, state=State.BLOCKED)
        return (*steps, said, outcome)

    async def _facts(self, rule: Rule, status: RuleStatus, world: World) -> Facts:
        unable = await self._meant(rule, _unable(rule, status, world, self._options.settings))
        seen: Observation | None = None
        decision: Decision | None = None
        now, wall = time.monotonic(), time.time()
        if unable is None:
            replicas = world.targets[rule.target].replicas or 0
            memory = restore(status, replicas, now, wall)
            found = await self.read(rule.monitoring)
            if isinstance(found, Unknown):
                measured: Measured = (found,) * len(rule.selectors)
            else:
                measured = await self._measure(rule, restore_trusts(status), found)
            backlog, least = together(rule.selectors, measured)
            asleep = replicas == 0 and status.claims_zero
            seen = Observation(backlog, replicas, wall, asleep=asleep, least=least)
            decision = decide(rule, seen, memory, now)
        next_change = None
        if decision and decision.next_change:
            next_change = remembered(status, decision, wall) or round(wall + decision.next_change - now, 2)
        ready = status.condition("Ready")
        return Facts(
            rule=rule,
            seen=seen,
            decision=decision,
            unable=unable,
            events=last_word(status, "EventDriven"),
            late=ready is not None and ready.message == LATE,
            next_change=next_change,
            now=wall,
            ready=world.targets[rule.target].ready if unable is None else None,
        )

    async def _meant(self, rule: Rule, unable: Finding | None) -> Finding | None:
        """Name the Deployment that may be meant by one that does not exist."""
        target = rule.target
        if unable is None or unable.reason is not Reason.TARGET_NOT_FOUND or not target.is_deployment:
            return unable
        with suppress(KubernetesError):
            known = await self._cluster.deployments(target.namespace)
            meant = did_you_mean(target.name, sorted(one.name for one in known))
            return Finding(unable.reason, f"{unable.message}. {meant}".removesuffix(". ").rstrip())
        return unable

    async def _read(self, access: Access, after: float) -> Reading | Unknown:
        await asyncio.sleep(after)
        try:
            return await self._monitoring.read(access, access.url)
        except MonitoringError as error:
            return Unknown(error.reason, error.message)

    async def _measure(self, rule: Rule, trusts: Trusts, reading: Reading) -> Measured:
        """Count as the operator does, but for the confirmation that it asks for before a step down."""

        def nothing_falls(_: Backlog) -> bool:
            return False

        seen = draft(rule, trusts, reading, None, nothing_falls)
        if seen.wanted:
            access = rule.nats(self._options.settings.nats_url or reading.nats_url)
            if access not in self._connections:
                task = asyncio.create_task(self._connect(access), name=f"connect to {access.url}")
                self._connections[access] = task
            connection = await self._connections[access]
            seen = draft(rule, trusts, reading, connection, nothing_falls)
            if seen.wanted:
                answers = await Asking().ask(connection, {rule.key: seen.wanted}, partial(counts, connection))
                return seen.completed(rule, reading, answers[rule.key])
        return seen.measured

    async def _connect(self, access: Access) -> Connection:
        """Connect to NATS; where nobody answers in time, the connection knows no account and is not asked."""
        answered = asyncio.Event()

        async def advised(_: Connection, __: object) -> None:
            answered.set()

        credentials = partial(self._keyring.nats, access)
        connection = Connection(access.url, self._allow, advised, advisories=False, credentials=credentials)
        self._supervised.append(asyncio.create_task(connection.run(), name=f"NATS {access.url}"))
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await answered.wait()
        return connection


def _trouble(facts: Facts) -> Reason | None:
    """Say what is wrong with the rule as seen from here, if something is."""
    if facts.unable or facts.seen is None:
        return facts.unable and facts.unable.reason
    usable = facts.seen.usable
    return usable.reason if isinstance(usable, Finding) else None


def _runs_dry(rule: Rule, status: RuleStatus, settings: Settings) -> bool:
    """Tell whether the operator runs with --dry-run, by its settings or by what it said of this rule."""
    said = last_word(status, "ScalingActive") if status.observed_generation == rule.generation else None
    return settings.dry_run or (said is not None and said.reason is Reason.DRY_RUN and not rule.spec.dry_run)


def _unable(rule: Rule, status: RuleStatus, world: World, settings: Settings) -> Finding | None:
    """Say what keeps the Deployment from being scaled; what settings unknown here forbid has been said."""
    said = last_word(status, "AbleToScale")
    if said and said.reason is Reason.NAMESPACE_NOT_WATCHED:
        return said
    permitted = said is not None and said.reason is not Reason.CROSS_NAMESPACE_NOT_ALLOWED
    unable = obstacle(
        rule,
        world.rules_of.get(rule.target, ()),
        world.autoscalers.get(rule.target),
        allow_cross_namespace=settings.allow_cross_namespace or permitted,
        namespaces=settings.namespaces,
    )
    look = world.targets.get(rule.target)
    return unable or (look.unusable if look else missing(rule))
