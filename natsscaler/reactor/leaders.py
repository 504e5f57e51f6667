"""Asks consumers' leaders over NATS what the monitoring endpoint does not tell well enough.

Three things are asked for: the counts of consumers whose leader the endpoint did not lead to, as behind a
load balancer; whether what was counted before and is missing was deleted; and, before any step down, whether
the counts are confirmed. A request to `$JS.API.CONSUMER.INFO` is answered by the consumer's leader, wherever
it is sent from, and by the meta leader if there is no such consumer (nats-server: server/jetstream_api.go
jsConsumerInfoRequest).
"""

import asyncio
from collections.abc import Callable, Iterable

from natsscaler.backlog import counted, former, in_doubt, measure
from natsscaler.consumers import Unknown
from natsscaler.decision import History, Observation, decide
from natsscaler.jsz import ConsumerInfo
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.state import RuleState
from natsscaler.rules import RuleKey, Target
from natsscaler.sources import NotTold, Told, missing
from natsscaler.view import Reading

AT_ONCE = 64
"""Requests on their way at the same time."""

Asked = dict[tuple[ConnectionPort, str], asyncio.Task[ConsumerInfo | NotTold]]


async def ask_leaders(
    states: Iterable[RuleState], reading: Reading, replicas: Callable[[Target], int | None], now: float
) -> dict[RuleKey, Told]:
    """Return what NATS said of consumers, for each rule that has a connection to ask on."""
    questions = {
        state.rule.key: (state.connection, names)
        for state in states
        if state.connection and (names := questions_of(state, reading, replicas(state.rule.target), now))
    }
    limit = asyncio.Semaphore(AT_ONCE)
    asked: Asked = {}
    async with asyncio.TaskGroup() as group:
        for connection, names in questions.values():
            for name in names:
                if (connection, name) not in asked:
                    question = _ask(connection, name, limit)
                    asked[connection, name] = group.create_task(question, name=f"ask the leader of {name}")
    return {
        key: {name: asked[connection, name].result() for name in names}
        for key, (connection, names) in questions.items()
    }


def questions_of(state: RuleState, reading: Reading, replicas: int | None, now: float) -> list[str]:
    """List the consumers to ask for, as STREAM/CONSUMER; a stream as such, if all of it was counted."""
    view, connection, before = reading.view, state.connection, former(state.rule, state.source)
    names = [str(one) for one in in_doubt(state.rule, view)] + (missing(before, view) if before else [])
    if not names and replicas and _falls(state, reading, replicas, now):
        names = [str(one) for one in counted(state.rule, view)]
    if connection is None:
        return names
    found = counted(state.rule, view)
    account = found[0].account.key if found else before and before.account_id
    same = reading.server.cluster.name or reading.server.server_id
    leads_there = same == (connection.cluster or connection.server_id)
    return list(dict.fromkeys(names)) if leads_there and account == connection.account else []


def _falls(state: RuleState, reading: Reading, replicas: int, now: float) -> bool:
    """Tell whether the rule would step down on what was read."""
    backlog = measure(state.rule, reading.view, state.source, seen=state.source_seen)
    if isinstance(backlog, Unknown):
        return False
    history = state.history or History()
    return decide(state.rule, Observation(backlog, replicas), history, now).desired < replicas


async def _ask(connection: ConnectionPort, name: str, limit: asyncio.Semaphore) -> ConsumerInfo | NotTold:
    stream, _, consumer = name.partition("/")
    async with limit:
        return await connection.consumer_info(stream, consumer or "none")
