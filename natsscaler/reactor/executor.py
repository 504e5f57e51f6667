"""Carries decisions out and records them: scale, then Event, metrics, activity and status."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec.structs import asdict, replace

from natsscaler.core.conditions import Facts, compose
from natsscaler.core.contention import late_step
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.errors import KubernetesError, ReplicasChanged
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import listed
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.remembering import remembered
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import (
    RECENT_ACTIONS,
    Action,
    LastScaling,
    RuleStatus,
    changed_conditions,
    new_count,
    noticeable,
    rfc3339,
)
from natsscaler.core.waking import WakeSource
from natsscaler.reactor.backoff import Backoff
from natsscaler.reactor.context import Shared
from natsscaler.reactor.rule_state import RuleState
from natsscaler.reactor.write_turns import Kind

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a patch is tried while others change the replicas too."""
RETRY_SECONDS = 5.0
"""After a write that the Kubernetes API did not take."""
LATE_STEP_SECONDS = 300.0
"""For how long after another process acted a step that it sent may still be carried out."""
STALE_SECONDS = 5.0
"""A decision that has waited for longer is made anew: what it was made on may not be true any more."""


class Notice(NamedTuple):
    """An Event that is to be recorded about a rule."""

    warning: bool
    reason: str
    action: str
    note: str
    when: float


async def publish(shared: Shared, key: RuleKey, uid: str, new: RuleStatus, old: RuleStatus) -> list[Notice]:
    """Write a rule's status; return an Event for each condition that changed. Raises KubernetesError."""
    await shared.cluster.write_status(key, uid, new)
    notices = []
    for condition in changed_conditions(old, new):
        bad = condition.is_bad
        level = logging.WARNING if bad else logging.INFO
        log.log(level, "%s: %s: %s", key, condition.reason, condition.message)
        notices.append(Notice(bad, condition.reason, condition.type, condition.message, shared.wall()))
    return notices


async def announce(shared: Shared, key: RuleKey, uid: str, notices: Iterable[Notice]) -> None:
    """Record Events about a rule, each when it is its turn."""
    for notice in notices:
        async with shared.turns.turn(Kind.EVENT, key.namespace):
            await shared.cluster.emit(key, uid, **notice._asdict())


class Executor:
    """Carries out the decisions of one endpoint's rules, each in a task of its own."""

    def __init__(self, shared: Shared, wake: Callable[[], None]) -> None:
        self._shared = shared
        self._wake = wake

    def carry_out(self, state: RuleState, rung_at: float) -> None:
        """Act on the rule's last decision and write what changed; the rule is busy meanwhile."""
        self._wait_for_turns(state)
        one = state.evaluation
        state.series.evaluated(one.rule, one.seen, one.decision, one.events, self._shared.wall())
        acts = state.step(self._shared.clock()) is not None
        if not acts:
            state.series.unable(state.obstacle)
        self._show(state)
        if acts or (self._may_write(state) and not state.telling.waits):
            state.busy = acts
            work = self._carry_out(state, rung_at, self._shared.clock(), acts=acts)
            self._shared.spawn(work, f"carry out {state.rule.key}")

    def look_into_change(self, state: RuleState) -> None:
        """Find out whether a step of the previous leader was carried out late, while that is possible."""
        change = state.others.unexplained
        state.others = state.others._replace(unexplained=None)
        if change and self._shared.clock() - self._shared.opened_at < LATE_STEP_SECONDS:
            self._shared.spawn(self._tell_late_step(state, *change), f"look who scaled for {state.rule.key}")

    async def _tell_late_step(self, state: RuleState, before: int, after: int) -> None:
        shared, rule = self._shared, state.rule
        try:
            found = late_step(rule.target, before, after, await shared.cluster.writer(rule.target))
        except Exception:  # a supervision point: one bad rule never disturbs another
            log.exception("Looking who scaled %s failed", rule.target)
            return
        if found:
            log.warning("%s: %s", rule.key, found.message)
            notice = Notice(
                warning=True, reason=found.reason, action="Scale", note=found.message, when=shared.wall()
            )
            await announce(shared, rule.key, rule.uid, [notice])

    def _wait_for_turns(self, state: RuleState) -> None:
        """Leave the API server alone for as long as a failure of its calls for, whatever wakes the rule."""
        now = self._shared.clock()
        if state.step(now):
            if now < state.scale_backoff.until:
                state.evaluation = replace(state.evaluation, unable=state.scale_backoff.why)
                state.retry_at = min(state.retry_at, state.scale_backoff.until)
        elif state.scale_backoff.until <= now:
            state.scale_backoff.reset()
        if now < state.status_backoff.until:
            state.retry_at = min(state.retry_at, state.status_backoff.until)

    def _may_write(self, state: RuleState) -> bool:
        due = state.status_backoff.until <= self._shared.clock()
        return due and (state.telling.unsaved or self._worth_writing(state))

    async def _carry_out(self, state: RuleState, rung_at: float, decided_at: float, *, acts: bool) -> None:
        key, uid, notices = state.rule.key, state.rule.uid, list[Notice]()
        try:
            if acts:
                await self._act(state, rung_at, decided_at, notices)
            await self._tell(state, notices)
        except KubernetesError as error:
            self._failed(state, "status", error, state.status_backoff)
        except Exception:  # a supervision point: one bad rule never disturbs another
            log.exception("Carrying out %s failed", key)
            self._shared.metrics.failed("evaluate", "Internal")
            state.retry_at = self._shared.clock() + RETRY_SECONDS
            self._wake()
        await announce(self._shared, key, uid, notices)

    def _done(self, state: RuleState) -> None:
        """Let the rule be evaluated again."""
        state.busy, state.writing_since = False, math.inf
        state.series.unable(state.obstacle)
        self._show(state)
        self._wake()

    async def _act(self, state: RuleState, rung_at: float, decided_at: float, notices: list[Notice]) -> None:
        """Take the step, once it is the rule's turn; the rule is busy meanwhile."""
        try:
            async with self._shared.turns.turn(Kind.STEP, state.rule.key.namespace):
                if state.gone or state.outdated or not self._shared.opened.is_set():
                    return
                now = state.writing_since = self._shared.clock()
                if state.step(now) and now - decided_at > STALE_SECONDS:
                    state.ring(WakeSource.LATE, now)
                else:
                    await self._scale(state, rung_at, notices)
        finally:
            self._done(state)

    async def _tell(self, state: RuleState, notices: list[Notice]) -> None:
        """Write the status if it has news, once it is the rule's turn; until then the rule is not busy."""
        if state.telling.waits or not self._may_write(state):
            return
        state.telling.waits = True
        try:
            async with self._shared.turns.turn(Kind.STATUS, state.rule.key.namespace):
                state.telling.waits = False
                if state.gone or state.busy or not self._shared.opened.is_set():
                    return  # who is busy tells when that is done
                if not state.outdated and self._may_write(state):
                    state.busy, state.writing_since = True, self._shared.clock()
                    try:
                        await self._record(state, notices)
                    finally:
                        self._done(state)
        except BaseException:
            state.telling.waits = False
            raise

    async def _scale(self, state: RuleState, rung_at: float, notices: list[Notice]) -> None:
        target = state.rule.target
        try:
            for attempt in range(ATTEMPTS):
                if state.gone:
                    return
                step = state.step(self._shared.clock())
                if step is None:
                    if attempt:  # others scaled it, which no watch will tell any more
                        state.ring(WakeSource.DEPLOYMENT, self._shared.clock())
                    return
                before, after = step
                try:
                    got = await self._patch(state, before, after, notices)
                except ReplicasChanged:
                    state.others = state.others._replace(unanswered=None)
                    state.asleep = False
                    self._decide_again(state, await self._shared.cluster.fresh_replicas(target))
                    step = state.step(self._shared.clock())
                    if step and step[1] < step[0]:  # a step down needs a count of its own
                        state.ring(WakeSource.DEPLOYMENT, self._shared.clock())
                        return
                else:
                    self._scaled(state, before, got, rung_at, notices)
                    return
        except KubernetesError as error:
            unable = Finding(error.reason, error.message)
            state.evaluation = replace(state.evaluation, unable=unable)
            self._failed(state, "scale", error, state.scale_backoff)
        else:
            unable = Finding(
                Reason.CONFLICT,
                f"Something else keeps changing the replicas of {target}",
            )
            state.evaluation = replace(state.evaluation, unable=unable)

    async def _patch(self, state: RuleState, before: int, after: int, notices: list[Notice]) -> int:
        """Change the replicas; before that write whose zero it is: one that nobody claims is a person's."""
        state.asleep = after == 0
        if state.asleep:
            await self._record(state, notices)
        state.others = state.others._replace(unanswered=after)
        return await self._shared.cluster.scale(state.rule.target, before, after)

    def _decide_again(self, state: RuleState, replicas: int) -> None:
        one = state.evaluation
        if one.seen:
            now, wall = self._shared.clock(), self._shared.wall()
            memory = state.observe(replicas, now, wall)
            seen = replace(one.seen, replicas=replicas, at=wall, asleep=state.asleep, heard=False)
            decision = decide(one.rule, seen, memory, now)
            state.evaluation = replace(one, seen=seen, decision=decision)
            state.decided(seen, decision, now)

    def _scaled(
        self, state: RuleState, before: int, after: int, rung_at: float, notices: list[Notice]
    ) -> None:
        """Record a step; `after`: what the API server made of it."""
        shared, one, rule = self._shared, state.evaluation, state.evaluation.rule
        state.scale_backoff.reset()
        now, wall = shared.clock(), shared.wall()
        decision, seen = one.decision, one.seen
        if decision is None or seen is None or state.memory is None:
            return
        if rung_at < math.inf:
            shared.metrics.reaction.observe(now - rung_at)
        backlog = seen.backlog.messages if isinstance(seen.backlog, Backlog) else None
        state.memory = state.memory.acted(before, decision.permitted, now).stepped(before, after, now)
        state.replicas = after
        state.asleep = state.asleep and after == 0
        state.evaluation = replace(one, seen=replace(seen, replicas=after, asleep=state.asleep))
        state.others = state.others.answered(before, decision.permitted, after, now, again_at=state.deadline)
        if after == before:
            return
        state.ring(WakeSource.SCALED, now)
        cause, message = decision.cause
        reason = f"{cause}: {message}"
        action = Action(
            timestamp=rfc3339(wall),
            deployment=rule.target.name,
            namespace=rule.target.namespace,
            from_replicas=before,
            to_replicas=after,
            reason=reason,
            pending_messages=backlog,
        )
        state.status = replace(
            state.status,
            last_scaling_action=action.timestamp,
            last_scaling_reason=reason,
            last_scaling=LastScaling(time=action.timestamp, before=before, after=after),
            recent_actions=(action, *state.status.recent_actions)[:RECENT_ACTIONS],
        )
        state.telling.unsaved = True
        state.series.scaled(before, after, cause)
        shared.activity.record(rule.key, action)
        log.info("Scaled %s from %d to %d: %s", rule.target.shown, before, after, message)
        notices.append(
            Notice(
                warning=False,
                reason=Reason.SCALED_UP if after > before else Reason.SCALED_DOWN,
                action="Scale",
                note=f"Scaled {rule.target.shown} from {before} to {after} replicas: {message}",
                when=wall,
            )
        )

    async def _record(self, state: RuleState, notices: list[Notice]) -> None:
        shared, old = self._shared, state.status
        facts = self._facts(state)
        if state.memory:
            facts = replace(facts, memory=remembered(state.memory, shared.clock(), facts.now))
        new = compose(facts, old)
        before = [one.source for one in old.counted]
        source_changed = before and any(one.source not in before for one in new.counted)
        notices += await publish(shared, state.rule.key, state.rule.uid, new, old)
        state.status_backoff.reset()
        state.status, state.telling.unsaved = new, False
        state.telling.written_at = shared.clock()
        if source_changed:
            consumers = listed(name for one in new.counted for name in one.source.consumers)
            counted = f"The backlog is now counted on {consumers}"
            notices.append(
                Notice(
                    warning=False,
                    reason=Reason.BACKLOG_SOURCE_CHANGED,
                    action="Measure",
                    note=counted,
                    when=shared.wall(),
                )
            )

    def _worth_writing(self, state: RuleState) -> bool:
        if state.evaluation.events is None and state.obstacle is None:
            return False  # the connection to NATS is being made, and rings when it is there or has failed
        new = compose(self._facts(state), state.status)
        if noticeable(state.status, new):
            return True
        waited = self._shared.clock() - state.telling.written_at >= state.rule.spec.poll_interval_seconds
        return waited and new_count(state.status, new)

    def _facts(self, state: RuleState) -> Facts:
        wall = self._shared.wall()
        next_change = None
        if state.next_change < math.inf:
            next_change = round(wall + state.next_change - self._shared.clock(), 2)  # not read at once
        evaluation = replace(state.evaluation, unable=state.obstacle)
        return Facts(
            **asdict(evaluation),
            next_change=next_change,
            now=wall,
            ready=self._shared.cluster.ready(state.rule.target),
            admitted=state.others.admitted,
            asleep=state.asleep,
        )

    def _show(self, state: RuleState) -> None:
        if not (state.gone or state.outdated):
            self._shared.activity.evaluated(self._facts(state), state.status, state.woken)

    def _failed(self, state: RuleState, operation: str, error: KubernetesError, backoff: Backoff) -> None:
        log.warning("%s: %s", state.rule.key, error.message)
        self._shared.metrics.failed(operation, error.reason)
        why = Finding(error.reason, error.message)
        backoff.failed(self._shared.clock(), why, error.retry_after)
        state.retry_at = min(state.retry_at, backoff.until)
