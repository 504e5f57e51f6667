"""What is going on, for those who look: every rule as it is now, its past, and the actions of all.

The reactor reports here, the page reads, and nothing that is decided depends on it. Each change gets the next
version, so that a reader who knows one can ask for what has changed since: however slow it is, it costs no
memory, as it is given the state of a rule and not each step on the way there.
"""

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from natsscaler.core.conditions import Facts, compose
from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.rule import Rule, RuleKey
from natsscaler.core.status import Action, RuleStatus, epoch
from natsscaler.core.waking import WakeSource
from natsscaler.observe.timeline import Timeline

ACTIONS_OF_A_RULE = 20
"""How many actions of one rule are kept."""
GONE = 1000
"""How many rules that went are remembered; whoever knows only an older version is given all anew."""


class Seen:
    """One rule as it is known here."""

    __slots__ = ("_status", "actions", "facts", "history", "key", "rule", "version", "woken")

    def __init__(self, key: RuleKey) -> None:
        self.key = key
        self.rule: Rule | None = None
        """None: it cannot be used, as its status says."""
        self.facts: Facts | None = None
        """Of the last evaluation; None: this process has not evaluated it."""
        self.woken: Mapping[WakeSource, float] = {}
        """When each source last caused an evaluation, in seconds since the epoch; empty: none here so far."""
        self.history = Timeline()
        self.actions: tuple[Action, ...] = ()
        """Newest first."""
        self.version = 0
        self._status = RuleStatus()

    @property
    def status(self) -> RuleStatus:
        """What is true of it now; without an evaluation here, what another process wrote last."""
        return compose(self.facts, self._status) if self.facts else self._status

    def take(self, rule: Rule | None, status: RuleStatus) -> None:
        """Replace what is known by what stands in the Kubernetes API."""
        self.rule, self._status, self.facts = rule, status, None

    def evaluated(self, facts: Facts, written: RuleStatus, woken: Mapping[WakeSource, float]) -> bool:
        """Take in an evaluation; return whether anything but time has passed."""
        old, self.facts = self.facts, facts
        new_status, self._status, self.woken = written is not self._status, written, woken
        return new_status or old is None or _outcome(old) != _outcome(facts)


class Changes(NamedTuple):
    """What has changed since a version."""

    version: int
    """To ask for what follows."""
    everything: bool
    """These are all rules and actions: forget what you know."""
    rules: list[Seen]
    gone: list[RuleKey]
    actions: list[Action]
    """Oldest first."""


class Activity:
    """Everything of one process; `size`: how many actions of all rules together are kept."""

    def __init__(self, size: int) -> None:
        self._rules: dict[RuleKey, Seen] = {}
        """The one that changed last comes last."""
        self._gone: deque[tuple[int, RuleKey]] = deque(maxlen=GONE)
        self._forgotten = 0
        """The newest version of which not every rule that has gone since is remembered."""
        self._size = size
        self._actions: list[tuple[int, Action]] = []
        """Oldest first, with the version that each came in."""
        self._version = 1
        self._news = asyncio.Event()

    def learn(self, key: RuleKey, rule: Rule | None, status: RuleStatus) -> None:
        """Take a rule as it stands in the Kubernetes API; None: it cannot be used."""
        seen = self._rules.get(key) or Seen(key)
        seen.take(rule, status)
        last = status.last_decision
        decided_at = epoch(last.time) if last else None
        if decided_at is not None and not seen.woken:
            ready = status.ready_replicas
            seen.history.add(decided_at, status.pending_messages, status.current_replicas, ready)
        self._touch(seen)
        self._add(seen, reversed(status.recent_actions))

    def evaluated(self, facts: Facts, written: RuleStatus, woken: Mapping[WakeSource, float]) -> None:
        """Take in an evaluation, and the status as written last; `woken` as in Seen."""
        seen = self._rules.get(facts.rule.key)
        if seen is None:
            return
        now = facts.seen
        backlog = now.backlog.messages if now and isinstance(now.backlog, Backlog) else None
        replicas, ready = (now.replicas, facts.ready) if now else (None, None)
        seen.history.add(facts.now, backlog, replicas, ready)
        if seen.evaluated(facts, written, woken):
            self._touch(seen)

    def record(self, key: RuleKey, action: Action) -> None:
        """Add the newest action of a rule."""
        seen = self._rules.get(key)
        if seen:
            self._touch(seen)
        else:
            self._ring()
        self._add(seen or Seen(key), (action,))

    def forget(self, key: RuleKey) -> None:
        """Drop a rule that is gone; its actions stay among those of all."""
        if self._rules.pop(key, None):
            if len(self._gone) == GONE:
                self._forgotten = self._gone[0][0]
            self._ring()
            self._gone.append((self._version, key))

    @property
    def actions(self) -> list[Action]:
        """The last actions of all rules, newest first."""
        return [action for _, action in reversed(self._actions)]

    @property
    def version(self) -> int:
        """Up to which everything is known now."""
        return self._version

    @property
    def rules(self) -> list[Seen]:
        """All rules, by name."""
        return sorted(self._rules.values(), key=lambda seen: seen.key)

    def rule(self, key: RuleKey) -> Seen | None:
        """Return a rule, if it is known."""
        return self._rules.get(key)

    def changes(self, since: int) -> Changes:
        """Say what has changed since a version that `changes` gave; 0: say everything."""
        if not since or not self._forgotten <= since <= self._version:
            return Changes(self._version, True, self.rules, [], self.actions[::-1])
        rules: list[Seen] = []
        for seen in reversed(self._rules.values()):
            if seen.version <= since:
                break
            rules.append(seen)
        gone = [key for version, key in self._gone if version > since and key not in self._rules]
        actions = [action for version, action in self._actions if version > since]
        return Changes(self._version, False, rules, gone, actions)

    async def news(self, since: int) -> None:
        """Return once something has changed since this version."""
        while self._version == since:
            await self._news.wait()

    def _add(self, seen: Seen, actions: Iterable[Action]) -> None:
        for action in actions:
            if action in seen.actions:
                continue
            seen.actions = (action, *seen.actions)[:ACTIONS_OF_A_RULE]
            if not self._has(action):
                insort(self._actions, (self._version, action), key=_time)
                del self._actions[: -self._size]

    def _has(self, action: Action) -> bool:
        """Tell whether this is among the actions of all, as when its rule was forgotten and comes again."""
        first = bisect_left(self._actions, action.timestamp, key=_time)
        return any(
            known == action for _, known in self._actions[first:] if known.timestamp == action.timestamp
        )

    def _touch(self, seen: Seen) -> None:
        self._ring()
        seen.version = self._version
        self._rules.pop(seen.key, None)
        self._rules[seen.key] = seen

    def _ring(self) -> None:
        self._version += 1
        self._news.set()
        self._news = asyncio.Event()


def _time(dated: tuple[int, Action]) -> str:
    return dated[1].timestamp


def _outcome(facts: Facts) -> tuple[object, ...]:
    """What there is to see of an evaluation, apart from its time."""
    decision = facts.decision
    said = decision and (decision.desired, decision.reason, decision.message, decision.permitted)
    seen = facts.seen and (facts.seen.backlog, facts.seen.replicas, facts.ready)
    return seen, said, facts.unable, facts.events, facts.late
