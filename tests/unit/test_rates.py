"""Rates of work: from counters that NATS gives at several moments, right or not known."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.decision.rates import (
    KEPT,
    MIN_SECONDS,
    SHOWN_SECONDS,
    Flow,
    Rates,
    Tally,
    Work,
    Workers,
    between,
)
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.core.jetstream.counters import Counters
from natsscaler.core.jetstream.documents import ConsumerInfo, SequenceInfo, StreamState
from tests.support.factories import MOMENT, NOW, backlog, consumer, known, rule, stream, view
from tests.support.working import Queue

TWO = Workers(2, "1")


def counted(**counts: int | bool | None) -> Counters:
    given: dict[str, int | bool | None] = {"ever": 100, "delivered": 80, "pending": 20, **counts}
    return Counters(name="ORDERS/workers", **given)  # type: ignore[arg-type]


def flow(first: Counters, last: Counters) -> Flow:
    return between(Tally(at=0.0, counters=(first,)), Tally(at=10.0, counters=(last,), follows=True))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (counted(), Flow(0, 0, 0)),
        (counted(ever=200, pending=120), Flow(100, 0, 0)),
        (counted(delivered=90, pending=10, unacknowledged=10), Flow(0, 0, 0)),
        (counted(delivered=90, pending=10), Flow(0, 10, 0)),
        (counted(delivered=95, pending=10), Flow(0, 10, 5)),
        (counted(ever=200, delivered=100, pending=100), Flow(100, 20, 0)),
        (counted(pending=0), Flow(0, None, None)),
        (counted(ever=101, delivered=84, pending=16), Flow(1, 5, 0)),
    ],
    ids=["rest", "come", "taken", "done", "again", "both", "purged", "read-a-moment-apart"],
)
def test_what_happened_between_two_looks_at_a_stream_of_its_own(last: Counters, expected: Flow) -> None:
    assert flow(counted(), last) == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (counted(ever=None, delivered=90, pending=40), Flow(30, 10, 0)),
        (counted(ever=None, delivered=90, pending=10, unacknowledged=4), Flow(0, 6, 0)),
        (counted(ever=None, delivered=90, unacknowledged=3, redelivered=1), Flow(None, None, None)),
    ],
)
def test_what_happened_between_two_looks_at_a_stream_that_is_shared(last: Counters, expected: Flow) -> None:
    assert flow(counted(ever=None), last) == expected


def test_without_a_consumer_work_cannot_be_told_from_a_purge() -> None:
    first = counted(delivered=None)
    assert flow(first, counted(ever=130, delivered=None, pending=40)) == Flow(30, None, None)


def look(work: Work, queue: Queue, workers: Workers | None = TWO, window: float = SHOWN_SECONDS) -> Work:
    return work.observed(queue.backlog, workers, window)


def run(
    queue: Queue, seconds: int, come: int, done: int, *, every: int = 5, work: Work | None = None
) -> Work:
    """Let messages come and be done per second, and look every few seconds."""
    work = look(work or Work(), queue)
    for second in range(1, seconds + 1):
        queue.at += 1
        queue.publish(come)
        queue.work(done)
        if second % every == 0:
            work = look(work, queue)
    return work


@pytest.mark.parametrize("every", [1, 5, 7, 30, 120])
def test_rates_are_means_over_a_minute(every: int) -> None:
    rates = run(Queue(), 240, come=10, done=6, every=every).rates()
    found = [rates.arriving, rates.processing, rates.per_replica]
    assert found == pytest.approx([10, 6, 3])
    assert not rates.estimated


def test_a_minute_ago_is_forgotten() -> None:
    queue = Queue()
    work = run(queue, 120, come=50, done=50)
    assert run(queue, 60, come=2, done=2, work=work).rates().arriving == pytest.approx(2)


def test_half_a_minute_must_have_been_seen() -> None:
    assert run(Queue(), 25, come=10, done=10).rates() == Rates()
    assert run(Queue(), 30, come=10, done=10).rates().arriving == pytest.approx(10)


def test_a_counter_that_falls_discards_what_happened_meanwhile() -> None:
    queue = Queue()
    work = run(queue, 60, come=10, done=10)
    queue.delivered -= 5
    queue.publish(1000)
    queue.at += 10
    work = look(work, queue)
    assert not work.tallies[-1].follows
    rates = run(queue, 30, come=10, done=10, work=work).rates()
    assert [rates.arriving, rates.processing] == pytest.approx([10, 10])


@pytest.mark.parametrize("name", ["ever", "delivered", "floor"])
def test_each_counter_that_only_rises_is_looked_at(name: str) -> None:
    first = Queue(published=50, delivered=50).backlog
    made = replace(first, counters=(replace(first.counters[0], floor=50),))
    lower = replace(made.counters[0], **{name: 49})
    later = replace(made, at=MOMENT + timedelta(seconds=10), counters=(lower,))
    assert not Work().observed(made, TWO).observed(later, TWO).tallies[-1].follows


def test_a_counter_that_falls_between_two_kept_looks_is_not_overlooked() -> None:
    queue = Queue(delivered=100)
    work = look(look(Work(), queue), replace_at(queue, 12.0))
    queue.delivered = 50
    work = look(work, replace_at(queue, 13.0))
    queue.delivered = 150
    work = look(work, replace_at(queue, 14.0))
    assert len(work.tallies) == 3
    assert not work.tallies[-1].follows


def replace_at(queue: Queue, seconds: float) -> Queue:
    queue.at = NOW + seconds
    return queue


@pytest.mark.parametrize("change", [{"born": "2026-02-02T00:00:00+00:00"}, {"name": "ORDERS/others"}])
def test_another_consumer_goes_on_from_nothing(change: dict[str, str]) -> None:
    queue = Queue()
    work = run(queue, 60, come=1, done=1)
    queue.at += 10
    other = replace(queue.backlog, counters=(replace(queue.counters, **change),))
    assert not work.observed(other, TWO).tallies[-1].follows


def test_the_same_read_teaches_nothing_new() -> None:
    queue = Queue()
    work = run(queue, 60, come=1, done=1)
    assert look(work, queue) is work
    assert work.observed(backlog(5), TWO) is work


@pytest.mark.parametrize(
    "change",
    [{"pending": 0}, {"waiting": 1}, {"pushed": True}, {"most_unacknowledged": 1, "in_work": 1}],
    ids=str,
)
def test_workers_are_saturated_while_none_of_them_waits(change: dict[str, int | bool]) -> None:
    busy = Queue(pending=1000)
    work = run(busy, 60, come=10, done=10)
    assert all(tally.saturated for tally in work.tallies[1:])
    for name, value in change.items():
        setattr(busy, name, value)
    busy.at += 1
    work = look(work, busy)
    assert not work.tallies[-1].saturated
    busy.pending, busy.waiting, busy.pushed, busy.most_unacknowledged = 1000, 0, False, 0
    busy.at += 1
    assert not look(work, busy).tallies[-1].saturated, "the interval is not over"


@given(
    st.lists(
        st.tuples(st.integers(1, 90), *(st.integers(0, 400) for _ in range(4))), min_size=1, max_size=40
    ),
    st.sampled_from([30.0, 60.0, 300.0]),
)
def test_few_looks_are_kept_and_together_they_tell_the_truth(
    happened: list[tuple[int, int, int, int, int]], window: float
) -> None:
    queue, truth = Queue(), {NOW: (0, 0, 0)}
    work = look(Work(), queue, window=window)
    for seconds, come, taken, again, done in happened:
        queue.at += seconds
        queue.publish(come)
        queue.deliver(taken)
        queue.repeat(again)
        queue.acknowledge(done)
        truth[queue.at] = queue.published, queue.processed, queue.delivered
        work = look(work, queue, window=window)
    assert len(work.tallies) <= KEPT
    for first, last in list(pairwise(work.tallies))[:-1]:
        assert last.at - first.at >= MIN_SECONDS
    for first, last in pairwise(work.tallies):
        came, done = (truth[last.at][i] - truth[first.at][i] for i in (0, 1))
        assert between(first, last)[:2] == (came, done)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.booleans()), min_size=2, max_size=20))
def test_a_purge_is_never_taken_for_more_than_a_little_work(
    happened: list[tuple[int, int, bool]],
) -> None:
    queue = Queue()
    work = look(Work(), queue)
    for come, done, purged in happened:
        queue.at += 10
        queue.publish(come)
        before = queue.processed
        queue.work(done)
        if purged:
            queue.purge()
        work = look(work, queue)
        found = between(*work.tallies[-2:])
        slack = 2 + 0.1 * max(come, queue.processed - before)
        assert found.arrived == come
        assert found.processed is None or found.processed <= queue.processed - before + slack


def test_how_long_the_backlog_takes_at_the_rate_of_processing() -> None:
    assert Rates(5.0, 10.0).drain_seconds(backlog(600)) == 60.0
    assert Rates(5.0, 0.0).drain_seconds(backlog(600)) is None
    assert Rates(5.0, None).drain_seconds(backlog(600)) is None
    assert Rates().drain_seconds(backlog(0)) == 0.0


# Where the counters come from.


def told(name: str = "workers", *filters: str, **more: int) -> ConsumerInfo:
    made = consumer(name, *filters, pending=3)
    return replace(
        made, delivered=SequenceInfo(consumer_seq=7), ack_floor=SequenceInfo(consumer_seq=5), **more
    )


def with_messages(*consumers: ConsumerInfo, subjects: tuple[str, ...] = ("orders.processing",)) -> Backlog:
    made = stream("ORDERS", subjects, *consumers)
    return known(measure(rule(), view(replace(made, state=StreamState(messages=10, last_seq=50)))))


@pytest.mark.parametrize(
    ("subjects", "filters", "ever"),
    [
        (("orders.processing",), ("orders.processing",), 50),
        (("orders.processing",), (), 50),
        (("orders.>",), ("orders.processing",), None),
    ],
)
def test_all_that_comes_is_counted_where_all_is_for_the_consumer(
    subjects: tuple[str, ...], filters: tuple[str, ...], ever: int | None
) -> None:
    found = with_messages(told("workers", *filters, num_redelivered=2, num_waiting=4), subjects=subjects)
    assert found.counters == (
        Counters(
            name="ORDERS/workers",
            ever=ever,
            delivered=7,
            floor=5,
            pending=3,
            redelivered=2,
            waiting=4,
        ),
    )


@pytest.mark.parametrize("broken", [{"num_waiting": -1}, {"num_redelivered": 2**63}])
def test_a_server_that_does_not_tell_leaves_the_rates_unknown_and_the_backlog_known(
    broken: dict[str, int],
) -> None:
    found = with_messages(replace(told("workers", "orders.processing"), **broken))
    assert (found.messages, found.counters) == (3, ())


def test_a_work_queue_without_consumer_counts_what_comes() -> None:
    made = stream("ORDERS", ["orders.processing"], retention="workqueue")
    found = known(measure(rule(), view(replace(made, state=StreamState(messages=10, last_seq=50)))))
    assert found.counters == (Counters(name="ORDERS", ever=50, pending=10),)
