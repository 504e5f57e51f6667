"""Asks consumers' leaders over NATS what the monitoring endpoint does not tell well enough.

Three things are asked for: the counts of consumers whose leader the endpoint did not lead to, as behind a
load balancer; whether what was counted before and is missing was deleted; and, before any step down, whether
the counts are confirmed. A request to `$JS.API.CONSUMER.INFO` is answered by the consumer's leader, wherever
it is sent from, and by the meta leader if there is no such consumer (nats-server: server/jetstream_api.go
jsConsumerInfoRequest).
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from natsscaler.core.jetstream.backlog import Backlog, count, in_doubt
from natsscaler.core.jetstream.documents import ConsumerInfo
from natsscaler.core.jetstream.selection import MOST_COUNTED, Selection, Unknown, select
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.jetstream.sources import Former, NotTold, Told, missing
from natsscaler.core.jetstream.trust import Trust
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.questions import Questions

log = logging.getLogger(__name__)


FAILED = "Measuring the backlog of %s failed"
UNUSABLE = Unknown(
    Reason.MONITORING_UNREADABLE,
    "The answer of NATS cannot be used for this rule; the operator's log has the details",
)


class Draft(NamedTuple):
    """What a read alone tells of a rule, and what is to be asked for beside it."""

    selection: Selection | Unknown
    before: Former | None
    backlog: Backlog | Unknown
    wanted: Questions | None = None
    """STREAM/CONSUMER, or STREAM where all of it was counted."""

    def completed(self, rule: Rule, reading: Reading, told: Told) -> Backlog | Unknown:
        """Measure the backlog by what was told, too."""
        try:
            return count(rule, reading.view, self.selection, self.before, told)
        except Exception:  # a supervision point: one bad rule never disturbs another
            log.exception(FAILED, rule.key)
            return UNUSABLE


def draft(
    rule: Rule,
    trust: Trust,
    reading: Reading,
    connection: ConnectionPort | None,
    falls: Callable[[Backlog], bool],
) -> Draft:
    """Measure by what was read alone, and say what to ask for.

    `connection`: where it would be asked; None: not yet known, and any would do. `falls` tells whether the
    rule would step down on a backlog.
    """
    view = reading.view
    try:
        selection = select(rule, view)
        before = trust.former(rule)
        backlog = count(rule, view, selection, before, {})
    except Exception:  # a supervision point: one bad rule never disturbs another
        log.exception(FAILED, rule.key)
        return Draft(UNUSABLE, None, UNUSABLE)
    found = Draft(selection, before, backlog)
    chosen = () if isinstance(selection, Unknown) else selection.candidates
    there = [str(one) for one in in_doubt(view, chosen)]
    gone = missing(before.source, view) if before else []
    if not (there or gone) and isinstance(backlog, Backlog) and falls(backlog):
        there = [str(one) for one in chosen]
    accounts = {one.account.key for one in chosen} or {before.source.account_id if before else ""}
    asks = connection is None or _leads_there(connection, reading, accounts)
    wanted = Questions(tuple(there), tuple(gone[:MOST_COUNTED]))
    return found._replace(wanted=wanted if asks and (there or gone) else None)


async def counts(connection: ConnectionPort, name: str) -> ConsumerInfo | NotTold:
    """Ask for a consumer, or without one whether there is the stream."""
    stream, _, consumer = name.partition("/")
    return await connection.consumer_info(stream, consumer or "none")


def _leads_there(connection: ConnectionPort, reading: Reading, accounts: set[str]) -> bool:
    """Tell whether a connection leads to where the read came from, and to that account."""
    read = reading.server.cluster.name or reading.server.server_id
    return read == (connection.cluster or connection.server_id) and accounts == {connection.account}
