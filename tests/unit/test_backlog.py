"""Which consumers are a rule's workers, what waits for them, and when that is unknown."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import MOST_SUBJECTS, Backlog, measure
from natsscaler.core.jetstream.documents import AccountInfo, ConsumerInfo, Jsz, StreamInfo, known_subjects
from natsscaler.core.jetstream.selection import LISTED_CANDIDATES, MOST_COUNTED, Match, Unknown
from natsscaler.core.jetstream.snapshot import View
from natsscaler.core.jetstream.sources import UNASKED, NotTold, Source
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.subjects import MAX_LENGTH, overlaps, subscribable
from tests.support.factories import (
    MOMENT,
    account,
    consumer,
    known,
    node,
    rule,
    stream,
    unknown,
    view,
    view_of,
)

SUBJECT = "orders.processing"
BEST_FIRST = [
    Match.NAMED,
    Match.EQUAL,
    Match.WITHIN,
    Match.OVERLAPPING,
    Match.EPHEMERAL_EQUAL,
    Match.EPHEMERAL_WITHIN,
    Match.EPHEMERAL_OVERLAPPING,
    Match.STREAM,
]


def orders(*consumers: ConsumerInfo, **settings: Any) -> StreamInfo:
    return stream("ORDERS", ["orders.>"], *consumers, **settings)


def test_the_classes_rank_from_best_to_worst() -> None:
    assert sorted(Match, key=lambda match: match.rank) == BEST_FIRST
    assert [match.rank for match in BEST_FIRST] == list(range(8))


# Which consumers.


@pytest.mark.parametrize(
    ("subject", "filters", "expected"),
    [
        pytest.param(SUBJECT, [SUBJECT], Match.EQUAL, id="the-subject-itself"),
        pytest.param("orders.*", ["orders.*"], Match.EQUAL, id="the-same-pattern"),
        pytest.param("orders.>", [], Match.EQUAL, id="no-filter-is-the-streams-subjects"),
        pytest.param("orders.*", [SUBJECT], Match.WITHIN, id="one-within"),
        pytest.param("orders.*", ["orders.a", "orders.b"], Match.WITHIN, id="all-within"),
        pytest.param(">", [], Match.WITHIN, id="the-stream-within"),
    ],
)
def test_a_consumer_matches_by_its_filters(subject: str, filters: list[str], expected: Match) -> None:
    seen = view(orders(consumer("workers", *filters, pending=7)))
    found = known(measure(rule(subject=subject), seen))
    assert found.messages == 7
    assert found.source.match is expected
    assert found.source.consumers == ("ORDERS/workers",)


ONE_OF_EACH = {
    Match.EQUAL: consumer("equal", "orders.*", pending=1),
    Match.WITHIN: consumer("within", SUBJECT, pending=2),
}
UNFIT: dict[str, dict[str, Any]] = {
    "not durable": {"durable": False},
    "pushed to without acknowledgement": {"deliver_subject": "tap", "ack_policy": "none"},
    "of a mirror or source": {"direct": True},
}
AUDITS = [["orders.*"], [], [SUBJECT, "orders.b"], ["*.processing"]]
"""Filters of consumers that take more than the subject, or other messages beside it."""


@pytest.mark.parametrize("present", [[Match.EQUAL], [Match.WITHIN], [Match.EQUAL, Match.WITHIN]])
def test_only_the_best_class_that_is_not_empty_counts(present: list[Match]) -> None:
    seen = view(orders(*(ONE_OF_EACH[kind] for kind in present)))
    found = known(measure(rule(subject="orders.*"), seen))
    assert found.source.match is present[0]
    assert found.messages == ONE_OF_EACH[present[0]].num_pending


@pytest.mark.parametrize("filters", AUDITS)
def test_a_durable_that_takes_more_than_the_subject_counts_only_if_it_is_named(filters: list[str]) -> None:
    """It is most often somebody else's, as an audit: the workers' is missing, or the subject misspelt."""
    audit = consumer("audit", *filters, pending=300)
    message = unknown(measure(rule(), view(orders(audit))), Reason.CONSUMER_NOT_FOUND)
    assert "ORDERS/audit (takes " in message
    assert "spec.consumer" in message
    found = known(measure(rule(consumer="audit"), view(orders(audit))))
    assert (found.messages, found.wider) == (300, tuple(sorted(set(filters or ["orders.>"]) - {SUBJECT})))


def test_a_misspelt_subject_lists_all_consumers_and_the_one_that_was_meant() -> None:
    seen = view(orders(consumer("audit", pending=300), consumer("workers", "orders.shipping", pending=1)))
    message = unknown(measure(rule(subject="orders.shiping"), seen), Reason.CONSUMER_NOT_FOUND)
    assert "ORDERS/audit (takes orders.>), ORDERS/workers (takes orders.shipping)" in message
    assert "Did you mean orders.shipping?" in message


def test_an_audit_beside_the_workers_changes_nothing() -> None:
    workers, audit = consumer("workers", SUBJECT, pending=3), consumer("audit", pending=1_000)
    assert measure(rule(), view(orders(workers, audit))) == measure(rule(), view(orders(workers)))


@pytest.mark.parametrize("why", UNFIT)
@pytest.mark.parametrize("filters", [[SUBJECT], []])
def test_what_is_no_worker_counts_only_if_it_is_named(why: str, filters: list[str]) -> None:
    """Among them whoever looks at the stream, as by `nats stream view`."""
    looker = consumer("looker", *filters, **{"pending": 7} | UNFIT[why])
    message = unknown(measure(rule(), view(orders(looker))), Reason.CONSUMER_NOT_FOUND)
    assert f"ORDERS/looker ({why})" in message
    assert known(measure(rule(consumer="looker"), view(orders(looker)))).messages == 7
    workers = consumer("workers", SUBJECT, pending=3)
    assert measure(rule(), view(orders(workers, looker))) == measure(rule(), view(orders(workers)))


def test_the_durable_consumer_of_a_source_counts_only_if_it_is_named() -> None:
    """Nats-server 2.14 and newer can fill a stream by a durable consumer of another."""
    mirror = consumer("mirror", SUBJECT, pending=7, deliver_subject="fill", ack_policy="flow_control")
    unknown(measure(rule(), view(orders(mirror))), Reason.CONSUMER_NOT_FOUND)
    assert known(measure(rule(consumer="mirror"), view(orders(mirror)))).messages == 7


@pytest.mark.parametrize("config", [{"deliver_subject": "to"}, {"ack_policy": "none"}, {"ack_policy": "all"}])
def test_other_durable_consumers_count(config: dict[str, Any]) -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=7, **config)))
    assert known(measure(rule(), seen)).messages == 7


def test_somebody_who_looks_at_a_work_queue_without_consumer_changes_nothing() -> None:
    queue = stream("ORDERS", [SUBJECT], messages=12, retention="workqueue")
    looked_at = replace(queue, consumer_detail=(consumer("looker", SUBJECT, durable=False),))
    assert measure(rule(), view(looked_at)) == measure(rule(), view(queue))


# What a status says that an earlier version wrote.


@pytest.mark.parametrize(
    "before",
    [
        Match.OVERLAPPING,
        Match.EPHEMERAL_EQUAL,
        Match.EPHEMERAL_WITHIN,
        Match.EPHEMERAL_OVERLAPPING,
    ],
)
@pytest.mark.parametrize("present", [[], [consumer("workers", SUBJECT, pending=0)]], ids=["alone", "workers"])
def test_a_rule_that_counted_what_counts_no_more_is_told(before: Match, present: list[ConsumerInfo]) -> None:
    seen = view(orders(consumer("former", durable=False), *present))
    message = unknown(measure(rule(), seen, kept(before)), Reason.CONSUMER_NOT_FOUND)
    assert "ORDERS/former was counted so far" in message
    assert "spec.consumer" in message
    assert known(measure(rule(consumer="former"), seen, kept(before))).messages == 0


# Counts that cannot be.


@pytest.mark.parametrize(
    ("pending", "unacknowledged", "messages"),
    [
        pytest.param(18446744073709551615, 0, 3, id="minus-one-as-an-unsigned-number"),
        pytest.param(500, 0, 3, id="more-than-the-stream-has"),
        pytest.param(1, 0, 0, id="of-an-empty-stream"),
        pytest.param(2**63, 0, 2**63, id="beyond-int64"),
        pytest.param(-1, 0, 3, id="negative"),
        pytest.param(0, -1, 3, id="negative-unacknowledged"),
        pytest.param(0, 2**64, 3, id="unacknowledged-beyond-int64"),
        pytest.param(0, 0, -1, id="negative-messages"),
    ],
)
def test_a_count_that_cannot_be_is_unknown(pending: int, unacknowledged: int, messages: int) -> None:
    workers = consumer("workers", SUBJECT, pending=pending, unacknowledged=unacknowledged)
    message = unknown(measure(rule(), view(orders(workers, messages=messages))), Reason.IMPLAUSIBLE_COUNT)
    assert "ORDERS/workers" in message


def test_a_sum_beyond_int64_is_unknown() -> None:
    half = [consumer(name, f"orders.{name}", unacknowledged=2**62) for name in "ab"]
    unknown(measure(rule(subject="orders.*"), view(orders(*half))), Reason.IMPLAUSIBLE_COUNT)


def test_more_unacknowledged_messages_than_there_ever_were_are_unknown() -> None:
    held = stream("ORDERS", ["orders.>"], consumer("workers", SUBJECT, unacknowledged=50), messages=3)
    expired = replace(held, state=replace(held.state, last_seq=60))
    assert known(measure(rule(), view(expired))).messages == 50, (
        "those that expired are still being worked on"
    )
    false = replace(held, state=replace(held.state, last_seq=20))
    unknown(measure(rule(), view(false)), Reason.IMPLAUSIBLE_COUNT)


@pytest.mark.parametrize("messages", [2**63, -1])
def test_a_work_queue_cannot_have_such_a_number_of_messages(messages: int) -> None:
    seen = view(stream("ORDERS", [SUBJECT], messages=messages, retention="workqueue"))
    unknown(measure(rule(), seen), Reason.IMPLAUSIBLE_COUNT)


def test_messages_that_came_while_the_server_answered_make_no_doubt() -> None:
    """A stream is counted before its consumers: what came between is counted by the next read."""
    workers = consumer("workers", SUBJECT, pending=110)
    assert known(measure(rule(), view(orders(workers, messages=100)))).messages == 100


def test_a_consumer_that_is_created_after_it_was_told_of_is_unknown() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    workers = replace(consumer("workers", SUBJECT, pending=1), ts=now, created=now + timedelta(hours=1))
    unknown(measure(rule(), view(orders(workers))), Reason.IMPLAUSIBLE_COUNT)
    skewed = replace(workers, created=now + timedelta(seconds=1))
    assert known(measure(rule(), view(orders(skewed)))).messages == 1


def test_an_implausible_count_of_a_neighbour_does_not_matter() -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=1), consumer("b", "orders.b", pending=-1)))
    assert known(measure(rule(), seen)).messages == 1


# Several consumers.


def test_disjoint_consumers_of_a_class_are_summed() -> None:
    seen = view(
        stream("EU", ["orders.eu.>"], consumer("b", pending=1, unacknowledged=2)),
        stream("US", ["orders.us.>"], consumer("a", "orders.us.x", "orders.us.y", pending=10)),
    )
    found = known(measure(rule(subject="orders.>"), seen))
    assert (found.pending, found.unacknowledged) == (11, 2)
    assert found.source.consumers == ("EU/b", "US/a")
    assert found.feeds == ("orders.eu.>", "orders.us.x", "orders.us.y")


def test_consumers_with_the_same_filter_are_ambiguous_and_listed() -> None:
    seen = view(orders(consumer("b", SUBJECT, pending=1), consumer("a", SUBJECT, pending=1)))
    message = unknown(measure(rule(), seen), Reason.AMBIGUOUS_CONSUMER)
    assert "ORDERS/a, ORDERS/b" in message
    assert "spec.consumer" in message


def test_consumers_whose_filters_share_a_subject_are_ambiguous() -> None:
    seen = view(orders(consumer("a", "orders.a.*"), consumer("b", "orders.*.b")))
    unknown(measure(rule(subject="orders.>"), seen), Reason.AMBIGUOUS_CONSUMER)


def test_a_long_list_of_candidates_is_cut_short() -> None:
    many = [consumer(f"c{number:02}", SUBJECT) for number in range(LISTED_CANDIDATES + 3)]
    message = unknown(measure(rule(), view(orders(*many))), Reason.AMBIGUOUS_CONSUMER)
    assert "ORDERS/c04 and 3 more" in message
    assert "c05" not in message


def test_a_rule_counts_256_consumers_and_no_more() -> None:
    """Each is named in its status, and NATS is asked for each before a step down."""
    many = [consumer(f"c{number:03}", f"orders.{number}", pending=1) for number in range(MOST_COUNTED + 1)]
    assert known(measure(rule(subject="orders.>"), view(orders(*many[1:])))).messages == 256
    message = unknown(measure(rule(subject="orders.>"), view(orders(*many))), Reason.AMBIGUOUS_CONSUMER)
    assert "more than 256 consumers (ORDERS/c000, " in message
    assert "name one in spec.consumer" in message


def test_a_rule_counts_256_work_queues_and_no_more() -> None:
    many = [
        stream(f"Q{number:03}", [f"orders.{number}"], retention="workqueue", messages=1)
        for number in range(MOST_COUNTED + 1)
    ]
    assert known(measure(rule(subject="orders.>"), view(*many[1:]))).messages == 256
    message = unknown(measure(rule(subject="orders.>"), view(*many)), Reason.AMBIGUOUS_CONSUMER)
    assert "more than 256 work queues (Q000, " in message
    assert "name one in spec.stream" in message


def test_thousands_of_consumers_of_patterns_are_not_compared_with_each_other() -> None:
    many = [consumer(f"c{number}", f"orders.{number}.*") for number in range(40_000)]
    unknown(measure(rule(subject="orders.>"), view(orders(*many))), Reason.AMBIGUOUS_CONSUMER)


@pytest.mark.parametrize("length", [10, 60, 250])
def test_whoever_misspells_a_name_among_thousands_is_answered_soon(length: int) -> None:
    streams = [stream(f"S{number}".ljust(length, "x"), []) for number in range(30_000)]
    unknown(measure(rule(stream="S17".ljust(length, "y")), view(*streams)), Reason.STREAM_NOT_FOUND)


def test_of_what_a_consumer_takes_no_more_is_kept_than_a_rule_may_need() -> None:
    """It outlives the document; what is too long to be subscribed to stays too long."""
    filters = [*(f"orders.{number:06}" for number in range(MOST_SUBJECTS + 1)), "orders." + 2**20 * "x"]
    seen = view(orders(consumer("workers", *filters)))
    assert len(known(measure(rule(subject="orders.>"), seen)).feeds) == MOST_SUBJECTS
    assert len(known(measure(rule(consumer="workers"), seen)).wider) == MOST_SUBJECTS
    long = known(measure(rule(subject="orders.>"), view(orders(consumer("workers", filters[-1])))))
    assert [len(feed) for feed in long.feeds] == [MAX_LENGTH + 1]
    assert not subscribable(long.feeds[0])


def test_a_consumer_that_another_stream_feeds_is_not_looked_at() -> None:
    seen = view(
        orders(consumer("workers", SUBJECT, pending=1)), stream("BILLS", ["bills.>"], consumer("others"))
    )
    assert known(measure(rule(), seen)).source.consumers == ("ORDERS/workers",)


# Named by the rule.


def test_a_named_consumer_counts_whatever_it_filters() -> None:
    seen = view(orders(consumer("a", SUBJECT, pending=1), consumer("b", "orders.b", pending=2)))
    found = known(measure(rule(consumer="b"), seen))
    assert (found.messages, found.source.match) == (2, Match.NAMED)
    assert found.feeds == ("orders.b",)


def test_a_named_consumer_may_be_ephemeral() -> None:
    seen = view(orders(consumer("a", SUBJECT, pending=1), consumer("b", SUBJECT, pending=2, durable=False)))
    assert known(measure(rule(consumer="b"), seen)).messages == 2


def test_a_missing_named_consumer_is_said_with_those_that_exist() -> None:
    seen = view(orders(consumer("b"), consumer("a")))
    message = unknown(measure(rule(consumer="workers"), seen), Reason.CONSUMER_NOT_FOUND)
    assert "workers" in message
    assert "ORDERS" in message
    assert "a, b" in message


def test_a_named_consumer_on_two_streams_is_summed_if_they_are_disjoint() -> None:
    eu, us = (stream(name, [f"orders.{name}.>"], consumer("workers", pending=3)) for name in ("eu", "us"))
    measured = rule(subject="orders.>", consumer="workers")
    assert known(measure(measured, view(eu, us))).messages == 6


def test_a_named_stream_is_the_only_one_looked_at() -> None:
    seen = view(
        stream("A", ["orders.a.>"], consumer("x", pending=1)),
        stream("B", ["orders.b.>"], consumer("y", pending=2)),
    )
    assert known(measure(rule(subject="orders.>", stream="B"), seen)).messages == 2


def test_a_missing_named_stream_is_said() -> None:
    message = unknown(measure(rule(stream="OTHER"), view(orders())), Reason.STREAM_NOT_FOUND)
    assert "OTHER" in message
    assert "these exist: ORDERS" in message
    assert "spec.stream" in message


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ({"stream": "ORDER"}, "ORDERS"),
        ({"consumer": "worker"}, "workers"),
        ({"account": "G"}, None),
        ({"subject": "order.processing"}, "orders.processing"),
        ({"stream": "BILLS"}, None),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    spec: dict[str, Any], meant: str | None
) -> None:
    found = measure(rule(**spec), view(orders(consumer("workers", SUBJECT))))
    assert isinstance(found, Unknown)
    assert ("Did you mean" in found.message) == bool(meant)
    assert f"Did you mean {meant}?" in found.message or meant is None


def test_a_named_stream_with_other_subjects_gives_no_number() -> None:
    seen = view(orders(consumer("workers", pending=5)))
    unknown(measure(rule(subject="bills.x", stream="ORDERS"), seen), Reason.CONSUMER_NOT_FOUND)


def test_no_stream_for_the_subject_is_said() -> None:
    seen = view(stream("BILLS", ["bills.>"], consumer("workers")))
    message = unknown(measure(rule(), seen), Reason.STREAM_NOT_FOUND)
    assert SUBJECT in message
    assert "these streams exist: BILLS" in message
    assert "exist: none" in unknown(measure(rule(), view()), Reason.STREAM_NOT_FOUND)
    unknown(measure(rule(), view_of()), Reason.STREAM_NOT_FOUND)


TWO_ACCOUNTS = view_of(
    account("tenant-a", orders(consumer("workers", SUBJECT, pending=1)), identity="AAAA"),
    account("tenant-b", orders(consumer("workers", SUBJECT, pending=2)), identity="ABBB"),
    account("empty", identity="ACCC"),
)


@pytest.mark.parametrize(("named", "expected"), [("tenant-a", 1), ("tenant-b", 2), ("AAAA", 1), ("ABBB", 2)])
def test_an_account_is_named_by_name_or_id(named: str, expected: int) -> None:
    assert known(measure(rule(account=named), TWO_ACCOUNTS)).messages == expected


def test_two_accounts_with_such_a_stream_are_ambiguous_and_listed() -> None:
    message = unknown(measure(rule(), TWO_ACCOUNTS), Reason.AMBIGUOUS_ACCOUNT)
    assert "tenant-a" in message
    assert "tenant-b" in message
    assert "empty" not in message
    assert "spec.account" in message
    unknown(measure(rule(stream="ORDERS"), TWO_ACCOUNTS), Reason.AMBIGUOUS_ACCOUNT)


def test_two_accounts_that_share_a_name_are_still_two() -> None:
    """In operator mode the name is a tag that anybody may give; the id is the account's key."""
    eu, us = (
        account("team", stream("S", [f"orders.{place}"], consumer("w", pending=1)), identity=place)
        for place in ("eu", "us")
    )
    for measured in (rule(subject="orders.*"), rule(subject="orders.*", account="team")):
        message = unknown(measure(measured, view_of(eu, us)), Reason.AMBIGUOUS_ACCOUNT)
        assert "team (eu), team (us)" in message
    assert known(measure(rule(subject="orders.*", account="eu"), view_of(eu, us))).messages == 1


def test_a_missing_account_is_said_with_those_that_exist() -> None:
    message = unknown(measure(rule(account="tenant-c"), TWO_ACCOUNTS), Reason.ACCOUNT_NOT_FOUND)
    assert "tenant-c" in message
    assert "empty, tenant-a, tenant-b" in message


def test_an_account_without_such_a_stream_is_said() -> None:
    unknown(measure(rule(account="empty"), TWO_ACCOUNTS), Reason.STREAM_NOT_FOUND)


# No consumer.


def test_a_work_queue_without_consumer_counts_its_messages() -> None:
    seen = view(stream("ORDERS", [SUBJECT], messages=12, retention="workqueue"))
    found = known(measure(rule(), seen))
    assert (found.pending, found.unacknowledged, found.messages) == (12, 0, 12)
    assert found.source == Source(
        selector="subject orders.processing",
        account="$G",
        match=Match.STREAM,
        consumers=("ORDERS",),
        account_id="$G",
    )
    assert found.feeds == (SUBJECT,)


def test_several_work_queues_within_the_subject_are_summed() -> None:
    seen = view(
        stream("B", ["orders.b"], messages=1, retention="workqueue"),
        stream("A", ["orders.a"], messages=2, retention="workqueue"),
    )
    found = known(measure(rule(subject="orders.*"), seen))
    assert (found.messages, found.source.consumers) == (3, ("A", "B"))
    assert found.feeds == ("orders.a", "orders.b")


@pytest.mark.parametrize(
    ("subjects", "retention"),
    [
        pytest.param(["orders.>"], "workqueue", id="a-work-queue-with-other-subjects-too"),
        pytest.param([SUBJECT, "bills"], "workqueue", id="a-work-queue-with-one-other-subject"),
        pytest.param([SUBJECT], "limits", id="limits-keep-messages-that-were-read"),
        pytest.param([SUBJECT], "interest", id="interest-without-consumer-keeps-none"),
    ],
)
def test_without_consumer_other_streams_give_no_number(subjects: list[str], retention: str) -> None:
    seen = view(stream("ORDERS", subjects, messages=12, retention=retention))
    message = unknown(measure(rule(), seen), Reason.CONSUMER_NOT_FOUND)
    assert "ORDERS" in message
    assert "durable consumer" in message


def test_one_stream_that_gives_no_number_spoils_the_sum() -> None:
    seen = view(
        stream("A", ["orders.a"], messages=2, retention="workqueue"), stream("B", ["orders.b"], messages=1)
    )
    unknown(measure(rule(subject="orders.*"), seen), Reason.CONSUMER_NOT_FOUND)


# What the server says of itself.


def test_jetstream_disabled_is_said_before_anything_else() -> None:
    seen = view_of(account("$G", orders(consumer("workers", SUBJECT, pending=1))), disabled=True)
    unknown(measure(rule(), seen), Reason.JETSTREAM_DISABLED)


def test_a_consumer_without_configuration_makes_the_read_incomplete() -> None:
    bare = ConsumerInfo(name="workers", num_pending=1, num_ack_pending=0)
    complete = consumer("others", SUBJECT, pending=1)
    unknown(measure(rule(), view(orders(complete, bare))), Reason.MONITORING_INCOMPLETE)


@pytest.mark.parametrize("leader", [None, "n1"])
def test_the_consumers_leader_or_a_standalone_server_is_believed(leader: str | None) -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=4, leader=leader)), server="n1")
    assert known(measure(rule(), seen)).messages == 4


@pytest.mark.parametrize(
    ("leader", "said"), [pytest.param("n2", "n2", id="elsewhere"), pytest.param("", "no leader", id="none")]
)
def test_another_node_than_the_leader_is_not_believed(leader: str, said: str) -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=4, leader=leader)), server="n1")
    message = unknown(measure(rule(), seen), Reason.LEADER_UNCLEAR)
    assert said in message
    assert "n1" in message
    assert "ORDERS/workers" in message


def test_one_unclear_leader_makes_the_sum_unknown() -> None:
    seen = view(
        orders(consumer("a", "orders.a", leader="n1"), consumer("b", "orders.b", leader="n2")), server="n1"
    )
    unknown(measure(rule(subject="orders.*"), seen), Reason.LEADER_UNCLEAR)


def test_several_unclear_leaders_are_said_in_the_same_words_in_any_order() -> None:
    """Else a status at rest would be written again and again: a server lists these in no order."""
    found = set()
    for order in ("ab", "ba"):
        pair = []
        for name in order:
            filters = {f"{name}{one}": f"orders.{name}.{one}" for one in order}
            workers = [consumer(one, subject, leader=f"n-{one}") for one, subject in filters.items()]
            pair.append(stream(name, [f"orders.{name}.*"], *workers))
        found.add(unknown(measure(rule(subject="orders.>"), view(*pair)), Reason.LEADER_UNCLEAR))
    (said,) = found
    assert "a/aa" in said


def test_the_leader_of_a_consumer_that_is_not_chosen_does_not_matter() -> None:
    seen = view(
        orders(consumer("a", SUBJECT, pending=1, leader="n1"), consumer("b", leader="n2")), server="n1"
    )
    assert known(measure(rule(), seen)).messages == 1


def test_paused_consumers_are_left_out_of_the_sum() -> None:
    seen = view(
        orders(
            consumer("a", "orders.a", pending=1, unacknowledged=2),
            consumer("b", "orders.b", pending=10, unacknowledged=20, paused=True),
        )
    )
    found = known(measure(rule(subject="orders.*"), seen))
    assert (found.pending, found.unacknowledged, found.paused) == (1, 2, False)
    assert found.source.consumers == ("ORDERS/a", "ORDERS/b"), "the choice itself stays the same"


def test_what_waits_for_consumers_that_are_all_paused_is_counted_and_the_pause_is_said() -> None:
    found = known(measure(rule(), view(orders(consumer("a", SUBJECT, pending=10, paused=True)))))
    assert (found.messages, found.paused) == (10, True)


# Mirrors and sourced streams.


@pytest.mark.parametrize(
    "filled",
    [
        pytest.param(stream("M", [], consumer("w", SUBJECT, pending=5), mirror="ORDERS"), id="mirror"),
        pytest.param(stream("M", [], consumer("w", SUBJECT, pending=5), sources=["ORDERS"]), id="sourced"),
        pytest.param(
            stream("M", ["bills"], consumer("w", SUBJECT, pending=5), sources=["ORDERS"]),
            id="sourced-with-subjects-of-its-own",
        ),
    ],
)
def test_a_stream_filled_from_others_counts_and_is_said_to_be(filled: StreamInfo) -> None:
    found = known(measure(rule(), view(filled)))
    assert (found.messages, found.sourced) == (5, True)
    assert found.feeds == (SUBJECT,)


def test_a_stream_of_its_own_is_not_sourced() -> None:
    assert not known(measure(rule(), view(orders(consumer("w", SUBJECT))))).sourced


def test_a_stream_and_its_mirror_are_ambiguous() -> None:
    seen = view(orders(consumer("w", SUBJECT)), stream("MIRROR", [], consumer("v", SUBJECT), mirror="ORDERS"))
    assert "MIRROR/v, ORDERS/w" in unknown(measure(rule(), seen), Reason.AMBIGUOUS_CONSUMER)
    assert known(measure(rule(stream="ORDERS"), seen)).source.consumers == ("ORDERS/w",)


def test_a_mirror_without_consumers_gives_no_number() -> None:
    seen = view(stream("M", [], messages=9, mirror="ORDERS"))
    unknown(measure(rule(), seen), Reason.STREAM_NOT_FOUND)
    unknown(measure(rule(stream="M"), seen), Reason.CONSUMER_NOT_FOUND)


def test_a_person_looking_at_a_mirror_changes_nothing() -> None:
    """Who takes everything from a mirror takes subjects that nobody knows, not those of a neighbour."""
    archive = consumer("archive", pending=1_000_000)
    person = consumer("nats-cli", SUBJECT, pending=1, durable=False)
    alone = measure(rule(stream="M"), view(stream("M", [], archive, mirror="ORDERS")))
    watched = measure(rule(stream="M"), view(stream("M", [], archive, person, mirror="ORDERS")))
    assert isinstance(alone, Unknown)
    assert not (isinstance(watched, Backlog) and watched.source.match is Match.EQUAL)


def test_a_sourced_work_queue_without_consumer_gives_no_number() -> None:
    """Its messages come from other streams too, and may have any subject."""
    seen = view(stream("Q", [SUBJECT], messages=9, retention="workqueue", sources=["BILLS"]))
    unknown(measure(rule(), seen), Reason.CONSUMER_NOT_FOUND)


# Streams that store messages under other subjects than they come on.


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param(consumer("w", f"stored.{SUBJECT}", pending=5), id="filter-on-what-is-stored"),
        pytest.param(consumer("w", pending=5), id="no-filter"),
    ],
)
def test_a_transformed_stream_is_fed_by_its_own_subjects(workers: ConsumerInfo) -> None:
    seen = view(stream("ORDERS", ["orders.>"], workers, transform=True))
    subject = f"stored.{SUBJECT}" if workers.config and workers.config.filter_subject else "orders.>"
    found = known(measure(rule(subject=subject), seen))
    assert (found.messages, found.feeds, found.source.match) == (5, ("orders.>",), Match.EQUAL)


def test_a_transformed_work_queue_without_consumer_counts_by_its_own_subjects() -> None:
    seen = view(stream("Q", [SUBJECT], messages=9, retention="workqueue", transform=True))
    assert known(measure(rule(), seen)).feeds == (SUBJECT,)


# The kept choice.


def kept(match: Match, **changed: Any) -> Source:
    source = Source(
        selector=str(rule().selectors[0]), account="$G", match=match, consumers=("ORDERS/former",)
    )
    return replace(source, **changed)


GONE = {"ORDERS/former": NotTold.NO_CONSUMER}
"""NATS says that it does not have what was counted."""


@pytest.mark.parametrize("before", BEST_FIRST)
def test_only_the_same_or_a_better_class_takes_over_and_only_from_what_is_deleted(before: Match) -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=6)))
    measured = rule(subject="orders.*")
    last = kept(before, selector=str(measured.selectors[0]))
    if before.former:
        unknown(measure(measured, seen, last, GONE), Reason.CONSUMER_NOT_FOUND)
        return
    message = unknown(measure(measured, seen, last), Reason.CONSUMER_GONE)
    assert "ORDERS/former, which was counted so far, is missing" in message
    assert "spec.consumer" in message
    found = measure(measured, seen, last, GONE)
    if BEST_FIRST.index(Match.WITHIN) <= BEST_FIRST.index(before):
        assert known(found).source.consumers == ("ORDERS/workers",)
    else:
        assert "less well" in unknown(found, Reason.CONSUMER_GONE)


def test_a_vanished_durable_consumer_is_not_replaced_by_the_streams_messages() -> None:
    seen = view(stream("ORDERS", [SUBJECT], messages=0, retention="workqueue"))
    unknown(measure(rule(), seen, kept(Match.EQUAL)), Reason.CONSUMER_GONE)
    unknown(measure(rule(), seen, kept(Match.EQUAL), GONE), Reason.CONSUMER_GONE)
    known(measure(rule(), seen, kept(Match.STREAM, consumers=("ORDERS",))))


def test_a_better_class_does_not_replace_what_still_exists() -> None:
    """As an audit that somebody adds, with the very subject as its filter, and only new messages."""
    measured = rule(subject="orders.*")
    workers = consumer("workers", SUBJECT, pending=400)
    before = known(measure(measured, view(orders(workers)))).source
    seen = view(orders(workers, consumer("audit", "orders.*", pending=0)))
    message = unknown(measure(measured, seen, before), Reason.AMBIGUOUS_CONSUMER)
    assert "ORDERS/audit matches as well or better, but ORDERS/workers" in message
    named = rule(subject="orders.*", consumer="workers")
    assert known(measure(named, seen, before)).messages == 400


def test_what_comes_beside_all_that_was_counted_counts_too() -> None:
    """The sum is then no lower than before."""
    measured = rule(subject="orders.*")
    a, b = (consumer(name, f"orders.{name}", pending=5) for name in "ab")
    before = known(measure(measured, view(orders(a)))).source
    assert known(measure(measured, view(orders(a, b)), before)).messages == 10


def test_one_of_a_sum_that_is_deleted_no_longer_counts() -> None:
    measured = rule(subject="orders.*")
    a, b = (consumer(name, f"orders.{name}", pending=5) for name in "ab")
    before, seen = known(measure(measured, view(orders(a, b)))).source, view(orders(a))
    unknown(measure(measured, seen, before), Reason.CONSUMER_GONE)
    unknown(measure(measured, seen, before, {"ORDERS/b": NotTold.NO_ANSWER}), Reason.CONSUMER_GONE)
    unknown(measure(measured, seen, before, {"ORDERS/b": b}), Reason.CONSUMER_GONE)
    for answer in (NotTold.NO_CONSUMER, NotTold.NO_STREAM):
        assert known(measure(measured, seen, before, {"ORDERS/b": answer})).messages == 5


def test_a_work_queue_whose_first_consumers_take_all_of_it_is_counted_on_them() -> None:
    queue = stream("ORDERS", ["orders.a", "orders.b"], messages=9, retention="workqueue")
    measured = rule(subject="orders.*")
    before = known(measure(measured, view(queue))).source
    a, b = (consumer(name, f"orders.{name}", pending=4) for name in "ab")
    half, whole = (replace(queue, consumer_detail=workers) for workers in ((a,), (a, b)))
    unknown(measure(measured, view(half), before), Reason.AMBIGUOUS_CONSUMER)
    assert known(measure(measured, view(whole), before)).messages == 8


BORN = datetime(2026, 1, 1, tzinfo=UTC)


def born(stream_days: int, consumer_days: int, pending: int = 0) -> StreamInfo:
    """Make a stream and its consumer that were created so many days after the first of January."""
    workers = consumer("workers", SUBJECT, pending=pending)
    workers = replace(workers, created=BORN + timedelta(days=consumer_days))
    return replace(orders(workers), created=BORN + timedelta(days=stream_days))


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param((10, 11), True, id="the-same"),
        pytest.param((10, 21), True, id="a-consumer-that-was-created-again"),
        pytest.param((21, 22), True, id="a-stream-that-was-created-again"),
        pytest.param((10, 5), False, id="another-consumer-that-is-older"),
        pytest.param((5, 6), False, id="another-server-that-was-there-before"),
        pytest.param((12, 13), False, id="another-server-that-was-there-when-this-was-last-seen"),
        pytest.param((5, 21), False, id="a-consumer-that-is-new-on-another-server"),
    ],
)
def test_another_one_of_the_same_name_is_counted_only_if_it_came_in_its_place(
    later: tuple[int, int], *, expected: bool
) -> None:
    before = known(measure(rule(), view(born(10, 11, pending=400)))).source
    last_seen = BORN + timedelta(days=20)
    found = measure(rule(), view(born(*later)), before, seen=last_seen)
    if expected:
        assert known(found).messages == 0
    else:
        assert "is another one of that name" in unknown(found, Reason.CONSUMER_GONE)
    if later != (10, 11):
        unknown(measure(rule(), view(born(*later)), before), Reason.CONSUMER_GONE)
    assert known(measure(rule(stream="ORDERS"), view(born(*later)), before)).messages == 0, "a person says so"


def test_a_status_that_does_not_say_when_they_were_created_is_taken_by_name() -> None:
    before = known(measure(rule(), view(born(10, 11)))).source
    old = replace(before, created=(), account_id="")
    assert (
        known(measure(rule(), view(born(5, 6)), old)).source.births["ORDERS"] == "2026-01-06T00:00:00.000000Z"
    )


def test_such_a_stream_of_another_account_is_another_one() -> None:
    one, other = (account(name, orders(consumer("workers", SUBJECT))) for name in ("A", "B"))
    before = known(measure(rule(), view_of(one))).source
    message = unknown(measure(rule(), view_of(other), before), Reason.AMBIGUOUS_ACCOUNT)
    assert "spec.account" in message


@pytest.mark.parametrize("others", [0, 5])
def test_a_consumer_of_another_server_of_that_name_confirms_nothing(others: int) -> None:
    workers = born(10, 11, pending=0).consumer_detail[0]
    another = born(10, 12, pending=others).consumer_detail[0]
    told = {"ORDERS/workers": another}
    message = unknown(measure(rule(), view(born(10, 11)), told=told), Reason.LEADER_UNCLEAR)
    assert "another one of that name" in message
    assert known(measure(rule(), view(born(10, 11)), told={"ORDERS/workers": workers})).messages == 0


@pytest.mark.parametrize("answer", [NotTold.NO_ANSWER, NotTold.NO_CONSUMER, NotTold.NO_STREAM])
def test_a_count_that_nats_does_not_confirm_when_it_is_asked_is_unknown(answer: NotTold) -> None:
    seen = view(orders(consumer("workers", SUBJECT)))
    unknown(measure(rule(), seen, told={"ORDERS/workers": answer}), Reason.LEADER_UNCLEAR)
    for unasked in UNASKED:
        known(measure(rule(), seen, told={"ORDERS/workers": unasked}))


def test_what_nats_confirms_is_what_counts() -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=0)))
    told = {"ORDERS/workers": consumer("workers", SUBJECT, pending=400)}
    found = known(measure(rule(), seen, told=told))
    assert (found.messages, found.via) == (400, "Monitoring")


def test_a_rule_that_selects_by_other_words_forgets_the_choice() -> None:
    seen = view(orders(consumer("workers", "orders.a")))
    measured = rule(subject="orders.*")
    unknown(
        measure(measured, seen, kept(Match.EQUAL, selector=str(measured.selectors[0]))), Reason.CONSUMER_GONE
    )
    known(measure(measured, seen, kept(Match.EQUAL, selector="subject other")))
    known(measure(rule(subject="orders.*", stream="ORDERS"), seen, kept(Match.EQUAL)))


def test_the_own_choice_of_the_last_read_never_stands_in_the_way() -> None:
    for present in ONE_OF_EACH.values():
        seen = view(orders(present))
        first = known(measure(rule(subject="orders.*"), seen))
        assert measure(rule(subject="orders.*"), seen, first.source) == first


def test_another_reason_is_not_hidden_by_the_kept_choice() -> None:
    unknown(measure(rule(), view(), kept(Match.EQUAL)), Reason.STREAM_NOT_FOUND)
    unknown(measure(rule(), view(orders()), kept(Match.EQUAL)), Reason.CONSUMER_NOT_FOUND)


# Which messages.


@pytest.mark.parametrize(("mode", "expected"), [("PendingAndUnacknowledged", 12), ("Pending", 5)])
def test_the_rule_says_which_messages_count(mode: str, expected: int) -> None:
    seen = view(orders(consumer("workers", SUBJECT, pending=5, unacknowledged=7)))
    found = known(measure(rule(backlog=mode), seen))
    assert (found.pending, found.unacknowledged) == (5, 7)
    assert found.messages == expected


@pytest.mark.parametrize(
    ("filters", "expected", "whole"),
    [
        pytest.param([SUBJECT], (SUBJECT,), (), id="its-filter"),
        pytest.param(["orders.*"], ("orders.*",), (), id="its-filter-even-if-wider-than-the-rule"),
        pytest.param(["orders.b", SUBJECT], ("orders.b", SUBJECT), (), id="all-its-filters"),
        pytest.param([], ("orders.>",), ("ORDERS",), id="without-filter-the-streams-subjects"),
    ],
)
def test_a_backlog_is_fed_by_what_its_consumers_take(
    filters: list[str], expected: tuple[str, ...], whole: tuple[str, ...]
) -> None:
    found = known(measure(rule(consumer="w"), view(orders(consumer("w", *filters)))))
    assert (found.feeds, found.whole) == (expected, whole)


# For every read that a server could give.

wide = st.sampled_from([">", "*", "a.>", "b.>", "*.>"])
narrow = st.sampled_from(["a", "b", "a.a", "a.b", "b.a", "a.*", "*.b", "a.b.>", "*.*"])
patterns = narrow | wide
rarely = st.integers(0, 19).map(lambda drawn: drawn == 19)
counts = st.integers(0, 5)


@st.composite
def consumers(draw: st.DrawFn, name: str, subjects: list[str]) -> ConsumerInfo:
    filters = draw(st.lists(st.sampled_from(subjects) | narrow, max_size=2, unique=True))
    made = consumer(
        name,
        *filters,
        pending=draw(counts),
        unacknowledged=draw(counts),
        durable=draw(st.booleans()),
        direct=draw(rarely),
        paused=draw(rarely),
        leader=draw(st.sampled_from(["n2", ""])) if draw(rarely) else draw(st.sampled_from([None, "n1"])),
    )
    return replace(made, config=None) if draw(rarely) else made


@st.composite
def streams(draw: st.DrawFn, name: str) -> StreamInfo:
    subjects = draw(st.lists(patterns, min_size=1, max_size=2, unique=True))
    names = draw(st.lists(st.sampled_from(["c", "d", "e"]), max_size=3, unique=True))
    made = stream(
        name,
        subjects,
        *(draw(consumers(name, subjects)) for name in names),
        messages=draw(counts),
        retention=draw(st.sampled_from(["limits", "interest", "workqueue"])),
        mirror="X" if draw(rarely) else None,
        sources=["X"] if draw(rarely) else [],
        transform=draw(rarely),
    )
    return replace(made, config=None) if draw(rarely) else made


@st.composite
def accounts(draw: st.DrawFn) -> tuple[AccountInfo, ...]:
    ids = ["A1", "A2"] if draw(rarely) else ["A1"]
    return tuple(
        account(
            draw(st.sampled_from(["one", identity])),
            *(draw(streams(name)) for name in "STU"[: draw(st.integers(1, 3))]),
            identity=identity,
        )
        for identity in ids
    )


rules = st.builds(
    rule,
    subject=wide | patterns,
    stream=st.sampled_from([None] * 9 + ["S", "X"]),
    consumer=st.sampled_from([None] * 9 + ["c", "x"]),
    account=st.sampled_from([None] * 9 + ["one", "A1", "x"]),
)
choices = st.none() | st.none() | st.sampled_from(BEST_FIRST)


def choice(measured: Rule, match: Match | None) -> Source | None:
    return kept(match, selector=str(measured.selectors[0])) if match else None


def shuffled(items: Sequence[Any], chance: random.Random) -> tuple[Any, ...]:
    return tuple(chance.sample(items, len(items)))


@given(accounts(), rules, choices)
def test_whatever_is_read_there_is_a_number_or_a_reason(
    read: tuple[AccountInfo, ...], measured: Rule, before: Match | None
) -> None:
    found = measure(measured, view_of(*read), choice(measured, before))
    if isinstance(found, Unknown):
        assert found.message
        assert not isinstance(found, Backlog)
    else:
        present = {
            name
            for owner in read
            for holder in owner.stream_detail
            for name in (holder.name, *(f"{holder.name}/{one.name}" for one in holder.consumer_detail))
        }
        assert set(found.source.consumers) <= present
        assert found.source.consumers == tuple(sorted(set(found.source.consumers)))
        assert found.pending >= 0
        assert found.unacknowledged >= 0


@given(accounts(), rules, choices, st.randoms(use_true_random=False))
def test_the_order_of_what_is_read_does_not_matter(
    read: tuple[AccountInfo, ...],
    measured: Rule,
    before: Match | None,
    chance: random.Random,
) -> None:
    other = shuffled(
        [
            replace(
                owner,
                stream_detail=shuffled(
                    [
                        replace(holder, consumer_detail=shuffled(holder.consumer_detail, chance))
                        for holder in owner.stream_detail
                    ],
                    chance,
                ),
            )
            for owner in read
        ],
        chance,
    )
    last = choice(measured, before)
    assert measure(measured, view_of(*read), last) == measure(measured, view_of(*other), last)


@given(accounts(), patterns)
def test_the_index_finds_the_streams_that_a_search_of_all_would_find(
    read: tuple[AccountInfo, ...], subject: str
) -> None:
    found = sorted((owner.id, holder.name) for owner, holder in view_of(*read).streams_for(subject))
    assert found == sorted(
        (owner.id, holder.name)
        for owner in read
        for holder in owner.stream_detail
        if any(overlaps(feed, subject) for feed in known_subjects(holder))
    )


def test_the_pages_of_a_read_are_one_view() -> None:
    with_workers = account("B", orders(consumer("w", SUBJECT, pending=2)))
    pages = [
        Jsz(server_id="N", now=MOMENT, account_details=(account("A"),)),
        Jsz(server_id="N", now=MOMENT, account_details=(with_workers,)),
    ]
    assert known(measure(rule(), View([node("n1", *pages)]))).source.account == "B"
    disabled = [*pages, Jsz(server_id="N", now=MOMENT, disabled=True)]
    unknown(measure(rule(), View([node("n1", *disabled)])), Reason.JETSTREAM_DISABLED)
