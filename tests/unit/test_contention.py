"""What others make of a rule's steps, as time passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.contention import MEMORY_SECONDS, SET_BACKS, WAIT_SECONDS, Others, SetBacks
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target

TARGET = Target("shop", "orders")
FIRST, LAST = WAIT_SECONDS


def fought(times: int, apart: float = 1.0, begin: float = 100.0) -> SetBacks:
    """Give what is known once so many steps have been set back, each a moment after it was taken."""
    found = SetBacks()
    for number in range(times):
        found = found.stepped(begin + number * apart).changed(begin + number * apart + 0.5)
    return found


@pytest.mark.parametrize(
    ("times", "wait"), [(0, 0), (1, 0), (2, 0), (3, FIRST), (4, 2 * FIRST), (5, 4 * FIRST), (20, LAST)]
)
def test_the_third_set_back_is_a_conflict_and_each_further_one_doubles_the_wait(
    times: int, wait: float
) -> None:
    found = fought(times)
    assert found.wait == wait
    assert found.until == (100 + times - 1 + 0.5 + wait if times else 0)
    told = found.finding(TARGET, "argocd-controller (Apply)")
    assert (told is not None) == (wait > 0)
    if told:
        assert told.reason is Reason.CONFLICT
        assert told.message.startswith(
            "Another writer, argocd-controller (Apply), keeps changing the replicas of shop/orders"
        )


def test_set_backs_that_are_an_hour_apart_are_none() -> None:
    assert fought(10, apart=MEMORY_SECONDS / (SET_BACKS - 1)).wait == 0


def test_changes_that_undo_no_step_do_not_count() -> None:
    found = SetBacks().stepped(100)
    for now in range(101, 120):
        found = found.changed(now)
    assert found.wait == 0
    assert len(found.times) == 1


def test_a_conflict_ends_once_a_step_has_stood_for_as_long_as_the_wait() -> None:
    found = fought(SET_BACKS)
    stepped = found.stepped(found.until)
    ends_at = stepped.ends_at(settled=False)
    assert ends_at == found.until + FIRST
    assert stepped.after(ends_at - 0.1, settled=False) == stepped
    assert stepped.after(ends_at, settled=False) == SetBacks()


def test_a_conflict_ends_once_nothing_is_wanted_for_as_long_as_the_wait() -> None:
    found = fought(SET_BACKS)
    assert found.ends_at(settled=False) is None, "the step is still to come"
    assert found.ends_at(settled=True) == found.times[-1] + FIRST


def test_a_step_whose_answer_was_lost_is_not_somebody_elses() -> None:
    found = Others(unanswered=5)
    assert found.changed(5, 100).set_backs.stepped_at == 100
    assert found.changed(4, 100).set_backs.stepped_at is None


def test_a_number_that_was_not_admitted_is_asked_for_again_later_another_one_at_once() -> None:
    found = Others().answered(1, 10, 3, now=100, again_at=130)
    assert found.admitted
    assert "asked for 10 replicas" in found.admitted.finding.message
    assert "made 3 of it" in found.admitted.finding.message
    assert found.may_step_at(10) == 130
    assert found.may_step_at(9) <= 100
    assert found.next_change(10, 3, now=100) == 130
    assert found.decided(10, 3, 110, firm=True) == found
    assert found.decided(3, 3, 110, firm=False).admitted, "a wait, or an unknown backlog, changes nothing"
    assert found.decided(9, 3, 110, firm=True).admitted is None
    assert found.decided(10, 4, 110, firm=True).admitted is None


steps = st.lists(st.tuples(st.sampled_from(["step", "change", "settle"]), st.floats(0, 700)), max_size=60)


@given(steps)
def test_waits_stay_in_their_bounds_and_every_conflict_can_end(history: list[tuple[str, float]]) -> None:
    found, now = SetBacks(), 0.0
    for what, after in history:
        now += after
        if what == "step":
            found = found.stepped(now)
        elif what == "change":
            found = found.changed(now)
        found = found.after(now, settled=what == "settle")
        assert found.wait == 0 or FIRST <= found.wait <= LAST
        assert found.until <= now + LAST
        assert len(found.times) <= SET_BACKS
    if found.wait:
        ends_at = found.ends_at(settled=True)
        assert ends_at is not None
        assert ends_at < math.inf
        assert found.after(ends_at, settled=True) == SetBacks()
