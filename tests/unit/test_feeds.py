"""What NATS itself says that feeds a backlog, and what follows where it does not."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.core.jetstream.documents import ConsumerInfo, StreamConfig, StreamInfo, StreamTold
from natsscaler.core.jetstream.feeds import Answer, questions, told
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.reasons import Reason
from natsscaler.nats import denials
from natsscaler.nats.denials import Denials
from tests.support.factories import MOMENT, consumer, known, rule, stream, view

LATER = MOMENT + timedelta(seconds=1)


def worker(*filters: str, name: str = "w") -> ConsumerInfo:
    return replace(consumer(name, *filters), created=MOMENT)


def orders(*consumers: ConsumerInfo, transform: bool = False, retention: str = "limits") -> StreamInfo:
    made = stream("ORDERS", ["orders.>"], *consumers, transform=transform, retention=retention)
    return replace(made, created=MOMENT)


def backlog(seen: StreamInfo, **spec: Any) -> Backlog:
    return known(measure(rule(**spec), view(seen)))


def filtered(*filters: str) -> Backlog:
    return backlog(orders(worker(*filters)), consumer="w")


ONE = filtered("a")
WHOLE = backlog(orders(worker()), consumer="w")
ORDERS = StreamTold(StreamConfig(subjects=("orders.>",)), MOMENT)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param(filtered("orders.a"), ("ORDERS/w",), id="its-filter"),
        pytest.param(WHOLE, ("ORDERS",), id="no-filter"),
        pytest.param(
            backlog(orders(worker("done.a"), transform=True), consumer="w"), ("ORDERS",), id="transformed"
        ),
        pytest.param(
            backlog(orders(retention="workqueue"), subject="orders.>"), ("ORDERS",), id="work-queue"
        ),
        pytest.param(
            backlog(orders(worker("orders.a", name="a"), worker("orders.b", name="b")), subject="orders.*"),
            ("ORDERS/a", "ORDERS/b"),
            id="several",
        ),
    ],
)
def test_what_is_counted_is_asked_for(counted: Backlog, expected: tuple[str, ...]) -> None:
    assert questions(counted) == expected


def test_the_filters_that_nats_tells_of_are_taken_not_those_that_were_read() -> None:
    assert told(filtered("orders.a"), {"ORDERS/w": worker("orders.b", "orders.c")}).subjects == (
        "orders.b",
        "orders.c",
    )
    assert told(WHOLE, {"ORDERS": ORDERS}) == (("orders.>",), None, False)


@pytest.mark.parametrize(
    ("counted", "answers", "reason", "said"),
    [
        (ONE, {"ORDERS/w": NotTold.NO_CONSUMER}, Reason.OTHER_SERVER, "there is no such consumer"),
        (WHOLE, {"ORDERS": NotTold.NO_STREAM}, Reason.OTHER_SERVER, "there is no such stream"),
        (ONE, {"ORDERS/w": replace(worker("a"), created=LATER)}, Reason.OTHER_SERVER, "another one"),
        (ONE, {"ORDERS/w": replace(worker("a"), created=None)}, Reason.OTHER_SERVER, "another one"),
        (ONE, {"ORDERS/w": worker()}, Reason.OTHER_SERVER, "another one"),
        (WHOLE, {"ORDERS": replace(ORDERS, created=LATER)}, Reason.OTHER_SERVER, "another one"),
        (ONE, {"ORDERS/w": NotTold.DENIED}, Reason.PERMISSION_DENIED, "Permit $JS.API.CONSUMER.INFO.>"),
        (WHOLE, {"ORDERS": NotTold.DENIED}, Reason.PERMISSION_DENIED, "Permit $JS.API.STREAM.INFO.>"),
        (ONE, {}, Reason.NOT_CONNECTED, "it is asked again"),
    ],
)
def test_what_nats_does_not_tell_of_is_not_subscribed_to(
    counted: Backlog, answers: dict[str, Answer], reason: Reason, said: str
) -> None:
    found = told(counted, answers)
    assert found.subjects == ()
    assert found.unknown
    assert found.unknown.reason is reason
    assert said in found.unknown.message
    assert found.passing == (reason is Reason.NOT_CONNECTED)


def test_one_of_several_that_is_not_told_of_leaves_all_unknown() -> None:
    several = backlog(orders(worker("orders.a", name="a"), worker("orders.b", name="b")), subject="orders.*")
    a, b = worker("orders.a", name="a"), worker("orders.b", name="b")
    assert told(several, {"ORDERS/a": a, "ORDERS/b": b}).subjects == ("orders.a", "orders.b")
    assert told(several, {"ORDERS/a": a}).unknown


def test_who_does_not_say_when_a_consumer_was_created_is_not_taken_for_nats() -> None:
    unborn = backlog(orders(replace(worker("orders.a"), created=None)), consumer="w")
    assert told(unborn, {"ORDERS/w": worker("orders.a")}).unknown
    assert told(unborn, {"ORDERS/w": replace(worker("orders.a"), created=None)}).unknown


def test_denials_are_kept_up_to_a_limit_but_for_natsscalers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "LIMIT", 3)
    kept = Denials(["Own"])
    assert [kept.add(subject) for subject in ("a", "own", "B", "b")] == [True, True, True, False]
    for subject in ("c", "d", "e"):
        kept.add(subject)
    assert list(kept.subjects) == ["own", "d", "e"]
    assert "OWN" in kept
    assert "B" not in kept
    kept.remove(["D"])
    assert list(kept.subjects) == ["own", "e"]
    kept.clear()
    assert not kept
