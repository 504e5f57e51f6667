"""What others make of a rule's steps: admission that changes the number, writers who set it back.

Pure: times are seconds on the clock of `now`.
"""

import math
from typing import NamedTuple

from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Target

MANAGER = "natsscaler"
"""The name in `managedFields` of what natsscaler wrote: the beginning of its user agent."""
SET_BACKS = 3
"""So many within MEMORY_SECONDS are a conflict: a person may scale by hand once or twice."""
MEMORY_SECONDS = 3600.0
WAIT_SECONDS = (10.0, 600.0)
"""Before a step in a conflict: the first wait, and the one that doubling ends at."""


class Admitted(NamedTuple):
    """A number of replicas of which the cluster's admission made another one."""

    asked: int
    got: int
    again_at: float
    """When the same number may be asked for again."""

    @property
    def finding(self) -> Finding:
        """Say it, without anything that changes while it lasts."""
        return Finding(
            Reason.ADMISSION_LIMITED,
            f"This rule asked for {self.asked} replicas, and an admission policy or webhook of the cluster"
            f" made {self.got} of it. Set the rule's bounds within that limit, or change the policy",
        )


class SetBacks(NamedTuple):
    """How often somebody else changed the replicas after a step of this rule, and what follows from it."""

    times: tuple[float, ...] = ()
    """Of the set-backs, oldest first."""
    stepped_at: float | None = None
    """When this rule took the step that nobody has set back yet."""
    wait: float = 0.0
    """Before the next step; 0: there is no conflict."""
    until: float = 0.0
    """No step before this."""

    @classmethod
    def begun(cls, now: float) -> "SetBacks":
        """Go on with a conflict that another process has told of, with the shortest wait."""
        return cls((now,), None, WAIT_SECONDS[0], now + WAIT_SECONDS[0])

    def stepped(self, now: float) -> "SetBacks":
        """Take note of a step of this rule."""
        return self._replace(stepped_at=now)

    def changed(self, now: float) -> "SetBacks":
        """Take note that somebody else changed the replicas; only what undoes a step counts."""
        if self.stepped_at is None:
            return self
        times = (*(time for time in self.times if time > now - MEMORY_SECONDS), now)[-SET_BACKS:]
        first, last = WAIT_SECONDS
        wait = min(2 * self.wait, last) if self.wait else first if len(times) == SET_BACKS else 0.0
        return SetBacks(times, None, wait, now + wait)

    def ends_at(self, *, settled: bool) -> float | None:
        """Say when the conflict ends if nothing happens; None: there is none, or it does not end by itself.

        `settled`: the rule wants the replicas that there are. It ends once it has been quiet for as long as a
        step would have to wait.
        """
        if not self.wait or (self.stepped_at is None and not settled):
            return None
        return max(self.times[-1], self.stepped_at or 0.0) + self.wait

    def after(self, now: float, *, settled: bool) -> "SetBacks":
        """Return what is left of it at this moment."""
        ends_at = self.ends_at(settled=settled)
        return SetBacks() if ends_at is not None and ends_at <= now else self

    def finding(self, target: Target, writer: str) -> Finding | None:
        """Say that there is a conflict, if so; `writer`: who last wrote the replicas, "" if not known."""
        if not self.wait:
            return None
        who = f"Another writer, {writer}," if writer else "Another writer"
        return Finding(
            Reason.CONFLICT,
            f"{who} keeps changing the replicas of {target} after this rule's steps, which are now"
            f" {self.wait:g} s apart at least. Remove spec.replicas from what it writes, or delete this rule",
        )


class Others(NamedTuple):
    """All that is known of what others make of a rule's steps."""

    admitted: Admitted | None = None
    """What admission made of the last step; None: what was asked for."""
    unanswered: int | None = None
    """Replicas that were asked for without an answer: they may be there."""
    unexplained: tuple[int, int] | None = None
    """Replicas before and after a change without any step of this process, until somebody looks into it."""
    set_backs: SetBacks = SetBacks()
    writer: str | None = None
    """Who set the last step back, "" if that cannot be told; None: not looked up yet."""

    def may_step_at(self, desired: int) -> float:
        """Say from when on a step to this number may be taken."""
        in_vain = self.admitted is not None and self.admitted.asked == desired
        return max(self.set_backs.until, self.admitted.again_at if self.admitted and in_vain else -math.inf)

    def answered(self, before: int, asked: int, got: int, now: float, again_at: float) -> "Others":
        """Take note of the answer to a step; `again_at`: when to ask again, should it be another number."""
        return self._replace(
            admitted=None if got == asked else Admitted(asked, got, again_at),
            unanswered=None,
            set_backs=self.set_backs if got == before else self.set_backs.stepped(now),
        )

    def changed(self, replicas: int, now: float) -> "Others":
        """Take note that the replicas have changed without an answer to a step."""
        if replicas == self.unanswered:
            return self._replace(unanswered=None, set_backs=self.set_backs.stepped(now))
        return self._replace(unanswered=None, set_backs=self.set_backs.changed(now), writer=None)

    def decided(self, desired: int, replicas: int, now: float, *, firm: bool) -> "Others":
        """Drop what a decision makes a thing of the past; `firm`: it neither waits nor lacks the backlog."""
        ended = self.admitted and firm and (desired, replicas) != (self.admitted.asked, self.admitted.got)
        return self._replace(
            admitted=None if ended else self.admitted,
            set_backs=self.set_backs.after(now, settled=desired == replicas),
        )

    def next_change(self, desired: int, replicas: int, now: float) -> float:
        """Say when time alone ends a wait or a conflict; infinite: it does not."""
        settled = desired == replicas
        step_at, ends_at = self.may_step_at(desired), self.set_backs.ends_at(settled=settled)
        return min(
            step_at if step_at > now and not settled else math.inf, math.inf if ends_at is None else ends_at
        )


def late_step(target: Target, before: int, after: int, writer: str) -> Finding | None:
    """Say so if a change that this process did not make is one of natsscaler all the same.

    `writer`: who last wrote the replicas, as the API server tells it.
    """
    if writer.partition(" ")[0] != MANAGER:
        return None
    return Finding(
        Reason.LATE_STEP,
        f"{target.shown} was scaled from {before} to {after} replicas by natsscaler, but not by this"
        " process: the API server carried out a step of the former leader late, or a second operator runs."
        " The rule goes on from there",
    )
