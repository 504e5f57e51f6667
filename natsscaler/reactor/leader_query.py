"""Asks consumers' leaders over NATS what the monitoring endpoint does not tell well enough.

Three things are asked for: the counts of consumers whose leader the endpoint did not lead to, as behind a
load balancer; whether what was counted before and is missing was deleted; and, before any step down, whether
the counts are confirmed. A request to `$JS.API.CONSUMER.INFO` is answered by the consumer's leader, wherever
it is sent from, and by the meta leader if there is no such consumer (nats-server: server/jetstream_api.go
jsConsumerInfoRequest).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog, count, former, in_doubt
from natsscaler.core.jetstream.documents import ConsumerInfo
from natsscaler.core.jetstream.selection import Selection, Unknown, select
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.sources import Former, NotTold, Told, missing
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import RuleKey, Target
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.rule_state import RuleState

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests on their way at the same time."""


class Draft(NamedTuple):
    """What a read alone tells of a rule, and what is to be asked for beside it."""

    selection: Selection | Unknown
    before: Former | None
    backlog: Backlog | Unknown
    questions: tuple[str, ...] = ()
    """STREAM/CONSUMER, or STREAM where all of it was counted."""


async def measure_all(
    states: Iterable[RuleState],
    reading: Reading,
    replicas: Callable[[Target], int | None],
    now: float,
    wall: float,
) -> dict[RuleKey, Backlog | Unknown]:
    """Measure the backlogs of rules, each by what was read and what its connection is told beside.

    `now`: on the clock of their memories, `wall`: in seconds since the epoch.
    """
    drafts = {state.rule.key: (state, draft(state, reading, replicas, now, wall)) for state in states}
    limit = asyncio.Semaphore(AT_ONCE)
    asked: dict[tuple[ConnectionPort, str], asyncio.Task[ConsumerInfo | NotTold]] = {}
    async with asyncio.TaskGroup() as group:
        for state, found in drafts.values():
            for name in found.questions:
                if state.connection and (state.connection, name) not in asked:
                    question = _ask(state.connection, name, limit)
                    asked[state.connection, name] = group.create_task(question, name=f"ask for {name}")
    measured = {}
    for key, (state, found) in drafts.items():
        told: Told = {
            name: asked[state.connection, name].result()
            for name in found.questions
            if state.connection and (state.connection, name) in asked
        }
        measured[key] = (
            count(state.rule, reading.view, found.selection, found.before, told) if told else found.backlog
        )
    return measured


def draft(
    state: RuleState, reading: Reading, replicas: Callable[[Target], int | None], now: float, wall: float
) -> Draft:
    """Measure by what was read alone, and say what to ask for."""
    rule, view = state.rule, reading.view
    try:
        selection = select(rule, view)
        before = former(rule, state.source, state.source_seen)
        backlog = count(rule, view, selection, before, {})
    except Exception:  # a supervision point: one bad rule never disturbs another
        log.exception("Measuring the backlog of %s failed", rule.key)
        failed = Unknown(
            Reason.MONITORING_UNREADABLE, "what NATS gave cannot be used for this rule: see the log"
        )
        return Draft(failed, None, failed)
    chosen = () if isinstance(selection, Unknown) else selection.candidates
    names = [str(one) for one in in_doubt(view, chosen)] + (missing(before.source, view) if before else [])
    if not names and _falls(state, backlog, replicas(rule.target), now, wall):
        names = [str(one) for one in chosen]
    accounts = {one.account.key for one in chosen} or {before.source.account_id if before else ""}
    asks = state.connection is None or _leads_there(state.connection, reading, accounts)
    return Draft(selection, before, backlog, tuple(dict.fromkeys(names)) if asks else ())


def _leads_there(connection: ConnectionPort, reading: Reading, accounts: set[str]) -> bool:
    """Tell whether a connection leads to where the read came from, and to that account."""
    read = reading.server.cluster.name or reading.server.server_id
    return read == (connection.cluster or connection.server_id) and accounts == {connection.account}


def _falls(
    state: RuleState, backlog: Backlog | Unknown, replicas: int | None, now: float, wall: float
) -> bool:
    """Tell whether the rule would step down on this backlog."""
    if isinstance(backlog, Unknown) or not replicas:
        return False
    memory = state.memory or Memory()
    return decide(state.rule, Observation(backlog, replicas, wall), memory, now).desired < replicas


async def _ask(connection: ConnectionPort, name: str, limit: asyncio.Semaphore) -> ConsumerInfo | NotTold:
    stream, _, consumer = name.partition("/")
    async with limit:
        return await connection.consumer_info(stream, consumer or "none")
