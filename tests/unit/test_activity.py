"""What the page knows: complete for whoever asks for the first time, and for whoever comes back."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.conditions import compose
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import RECENT_ACTIONS, Action, RuleStatus
from natsscaler.core.waking import WakeSource
from natsscaler.observe.feed import ACTIONS_OF_A_RULE, Activity, Seen
from tests.support.activity import NOW, RULE, action, facts, named
from tests.support.factories import UNKNOWN, seen


def only(activity: Activity, key: RuleKey = RULE.key) -> Seen:
    found = activity.rule(key)
    assert found
    return found


def test_an_evaluation_is_seen_as_it_is_long_before_a_status_is_written() -> None:
    activity = Activity(100)
    activity.learn(RULE.key, RULE, RuleStatus())
    activity.evaluated(facts(seen(801, 3)), RuleStatus(), {WakeSource.DOORBELL: NOW})
    status = only(activity).status
    assert (status.pending_messages, status.current_replicas) == (801, 3)
    assert status.last_decision
    assert status.last_decision.reason == Reason.BACKLOG_ABOVE_THRESHOLD
    assert only(activity).woken == {WakeSource.DOORBELL: NOW}
    assert only(activity).history.points(NOW) == [(NOW, 801, 3, None)]


def test_a_follower_shows_what_the_leader_has_written_at_the_times_when_it_was_true() -> None:
    activity = Activity(100)
    for count, time in ((7, NOW - 60), (801, NOW)):
        written = compose(facts(seen(count, 3), now=time), RuleStatus())
        activity.learn(RULE.key, RULE, written)
    assert only(activity).status.pending_messages == 801
    assert only(activity).history.points(NOW) == [(NOW - 60, 7, 3, None), (NOW, 801, 3, None)]


def test_old_counts_of_a_status_do_not_spoil_what_was_seen_since() -> None:
    activity = Activity(100)
    written = compose(facts(seen(801, 3), now=NOW - 3), RuleStatus())
    activity.learn(RULE.key, RULE, RuleStatus())
    activity.evaluated(facts(seen(7, 3)), written, {WakeSource.RULE: NOW})
    activity.learn(RULE.key, named("orders", maxReplicas=5), written)  # edited
    assert only(activity).history.points(NOW + 10) == [(NOW, 7, 3, None)]


def test_a_backlog_that_is_not_known_leaves_a_gap_and_no_zero() -> None:
    activity = Activity(100)
    activity.learn(RULE.key, RULE, RuleStatus())
    activity.evaluated(facts(seen(UNKNOWN, 3)), RuleStatus(), {WakeSource.DEADLINE: NOW})
    assert only(activity).history.points(NOW) == [(NOW, None, 3, None)]


def test_time_alone_is_no_news() -> None:
    activity = Activity(100)
    status = RuleStatus()
    activity.learn(RULE.key, RULE, status)
    activity.evaluated(facts(seen(7, 3)), status, {WakeSource.DEADLINE: NOW})
    known = activity.version
    activity.evaluated(facts(seen(7, 3), now=NOW + 30), status, {WakeSource.DEADLINE: NOW + 30})
    assert activity.version == known
    for news in (
        facts(seen(8, 3)),
        facts(seen(8, 4)),
        facts(seen(Unknown(Reason.STREAM_NOT_FOUND, "no stream"), 4)),
        facts(seen(8, 4), unable=Finding(Reason.CONFLICT, "somebody else")),
        replace(facts(seen(8, 4)), events=None),
    ):
        activity.evaluated(news, status, {WakeSource.DEADLINE: NOW})
        assert activity.changes(known).rules == [only(activity)]
        known = activity.version


def test_actions_come_back_from_the_statuses_newest_first_and_none_twice() -> None:
    activity = Activity(4)
    for name, numbers in (("b", (5, 3)), ("a", (4, 2, 1))):
        status = RuleStatus(recent_actions=tuple(action(number, name) for number in numbers))
        activity.learn(RuleKey("default", name), named(name), status)
        activity.learn(RuleKey("default", name), named(name), status)
    activity.forget(RuleKey("default", "a"))
    activity.learn(RuleKey("default", "a"), named("a"), status)
    activity.record(RuleKey("default", "b"), action(6, "b"))
    assert [found.from_replicas for found in activity.actions] == [6, 5, 4, 3]
    assert [found.from_replicas for found in only(activity, RuleKey("default", "b")).actions] == [6, 5, 3]


def test_a_rule_keeps_a_bounded_number_of_actions() -> None:
    activity = Activity(10_000)
    activity.learn(RULE.key, RULE, RuleStatus())
    for number in range(50):
        activity.record(RULE.key, action(number))
    assert len(only(activity).actions) == ACTIONS_OF_A_RULE > RECENT_ACTIONS
    assert only(activity).actions[0].from_replicas == 49
    assert len(activity.actions) == 50


def test_a_rule_that_cannot_be_used_is_shown_with_the_reason() -> None:
    activity = Activity(100)
    activity.learn(RULE.key, None, RuleStatus())
    assert (only(activity).rule, only(activity).facts) == (None, None)


def test_an_evaluation_of_a_rule_that_is_gone_is_left_out() -> None:
    activity = Activity(100)
    activity.evaluated(facts(seen(7, 3)), RuleStatus(), {})
    assert activity.rules == []


class Page:
    """Whoever reads the changes, and comes back now and then."""

    def __init__(self) -> None:
        self.known = 0
        self.rules: dict[RuleKey, RuleStatus] = {}
        self.actions: list[Action] = []

    def read(self, activity: Activity) -> None:
        changes = activity.changes(self.known)
        if changes.everything:
            self.rules, self.actions = {}, []
        for key in changes.gone:
            self.rules.pop(key, None)
        self.rules |= {found.key: found.status for found in changes.rules}
        self.actions += changes.actions
        self.known = changes.version


STEPS = st.lists(
    st.tuples(st.sampled_from(["learn", "evaluate", "act", "forget", "read"]), st.integers(0, 3)), max_size=60
)


@given(STEPS)
def test_whenever_a_page_reads_it_has_everything_and_nothing_twice(steps: list[tuple[str, int]]) -> None:
    activity, page = Activity(1000), Page()
    for number, (step, which) in enumerate(steps):
        rule = named(f"rule-{which}")
        if step == "learn":
            activity.learn(rule.key, rule, RuleStatus())
        elif step == "evaluate":
            activity.evaluated(
                facts(seen(number, which), rule=rule), RuleStatus(), {WakeSource.DEADLINE: NOW}
            )
        elif step == "act":
            activity.record(rule.key, action(number))
        elif step == "forget":
            activity.forget(rule.key)
        else:
            page.read(activity)
    page.read(activity)
    assert page.rules == {found.key: found.status for found in activity.rules}
    assert page.actions == activity.actions[::-1]


def test_a_page_that_was_away_for_too_long_is_told_everything() -> None:
    activity, page = Activity(100), Page()
    activity.learn(RULE.key, RULE, RuleStatus())
    page.read(activity)
    for number in range(1001):
        rule = named(f"rule-{number}")
        activity.learn(rule.key, rule, RuleStatus())
        activity.forget(rule.key)
    assert activity.changes(page.known).everything
    page.read(activity)
    assert list(page.rules) == [RULE.key]
    assert not activity.changes(page.known).everything


async def test_news_are_waited_for() -> None:
    activity = Activity(100)
    waiting = asyncio.create_task(activity.news(activity.version))
    await asyncio.sleep(0)
    assert not waiting.done()
    activity.learn(RULE.key, RULE, RuleStatus())
    async with asyncio.timeout(5):
        await waiting
