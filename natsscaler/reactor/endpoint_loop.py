"""One monitoring endpoint: wait for a ring or a deadline, read once, evaluate every rule concerned.

Rings coalesce for a moment, reads are paced by the server's budget, and one read serves all rules that
rang, are due, or would soon be. A ring that comes after a read has begun asks for another one.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from natsscaler.core.access import Access
from natsscaler.core.arming import SETTLE_SECONDS
from natsscaler.core.decision.pipeline import decide, falls
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.errors import MonitoringError
from natsscaler.core.evaluation import Evaluation
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.together import Measured, together
from natsscaler.core.jetstream.trust import judge_each
from natsscaler.core.ownership import missing
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.time_budget import Budget
from natsscaler.core.waking import WakeSource
from natsscaler.reactor.context import Shared
from natsscaler.reactor.doorbells import Doorbells
from natsscaler.reactor.executor import Executor
from natsscaler.reactor.leader_query import Draft, counts, draft
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.rule_state import RuleState

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 10.0)
"""After a failed read: the first wait, and the one that doubling ends at."""
LATE_SECONDS, LATE_SHARE = 1.0, 0.5
"""A deadline that the read budget has made late by more than a second and this share of it is reported."""


class EndpointLoop:
    """The rules that name one monitoring URL and the same credentials, and the loop that serves them."""

    def __init__(self, access: Access, shared: Shared) -> None:
        self.access = access
        self.rules: dict[RuleKey, RuleState] = {}
        self._shared = shared
        self._executor = Executor(shared, self.wake)
        self._doorbells = Doorbells(shared, self.ring)
        self._woken = asyncio.Event()
        self._budgets: list[Budget] = []
        self._failures = 0
        self._not_before = -math.inf
        self._held = 0.0
        """How long the budget kept the present read waiting, in seconds."""
        self._round_at = shared.clock()
        """When the loop last came round, or is to after a pause; infinite while it waits for a turn."""

    def wake(self) -> None:
        """Look at rings and timers again."""
        self._woken.set()

    def ring(self, state: RuleState, source: WakeSource) -> None:
        """Ask for an evaluation of one rule."""
        state.ring(source, self._shared.clock())
        self.wake()

    def overdue(self) -> float:
        """Return for how many seconds work has waited that no back-off, budget or turn explains."""
        waiting = (state.waiting_since for state in self.rules.values() if not state.busy)
        since = max(min(waiting, default=math.inf), self._not_before, self._round_at)
        return max(0.0, self._shared.clock() - since)

    async def run(self) -> None:
        """Serve the rules until there are none; cancelling it could break off a flush (Connection.settle)."""
        while self.rules:
            await self._wait()
            namespaces = {key.namespace for key in self.rules}
            if namespaces:
                self._round_at = math.inf
                async with self._shared.reads.turn(namespaces):
                    self._round_at = self._shared.clock()
                    await self._serve()

    async def _wait(self) -> None:
        while self.rules:
            self._woken.clear()
            now = self._round_at = self._shared.clock()
            due = self._due()
            if due <= now:
                break
            try:
                async with asyncio.timeout(None if due == math.inf else due - now):
                    await self._woken.wait()
            except TimeoutError:
                break
        await asyncio.sleep(SETTLE_SECONDS)
        now = self._shared.clock()
        self._held = max((budget.delay(now) for budget in self._budgets), default=0.0)
        self._round_at = now + self._held
        await asyncio.sleep(self._held)

    def _due(self) -> float:
        """Say when to read next; infinite: not before something wakes this loop."""
        if not self._shared.opened.is_set():
            return math.inf
        due = min((state.due for state in self.rules.values() if state.free), default=math.inf)
        return max(due, self._not_before)

    async def _serve(self) -> None:
        self._arm()
        batch = self._batch(self._shared.clock())
        if not batch:
            return
        began = self._shared.clock()
        turns = [_Turn(state, state.rule, state.answer(), _deliveries(state), late) for state, late in batch]
        looking = self._shared.cluster.look({state.rule.target for state, _ in batch})
        found, _ = await asyncio.gather(self._read(), looking)
        turns = [turn._replace(rule=turn.state.rule) for turn in turns if not turn.state.gone]
        reading = None if isinstance(found, Unknown) else found
        for turn in turns:
            turn.state.connection = self._shared.connect(turn.rule, reading)
        asking: dict[ConnectionPort, list[tuple[_Turn, Draft]]] = {}
        for turn in turns:
            drafted = await self._draft(turn, found)
            if drafted.wanted and turn.state.connection:
                asking.setdefault(turn.state.connection, []).append((turn, drafted))
            else:
                await self._evaluate(turn, found, drafted.measured, began)
            await asyncio.sleep(0)  # so that nobody waits for the evaluations of many rules
        if reading:
            for connection, drafts in asking.items():
                work = self._ask(connection, drafts, reading, began)
                self._apart(work, [turn.state for turn, _ in drafts])
        self._arm()

    async def _draft(self, turn: "_Turn", reading: Reading | Unknown) -> Draft:
        state, rule = turn.state, turn.rule
        if isinstance(reading, Unknown):
            return Draft((reading,) * len(rule.selectors))

        def steps_down(backlog: Backlog) -> bool:
            replicas = self._shared.cluster.replicas(rule.target)
            if not replicas:
                return False
            seen = Observation(backlog, replicas, self._shared.wall())
            return falls(rule, seen, state.memory or Memory(), self._shared.clock())

        return await _look(reading, partial(draft, rule, state.trusts, reading, state.connection, steps_down))

    def _tenant(self) -> str:
        """Name the namespaces of the rules."""
        return " ".join(sorted({key.namespace for key in self.rules}))

    async def _ask(
        self,
        connection: ConnectionPort,
        drafts: Sequence[tuple["_Turn", Draft]],
        reading: Reading,
        began: float,
    ) -> None:
        """Evaluate rules by what NATS is asked for beside the read."""
        wanted = {turn.rule.key: drafted.wanted for turn, drafted in drafts if drafted.wanted}
        told = await self._shared.asking.ask(connection, wanted, partial(counts, connection))
        for turn, drafted in drafts:
            answers = told[turn.rule.key]
            measured = await _look(reading, partial(drafted.completed, turn.rule, reading, answers))
            await self._evaluate(turn, reading, measured, began)
            await asyncio.sleep(0)

    def _arm(self) -> None:
        """Have the doorbells armed that are due, those of each connection apart."""
        for connection, states in self._doorbells.due(self.rules.values()).items():
            self._apart(self._doorbells.arm(connection, states), states)

    def _apart(self, work: Awaitable[None], states: Sequence[RuleState]) -> None:
        """Do in a task what waits for a server of NATS: rules that use another one do not wait for it."""

        async def do() -> None:
            try:
                await work
            except Exception:  # a supervision point: what a strange server sends must not end the process
                log.exception("Asking NATS for rules of %s failed", self.access.url)
                self._shared.metrics.failed("evaluate", "Internal")
                for state in states:
                    state.at_rest(self._shared.clock())
            for state in states:
                state.in_hand = False
            self._arm()
            self.wake()

        self._shared.spawn(do(), f"ask NATS for rules of {self.access.url}")

    def _batch(self, now: float) -> list[tuple[RuleState, bool]]:
        """Take the rules that are due, or soon will be, each with whether the read budget made it late."""
        batch = []
        for state in self.rules.values():
            soon = now + state.rule.spec.poll_interval_seconds / 2
            if state.free and (state.due <= now or state.deadline <= soon):
                due = min(state.deadline, state.next_change)
                excused = max(LATE_SECONDS, LATE_SHARE * state.rule.spec.poll_interval_seconds)
                late = self._held > 0 and -math.inf < due < now - excused
                if late:
                    self._shared.metrics.late.observe(now - due)
                for source in state.rings or {WakeSource.DEADLINE}:
                    self._shared.metrics.wakeups.labels(source).inc()
                    state.woken[source] = self._shared.wall()
                state.in_hand = True
                batch.append((state, late))
        return batch

    async def _read(self) -> Reading | Unknown:
        metrics, now = self._shared.metrics, self._shared.clock
        try:
            reading = await self._shared.monitoring.read(self.access, self._tenant())
        except MonitoringError as error:
            return self._failed(error.reason, error.message)
        except Exception:  # a supervision point: what a strange server sends must not end the process
            log.exception("Reading %s failed", self.access.url)
            return self._failed(
                Reason.MONITORING_UNREADABLE,
                f"The answer of {self.access.url} cannot be read; the operator's log has the details",
            )
        self._failures, self._not_before = 0, -math.inf
        self._budgets = [self._shared.budget(place) for place, _ in reading.costs]
        for budget, (_, seconds) in zip(self._budgets, reading.costs, strict=True):
            budget.spend(seconds, now())
            metrics.reads.observe(seconds)
        return reading

    def _failed(self, reason: Reason, message: str) -> Unknown:
        self._shared.metrics.failed("read", reason)
        wait = min(RETRY_SECONDS[0] * 2**self._failures, RETRY_SECONDS[1])
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._shared.clock() + wait
        return Unknown(reason, message)

    async def _evaluate(
        self, turn: "_Turn", found: Reading | Unknown, measured: Measured, began: float
    ) -> None:
        state = turn.state
        try:
            if not state.gone and state.rule is turn.rule:  # else it rings again
                await self._decide(turn, found, measured, began)
        except Exception:  # a supervision point: one bad rule never disturbs another
            log.exception("Evaluating %s failed", state.rule.key)
            self._shared.metrics.failed("evaluate", "Internal")
            state.at_rest(self._shared.clock())
        self._shared.evaluated(state)
        state.in_hand = False

    async def _decide(
        self, turn: "_Turn", found: Reading | Unknown, measured: Measured, began: float
    ) -> None:
        shared, state, rule = self._shared, turn.state, turn.state.rule
        now, wall = shared.clock(), shared.wall()
        state.at_rest(now)
        verdicts = judge_each(state.trusts, rule.selectors, measured, began, now)
        state.trusts = {by: verdict.trust for by, verdict in verdicts.items()}
        again_at = min(verdict.again_at for verdict in verdicts.values())
        believed = [verdict.backlog for verdict in verdicts.values() if verdict.backlog is not None]
        if len(believed) < len(verdicts):
            state.retry_at = again_at
            state.rung_at = min(state.rung_at, turn.rung_at)
            return
        unable = shared.obstacle(rule)
        replicas = shared.cluster.replicas(rule.target)
        if unable is None and replicas is None:
            state.lose_deployment()
            unable = missing(rule)
        seen, decision = None, None
        if replicas is not None and (unable is None or unable.reason is Reason.TARGET_OWNED_BY_ANOTHER):
            workers = shared.cluster.workers(rule.target)
            backlog, least = together(rule.selectors, believed)
            seen = Observation(backlog, replicas, wall, workers=workers, least=least)  # both owners are shown
        if unable is None and seen:
            memory, heard = state.observe(seen.replicas, now, wall), state.hears(turn.heard)
            seen = replace(seen, asleep=state.asleep, heard=heard)
            decision = decide(rule, seen, memory, now)
            state.decided(seen, decision, now)
            self._executor.look_into_change(state)
            if state.others.set_backs.wait and state.others.writer is None:
                writer = await shared.cluster.writer(rule.target)
                state.others = state.others._replace(writer=writer)
        if isinstance(found, Unknown):
            state.retry_at = self._not_before
        elif seen:
            state.retry_at = again_at
        events = state.evaluation.events
        state.evaluation = Evaluation(rule, seen, decision, unable, events, turn.late)
        state.evaluation = replace(state.evaluation, events=self._doorbells.finding(state, found))
        await self._doorbells.tend(state, turn.heard, began)
        if not state.gone:
            self._executor.carry_out(state, turn.rung_at)


class _Turn(NamedTuple):
    """A rule that a read serves."""

    state: RuleState
    rule: Rule
    """As it was when its backlog was measured."""
    rung_at: float
    """When it was first asked for; infinite: by time alone."""
    heard: int
    """Messages that its doorbell had been delivered when the read began."""
    late: bool
    """The read budget made it miss its deadline."""


def _deliveries(state: RuleState) -> int:
    return state.doorbell.deliveries if state.doorbell else 0


async def _look(reading: Reading, piece: Callable[[], T]) -> T:
    """Look through a reading, in a thread if the event loop would wait for it."""
    return await asyncio.to_thread(piece) if reading.large else piece()
