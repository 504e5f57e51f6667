"""What the nodes of a cluster said, merged: only a leader's word counts."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog, in_doubt, measure
from natsscaler.core.jetstream.documents import (
    ConsumerConfig,
    ConsumerInfo,
    Jsz,
    MetaCluster,
    Peer,
    Raft,
    StreamConfig,
)
from natsscaler.core.jetstream.selection import Candidate, Match, Selection, select
from natsscaler.core.jetstream.snapshot import LAG, Node, View
from natsscaler.core.jetstream.sources import NotTold, Source
from natsscaler.core.reasons import Reason
from tests.support.factories import MOMENT, account, consumer, known, node, peer, rule, stream, unknown

SUBJECT = "orders.processing"
NAMES = ("n1", "n2", "n3")


def said(
    by: str,
    *consumers: ConsumerInfo,
    stream_leader: str = "n1",
    messages: int | None = None,
    retention: str = "limits",
    peers: tuple[str, ...] = NAMES,
) -> Node:
    """Make what a node of a cluster says of the stream ORDERS."""
    made = stream("ORDERS", ["orders.>"], *consumers, messages=messages, retention=retention)
    meta = MetaCluster(leader=peers[0], replicas=tuple(Peer(name) for name in peers if name != by))
    document = Jsz(
        server_id=f"ID-{by}",
        now=MOMENT,
        account_details=(account("$G", replace(made, cluster=Raft(leader=stream_leader))),),
        meta_cluster=meta,
    )
    return node(by, document, cluster="east")


def workers(pending: int, leader: str, **config: Any) -> ConsumerInfo:
    return consumer("workers", SUBJECT, pending=pending, leader=leader, **config)


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1], ("n2", "n1", "n3")])
def test_the_leaders_count_is_taken_whatever_followers_say(order: tuple[str, ...]) -> None:
    counts = {"n1": 0, "n2": 7, "n3": 67_000}
    found = known(measure(rule(), View([said(name, workers(counts[name], "n2")) for name in order])))
    assert (found.messages, found.leaders) == (7, ("n2",))


def test_a_consumer_with_one_replica_is_known_from_the_only_node_that_has_it() -> None:
    view = View([said("n1", messages=5), said("n2", workers(5, "n2")), said("n3")])
    assert known(measure(rule(), view)).messages == 5


def test_two_nodes_that_both_lead_leave_it_unknown() -> None:
    view = View([said("n1", workers(1, "n1")), said("n2", workers(2, "n2")), said("n3", workers(0, "n2"))])
    assert "n1 and n2" in unknown(measure(rule(), view), Reason.LEADER_UNCLEAR)


@pytest.mark.parametrize("leader", ["", "n3"])
def test_nobody_who_leads_leaves_it_unknown(leader: str) -> None:
    view = View([said(name, workers(1, leader)) for name in ("n1", "n2")] + [said("n3", workers(1, ""))])
    unknown(measure(rule(), view), Reason.LEADER_UNCLEAR)


@pytest.mark.parametrize(
    ("others", "believed"),
    [
        pytest.param([peer("n2"), peer("n3")], True, id="all"),
        pytest.param([peer("n2"), peer("n3", 60)], True, id="two-of-three"),
        pytest.param([peer("n2", 5.3), peer("n3", 5.3)], False, id="alone"),
        pytest.param([peer("n2", 0), peer("n3", 0)], False, id="never-heard"),
        pytest.param([peer("n2", 5.3)], False, id="one-of-two"),
        pytest.param([peer("n2"), *(peer(f"n{n}", 5.3) for n in (3, 4, 5))], False, id="two-of-five"),
        pytest.param([peer("n2"), peer("n3"), peer("n4", 9), peer("n5", 9)], True, id="three-of-five"),
        pytest.param([peer("n2"), peer("n3", 9), replace(peer("n4", 9), pending=True)], True, id="joining"),
    ],
)
@pytest.mark.parametrize("by", ["monitoring", "nats"])
def test_a_leader_is_believed_while_a_majority_follows_it(
    others: list[Peer], by: str, *, believed: bool
) -> None:
    """One that is cut off says for up to 20 s that it leads, while the others may have another leader."""
    word = replicated(5, "n1", *others)
    if by == "nats":
        found = measure(rule(), View([said("n2", workers(0, "n1"))]), told={"ORDERS/workers": word})
    else:
        found = measure(rule(), View([said("n1", word)]))
    if believed:
        assert known(found).messages == 5
    else:
        assert "hears no majority" in unknown(found, Reason.LEADER_UNCLEAR)


def stream_led(by: str, *others: Peer) -> list[Node]:
    """Make what n1 says, which leads the stream ORDERS of these others, and n2, which leads the consumer."""
    made = [said(by, workers(0, "n2"), stream_leader=by), said("n2", workers(5, "n2"), stream_leader=by)]
    document = made[0].documents[0]
    (owner,) = document.account_details
    (orders,) = owner.stream_detail
    orders = replace(orders, cluster=Raft(leader=by, replicas=others))
    told = replace(document, account_details=(replace(owner, stream_detail=(orders,)),))
    return [made[0]._replace(documents=[told]), made[1]]


@pytest.mark.parametrize(
    ("own", "doubt"),
    [
        pytest.param(peer("n2"), "", id="follows"),
        pytest.param(replace(peer("n2"), lag=LAG), "", id="under-load"),
        pytest.param(replace(peer("n2"), lag=LAG + 1), "lacks 1001 messages", id="catches-up"),
        pytest.param(peer("n2", 5), "does not follow", id="cut-off"),
    ],
)
def test_the_consumers_leader_must_have_the_stream_that_it_counts_in(own: Peer, doubt: str) -> None:
    """It counts in its own copy."""
    found = measure(rule(), View(stream_led("n1", own, peer("n3"))))
    if doubt:
        assert doubt in unknown(found, Reason.LEADER_UNCLEAR)
    else:
        assert known(found).messages == 5


def test_a_single_replica_of_a_consumer_is_not_believed_without_the_leader_of_its_stream() -> None:
    """Its node may be cut off from where the messages come."""
    node_of_it = said("n2", workers(0, "n2"), stream_leader="")
    document = node_of_it.documents[0]
    (owner,) = document.account_details
    (orders,) = owner.stream_detail
    config = replace(orders.config or StreamConfig(), num_replicas=3)
    told = replace(
        document, account_details=(replace(owner, stream_detail=(replace(orders, config=config),)),)
    )
    unknown(measure(rule(), View([node_of_it._replace(documents=[told])])), Reason.LEADER_UNCLEAR)


def test_the_messages_of_a_work_queue_are_its_leaders() -> None:
    whole = rule(subject="orders.>")
    nodes = [
        said(name, messages=count, retention="workqueue", stream_leader="n2")
        for name, count in zip(NAMES, (3, 4, 5), strict=True)
    ]
    assert known(measure(whole, View(nodes))).messages == 4
    leaderless = [said(name, messages=4, retention="workqueue", stream_leader="") for name in NAMES]
    unknown(measure(whole, View(leaderless)), Reason.LEADER_UNCLEAR)


# Nodes that start and stop: nats-server then names the node itself as the leader, with counts of 0.

THREE = tuple(map(peer, NAMES[1:]))


def replicated(pending: int, leader: str, *others: Peer) -> ConsumerInfo:
    """Make a consumer of three replicas as a node tells of it that knows these others."""
    made = workers(pending, leader)
    config = replace(made.config or ConsumerConfig(), num_replicas=3)
    return replace(made, config=config, cluster=Raft(leader=leader, replicas=others))


def test_a_node_that_knows_of_no_other_replica_is_not_believed() -> None:
    starting = said("n3", replicated(0, "n3"))
    message = unknown(measure(rule(), View([starting, said("n2", replicated(1, ""))])), Reason.LEADER_UNCLEAR)
    assert "n3, which says that it leads it, is starting or stopping" in message
    leader = said("n1", replicated(5, "n1", *THREE))
    found = known(measure(rule(), View([leader, starting])))
    assert (found.messages, found.leaders) == (5, ("n1",))


@pytest.mark.parametrize("others", [[], [said("n2", workers(0, ""))]], ids=["alone", "beside-another"])
def test_a_node_of_a_cluster_that_names_no_leader_is_not_a_standalone_server(others: list[Node]) -> None:
    starting = said("n3", replace(workers(0, ""), cluster=None))
    unknown(measure(rule(), View([starting, *others])), Reason.LEADER_UNCLEAR)


def test_a_single_replica_counts_once_its_node_has_found_the_cluster_again() -> None:
    alone = said("n3", workers(0, "n3"), peers=("",))
    started = alone._replace(young=True)
    unknown(measure(rule(), View([started])), Reason.LEADER_UNCLEAR)
    assert known(measure(rule(), View([said("n3", workers(7, "n3"))._replace(young=True)]))).messages == 7
    assert known(measure(rule(), View([alone._replace(young=False)]))).messages == 0, "no meta leader since"


def test_consumers_that_a_node_has_not_found_again_are_not_gone() -> None:
    wide = rule(subject="orders.*")
    kept = Source(
        selector=str(wide.selectors[0]), account="$G", match=Match.WITHIN, consumers=("ORDERS/a", "ORDERS/b")
    )
    a, b = (consumer(name, f"orders.{name}", pending=5, leader="n1") for name in "ab")
    lacking = [said("n1", a), said("n2"), said("n3")]
    young = View([*lacking[:2], lacking[2]._replace(young=True)])
    message = unknown(measure(wide, young, kept), Reason.MONITORING_INCOMPLETE)
    assert "n3 may not have found all of its streams" in message
    unknown(measure(wide, View(lacking), kept), Reason.CONSUMER_GONE)
    told = {"ORDERS/b": NotTold.NO_CONSUMER}
    assert known(measure(wide, View(lacking), kept, told)).messages == 5
    whole = View([said("n1", a, b), *young_ones()])
    assert known(measure(wide, whole, kept)).messages == 10


def young_ones() -> list[Node]:
    return [said(name)._replace(young=True) for name in NAMES[1:]]


def test_while_nobody_knows_the_meta_leader_there_may_be_nodes_that_nobody_names() -> None:
    wide = rule(subject="orders.*")
    node_of_two = said("n1", consumer("a", "orders.a", pending=5, leader="n1"), peers=("",))
    message = unknown(measure(wide, View([node_of_two])), Reason.MONITORING_INCOMPLETE)
    assert "the meta leader did not answer" in message


# For how long a leader has led.


def since(pending: int, seconds: float | None) -> ConsumerInfo:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = replicated(pending, "n1", *THREE)
    raft = made.cluster or Raft()
    begun = None if seconds is None else now - timedelta(seconds=seconds)
    return replace(made, ts=now, cluster=replace(raft, leader_since=begun))


@pytest.mark.parametrize(("seconds", "expected"), [(0.25, 0.25), (3600, 3600), (None, 0)])
def test_a_leader_says_for_how_long_it_has_led(seconds: float | None, expected: float) -> None:
    assert known(measure(rule(), View([said("n1", since(5, seconds))]))).led_seconds == expected


def test_the_youngest_leader_counts() -> None:
    a, b = since(1, 60), replace(since(2, 2), name="b")
    a, b = (
        replace(one, config=replace(one.config or ConsumerConfig(), filter_subject=f"orders.{name}"))
        for one, name in ((a, "a"), (b, "b"))
    )
    view = View([said("n1", a, b, peers=("n1",))])
    assert known(measure(rule(subject="orders.*"), view)).led_seconds == 2


def test_what_has_no_other_replica_has_no_new_leader() -> None:
    assert known(measure(rule(), View([said("n1", workers(5, "n1"), peers=("n1",))]))).led_seconds == math.inf


# A node is missing.

TWO_OF_THREE = [said("n1", workers(5, "n1")), said("n2", workers(0, "n1"))]
PARTS = [
    said("n1", consumer("a", "orders.a", pending=5, leader="n1")),
    said("n2", consumer("b", "orders.b", pending=2, leader="n2")),
]


def test_the_one_consumer_of_the_very_subject_is_believed_without_a_third_node() -> None:
    assert known(measure(rule(), View(TWO_OF_THREE))).messages == 5


def test_a_sum_is_not_believed_while_a_node_that_may_have_more_is_missing() -> None:
    wide = rule(subject="orders.*")
    message = unknown(measure(wide, View(PARTS)), Reason.MONITORING_INCOMPLETE)
    assert "n3" in message
    assert "spec.consumer" in message
    assert known(measure(wide, View([*PARTS, said("n3")]))).messages == 7


def test_the_same_sum_as_before_is_believed() -> None:
    wide = rule(subject="orders.*")
    kept = Source(
        selector=str(wide.selectors[0]), account="$G", match=Match.WITHIN, consumers=("ORDERS/a", "ORDERS/b")
    )
    assert known(measure(wide, View(PARTS), kept)).messages == 7
    more = replace(kept, consumers=(*kept.consumers, "ORDERS/c"))
    unknown(measure(wide, View(PARTS), more), Reason.MONITORING_INCOMPLETE)


def test_what_is_not_found_may_be_on_the_missing_node() -> None:
    message = unknown(measure(rule(stream="BILLS"), View(TWO_OF_THREE)), Reason.STREAM_NOT_FOUND)
    assert "n3 did not answer" in message


# Asked over NATS.


def doubted(view: View) -> list[Candidate]:
    selection = select(rule().selectors[0], view)
    assert isinstance(selection, Selection)
    return in_doubt(view, selection.candidates)


def test_a_leader_that_monitoring_did_not_reach_is_asked_and_believed() -> None:
    view = View([said("n2", workers(0, "n1"))])
    [candidate] = doubted(view)
    assert str(candidate) == "ORDERS/workers"
    unknown(measure(rule(), view), Reason.LEADER_UNCLEAR)
    found = known(measure(rule(), view, told={"ORDERS/workers": workers(9, "n1")}))
    assert (found.messages, found.leaders, found.via) == (9, ("n1",), "ConsumerInfo")


@pytest.mark.parametrize(
    "spoke",
    [
        [workers(5, "n1"), workers(3, "n2")],
        [replicated(5, "n1", peer("n2", 9), peer("n3", 9))],
    ],
    ids=["two-leaders", "cut-off"],
)
def test_a_contradiction_is_not_settled_by_asking_whoever_answers_first(spoke: list[ConsumerInfo]) -> None:
    view = View([said(name, one) for name, one in zip(NAMES, spoke, strict=False)])
    assert doubted(view) == []
    unknown(measure(rule(), view), Reason.LEADER_UNCLEAR)


def test_a_leader_that_spoke_is_not_asked() -> None:
    assert doubted(View(TWO_OF_THREE)) == []


# Counts beside those of the stream, which may be from another node.


def test_more_than_the_streams_leader_holds_is_not_believed_of_the_consumers_leader() -> None:
    nodes = [said("n1", workers(0, "n2"), messages=3), said("n2", workers(70, "n2"), messages=100)]
    unknown(measure(rule(), View([*nodes, said("n3")])), Reason.IMPLAUSIBLE_COUNT)


def test_what_another_node_than_the_streams_leader_holds_says_nothing() -> None:
    nodes = [said("n2", workers(70, "n2"), messages=3), said("n3", workers(0, "n2"), messages=3)]
    assert known(measure(rule(), View(nodes))).messages == 70


# For every state of a cluster.

names = st.sampled_from([*NAMES, "n4", ""])


@given(
    st.dictionaries(st.sampled_from(NAMES), st.tuples(names, st.integers(0, 5)), min_size=1),
    st.sampled_from(["orders.processing", "orders.*", "orders.>"]),
)
def test_only_a_node_that_leads_by_its_own_word_is_ever_believed(
    words: dict[str, tuple[str, int]], subject: str
) -> None:
    view = View([said(name, workers(count, leader)) for name, (leader, count) in words.items()])
    found = measure(rule(subject=subject), view)
    claims = [count for name, (leader, count) in words.items() if leader == name]
    if isinstance(found, Backlog):
        assert [found.messages] == claims
    else:
        assert found.message
