"""Which rules advisories concern.

When a NATS server restarts, every stream and every consumer elects a leader and tells of it; and who runs a
server may send as many as they like. So advisories are gathered for a moment, for longer while they keep
coming, and the rules that they concern are looked up once for all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.rule import EventSource
from natsscaler.core.waking import WakeSource
from natsscaler.reactor.ports import AdvisoryLike, ConnectionPort
from natsscaler.reactor.rule_state import RuleState

GATHER_SECONDS = (0.01, 1.0)
"""How long further advisories are waited for: after the first one, and where doubling ends while they keep
coming."""
EVERY, ANY = ">", "*"
"""Stand for all rules of a connection, and for those that whatever happens concerns: no backlog is known."""

Advised = Callable[[ConnectionPort, AdvisoryLike | None], Awaitable[None]]


class Gathered:
    """What advisories told, by STREAM/CONSUMER, or STREAM for what may concern all of its consumers."""

    def __init__(self) -> None:
        self.elected: dict[str, bool] = {}
        """All that something happened to, and whether a leader was elected there."""
        self.deleted: set[str] = set()

    def add(self, one: AdvisoryLike) -> None:
        """Take in one more."""
        of_consumer = one.consumer and one.action != "CONSUMER.CREATED"
        name = f"{one.stream}/{one.consumer}" if of_consumer else one.stream
        self.elected[name] = self.elected.get(name, False) or one.action.endswith(".LEADER_ELECTED")
        if one.action.endswith(".DELETED"):
            self.deleted.add(name)

    @property
    def concerned(self) -> tuple[str, ...]:
        """Names of all that any of it concerns."""
        return (ANY, *self.elected) if self.elected else ()

    @property
    def elections(self) -> tuple[str, ...]:
        """Names of all that have a newly elected leader."""
        names = tuple(name for name, elected in self.elected.items() if elected)
        return (ANY, *names) if names else ()


class Index:
    """Rules by their connection and the names that concern them: none is looked at for another one."""

    def __init__(self) -> None:
        self._places: dict[RuleState, tuple[ConnectionPort, frozenset[str]]] = {}
        self._rules: dict[tuple[ConnectionPort, str], dict[RuleState, None]] = {}

    def note(self, state: RuleState) -> None:
        """Take a rule as it is now, or drop it if it is gone or has no connection."""
        place = (state.connection, _names(state)) if state.connection and not state.gone else None
        old = self._places.get(state)
        if place == old:
            return
        if old:
            del self._places[state]
            for key in ((old[0], name) for name in old[1]):
                del self._rules[key][state]
                if not self._rules[key]:
                    del self._rules[key]
        if place:
            self._places[state] = place
            for name in place[1]:
                self._rules.setdefault((place[0], name), {})[state] = None

    def of(self, connection: ConnectionPort, names: Iterable[str] = (EVERY,)) -> list[RuleState]:
        """List the rules of a connection that one of these names concerns, each once."""
        return list(dict.fromkeys(one for name in names for one in self._rules.get((connection, name), ())))


class Advisories:
    """Rings rules by what connections hear; `ring` is given the source, `spawn` starts a named task."""

    def __init__(
        self,
        ring: Callable[[RuleState, WakeSource], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self.index = Index()
        self._ring = ring
        self._spawn = spawn
        self._gathered: dict[ConnectionPort, Gathered] = {}

    async def advised(self, connection: ConnectionPort, advisory: AdvisoryLike | None) -> None:
        """Ring the rules that an advisory concerns; None: the connection itself came or went."""
        if advisory is None:
            for state in self.index.of(connection):
                self._ring(state, WakeSource.CONNECTION)
            return
        if connection not in self._gathered:
            self._gathered[connection] = Gathered()
            self._spawn(self._gather(connection), "advisories")
        self._gathered[connection].add(advisory)

    async def _gather(self, connection: ConnectionPort) -> None:
        """Tell rules of what is gathered, until nothing comes for as long as more is waited for."""
        wait, longest = GATHER_SECONDS
        while True:
            await asyncio.sleep(wait)
            gathered, self._gathered[connection] = self._gathered[connection], Gathered()
            if not gathered.elected:
                break
            await self._tell(connection, gathered)
            wait = min(2 * wait, longest)
        del self._gathered[connection]

    async def _tell(self, connection: ConnectionPort, gathered: Gathered) -> None:
        """Ring rules, and close what would keep publishers to a stream that is gone waiting for an answer.

        The deletion of a consumer counts too: nats-server 2.15.1 sent no STREAM.DELETED in 7 of 1,000
        deletions, but always that of the stream's consumers.
        """
        for state in self.index.of(connection, gathered.concerned):
            if EventSource.ADVISORIES in state.rule.spec.events and WakeSource.ADVISORY not in state.rings:
                self._ring(state, WakeSource.ADVISORY)
        for state in self.index.of(connection, gathered.elections):
            state.trusts = {by: trust.without_leaders() for by, trust in state.trusts.items()}
        for state in self.index.of(connection, gathered.deleted):
            if state.doorbell:
                await state.doorbell.close()


def _names(state: RuleState) -> frozenset[str]:
    """Name what concerns a rule: what happens to its consumers and streams, and new consumers of those.

    A rule whose backlog is unknown is concerned by all.
    """
    sources = [trust.source for trust in state.trusts.values() if trust.source]
    known = state.seen and isinstance(state.seen.backlog, Backlog)
    if not known or len(sources) < len(state.trusts):
        return frozenset((EVERY, ANY))
    consumers = [name for source in sources for name in source.consumers]
    return frozenset((EVERY, *consumers, *(name.partition("/")[0] for name in consumers)))
