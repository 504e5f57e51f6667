"""The doorbells of one endpoint's rules: armed before a read, lowered or taken away after it.

A doorbell hears nothing of what came before it, and NATS delivers a message before it stores it. So what a
read says is certain only if it began a second after the doorbell was armed and after its last delivery;
until then one more read is asked for.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import filterfalse

from natsscaler.core.arming import (
    CONFIRM_SECONDS,
    DOORBELL_LIMIT,
    NO_ROOM_SECONDS,
    Armed,
    Arming,
    Due,
    Why,
    armed,
    ask,
    begin,
    calm,
    drop,
    failed,
    need,
    rang,
)
from natsscaler.core.decision.pipeline import messages_until_change
from natsscaler.core.errors import excerpt
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.feeds import Answer, Feeds, questions, told
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.snapshot import Reading
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import EventSource
from natsscaler.core.subjects import subscribable, too_wide
from natsscaler.core.waking import WakeSource
from natsscaler.reactor.context import Shared
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.questions import Questions
from natsscaler.reactor.rule_state import Fed, RuleState

DOORBELL_BYTES = 64 * 1024
"""Bytes that it may cost, as far as the size of the last messages tells."""
MAX_FEEDS = 64
"""Subjects of a rule's doorbell; all rules of a connection share its subscriptions."""
ARM_SECONDS = 5.0
"""After how long no more doorbells are subscribed in one go: a server may take its time for each."""
UNKNOWN_SECONDS, PASSING_SECONDS = 30.0, 5.0
"""After how long NATS is asked again for feeds that it does not know, or did not answer about."""


class Doorbells:
    """Keeps each rule's doorbell as its last decision needs it."""

    def __init__(self, shared: Shared, ring: Callable[[RuleState, WakeSource], None]) -> None:
        self._shared = shared
        self._ring = ring

    def due(self, states: Iterable[RuleState]) -> dict[ConnectionPort, list[RuleState]]:
        """Begin to arm the doorbells that are due; the caller passes them to `arm`, by connection."""
        now, due = self._shared.clock(), dict[ConnectionPort, list[RuleState]]()
        for state in states:
            if state.free and isinstance(state.arm, Due) and state.arm.at <= now:
                if state.connection is None:
                    state.arm = drop(state.arm)
                else:
                    state.arm, state.in_hand = begin(state.arm), True
                    due.setdefault(state.connection, []).append(state)
        return due

    async def arm(self, connection: ConnectionPort, states: Collection[RuleState]) -> None:
        """Subscribe doorbells on a connection, and ask for a read: one that begins then misses no message."""
        try:
            await self._arm(connection, states)
        finally:
            for state in states:
                if isinstance(state.arm, Arming):  # something went wrong
                    state.arm = failed(state.arm, self._shared.clock(), room=True)

    async def _arm(self, connection: ConnectionPort, states: Collection[RuleState]) -> None:
        await self._ask(connection, states)
        due = [state for state in states if not state.gone and self._has_news(state)]
        wanted = []
        for state in due:
            if self._wants_doorbell(state):
                wanted.append(state)
            else:
                await self._do_without(state)
        until = self._shared.clock() + ARM_SECONDS
        for state in wanted:
            if self._shared.clock() < until:
                await self._subscribe(connection, state)
            else:
                await self.disarm(state)
        settled = not wanted or await connection.settle()
        for state in wanted:
            if not isinstance(state.arm, Arming):
                continue
            if not settled or state.doorbell is None:
                await self.disarm(state)
                room = not (settled and connection.limited)
                state.arm = failed(state.arm, self._shared.clock(), room=room)
            else:
                state.arm = armed(state.arm, self._shared.clock())
        for state in due:
            state.confirm_at = self._shared.clock()

    async def _ask(self, connection: ConnectionPort, states: Iterable[RuleState]) -> None:
        """Ask NATS what feeds the backlogs of rules of which it has not said so for good."""

        async def put(name: str) -> Answer:
            stream, _, consumer = name.partition("/")
            if consumer:
                return await connection.consumer_info(stream, consumer)
            return await connection.stream_info(stream)

        backlogs = {
            state.rule.key: (state, _claim(state), state.seen.counted)
            for state in states
            if state.seen and state.seen.counted
            if not (feeds := _feeds(state)) or feeds.unknown
        }
        wanted = {key: Questions(there=questions(backlog)) for key, (_, _, backlog) in backlogs.items()}
        answers = await self._shared.asking.ask(connection, wanted, put) if wanted else {}
        now = self._shared.clock()
        for key, (state, claim, backlog) in backlogs.items():
            feeds = told(backlog, answers[key])
            state.fed = Fed(claim, feeds, now + (PASSING_SECONDS if feeds.passing else UNKNOWN_SECONDS))

    def _has_news(self, state: RuleState) -> bool:
        """Tell whether to evaluate the rule; it is asked for again later if its feeds still are unknown."""
        feeds = _feeds(state)
        if feeds and feeds.unknown and feeds.unknown == state.evaluation.events:
            state.arm = drop(state.arm, state.fed.again_at)
            return False
        return True

    def _wants_doorbell(self, state: RuleState) -> bool:
        feeds, seen = _feeds(state), state.seen
        if not feeds or feeds.unknown or not seen or not state.connection:
            return False
        if _unheard(feeds.subjects, state.connection):
            return False
        one = state.evaluation
        return (
            one.decision is not None
            and messages_until_change(one.rule, seen, one.decision.memory) is not None
        )

    async def _subscribe(self, connection: ConnectionPort, state: RuleState) -> None:
        feeds = state.fed.feeds.subjects if state.fed.feeds else ()
        await self.disarm(state)
        limit = max(1, min(DOORBELL_LIMIT, DOORBELL_BYTES // state.message_size))
        ring = partial(self._ring, state, WakeSource.DOORBELL)
        state.armed_for = (connection, feeds)
        state.doorbell = await connection.doorbell(feeds, limit, ring)
        if state.gone:  # meanwhile
            await self.disarm(state)

    async def tend(self, state: RuleState, heard: int, began: float) -> None:
        """Leave the doorbell as the decision needs it: lower, away, or to be armed at a later time.

        `heard` is what it had been delivered when the read began that the decision was made on.
        """
        now, bell, one = self._shared.clock(), state.doorbell, state.evaluation
        if bell:
            since = state.arm.since if isinstance(state.arm, Armed) else -math.inf
            certain_at = max(since, bell.last_delivery) + CONFIRM_SECONDS
            state.confirm_at = certain_at if began < certain_at else math.inf
        feeds = _feeds(state)
        listening = one.events is not None and one.events.reason in (
            Reason.LISTENING,
            Reason.SUBSCRIPTION_LIMIT,
        )
        missing = (
            messages_until_change(one.rule, one.seen, one.decision.memory)
            if listening and one.seen and one.decision
            else None
        )
        if state.step(self._shared.clock()):
            state.arm = calm(state.arm)  # the evaluation that follows the scaling arms again
        elif _to_be_asked(state):
            state.arm = ask(state.arm, now)
        elif missing is None or state.seen is None or state.seen.counted is None or not feeds:
            await self._do_without(state, state.fed.again_at if feeds and feeds.unknown else math.inf)
        elif bell is None or state.armed_for != (state.connection, feeds.subjects):
            room = state.connection is not None and not state.connection.limited
            state.arm = need(state.arm, now, room=room)  # another connection, or made anew
        elif bell.spent:
            state.arm = rang(state.arm, now)
            await bell.close()
        else:
            await bell.lower(heard + missing)

    async def _do_without(self, state: RuleState, again_at: float = math.inf) -> None:
        state.arm = drop(state.arm, again_at)
        await self.disarm(state)

    async def disarm(self, state: RuleState) -> None:
        """Take the doorbell away, if there is one; what it learnt of the messages' size stays."""
        bell, state.doorbell = state.doorbell, None
        if bell:
            state.message_size = bell.largest or state.message_size
            await bell.close()

    def finding(self, state: RuleState, found: Reading | Unknown) -> Finding | None:
        """Say whether messages wake the rule, or why not; None: the connection is being made."""
        if EventSource.DOORBELL not in self._shared.settings.events & set(state.rule.spec.events):
            return Finding(
                Reason.SWITCHED_OFF, "The doorbell is off (spec.events, --events), so the rule is polled"
            )
        connection = state.connection
        if connection is None:
            return Finding(
                Reason.NOT_CONNECTED,
                "The address of NATS is unknown until natsMonitoringURL answers. spec.nats.url can name it",
            )
        listening = connection.state
        if listening is None or listening.reason is not Reason.LISTENING:
            return listening
        backlog = state.seen.counted if state.seen else None
        if isinstance(found, Unknown) or backlog is None:
            return _lasting(state.evaluation.events) or listening
        server = found.server
        if connection.server_id != server.server_id and not (
            connection.cluster and connection.cluster == server.cluster.name
        ):
            return Finding(
                Reason.OTHER_SERVER, "NATS leads to another server than natsMonitoringURL. Set spec.nats.url"
            )
        deaf = _deaf(backlog, connection) or _unheard(backlog.feeds, connection)
        return deaf or _by_feeds(state, connection, listening)


def _by_feeds(state: RuleState, connection: ConnectionPort, listening: Finding) -> Finding | None:
    """Say whether the feeds that NATS tells of are listened to; until it has told of them nothing is news."""
    feeds = _feeds(state)
    if feeds is None:
        events = state.evaluation.events
        return listening if events and events.reason is Reason.LISTENING else None
    unheard = feeds.unknown or _unheard(feeds.subjects, connection)
    return unheard or _crowded_out(state, connection) or listening


def _lasting(events: Finding | None) -> Finding | None:
    """Return a finding that a backlog which is unknown for a moment does not refute."""
    return events if events and events.reason.about.lasts else None


def _crowded_out(state: RuleState, connection: ConnectionPort) -> Finding | None:
    """Say that there is no room for the rule's doorbell, if so."""
    if not (isinstance(state.arm, Due) and state.arm.why is Why.NO_ROOM and connection.limited):
        return None
    return Finding(
        Reason.SUBSCRIPTION_LIMIT,
        "NATS limits the subscriptions of a connection or account, and there was no room for this rule's."
        f" Raise max_subscriptions. The operator tries again every {NO_ROOM_SECONDS:g} s",
    )


def _claim(state: RuleState) -> object:
    """Return all that an answer about the feeds of a rule depends on."""
    backlog, connection = (state.seen.counted if state.seen else None), state.connection
    if backlog is None or connection is None:
        return None
    source = backlog.source
    return connection, connection.whose, source.consumers, source.created, backlog.feeds, backlog.whole


def _feeds(state: RuleState) -> Feeds | None:
    """Return what NATS has said that feeds the backlog, if it was asked for this one."""
    claim = _claim(state)
    return state.fed.feeds if claim is not None and state.fed.claim == claim else None


def _to_be_asked(state: RuleState) -> bool:
    """Tell whether NATS is to be asked for the feeds of a rule, as nothing else keeps it from being woken."""
    unsaid = state.evaluation.events is None or state.evaluation.events.reason is Reason.LISTENING
    connected = state.connection and state.connection.state
    listens = bool(connected and connected.reason is Reason.LISTENING)
    return unsaid and listens and _claim(state) is not None and _feeds(state) is None


def _unheard(subjects: Sequence[str], connection: ConnectionPort) -> Finding | None:
    """Say why these cannot be subscribed to, if so."""
    unusable = next(filterfalse(subscribable, subjects), None)
    if unusable is not None:
        return Finding(
            Reason.SUBJECT_UNUSABLE,
            f"A filter of the stream or consumer, {excerpt(unusable)!r}, cannot be subscribed to:"
            " * and > stand alone in a token, without blanks, in 1,024 bytes and 255 tokens at most",
        )
    if len(subjects) > MAX_FEEDS:
        return _too_many(f"at least {len(subjects)} filters")
    wide = next(filter(too_wide, subjects), None)
    if wide:
        return Finding(Reason.SUBJECT_TOO_WIDE, f"Subject {wide} also covers traffic that feeds no stream")
    denied = connection.denied(subjects)
    if denied:
        return Finding(Reason.PERMISSION_DENIED, f"The NATS user may not subscribe to {denied}")
    return None


def _too_many(what: str) -> Finding:
    return Finding(
        Reason.SUBJECT_UNUSABLE,
        f"The backlog is fed by {what}, and a rule listens on {MAX_FEEDS} at most."
        " Use fewer and wider filters",
    )


def _deaf(backlog: Backlog, connection: ConnectionPort) -> Finding | None:
    """Say why no message of this backlog could be heard on the connection, if so."""
    if backlog.account_key != connection.account:
        return Finding(
            Reason.OTHER_ACCOUNT,
            f"The stream is in account {backlog.source.account}, but events come from {connection.account}",
        )
    if backlog.sourced:
        return Finding(
            Reason.SOURCED_STREAM, "The stream is filled from other streams, which ring no doorbell"
        )
    asked = len(questions(backlog))
    return _too_many(f"{asked} streams and consumers") if asked > MAX_FEEDS else None
