"""Whom advisories concern.

When a NATS server restarts, every stream and every consumer elects a leader and tells of it. So advisories
are gathered for a moment, and all of them are gone through once for all rules.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.rule import EventSource, RuleKey
from natsscaler.core.waking import WakeSource
from natsscaler.reactor.ports import AdvisoryLike, ConnectionPort
from natsscaler.reactor.rule_state import RuleState

GATHER_SECONDS = 0.01
"""How long further advisories are waited for after the first one."""

Advised = Callable[[ConnectionPort, AdvisoryLike | None], Awaitable[None]]


class Hearing:
    """Rings rules by what connections hear; `ring` is given the source, `spawn` starts a named task."""

    def __init__(
        self,
        states: Mapping[RuleKey, RuleState],
        ring: Callable[[RuleState, WakeSource], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._states = states
        self._ring = ring
        self._spawn = spawn
        self._gathered: dict[ConnectionPort, list[AdvisoryLike]] = {}

    async def advised(self, connection: ConnectionPort, advisory: AdvisoryLike | None) -> None:
        """Ring the rules that an advisory concerns; None: the connection itself came or went."""
        if advisory is None:
            for state in self._of(connection):
                self._ring(state, WakeSource.CONNECTION)
        elif advisory.action.endswith(".DELETED"):
            self._tell(connection, [advisory])
            await self._close_doorbells(connection, advisory)
        else:
            gathered = self._gathered.setdefault(connection, [])
            gathered.append(advisory)
            if len(gathered) == 1:
                self._spawn(self._gather(connection), "advisories")

    async def _close_doorbells(self, connection: ConnectionPort, deleted: AdvisoryLike) -> None:
        """Close at once what would keep publishers to a stream that is gone waiting for an answer.

        The deletion of a consumer counts too: nats-server 2.15.1 sent no STREAM.DELETED in 7 of 1,000
        deletions, but always that of the stream's consumers.
        """
        for state, _ in concerned([deleted], self._of(connection)):
            if state.doorbell:
                await state.doorbell.close()

    async def _gather(self, connection: ConnectionPort) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self._tell(connection, self._gathered.pop(connection))

    def _tell(self, connection: ConnectionPort, advisories: Sequence[AdvisoryLike]) -> None:
        for state, elected in concerned(advisories, self._of(connection)):
            if EventSource.ADVISORIES in state.rule.spec.events:
                self._ring(state, WakeSource.ADVISORY)
            if elected:
                state.leaders = ()

    def _of(self, connection: ConnectionPort) -> list[RuleState]:
        return [state for state in self._states.values() if state.connection is connection]


def concerned(
    advisories: Sequence[AdvisoryLike], states: Iterable[RuleState]
) -> Iterator[tuple[RuleState, bool]]:
    """Yield each rule that some of the advisories concern, and whether a leader was elected there.

    A rule whose backlog is not known is concerned by all; any other by what happens to its consumers and
    their streams, and by new consumers of those streams.
    """
    elected: dict[str, bool] = {}
    for one in advisories:
        of_consumer = one.consumer and one.action != "CONSUMER.CREATED"
        name = f"{one.stream}/{one.consumer}" if of_consumer else one.stream
        elected[name] = elected.get(name, False) or one.action.endswith(".LEADER_ELECTED")
    anything = any(elected.values())
    for state in states:
        if state.source is None or state.seen is None or not isinstance(state.seen.backlog, Backlog):
            yield state, anything
            continue
        streams = {name.partition("/")[0] for name in state.source.consumers}
        found = [elected[name] for name in (*state.source.consumers, *streams) if name in elected]
        if found:
            yield state, any(found)
