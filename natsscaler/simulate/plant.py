"""The workers as a fluid: messages come, wait in order, and are worked off at a rate by ready replicas.

Between two changes of rate everything is a straight line, so nothing is lost between the steps.
"""

import math
from bisect import bisect_right
from datetime import UTC, datetime
from typing import NamedTuple

from natsscaler.core.decision.rates import Workers
from natsscaler.core.jetstream.backlog import Backlog, Traffic
from natsscaler.core.jetstream.counters import Counters
from natsscaler.core.jetstream.selection import Match
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.selector import BacklogMode
from natsscaler.simulate.arrivals import Arrivals

NEARLY = 1e-6
"""What is missing to a whole message by the error of floats."""
SOURCE = Source(selector="", account="", match=Match.EQUAL, consumers=("SIMULATED/workers",))


class Speed(NamedTuple):
    """What the workers can do."""

    replica_rate: float
    """Messages per second that one ready replica works off; above 0."""
    startup_seconds: float = 0.0
    """From the patch until the replica is ready."""
    limit_rate: float = math.inf
    """Messages per second that all of them can work off, as a database may have it."""
    in_flight: int = 1
    """Messages that a replica has at a time."""


class Plant:
    """Stream, consumer and workers at one moment, and how they got there. Times: seconds since the start."""

    def __init__(self, arrivals: Arrivals, speed: Speed, replicas: int, backlog: float = 0.0) -> None:
        self.arrivals, self.speed = arrivals, speed
        self.now = 0.0
        self.replicas = replicas
        self.done = 0.0
        """Messages worked off."""
        self.before = backlog
        """Messages that wait from the start on."""
        self.come = backlog
        """Messages that have come, with those."""
        self.replica_seconds = 0.0
        self.changes = [(0.0, replicas)]
        """When there were how many replicas, each until the next one."""
        self.curve = [(0.0, 0.0)]
        """Corners of the messages worked off: (time, messages)."""
        self._ready = [0.0] * replicas
        """When each replica is ready, rising."""
        self._corner = 1
        self._slope = -1.0
        """Of the last part of the curve."""

    @property
    def waiting(self) -> int:
        """Whole messages that have come and are not worked off."""
        return self.ever - math.floor(self.done + NEARLY)

    @property
    def ever(self) -> int:
        """Whole messages that have come."""
        return math.floor(self.come + NEARLY)

    def came_by(self, time: float) -> float:
        """Say how many messages will have come by a time."""
        return self.before + self.arrivals.by(min(time, self.arrivals.seconds)) + NEARLY

    def when_came(self, message: int) -> float:
        """Say when a message comes, or did; infinite: never."""
        return self.arrivals.when(message - self.before - NEARLY)

    @property
    def ready(self) -> int:
        """Replicas that are ready."""
        return bisect_right(self._ready, self.now)

    def scale(self, replicas: int) -> None:
        """Have another number of replicas; those that are not ready go first, as with a ReplicaSet."""
        if replicas > self.replicas:
            self._ready += [self.now + self.speed.startup_seconds] * (replicas - self.replicas)
        else:
            del self._ready[replicas:]
        self.replicas = replicas
        self.changes.append((self.now, replicas))

    def advance(self, until: float) -> None:
        """Let the time pass."""
        times, totals, curve = self.arrivals.times, self.arrivals.totals, self.curve
        corner, last = self._corner, len(times)
        now, come, done, before = self.now, self.come, self.done, self.before
        self.replica_seconds += self.replicas * max(0.0, until - now)
        while now < until:
            ready = bisect_right(self._ready, now)
            end = min(until, self._ready[ready]) if ready < len(self._ready) else until
            capacity = min(ready * self.speed.replica_rate, self.speed.limit_rate)
            while now < end:
                while corner < last and times[corner] <= now:
                    corner += 1
                stop = end
                rate = 0.0
                if corner < last:
                    stop = min(end, times[corner])
                    rate = (totals[corner] - totals[corner - 1]) / (times[corner] - times[corner - 1])
                if corner < last and stop == times[corner]:
                    after = before + totals[corner]
                else:
                    after = come + rate * (stop - now)
                queue = come - done
                slope = rate
                if queue > NEARLY and rate < capacity and (empty := now + queue / (capacity - rate)) < stop:
                    curve.append((empty, done + capacity * (empty - now)))
                    done, self._slope = after, -1.0
                elif queue > NEARLY or rate > capacity:
                    done = min(after, done + capacity * (stop - now))
                    slope = capacity
                else:
                    done = after
                now, come = stop, after
                if slope == self._slope:
                    curve[-1] = (now, done)
                else:
                    curve.append((now, done))
                    self._slope = slope
        self.now, self.come, self.done, self._corner = now, come, done, corner

    def backlog(self, mode: BacklogMode) -> Backlog:
        """Give what a read of NATS would say now."""
        ever, waiting = self.ever, self.waiting
        in_work = min(waiting, self.ready * self.speed.in_flight)
        pending = waiting - in_work
        counters = Counters(
            name=SOURCE.consumers[0],
            ever=ever,
            delivered=ever - pending,
            floor=ever - waiting,
            pending=pending,
            unacknowledged=in_work,
            waiting=0 if pending else max(0, self.ready - in_work),
        )
        return Backlog(
            pending=pending,
            unacknowledged=in_work,
            mode=mode,
            source=SOURCE,
            account_key="",
            feeds=(),
            at=datetime.fromtimestamp(self.arrivals.start + self.now, UTC),
            traffic=Traffic(waiting=waiting, delivered=ever - pending),
            counters=(counters,),
        )

    def workers(self) -> Workers:
        """Give what is seen of the pods now."""
        return Workers(self.ready, "simulated")

    def counted(self, mode: BacklogMode) -> int:
        """Give the backlog alone, in this mode."""
        if mode is BacklogMode.PENDING:
            return max(0, self.waiting - self.ready * self.speed.in_flight)
        return self.waiting
