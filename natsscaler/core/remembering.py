"""What a status keeps of a rule's memory, and the memory that comes of it after a restart.

Times of a memory are on the clock of one process, those of a status are absolute. What was wanted while
nobody looked is unknown, and is taken as a reason to wait: a restart makes no step early.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from natsscaler.core.decision.rates import Tally, Work, Workers
from natsscaler.core.decision.situation import Memory, Taken, Want
from natsscaler.core.jetstream.sources import exactly
from natsscaler.core.jetstream.trust import Trust, Trusts
from natsscaler.core.status import (
    REMEMBERED_STEPS,
    REMEMBERED_WANTS,
    TALLIED_COUNTERS,
    LastScaling,
    Remembered,
    RuleStatus,
    Tallied,
    Wanted,
    epoch,
)


def remembered(memory: Memory, now: float, wall: float) -> Remembered | None:
    """Write down a memory; `now` on its clock, `wall` since the epoch; None: there is nothing to know."""

    def at(time: float) -> str:
        return exactly(datetime.fromtimestamp(wall - (now - time), UTC))

    def ever(time: float | None) -> str | None:
        return None if time is None or time == -math.inf else at(time)

    def wanted(wants: tuple[Want, ...]) -> tuple[Wanted, ...]:
        return tuple(_wanted(want, at) for want in _fewer(wants))

    written = Remembered(
        last_up=ever(memory.last_up),
        last_down=ever(memory.last_down),
        last_beyond_max=ever(memory.last_beyond_max),
        unknown_since=ever(memory.unknown_since),
        busy_since=ever(memory.busy_since),
        steps=tuple(
            LastScaling(time=at(step.time), before=step.before, after=step.after)
            for step in memory.steps[-REMEMBERED_STEPS:]
        ),
        wants=wanted(memory.wants),
        lows=wanted(memory.lows),
        last_active=ever(memory.active_at),
        delivered=memory.delivered,
        waiting_since=ever(memory.waiting_since),
        tallies=tuple(_tallied(one) for one in memory.work.tallies if len(one.counters) <= TALLIED_COUNTERS),
        starting=_wanted(memory.starting, at) if memory.starting else None,
        startup_seconds=memory.startup_seconds,
        replica_rates=memory.work.learnt,
        replica_rates_of=memory.work.template,
    )
    return None if written == Remembered() else written


def _wanted(want: Want, at: Callable[[float], str]) -> Wanted:
    return Wanted(time=at(want.time), replicas=want.replicas)


def _fewer(wants: tuple[Want, ...]) -> tuple[Want, ...]:
    """Leave out what there is no room for: an older want then counts for as long as a newer one would."""
    surplus = len(wants) - REMEMBERED_WANTS
    if surplus <= 0:
        return wants
    return (Want(wants[surplus].time, wants[0].replicas), *wants[surplus + 1 :])


def restore_trusts(status: RuleStatus) -> Trusts:
    """Rebuild what a restart forgot of earlier reads: what was counted, and when it was seen last."""
    return {
        one.source.selector: Trust(one.source, datetime.fromisoformat(one.seen) if one.seen else None)
        for one in status.counted
    }


def _tallied(tally: Tally) -> Tallied:
    return Tallied(
        time=exactly(datetime.fromtimestamp(tally.at, UTC)),
        counters=tally.counters,
        ready_replicas=tally.workers.ready if tally.workers else None,
        template=tally.workers.template if tally.workers else "",
        follows=tally.follows,
        saturated=tally.saturated,
    )


def _tally(kept: Tallied) -> Tally:
    ready = kept.ready_replicas
    return Tally(
        at=epoch(kept.time) or 0.0,
        counters=kept.counters,
        workers=None if ready is None else Workers(ready, kept.template),
        follows=kept.follows,
        saturated=kept.saturated,
    )


def restore(
    status: RuleStatus, replicas: int, now: float, wall: float, scaled_at: float | None = None
) -> Memory:
    """Rebuild the memory that a restart forgot; `now` on the decision's clock, `wall` since the epoch.

    `scaled_at`: when this process saw another one report the last scaling, on the decision's clock; it
    spares comparing this machine's wall clock with that of the machine that wrote the status. Replicas
    that differ from the status were changed while nobody looked, perhaps by ourselves just before a crash:
    that counts as a step of this moment, so none is taken twice. What was wanted last counts as wanted until
    now, unless the backlog was unknown; where the status does not tell, that is the present replicas.
    """
    last, kept = status.last_scaling, status.memory
    ahead = 0.0
    """By how much the clock that wrote the status is ahead of this one, in seconds."""
    if last and scaled_at is not None:
        newest = kept.steps[-1].time if kept and kept.steps else last.time
        ahead = _age(newest, wall) - (now - scaled_at)

    def then(time: str | None) -> float:
        return -math.inf if time is None else min(now, now - _age(time, wall) + ahead)

    def since(time: str | None) -> float | None:
        return None if time is None else then(time)

    def wants(kept: tuple[Wanted, ...]) -> tuple[Want, ...]:
        if not kept:
            return (Want(now, replicas),)
        *older, newest = (Want(then(one.time), one.replicas) for one in kept)
        unknown = status.pending_messages is None
        return (*older, newest if unknown else Want(now, newest.replicas))

    if kept:
        memory = Memory(
            last_up=then(kept.last_up),
            last_down=then(kept.last_down),
            last_beyond_max=then(kept.last_beyond_max),
            unknown_since=since(kept.unknown_since),
            busy_since=since(kept.busy_since),
            steps=tuple(Taken(then(step.time), step.before, step.after) for step in kept.steps),
            wants=wants(kept.wants),
            lows=wants(kept.lows),
            active_at=then(kept.last_active),
            delivered=kept.delivered,
            waiting_since=since(kept.waiting_since),
            starting=Want(then(kept.starting.time), kept.starting.replicas) if kept.starting else None,
            startup_seconds=kept.startup_seconds,
            work=Work(tuple(map(_tally, kept.tallies)), kept.replica_rates, kept.replica_rates_of),
        )
    else:
        present = (Want(now, replicas),)
        memory = Memory(wants=present, lows=present)
    if last and not (kept and kept.steps):
        memory = memory.acted(last.before, last.after, then(last.time))
    if status.current_replicas is not None:
        before = status.current_replicas
        memory = memory.acted(before, replicas, now).stepped(before, replicas, now)
        if before != replicas:  # it is unknown since when they start
            memory = replace(memory.wanted(replicas, now, math.inf), starting=None)
    return memory


def _age(time: str, wall: float) -> float:
    """Say how long ago something was, in seconds; negative: it is said to be in the future."""
    return wall - (epoch(time) or wall)
