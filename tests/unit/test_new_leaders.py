"""A new leader says that it leads before it has counted: its word is waited for, whatever the server says."""

import math
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason
from natsscaler.core.status import RuleStatus
from natsscaler.observe.rule_metrics import RuleSeries
from natsscaler.reactor.rule_state import LED_SECONDS, QUIET_SECONDS, RuleState
from tests.support.factories import UNKNOWN, backlog, rule

READ_SECONDS = 0.25
"""How long each read takes here."""


def led(leader: str, seconds: float = 0.0) -> Backlog:
    """Make a backlog by the word of this leader, which says for how long it has led; 0: it does not say."""
    return replace(backlog(5), leaders=(leader,), led_seconds=seconds)


@pytest.fixture
def state() -> RuleState:
    return RuleState(rule(), RuleStatus(), RuleSeries(labels=""))


def put_off(state: RuleState, reads: Sequence[tuple[float, Backlog | Unknown]]) -> list[bool]:
    """Tell of each read, by when it began and what it found, whether the next one is waited for."""
    return [state.puts_off(found, began, began + READ_SECONDS) for began, found in reads]


def test_a_leader_that_says_so_is_believed_at_once(state: RuleState) -> None:
    assert put_off(state, [(0, led("n1", LED_SECONDS)), (1, led("n2", 60))]) == [False, False]


def test_a_leader_that_says_that_it_is_new_is_waited_for(state: RuleState) -> None:
    reads = [(0, led("n1", 0.01)), (0.5, led("n1", 0.51)), (1, led("n1", 1.01))]
    assert put_off(state, reads) == [True, True, False]


def test_a_leader_that_does_not_say_must_be_seen_to_lead(state: RuleState) -> None:
    reads = [(0, led("n1")), (LED_SECONDS, led("n1")), (LED_SECONDS + READ_SECONDS, led("n1"))]
    assert put_off(state, reads) == [True, True, False]


def test_another_leader_is_new_again(state: RuleState) -> None:
    reads = [(0, led("n1")), (2, led("n1")), (4, led("n2")), (6, led("n2"))]
    assert put_off(state, reads) == [True, False, True, False]


def test_a_standalone_server_and_what_is_unknown_are_not_waited_for(state: RuleState) -> None:
    assert put_off(state, [(0, led("n1", math.inf)), (1, UNKNOWN)]) == [False, False]


def test_leaders_that_are_new_again_and_again_are_said(state: RuleState) -> None:
    times = [READ_SECONDS * number for number in range(20)]
    found = [led(f"n{number % 2}") for number in range(20)]
    waits = put_off(state, list(zip(times, found, strict=True)))
    assert waits == [time <= QUIET_SECONDS for time in times]
    said = state.believe(found[-1])
    assert isinstance(said, Unknown)
    assert said.reason is Reason.LEADER_UNCLEAR
