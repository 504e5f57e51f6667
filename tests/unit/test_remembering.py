"""What a restart must not forget: it goes through the status, and comes back as it was."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.decision.rates import Work, Workers
from natsscaler.core.decision.situation import Memory, Taken, Want
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.status import REMEMBERED_WANTS, LastScaling, Remembered, RuleStatus, read_back, rfc3339
from tests.support.working import Queue

NOW, WALL = 5_000.0, 1_767_225_600.0
"""The clock of decisions and the wall clock, which have nothing to do with each other."""
seconds = st.integers(0, 2 * 4000).map(lambda halves: NOW - halves / 2)
ever = st.one_of(st.just(-math.inf), seconds)
step_times = st.lists(seconds.filter(lambda time: time > NOW - 1800), max_size=20).map(sorted)
counts = st.integers(0, 50)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    """Make memories of decisions up to now, the last of which was at this moment."""
    memory = Memory(
        last_up=draw(ever),
        last_down=draw(ever),
        last_beyond_max=draw(ever),
        unknown_since=draw(st.none() | seconds),
        busy_since=draw(st.none() | seconds),
    )
    for time in draw(step_times):
        memory = memory.stepped(draw(counts), draw(counts), time)
    for time in (*draw(st.lists(seconds, max_size=15).map(sorted)), NOW):
        wants = draw(counts)
        memory = memory.wanted(wants, time, 3600).wanted_low(wants, time, 3600)
    queue, work = Queue(), Work()
    for come, done in draw(st.lists(st.tuples(counts, counts), max_size=9)):
        queue.at += 4.5
        queue.publish(come)
        queue.work(done)
        ready = draw(st.none() | counts)
        work = work.observed(queue.backlog, None if ready is None else Workers(ready, draw(st.text())))
    return replace(memory, work=work)


def written(memory: Memory, replicas: int = 3, **others: Any) -> RuleStatus:
    """Write a status and read it back, as if the process had ended in between."""
    known = {"current_replicas": replicas, "pending_messages": 5, **others}
    status = RuleStatus(memory=remembered(memory, NOW, WALL), **known)
    return read_back(json.loads(msgspec.json.encode(status)))


@given(memories(), st.floats(-1e6, 1e6))
def test_a_memory_comes_back_as_it_was(memory: Memory, other_clock: float) -> None:
    assert restore(written(memory), 3, NOW, WALL) == memory
    later = restore(written(memory), 3, other_clock, WALL)
    assert [step.time for step in later.steps] == pytest.approx(
        [step.time - NOW + other_clock for step in memory.steps], abs=1e-3
    )


@given(memories(), counts, st.floats(-5000, 5000))
def test_no_restart_remembers_the_future(memory: Memory, replicas: int, away: float) -> None:
    """Whatever the wall clock did meanwhile."""
    restored = restore(written(memory), replicas, NOW, WALL + away)
    times = [restored.last_up, restored.last_down, restored.last_beyond_max]
    times += [time for time in (restored.unknown_since, restored.busy_since) if time is not None]
    times += [step.time for step in restored.steps]
    times += [want.time for want in (*restored.wants, *restored.lows)]
    assert max(times) <= NOW


def test_what_was_wanted_last_counts_as_wanted_until_the_restart() -> None:
    memory = Memory().wanted(7, NOW - 50, 300).wanted(3, NOW - 10, 300)
    restored = restore(written(memory, 7), 7, NOW + 60, WALL + 60)
    assert restored.wants == (Want(NOW - 50, 7), Want(NOW + 60, 3))


def test_while_the_backlog_is_unknown_nothing_is_wanted() -> None:
    memory = Memory().wanted(7, NOW - 50, 300)
    restored = restore(written(memory, 7, pending_messages=None), 7, NOW + 60, WALL + 60)
    assert restored.wants == (Want(NOW - 50, 7),)


def test_replicas_that_changed_meanwhile_count_as_a_step_and_as_wanted() -> None:
    memory = Memory().wanted(3, NOW, 300)
    restored = restore(written(memory), 9, NOW + 5, WALL + 5)
    assert restored.steps == (Taken(NOW + 5, 3, 9),)
    assert restored.last_up == NOW + 5
    assert restored.wants == (Want(NOW + 5, 9),)


def test_more_wants_than_there_is_room_for_hold_longer_and_never_shorter() -> None:
    memory = Memory()
    for number in range(30):
        memory = memory.wanted(100 - number, NOW - 30 + number, 3600)
    restored = restore(written(memory), 3, NOW, WALL)
    assert len(restored.wants) == REMEMBERED_WANTS
    assert restored.wants[0] == Want(memory.wants[10].time, 100)
    assert restored.wants[1:] == (*memory.wants[11:-1], Want(NOW, 71))


def test_steps_of_another_process_are_timed_by_when_its_report_was_seen() -> None:
    """Its wall clock is an hour ahead of ours."""
    memory = Memory().acted(2, 6, NOW - 20).stepped(2, 6, NOW - 20)
    last = LastScaling(time=rfc3339(WALL - 20), before=2, after=6)
    status = written(memory, 6, last_scaling=last)
    restored = restore(status, 6, NOW, WALL - 3600, scaled_at=NOW - 19)
    assert restored.steps == (Taken(NOW - 19, 2, 6),)
    assert restored.last_up == NOW - 19


def test_steps_are_kept_for_as_long_as_a_policy_may_look_back() -> None:
    memory = Memory().stepped(1, 2, 0.0).stepped(2, 3, 100.0)
    assert [step.after for step in memory.stepped(3, 4, 1799.9).steps] == [2, 3, 4]
    assert [step.after for step in memory.stepped(3, 4, 1800.0).steps] == [3, 4]
    assert memory.stepped(3, 3, 200.0) is memory


def test_a_memory_with_times_that_cannot_be_read_is_none() -> None:
    raw = {"memory": {"lastUp": "yesterday"}, "currentReplicas": 3}
    assert read_back(raw) == RuleStatus(current_replicas=3)
    well = {"memory": {"lastUp": rfc3339(WALL)}}
    assert read_back(well).memory == Remembered(last_up=rfc3339(WALL))
