"""Whatever keeps a rule from scaling, the page says so first, with the reason and the fix."""

import pytest
from msgspec.structs import replace

from natsscaler.core.conditions import Facts, compose, invalid
from natsscaler.core.explain.headline import headline, retell
from natsscaler.core.explain.story import explain
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Finding, Reason, State, Topic
from natsscaler.core.status import RuleStatus
from tests.support.activity import NOW, RULE, facts, named
from tests.support.factories import facts as make
from tests.support.factories import seen
from tests.support.waiting import WAITING_FOR

PREFIXES = ("MONITORING_", "ACCOUNT_", "AMBIGUOUS_", "SECRET_", "CREDENTIALS_")
UNKNOWN = [
    *(reason for reason in Reason if reason.name.startswith(PREFIXES)),
    *(Reason.ADDRESS_NOT_ALLOWED, Reason.JETSTREAM_DISABLED, Reason.STREAM_NOT_FOUND),
    *(Reason.CONSUMER_NOT_FOUND, Reason.CONSUMER_GONE, Reason.LEADER_UNCLEAR, Reason.NOT_YET_READ),
]
UNABLE = [
    *(Reason.TARGET_NOT_FOUND, Reason.TARGET_OWNED_BY_ANOTHER, Reason.CROSS_NAMESPACE_NOT_ALLOWED),
    *(Reason.NAMESPACE_NOT_WATCHED, Reason.CONFLICT, Reason.FORBIDDEN, Reason.DENIED),
    *(Reason.KUBERNETES_UNAVAILABLE, Reason.LEADERSHIP_LOST),
]
WHY = "this and that"


@pytest.mark.parametrize("reason", UNKNOWN)
def test_a_backlog_that_is_not_known_is_to_be_fixed(reason: Reason) -> None:
    said = headline(RULE.key, RULE, compose(facts(seen(Unknown(reason, WHY), 3)), RuleStatus()))
    assert said.state is State.BLOCKED
    assert said.title.startswith("Not scaling: ")
    assert "backlog is unknown" not in said.title, "the reason is in it"
    assert WHY in said.text
    assert said.fix


@pytest.mark.parametrize("reason", UNABLE)
def test_a_deployment_that_cannot_be_scaled_is_to_be_fixed(reason: Reason) -> None:
    found = facts(seen(801, 3), unable=Finding(reason, WHY))
    said = headline(RULE.key, RULE, compose(found, RuleStatus()))
    assert said.state is State.BLOCKED
    assert said.title.startswith("Not scaling: ")
    assert "backlog" not in said.title
    assert (said.text, bool(said.fix)) == (WHY, True)


@pytest.mark.parametrize("count", [20, 801])
def test_a_rule_that_is_polled_as_nats_is_not_connected_is_not_well(count: int) -> None:
    deaf = Finding(Reason.NOT_CONNECTED, "nats://nats:4222: connection refused")
    said = headline(RULE.key, RULE, compose(make(count, events=deaf), RuleStatus()))
    assert said.state is State.ATTENTION
    assert said.title == "Polled: there is no connection to NATS"
    assert said.text.startswith("Polled every 30 s: nats://nats:4222: connection refused. ")
    assert said.fix


def test_a_rule_that_is_polled_by_choice_is_well() -> None:
    chosen = Finding(Reason.SWITCHED_OFF, "spec.events is Disabled")
    assert headline(RULE.key, RULE, compose(make(20, events=chosen), RuleStatus())).state is State.OK


@pytest.mark.parametrize(
    "found", [*(found for _, found, _ in WAITING_FOR), make(20), make(51), make(51, 10), make(9, 1)]
)
def test_a_process_that_stands_by_says_the_same_of_the_next_change(found: Facts) -> None:
    said = [
        next(step for step in steps if step.title == "Next change")
        for steps in (explain(found), retell(found.rule.key, found.rule, compose(found, RuleStatus())))
    ]
    assert said[0] == said[1]


def test_every_reason_of_a_decision_has_its_words() -> None:
    decided = {
        facts(seen(count, replicas), rule=rule).decision
        for count in (0, 20, 801)
        for replicas in (0, 1, 3, 10, 12)
        for rule in (RULE, named("orders", messagesPerReplica=10, minReplicas=2))
    }
    reasons = {decision.reason for decision in decided if decision}
    assert len(reasons) > 5
    assert {reason.about.topic for reason in reasons} == {Topic.DECISION, Topic.SWITCH}


def test_a_status_of_a_later_version_is_shown_as_it_is() -> None:
    status = compose(facts(seen(Unknown(Reason.STREAM_NOT_FOUND, WHY), 3)), RuleStatus())
    ready, able, active, *_ = status.conditions
    later = RuleStatus(conditions=(ready, able, replace(active, reason="NewReason", message=WHY)))
    said = headline(RULE.key, RULE, later)
    assert (said.state, said.text, said.fix) == (State.BLOCKED, WHY, None)


def test_a_rule_that_is_invalid_or_new_is_told_as_such() -> None:
    broken = invalid(Finding(Reason.INVALID_RULE, WHY), 1, RuleStatus(), NOW)
    assert WHY in retell(RULE.key, None, broken)[0].text
    assert headline(RULE.key, None, broken).state is State.BLOCKED
    (outcome,) = retell(RULE.key, RULE, RuleStatus())
    assert (outcome.state, outcome.text) == (State.WAITING, "The operator has not evaluated this rule yet")
