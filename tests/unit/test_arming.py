"""The states of a doorbell against a model that knows what happened, and nothing of states."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from natsscaler.core import arming
from natsscaler.core.arming import (
    BACKOFF_SECONDS,
    NO_ROOM_SECONDS,
    QUIET_SECONDS,
    Arm,
    Armed,
    Arming,
    Due,
    Off,
    Why,
)

FIRST, LONGEST = BACKOFF_SECONDS
AGAIN_SECONDS = st.floats(1, 60)


class Doorbells(RuleBasedStateMachine):
    """One rule's doorbell. The model: is it needed, since when does it listen, how often did it back off."""

    def __init__(self) -> None:
        super().__init__()
        self.arm: Arm = Off()
        self.now = 0.0
        self.needed = False
        self.listens_since: float | None = None
        self.back_offs = 0
        """In a row."""
        self.not_before = -math.inf
        """When it may be armed at the earliest."""
        self.not_after = math.inf
        """When it is to be armed at the latest, if it is needed."""

    def awaits(self, earliest: float, latest: float) -> None:
        self.listens_since, self.not_before, self.not_after = None, earliest, latest

    def backs_off(self) -> None:
        wait = min(FIRST * 2**self.back_offs, LONGEST)
        self.back_offs += 1
        self.awaits(self.now + wait, self.now + wait)

    @property
    def arms(self) -> bool:
        return isinstance(self.arm, Arming)

    @rule(seconds=st.sampled_from([0.01, FIRST, 0.3, 1.0, LONGEST, QUIET_SECONDS + 1, NO_ROOM_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: isinstance(self.arm, Due))
    @rule()
    def time_passes_until_it_is_due(self) -> None:
        self.now = max(self.now, arming.due_at(self.arm))

    @precondition(lambda self: not self.arms)
    @rule(room=st.booleans())
    def it_is_needed_and_not_there(self, *, room: bool) -> None:
        no_room = isinstance(self.arm, Due) and self.arm.why is Why.NO_ROOM
        if not self.needed or self.listens_since is not None or (room and no_room):
            self.needed = True
            self.awaits(self.now, self.now)
        self.arm = arming.need(self.arm, self.now, room=room)

    @precondition(lambda self: not self.arms)
    @rule()
    def its_feeds_are_to_be_asked_for(self) -> None:
        if not self.not_after <= self.now:
            self.awaits(self.now, self.now)
        self.needed = True
        self.arm = arming.ask(self.arm, self.now)

    @precondition(lambda self: arming.due_at(self.arm) <= self.now)
    @rule()
    def arming_begins(self) -> None:
        assert isinstance(self.arm, Due)
        assert self.now >= self.not_before, "no sooner than the back-off allows"
        self.arm, self.not_after = arming.begin(self.arm), math.inf

    @precondition(lambda self: self.arms)
    @rule()
    def it_is_armed(self) -> None:
        assert isinstance(self.arm, Arming)
        self.arm, self.listens_since = arming.armed(self.arm, self.now), self.now

    @precondition(lambda self: self.arms)
    @rule(room=st.booleans())
    def it_cannot_be_armed(self, *, room: bool) -> None:
        assert isinstance(self.arm, Arming)
        self.arm = arming.failed(self.arm, self.now, room=room)
        if room:
            self.backs_off()
        else:
            self.awaits(self.now, self.now + NO_ROOM_SECONDS)

    @precondition(lambda self: self.arms)
    @rule()
    def it_is_looked_at_while_it_is_armed(self) -> None:
        looked_at = (
            arming.need(self.arm, self.now, room=True),
            arming.ask(self.arm, self.now),
            arming.rang(self.arm, self.now),
        )
        assert looked_at == (self.arm,) * 3, "it is being armed already"

    @precondition(lambda self: self.listens_since is not None)
    @rule()
    def it_rings(self) -> None:
        assert self.listens_since is not None
        if self.now - self.listens_since > QUIET_SECONDS:
            self.back_offs = 0
        self.backs_off()
        self.arm = arming.rang(self.arm, self.now)
        self.arm = arming.rang(self.arm, self.now)  # as often as it is looked at

    @rule()
    def it_rang_not_in_vain(self) -> None:
        self.back_offs = 0
        self.arm = arming.calm(self.arm)

    @rule(seconds=st.none() | AGAIN_SECONDS)
    def it_is_not_needed(self, seconds: float | None) -> None:
        again_at = math.inf if seconds is None else self.now + seconds
        self.needed = seconds is not None
        self.awaits(-math.inf, again_at)
        self.arm = arming.drop(self.arm, again_at)

    @invariant()
    def one_that_is_needed_listens_or_is_due_in_time(self) -> None:
        if self.needed:
            assert (
                isinstance(self.arm, Arming | Armed) or arming.due_at(self.arm) <= self.not_after < math.inf
            )

    @invariant()
    def it_listens_since_it_was_armed(self) -> None:
        since = self.arm.since if isinstance(self.arm, Armed) else None
        assert since == self.listens_since

    @invariant()
    def one_that_is_not_needed_is_off(self) -> None:
        assert self.needed or self.arm == Off(self.arm.wait)

    @invariant()
    def the_next_wait_is_that_of_the_back_offs_in_a_row(self) -> None:
        assert self.arm.wait == min(FIRST * 2**self.back_offs, LONGEST)


TestDoorbells = Doorbells.TestCase


def test_a_doorbell_that_rings_again_and_again_waits_for_longer_until_it_has_been_quiet() -> None:
    arm: Arm = Off()
    now, waits = 0.0, []
    for listened in (0.0, 0.1, 0.0, QUIET_SECONDS - 0.1, 0.0, 0.0, 0.0, QUIET_SECONDS + 0.1, 0.0):
        due = arming.need(arm, now, room=True)
        assert isinstance(due, Due)
        armed = arming.armed(arming.begin(due), due.at)
        now = due.at + listened
        arm = arming.rang(armed, now)
        waits.append(round(arming.due_at(arm) - now, 6))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 0.05, 0.1]
