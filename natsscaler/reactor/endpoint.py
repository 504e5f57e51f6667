"""One monitoring endpoint: wait for a ring or a deadline, read once, evaluate every rule concerned.

Rings coalesce for a moment, reads are paced by the server's budget, and one read serves all rules that
rang, are due, or would soon be. A doorbell is armed before the read that it follows, so that no message
falls between the two.
"""

import asyncio
import logging
import math
from functools import partial

from natsscaler.backlog import Backlog, measure
from natsscaler.consumers import Unknown
from natsscaler.decision import Observation, decide, messages_until_change
from natsscaler.errors import Finding, MonitoringError, Reason
from natsscaler.jsz import Reading
from natsscaler.reactor.acting import Actor, acts
from natsscaler.reactor.budget import Budget
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.shared import Shared
from natsscaler.reactor.state import BACKOFF_SECONDS, CONFIRM_SECONDS, RuleState
from natsscaler.rules import EventSource, RuleKey
from natsscaler.subjects import too_wide

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.02
"""How long further rings are waited for after the first one."""
RETRY_SECONDS = (1.0, 10.0)
"""After a failed read: the first wait, and the one that doubling ends at."""
DOORBELL_LIMIT = 64
"""Messages that a doorbell may cost before it rings, at the most."""
DOORBELL_BYTES = 64 * 1024
"""Bytes that it may cost, as far as the size of the last messages tells."""
LATE_SECONDS = 1.0
"""A deadline missed by more than this because of the read budget is reported."""


class Endpoint:
    """The rules that name one monitoring URL, and the loop that serves them."""

    def __init__(self, url: str, shared: Shared) -> None:
        self.url = url
        self.rules: dict[RuleKey, RuleState] = {}
        self._shared = shared
        self._actor = Actor(shared, self.wake)
        self._woken = asyncio.Event()
        self._budget: Budget | None = None
        self._failures = 0
        self._not_before = -math.inf

    def wake(self) -> None:
        """Look at rings and timers again."""
        self._woken.set()

    def ring(self, state: RuleState, source: str) -> None:
        """Ask for an evaluation of one rule."""
        state.ring(source, self._shared.clock())
        self.wake()

    async def run(self) -> None:
        """Serve the rules, for ever."""
        await self._shared.opened.wait()
        while True:
            await self._wait()
            await self._serve()

    async def _wait(self) -> None:
        while True:
            self._woken.clear()
            now = self._shared.clock()
            due = min((state.due for state in self.rules.values() if not state.busy), default=math.inf)
            due = max(due, self._not_before)
            if due <= now:
                break
            try:
                async with asyncio.timeout(None if due == math.inf else due - now):
                    await self._woken.wait()
            except TimeoutError:
                break
        await asyncio.sleep(SETTLE_SECONDS)
        if self._budget:
            await asyncio.sleep(self._budget.delay(self._shared.clock()))

    async def _serve(self) -> None:
        batch = self._batch(self._shared.clock())
        armed = await self._arm(batch)
        began = self._shared.clock()
        heard = {state.rule.key: state.doorbell.deliveries for state in batch if state.doorbell}
        found = await self._read()
        for state in batch:
            if self.rules.get(state.rule.key) is not state:
                continue  # forgotten or replaced while the read was under way
            try:
                await self._evaluate(state, found, began, heard, armed=state in armed)
            except Exception:  # a supervision point: one bad rule never disturbs another
                log.exception("Evaluating %s failed", state.rule.key)
                self._shared.metrics.failures.labels("Internal").inc()
                state.at_rest(self._shared.clock())

    def _batch(self, now: float) -> list[RuleState]:
        batch = []
        for state in self.rules.values():
            soon = now + state.rule.spec.poll_interval_seconds / 2
            if not state.busy and (state.due <= now or state.deadline <= soon):
                due = min(state.deadline, state.next_change)
                state.late = -math.inf < due < now - LATE_SECONDS
                if state.late:
                    self._shared.metrics.late.observe(now - due)
                for source in state.rings or {"deadline"}:
                    self._shared.metrics.wakeups.labels(source).inc()
                batch.append(state)
        return batch

    async def _arm(self, batch: list[RuleState]) -> set[RuleState]:
        now = self._shared.clock()
        armed: dict[ConnectionPort, list[RuleState]] = {}
        for state in batch:
            if state.arm_at > now or state.connection is None or state.seen is None:
                continue
            state.arm_at = math.inf
            if isinstance(state.seen.backlog, Unknown):
                continue
            await self._disarm(state)
            limit = max(1, min(DOORBELL_LIMIT, DOORBELL_BYTES // state.message_size))
            state.doorbell_subjects = state.seen.backlog.feeds
            state.doorbell = await state.connection.doorbell(
                state.doorbell_subjects, limit, partial(self.ring, state, "doorbell")
            )
            if state.doorbell:
                state.armed_at = now
                armed.setdefault(state.connection, []).append(state)
        for connection, states in armed.items():
            if not await connection.settle():
                for state in states:
                    await self._disarm(state)
        return {state for states in armed.values() for state in states if state.doorbell}

    async def _disarm(self, state: RuleState) -> None:
        bell, state.doorbell = state.doorbell, None
        if bell:
            state.message_size = bell.largest
            await bell.close()

    async def _read(self) -> Reading | Unknown:
        metrics, now = self._shared.metrics, self._shared.clock
        try:
            reading = await self._shared.monitoring.read(self.url)
        except MonitoringError as error:
            return self._failed(error.reason, error.message)
        except Exception:  # a supervision point: what a strange server sends must not end the process
            log.exception("Reading %s failed", self.url)
            return self._failed(
                Reason.MONITORING_UNREADABLE, f"{self.url} gave what cannot be read: see the log"
            )
        self._failures, self._not_before = 0, -math.inf
        self._budget = self._shared.budget(reading.server.server_id)
        self._budget.spend(reading.seconds, now())
        metrics.reads.observe(reading.seconds)
        return reading

    def _failed(self, reason: Reason, message: str) -> Unknown:
        self._shared.metrics.failures.labels(reason).inc()
        wait = min(RETRY_SECONDS[0] * 2**self._failures, RETRY_SECONDS[1])
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._shared.clock() + wait
        return Unknown(reason, message)

    async def _evaluate(
        self,
        state: RuleState,
        found: Reading | Unknown,
        began: float,
        heard: dict[RuleKey, int],
        *,
        armed: bool,
    ) -> None:
        shared, rule, rung_at = self._shared, state.rule, state.rung_at
        now, wall = shared.clock(), shared.wall()
        rang_meanwhile = state.doorbell is not None and state.doorbell.rang and armed
        state.at_rest(now)
        if rang_meanwhile:
            state.ring("doorbell", now)
        state.unable = shared.obstacle(rule)
        replicas = shared.cluster.replicas(rule.target)
        if state.unable is None and replicas is None:
            state.unable = Finding(
                Reason.TARGET_NOT_FOUND,
                f"there is no Deployment {rule.target}: create it or mend spec.deploymentName",
            )
        state.seen = state.decision = None
        if state.unable is None and replicas is not None:
            history = state.observe(replicas, now, wall)
            backlog = (
                found
                if isinstance(found, Unknown)
                else state.believe(measure(rule, found.view, state.source))
            )
            state.seen = Observation(backlog, replicas)
            state.decision = decide(rule, state.seen, history, now)
            state.history = state.decision.history
            state.next_change = state.decision.next_change or math.inf
        if isinstance(found, Unknown):
            state.retry_at = self._not_before
        elif state.proposed:
            state.retry_at = now + CONFIRM_SECONDS
        else:
            state.connection = shared.connect(rule, found)
        state.events = self._events(state, found)
        await self._tend(state, heard.get(rule.key, 0), began, armed=armed)
        self._actor.carry_out(state, rung_at)

    def _events(self, state: RuleState, found: Reading | Unknown) -> Finding:
        enabled = self._shared.settings.events & set(state.rule.spec.events)
        if EventSource.DOORBELL not in enabled:
            return Finding(
                Reason.SWITCHED_OFF, "the doorbell is off (spec.events, --events): polling decides"
            )
        connection = state.connection
        if connection is None:
            return Finding(Reason.NOT_CONNECTED, "no address for NATS is known before the first read")
        if connection.state.reason is not Reason.LISTENING or isinstance(found, Unknown):
            return connection.state
        server = found.server
        if connection.server_id != server.server_id and not (
            connection.cluster and connection.cluster == server.cluster.name
        ):
            return Finding(
                Reason.OTHER_SERVER, "NATS leads to another server than natsMonitoringURL: set spec.nats.url"
            )
        backlog = state.seen.backlog if state.seen else None
        return (_deaf(backlog, connection) if isinstance(backlog, Backlog) else None) or connection.state

    async def _tend(self, state: RuleState, heard: int, began: float, *, armed: bool) -> None:
        """Leave the doorbell as the decision needs it: lower, away, or to be armed at a later time."""
        now, bell = self._shared.clock(), state.doorbell
        if armed or (bell and bell.last_delivery > began - CONFIRM_SECONDS):
            state.confirm_at = now + CONFIRM_SECONDS
        state.arm_at = math.inf
        listening = state.events.reason is Reason.LISTENING
        missing = messages_until_change(state.rule, state.seen) if listening and state.seen else None
        if acts(state):
            state.backoff = BACKOFF_SECONDS[0]  # the evaluation that follows the scaling arms again
        elif missing is None or state.seen is None or isinstance(state.seen.backlog, Unknown):
            await self._disarm(state)
        elif bell is None or state.doorbell_subjects != state.seen.backlog.feeds:
            state.arm_at = now
        elif bell.rang:
            if now - state.armed_at > BACKOFF_SECONDS[1] + CONFIRM_SECONDS:
                state.backoff = BACKOFF_SECONDS[0]  # it had been quiet for long
            state.arm_at = now + state.backoff
            state.backoff = min(2 * state.backoff, BACKOFF_SECONDS[1])
        else:
            await bell.lower(heard + missing)


def _deaf(backlog: Backlog, connection: ConnectionPort) -> Finding | None:
    """Say why no message of this backlog could be heard on the connection, if so."""
    source, wide = backlog.source, next(filter(too_wide, backlog.feeds), None)
    denied = connection.denied(backlog.feeds)
    if source.account != connection.account:
        return Finding(
            Reason.OTHER_ACCOUNT,
            f"the stream is in account {source.account}, events come from {connection.account}",
        )
    if backlog.sourced:
        return Finding(Reason.SOURCED_STREAM, "the stream is filled from others, which ring no doorbell")
    if wide:
        return Finding(Reason.SUBJECT_TOO_WIDE, f"{wide} also covers traffic that feeds no stream")
    if denied:
        return Finding(Reason.PERMISSION_DENIED, f"the NATS user may not subscribe to {denied}")
    return None
