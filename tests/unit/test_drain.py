"""drainTime: as many replicas as keep messages from waiting longer than a target."""

import json
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.decision.pipeline import Decision, decide, messages_until_change
from natsscaler.core.decision.rates import MOST_LEARNT, Work, Workers
from natsscaler.core.decision.recommenders import Drain
from natsscaler.core.decision.situation import Memory, Observation, Situation
from natsscaler.core.errors import InvalidRule
from natsscaler.core.reasons import Reason
from natsscaler.core.remembering import remembered, restore
from natsscaler.core.rule import DrainTime, Rule
from natsscaler.core.status import RuleStatus, read_back
from tests.support.factories import NOW, UNKNOWN, rule
from tests.support.working import Queue


def draining(target: int = 60, rate: float | None = 10, **others: Any) -> Rule:
    drain = {"targetSeconds": target, **others}
    spec: dict[str, Any] = {"maxReplicas": 500, "scaleUpThreshold": 0, "scaleDownThreshold": 0}
    if rate is None:
        return rule(drainTime=drain, messagesPerReplica=100, **spec)
    return rule(drainTime={**drain, "replicaRate": rate}, **spec)


@pytest.mark.parametrize(
    ("arriving", "messages", "mode", "startup", "expected"),
    [
        (0, 1500, Drain(DrainTime(10, 100), 10), 0, 15),
        (0, 60000, Drain(DrainTime(3, 100), 5000), 0, 4),
        (3000, 0, Drain(DrainTime(60, 80), 250), 0, 15),
        (100, 6000, Drain(DrainTime(60, 80), 10), 0, 23),
        (100, 6000, Drain(DrainTime(60, 80), 10), 20, 26),
        (0, 0, Drain(DrainTime(60, 80), 10), 20, 0),
    ],
)
def test_how_many_replicas_it_takes(
    arriving: int, messages: int, mode: Drain, startup: int, expected: int
) -> None:
    assert mode.replicas(Fraction(arriving), messages, startup=startup) == expected


def look(made: Rule, queue: Queue, replicas: int, memory: Memory, template: str = "1") -> Decision:
    seen = Observation(queue.backlog, replicas, queue.at, workers=Workers(replicas, template))
    return decide(made, seen, memory, queue.at)


def run(
    made: Rule,
    queue: Queue,
    seconds: int,
    *,
    come: int,
    each: int,
    replicas: int = 2,
    memory: Memory | None = None,
    template: str = "1",
    every: int = 5,
) -> Memory:
    """Let messages come and replicas work, and look every few seconds without acting."""
    found = memory or Memory()
    for second in range(seconds + 1):
        if second % every == 0:
            found = look(made, queue, replicas, found, template).memory
        queue.at += 1
        queue.publish(come)
        queue.work(each * replicas)
    return found


def test_what_comes_steadily_is_worked_off_without_a_backlog() -> None:
    made, queue = draining(), Queue()
    memory = run(made, queue, 120, come=100, each=50)
    decision = look(made, queue, 2, memory)
    assert (queue.pending, decision.desired, decision.reason) == (0, 2, Reason.WITHIN_THRESHOLDS)
    made = replace(made, spec=replace(made.spec, scale_up_threshold=0))
    queue.publish(1)
    decision = look(made, queue, 2, memory)
    assert decision.desired == 13
    assert (
        decision.message
        == "Backlog 1 with 100/s arriving wants 13, to be worked off in 60 s at 10/s per replica"
    )


def test_a_step_up_is_also_for_what_comes_until_it_works() -> None:
    queue = Queue(pending=6000, published=6000)
    memory = run(draining(), queue, 120, come=100, each=50)
    assert look(draining(), queue, 2, memory).desired == 23
    assert look(draining(startupSeconds=20), queue, 2, memory).desired == 26
    assert look(draining(startupSeconds=20), queue, 23, memory).desired == 23, "not once they are asked for"


def stepped_up(made: Rule, queue: Queue, memory: Memory, before: int, after: int) -> Memory:
    return look(made, queue, before, memory).memory.stepped(before, after, queue.at)


def seen_ready(made: Rule, queue: Queue, replicas: int, ready: int, memory: Memory) -> Memory:
    seen = Observation(queue.backlog, replicas, queue.at, workers=Workers(ready, "1"))
    return decide(made, seen, memory, queue.at).memory


def test_how_long_replicas_take_is_seen_at_the_last_step_up_and_survives_a_restart() -> None:
    made, queue = draining(), Queue(pending=6000, published=6000)
    memory = stepped_up(made, queue, run(made, queue, 120, come=100, each=50), 1, 2)
    queue.at += 10
    memory = seen_ready(made, queue, 2, 1, memory)
    assert memory.startup_seconds is None
    status = RuleStatus(memory=remembered(memory, queue.at, queue.at), current_replicas=2)
    memory = restore(read_back(json.loads(msgspec.json.encode(status))), 2, queue.at, queue.at)
    queue.at += 10
    queue.publish(2000)
    queue.work(2000)
    memory = seen_ready(made, queue, 2, 2, memory)
    assert memory.startup_seconds == pytest.approx(20)
    assert look(made, queue, 2, memory).desired == 26
    assert look(draining(startupSeconds=0), queue, 2, memory).desired == 23, "what is given counts"


def test_a_step_that_another_one_follows_does_not_tell_how_long_replicas_take() -> None:
    made, queue = draining(), Queue()
    memory = stepped_up(made, queue, Memory(), 1, 3)
    memory = seen_ready(made, queue, 2, 2, memory)
    assert (memory.starting, memory.startup_seconds) == (None, None)


def test_what_came_is_spread_over_the_whole_window() -> None:
    queue = Queue()
    memory = run(draining(), queue, 5, come=0, each=0)
    queue.at += 5
    queue.publish(600)
    memory = look(draining(), queue, 1, memory).memory
    assert memory.work.arriving(60) == 10
    queue.at += 60
    memory = look(draining(), queue, 1, memory).memory
    assert memory.work.arriving(60) == 0


def test_what_a_replica_can_do_is_learnt_of_workers_that_have_enough_to_do() -> None:
    made, queue = draining(rate=None), Queue(pending=10_000, published=10_000)
    before = look(made, queue, 2, Memory())
    assert before.desired == 100
    assert before.message.endswith("(drainTime waits until it knows what a replica processes)")
    memory = run(made, queue, 60, come=0, each=7)
    assert set(memory.work.learnt) == {7.0}
    wanted = look(made, queue, 2, memory)
    assert wanted.desired == 22
    assert "at 7/s per replica" in wanted.message


def test_workers_that_wait_teach_nothing_but_that_they_can_do_more() -> None:
    """Else fewer and fewer would seem to be possible, and more and more replicas be needed."""
    made, queue = draining(rate=None), Queue(pending=100_000, published=100_000)
    memory = run(made, queue, 120, come=0, each=10)
    idle = Queue(at=queue.at, published=queue.published, delivered=queue.delivered, waiting=2)
    memory = run(made, idle, 300, come=4, each=10, memory=memory)
    assert memory.work.replica_rate == 10.0
    memory = run(made, idle, 120, come=60, each=30, memory=memory)
    assert memory.work.replica_rate == 30.0


@pytest.mark.parametrize("change", ["scaled", "rollout", "crash-loop"])
def test_nothing_is_learnt_while_workers_change_or_fail(change: str) -> None:
    made, queue, memory = draining(rate=None), Queue(pending=100_000, published=100_000), Memory()
    for second in range(1, 200):
        queue.at += 1
        queue.work(20)
        if change == "crash-loop":
            queue.deliver(5)
            queue.repeat(5)
        replicas = 2 + second // 5 % 2 if change == "scaled" else 2
        memory = look(made, queue, replicas, memory, "" if change == "rollout" else "1").memory
    assert memory.work.learnt == ()


def test_another_pod_template_is_learnt_anew() -> None:
    made, queue = draining(rate=None), Queue(pending=100_000, published=100_000)
    memory = run(made, queue, 300, come=0, each=10)
    assert len(memory.work.learnt) <= MOST_LEARNT
    memory = run(made, queue, 40, come=0, each=20, memory=memory, template="2")
    assert set(memory.work.learnt) == {20.0}


def test_messages_that_are_pushed_need_a_rate() -> None:
    made, queue = draining(rate=None), Queue(pending=10_000, published=10_000, pushed=True)
    memory = run(made, queue, 120, come=0, each=10)
    assert memory.work.learnt == ()
    assert "set drainTime.replicaRate" in look(made, queue, 2, memory).message


def test_down_is_put_off_for_as_long_as_the_target() -> None:
    """Else a burst that fewer replicas suffice for, from a moment to the next, took longer than was asked."""
    quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    made = rule(
        drainTime={"targetSeconds": 60, "replicaRate": 10},
        maxReplicas=500,
        behavior=quick,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
    )
    queue = Queue(pending=6000, published=6000)
    memory = look(made, queue, 10, Memory()).memory
    queue.at += 30
    queue.work(6000)
    decision = look(made, queue, 10, memory)
    assert (decision.desired, decision.reason) == (10, Reason.STABILIZING)
    assert decision.next_change == NOW + 60


def test_it_needs_a_rate_or_something_to_decide_by_until_that_is_learnt() -> None:
    with pytest.raises(InvalidRule, match="drainTime needs replicaRate, or messagesPerReplica"):
        rule(drainTime={"targetSeconds": 60})


def test_while_nobody_takes_messages_the_replicas_stay() -> None:
    made, queue, memory = draining(), Queue(pending=1000, published=1000), Memory()
    for _ in range(2):
        decision = look(made, queue, 1, memory)
        memory = decision.memory
        assert decision.desired == 2, "they may only be slow to ask"
        queue.at += 4
    decision = look(made, queue, 1, memory)
    assert (decision.desired, decision.reason) == (1, Reason.NOT_CONSUMED)
    assert decision.message.endswith("but messages wait, and no worker asks for any")
    assert messages_until_change(made, Observation(queue.backlog, 1, queue.at), decision.memory) is None
    queue.at += 1
    queue.deliver(1)
    assert look(made, queue, 1, decision.memory).desired == 2


def test_workers_that_are_given_the_same_again_and_finish_nothing_keep_their_number() -> None:
    crashing, busy = Queue(pending=5000, published=5000), Queue(pending=5000, published=5000)
    for queue in (crashing, busy):
        memory = Memory()
        for _ in range(9):
            queue.at += 10
            queue.deliver(2)
            queue.repeat(2 if queue is crashing else 0)
            decision = look(draining(), queue, 2, memory)
            memory = decision.memory
        if queue is crashing:
            assert (decision.desired, decision.reason) == (2, Reason.NO_PROGRESS)
            queue.at += 10
            queue.acknowledge(1)
            decision = look(draining(), queue, 2, memory)
        assert decision.desired == 9, "long jobs look like this, too"


@pytest.mark.parametrize(("most", "expected"), [(100, 2), (150, 3), (159, 3), (1000, 9), (0, 9)])
def test_no_more_replicas_than_max_ack_pending_has_messages_for(most: int, expected: int) -> None:
    queue = Queue(pending=5000, published=5000, most_unacknowledged=most)
    queue.deliver(100)
    decision = look(draining(), queue, 2, Memory())
    assert decision.desired == expected
    assert (decision.reason is Reason.MAX_ACK_PENDING) == (expected == 2)
    missing = messages_until_change(draining(), Observation(queue.backlog, 2, queue.at), decision.memory)
    assert missing is None
    seen = Observation(queue.backlog, 3, queue.at, workers=Workers(2, "1"))
    assert decide(draining(), seen, Memory(), queue.at).desired == 9, "unknown while replicas come"


# Whatever happens.


Happened = list[tuple[int, int, int]]
happenings = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2000), st.integers(0, 2000)), max_size=12)
rules = st.builds(
    draining,
    st.sampled_from([1, 10, 30, 60, 300, 3600]),
    st.sampled_from([None, 0.5, 10, 250]),
    utilizationPercent=st.sampled_from([50, 80, 100]),
    startupSeconds=st.sampled_from([0, 20]),
)


def seen_so_far(made: Rule, happened: Happened, replicas: int) -> tuple[Queue, Memory]:
    queue, memory = Queue(), Memory()
    for seconds, come, done in happened:
        queue.at += seconds
        queue.publish(come)
        queue.work(done)
        memory = look(made, queue, replicas, memory).memory
    return queue, memory


@given(rules, happenings, st.integers(1, 40), st.integers(0, 3000))
def test_more_messages_never_mean_fewer_replicas_and_the_bounds_hold(
    made: Rule, happened: Happened, replicas: int, more: int
) -> None:
    queue, memory = seen_so_far(made, happened, replicas)
    few = look(made, queue, replicas, memory)
    queue.publish(more)
    many = look(made, queue, replicas, memory)
    assert made.spec.min_replicas <= few.desired <= many.desired <= made.spec.max_replicas


@given(rules, happenings, st.integers(1, 40))
def test_it_goes_up_after_exactly_so_many_messages(made: Rule, happened: Happened, replicas: int) -> None:
    """Each counts twice: it waits, and it is one more that came."""
    queue, memory = seen_so_far(made, happened, replicas)
    decision = look(made, queue, replicas, memory)
    seen = Observation(queue.backlog, replicas, queue.at)
    missing = messages_until_change(made, seen, decision.memory)
    queue.at += 1e-6
    if missing is None:
        idle = Situation.of(made, seen, decision.memory, queue.at).idle_workers
        assert decision.desired > replicas or idle
        return
    assert missing >= 1
    queue.publish(missing - 1)
    assert look(made, queue, replicas, decision.memory).desired <= replicas
    queue.publish(2)
    assert look(made, queue, replicas, decision.memory).desired > replicas


@given(rules, happenings, st.integers(1, 40))
def test_an_unknown_backlog_changes_nothing(made: Rule, happened: Happened, replicas: int) -> None:
    queue, memory = seen_so_far(made, happened, replicas)
    decision = decide(made, Observation(UNKNOWN, replicas, queue.at), memory, queue.at)
    assert (decision.desired, decision.memory) == (replicas, memory)


@given(rules, happenings, happenings, st.integers(1, 40))
def test_a_restart_at_any_point_changes_no_later_decision(
    made: Rule, before: Happened, after: Happened, replicas: int
) -> None:
    queue, memory = seen_so_far(made, before, replicas)
    status = RuleStatus(memory=remembered(memory, queue.at, queue.at), current_replicas=replicas)
    again = restore(read_back(json.loads(msgspec.json.encode(status))), replicas, queue.at, queue.at)
    assert again.work == memory.work
    for seconds, come, done in after:
        queue.at += seconds
        queue.publish(come)
        queue.work(done)
        one, other = look(made, queue, replicas, memory), look(made, queue, replicas, again)
        assert other.recommendation == one.recommendation
        memory, again = one.memory, other.memory


def test_no_work_is_no_rate() -> None:
    assert Work().replica_rate is None
    assert Work().arriving(60) == 0
