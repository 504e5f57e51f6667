"""Asks consumers' leaders over NATS where the monitoring endpoint did not lead to them.

Nodes whose monitoring ports cannot be reached, or a load balancer that always leads to the same one, leave a
consumer without its leader's word. A request to `$JS.API.CONSUMER.INFO` is answered by the leader, wherever
it is sent from (nats-server: server/jetstream_api.go jsConsumerInfoRequest).
"""

import asyncio
from collections.abc import Iterable

from natsscaler.backlog import Told, in_doubt
from natsscaler.consumers import Candidate
from natsscaler.jsz import ConsumerInfo
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.state import RuleState
from natsscaler.rules import RuleKey
from natsscaler.view import Reading

AT_ONCE = 64
"""Requests on their way at the same time."""


async def ask_leaders(states: Iterable[RuleState], reading: Reading) -> dict[RuleKey, Told]:
    """Return what the leaders said that the read lacks, for each rule that a connection can ask for."""
    if not reading.view.silent:
        return {}
    doubts = {
        state.rule.key: (state.connection, candidates)
        for state in states
        if state.connection
        and state.connection.cluster == reading.server.cluster.name
        and (candidates := in_doubt(state.rule, reading.view))
        and all(candidate.account.key == state.connection.account for candidate in candidates)
    }
    limit = asyncio.Semaphore(AT_ONCE)
    asked: dict[tuple[ConnectionPort, str], asyncio.Task[ConsumerInfo | None]] = {}
    async with asyncio.TaskGroup() as group:
        for connection, candidates in doubts.values():
            for one in candidates:
                if (connection, str(one)) not in asked:
                    question = _ask(connection, one, limit)
                    asked[connection, str(one)] = group.create_task(question, name=f"ask the leader of {one}")
    return {
        key: {str(one): info for one in candidates if (info := asked[connection, str(one)].result())}
        for key, (connection, candidates) in doubts.items()
    }


async def _ask(connection: ConnectionPort, one: Candidate, limit: asyncio.Semaphore) -> ConsumerInfo | None:
    async with limit:
        return await connection.consumer_info(one.stream.name, one.consumer.name)
