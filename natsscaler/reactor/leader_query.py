"""Asks consumers' leaders over NATS what the monitoring endpoint does not tell well enough.

Three things are asked for: the counts of consumers whose leader the endpoint did not lead to, as behind a
load balancer; whether what was counted before and is missing was deleted; and, before any step down, whether
the counts are confirmed. A request to `$JS.API.CONSUMER.INFO` is answered by the consumer's leader, wherever
it is sent from, and by the meta leader if there is no such consumer (nats-server: server/jetstream_api.go
jsConsumerInfoRequest).
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from natsscaler.core.jetstream.backlog import Backlog, count, in_doubt
from natsscaler.core.jetstream.documents import ConsumerInfo
from natsscaler.core.jetstream.selection import MOST_COUNTED, Candidate, Selection, Unknown, select
from natsscaler.core.jetstream.snapshot import Reading, View
from natsscaler.core.jetstream.sources import Former, NotTold, Told, missing
from natsscaler.core.jetstream.together import Measured, together
from natsscaler.core.jetstream.trust import Trust, Trusts
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule
from natsscaler.core.selector import Selector
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.questions import Questions

log = logging.getLogger(__name__)


FAILED = "Measuring the backlog of %s failed"
UNUSABLE = Unknown(
    Reason.MONITORING_UNREADABLE,
    "The answer of NATS cannot be used for this rule; the operator's log has the details",
)


class SourceDraft(NamedTuple):
    """What a read alone tells of one source of a rule."""

    by: Selector
    selection: Selection | Unknown
    before: Former | None
    backlog: Backlog | Unknown

    @property
    def chosen(self) -> Sequence[Candidate]:
        return () if isinstance(self.selection, Unknown) else self.selection.candidates

    def in_doubt(self, view: View) -> Questions:
        """Say what a read leaves in doubt."""
        there = tuple(str(one) for one in in_doubt(view, self.chosen))
        gone = missing(self.before.source, view) if self.before else []
        return Questions(there, tuple(gone[:MOST_COUNTED]))

    def led_to(self, connection: ConnectionPort | None, reading: Reading) -> bool:
        """Tell whether a connection leads to what is counted; None: any would."""
        before = self.before.source.account_id if self.before else ""
        accounts = {one.account.key for one in self.chosen} or {before}
        return connection is None or _leads_there(connection, reading, accounts)


class Draft(NamedTuple):
    """What a read alone tells of a rule, and what is to be asked for beside it."""

    measured: Measured
    parts: tuple[SourceDraft, ...] = ()
    wanted: Questions | None = None
    """STREAM/CONSUMER, or STREAM where all of it was counted."""
    asked: tuple[SourceDraft, ...] = ()
    """The sources that this is asked for."""

    def completed(self, rule: Rule, reading: Reading, told: Told) -> Measured:
        """Measure the backlog by what was told, too."""
        try:
            return tuple(
                count(part.by, reading.view, part.selection, part.before, told if part in self.asked else {})
                for part in self.parts
            )
        except Exception:  # a supervision point: one bad rule never disturbs another
            log.exception(FAILED, rule.key)
            return (UNUSABLE,) * len(self.parts)


def draft(
    rule: Rule,
    trusts: Trusts,
    reading: Reading,
    connection: ConnectionPort | None,
    falls: Callable[[Backlog], bool],
) -> Draft:
    """Measure by what was read alone, and say what to ask for.

    `connection`: where it would be asked; None: not yet known, and any would do. `falls` tells whether the
    rule would step down on a backlog. Of several sources, all are asked for as soon as one is in doubt: what
    it is told may let the rule step down.
    """
    view = reading.view
    try:
        parts = tuple(_part(by, trusts.get(str(by), Trust()), view) for by in rule.selectors)
        measured = tuple(part.backlog for part in parts)
        backlog = together(rule.selectors, measured).backlog
    except Exception:  # a supervision point: one bad rule never disturbs another
        log.exception(FAILED, rule.key)
        return Draft((UNUSABLE,) * len(rule.selectors))
    doubts = [part.in_doubt(view) for part in parts]
    uncertain = any(one.there or one.gone for one in doubts)
    if (uncertain and len(parts) > 1) or (not uncertain and isinstance(backlog, Backlog) and falls(backlog)):
        doubts = [
            one._replace(there=tuple(map(str, part.chosen))) for part, one in zip(parts, doubts, strict=True)
        ]
    asked = [
        (part, one)
        for part, one in zip(parts, doubts, strict=True)
        if (one.there or one.gone) and part.led_to(connection, reading)
    ]
    wanted = Questions(
        tuple(dict.fromkeys(name for _, one in asked for name in one.there)),
        tuple(dict.fromkeys(name for _, one in asked for name in one.gone)),
    )
    return Draft(measured, parts, wanted if asked else None, tuple(part for part, _ in asked))


def _part(by: Selector, trust: Trust, view: View) -> SourceDraft:
    selection, before = select(by, view), trust.former(by)
    return SourceDraft(by, selection, before, count(by, view, selection, before, {}))


async def counts(connection: ConnectionPort, name: str) -> ConsumerInfo | NotTold:
    """Ask for a consumer, or without one whether there is the stream."""
    stream, _, consumer = name.partition("/")
    return await connection.consumer_info(stream, consumer or "none")


def _leads_there(connection: ConnectionPort, reading: Reading, accounts: set[str]) -> bool:
    """Tell whether a connection leads to where the read came from, and to that account."""
    read = reading.server.cluster.name or reading.server.server_id
    return read == (connection.cluster or connection.server_id) and accounts == {connection.account}
