"""Whether a count may decide, over one read after another.

A new leader reports itself before it has counted, so its count is waited for, whatever it says.
"""

import math
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.trust import DOUBT_SECONDS, LED_SECONDS, QUIET_SECONDS, Trust, Verdict, judge
from natsscaler.core.reasons import Reason
from tests.support.factories import UNKNOWN, backlog

READ_SECONDS = 0.25
"""How long each read takes here."""
PASSING = Unknown(Reason.MONITORING_INCOMPLETE, "a node is missing")
Read = tuple[float, Backlog | Unknown]


def led(leader: str, seconds: float = 0.0) -> Backlog:
    """Make a backlog by the word of this leader, which says for how long it has led; 0: it does not say."""
    return replace(backlog(5), leaders=(leader,), led_seconds=seconds)


def verdicts(reads: Iterable[Read]) -> list[Verdict]:
    """Judge each read, given as when it began and what it found."""
    trust, given_so_far = Trust(), list[Verdict]()
    for began, found in reads:
        given_so_far.append(judge(trust, found, began, began + READ_SECONDS))
        trust = given_so_far[-1].trust
    return given_so_far


def waits(reads: Sequence[Read]) -> list[bool]:
    """Tell of each read whether the next one decides instead."""
    return [verdict.backlog is None for verdict in verdicts(reads)]


def test_a_leader_that_has_led_for_long_enough_is_believed_at_once() -> None:
    assert waits([(0, led("n1", LED_SECONDS)), (1, led("n2", 60))]) == [False, False]


def test_a_leader_that_says_that_it_is_new_is_waited_for() -> None:
    reads = [(0, led("n1", 0.01)), (0.5, led("n1", 0.51)), (1, led("n1", 1.01))]
    assert waits(reads) == [True, True, False]


def test_a_leader_that_does_not_say_must_be_seen_to_lead() -> None:
    reads = [(0, led("n1")), (LED_SECONDS, led("n1")), (LED_SECONDS + READ_SECONDS, led("n1"))]
    assert waits(reads) == [True, True, False]


def test_another_leader_is_new_again() -> None:
    reads = [(0, led("n1")), (2, led("n1")), (4, led("n2")), (6, led("n2"))]
    assert waits(reads) == [True, False, True, False]


def test_a_standalone_server_and_what_is_unknown_are_not_waited_for() -> None:
    assert waits([(0, led("n1", math.inf)), (1, UNKNOWN)]) == [False, False]


def test_the_next_read_comes_when_the_leader_is_no_longer_new() -> None:
    assert [verdict.again_at for verdict in verdicts([(7, led("n1"))])] == [7 + LED_SECONDS]


def test_leaders_that_are_new_again_and_again_make_the_backlog_unknown() -> None:
    reads = [(READ_SECONDS * number, led(f"n{number % 2}")) for number in range(20)]
    found = verdicts(reads)
    assert [verdict.backlog is None for verdict in found] == [began <= QUIET_SECONDS for began, _ in reads]
    last = found[-1].backlog
    assert isinstance(last, Unknown)
    assert last.reason is Reason.LEADER_UNCLEAR


def test_what_is_not_believed_does_not_become_what_later_counts_go_on_from() -> None:
    new, known = verdicts([(0, led("n1")), (2, led("n1"))])
    assert new.trust.source is None
    assert known.trust.source == backlog(5).source


def test_a_doubt_that_may_pass_is_looked_at_again_at_longer_and_longer_waits() -> None:
    first, last = DOUBT_SECONDS
    found = verdicts([(float(number), PASSING) for number in range(20)])
    again = [one.again_at - number - READ_SECONDS for number, one in enumerate(found)]
    assert again[:10] == [first] * 10
    assert again[10:14] == [2 * first, 4 * first, last, last]


def test_after_a_count_that_is_believed_doubt_begins_anew() -> None:
    doubts: list[Read] = [(number, PASSING) for number in range(15)]
    reads = [*doubts, (20, led("n1", 60)), (21, PASSING)]
    assert verdicts(reads)[-1].again_at == 21 + READ_SECONDS + DOUBT_SECONDS[0]


def test_what_does_not_pass_by_itself_is_not_looked_at_again() -> None:
    assert verdicts([(0, UNKNOWN)])[0].again_at == math.inf


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2),
            st.one_of(
                st.builds(led, st.sampled_from(["n1", "n2"]), st.sampled_from([0.0, 0.5, 60.0])),
                st.sampled_from([UNKNOWN, PASSING]),
            ),
        )
    )
)
def test_no_count_of_a_new_leader_is_believed(reads: list[tuple[float, Backlog | Unknown]]) -> None:
    """Neither by its own word nor by what the reads before have seen."""
    trust, now, since = Trust(), 0.0, -math.inf
    leader: tuple[str, ...] = ()
    for pause, found in reads:
        began, now = now + pause, now + pause + READ_SECONDS
        if isinstance(found, Backlog) and found.leaders != leader:
            leader, since = found.leaders, now
        verdict = judge(trust, found, began, now)
        trust = verdict.trust
        if isinstance(verdict.backlog, Backlog):
            assert verdict.backlog.led_seconds >= LED_SECONDS or began - since >= LED_SECONDS
        assert verdict.backlog is not None or verdict.again_at < math.inf, "somebody has to read again"
