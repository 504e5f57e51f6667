"""What a status says in each state that a rule can be in."""

from itertools import product

import pytest
from msgspec.structs import replace

from natsscaler.core.conditions import Facts, compose, invalid, merge
from natsscaler.core.decision.pipeline import messages_until_change
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.status import (
    USUAL,
    LastScaling,
    RuleStatus,
    changed_conditions,
    new_count,
    noticeable,
    rfc3339,
)
from tests.support.factories import LISTENING, NOW, SOURCE, UNKNOWN, backlog, facts, proportional, rule

NOT_CONNECTED = Finding(Reason.NOT_CONNECTED, "There is no connection to NATS")
NO_TARGET = Finding(Reason.TARGET_NOT_FOUND, "There is no Deployment default/my-app")
KINDS = ["Ready", "AbleToScale", "ScalingActive", "ScalingLimited", "EventDriven"]


def summary(status: RuleStatus) -> dict[str, str]:
    return {one.type: f"{one.status} {one.reason}" for one in status.conditions}


def composed(*given: Facts) -> RuleStatus:
    status = RuleStatus()
    for one in given:
        status = compose(one, status)
    return status


WELL = {
    "Ready": "True Scaling",
    "AbleToScale": "True ReadyForNewScale",
    "ScalingActive": "True ValidMetricFound",
    "ScalingLimited": "False DesiredWithinRange",
    "EventDriven": "True Listening",
}


@pytest.mark.parametrize(
    ("given", "different"),
    [
        pytest.param(facts(30), {}, id="all-is-well"),
        pytest.param(facts(51), {}, id="scaling-up"),
        pytest.param(facts(51, 10), {"ScalingLimited": "True TooManyReplicas"}, id="at-the-maximum"),
        pytest.param(
            facts(30, 1, made=rule(minReplicas=2)),
            {"ScalingLimited": "True TooFewReplicas"},
            id="below-the-minimum",
        ),
        pytest.param(
            facts(UNKNOWN),
            {"Ready": "False MonitoringTimeout", "ScalingActive": "False MonitoringTimeout"},
            id="unknown",
        ),
        pytest.param(
            facts(backlog(30, paused=True)),
            {"Ready": "False ConsumerPaused", "ScalingActive": "False ConsumerPaused"},
            id="consumer-paused",
        ),
        pytest.param(
            facts(None),
            {
                **dict.fromkeys(("Ready", "ScalingActive"), "False NotYetRead"),
                "ScalingLimited": "Unknown NotYetRead",
            },
            id="not-yet-read",
        ),
        pytest.param(
            facts(30, 0),
            {"Ready": "True ScalingDisabled", "ScalingActive": "False ScalingDisabled"},
            id="switched-off",
        ),
        pytest.param(
            facts(30, made=rule(paused=True)),
            {"Ready": "True Paused", "ScalingActive": "False Paused", "Paused": "True Paused"},
            id="paused-by-a-person",
        ),
        pytest.param(
            facts(30, made=rule(dryRun=True)),
            {"Ready": "True DryRun", "ScalingActive": "False DryRun"},
            id="a-rehearsal",
        ),
        pytest.param(
            facts(30, 0, made=rule(paused=True, dryRun=True)),
            {
                "Ready": "True ScalingDisabled",
                "ScalingActive": "False ScalingDisabled",
                "Paused": "True Paused",
            },
            id="switched-off-says-more-than-paused",
        ),
        pytest.param(
            facts(UNKNOWN, made=rule(paused=True)),
            {"Ready": "False MonitoringTimeout", "ScalingActive": "False Paused", "Paused": "True Paused"},
            id="paused-and-unknown",
        ),
        pytest.param(
            facts(30, unable=NO_TARGET),
            {"Ready": "False TargetNotFound", "AbleToScale": "False TargetNotFound"},
            id="unable",
        ),
        pytest.param(
            facts(UNKNOWN, unable=NO_TARGET),
            {
                "Ready": "False TargetNotFound",
                "AbleToScale": "False TargetNotFound",
                "ScalingActive": "False MonitoringTimeout",
            },
            id="unable-and-unknown",
        ),
        pytest.param(
            facts(30, events=NOT_CONNECTED), {"EventDriven": "False NotConnected"}, id="by-deadline-only"
        ),
    ],
)
def test_the_conditions_of_a_state(given: Facts, different: dict[str, str]) -> None:
    status = composed(given)
    assert summary(status) == {**WELL, **different}
    assert [one.type for one in status.conditions if one.type != "Paused"] == KINDS


MANY = [
    facts(messages, replicas, made=made, unable=unable, events=events)
    for messages, replicas, made, unable, events in product(
        [0, 30, 51, UNKNOWN, backlog(5, paused=True), None],
        [0, 1, 10, 12],
        [rule(), rule(paused=True), rule(dryRun=True), proportional()],
        [None, NO_TARGET],
        [LISTENING, NOT_CONNECTED],
    )
]


def test_every_condition_has_a_status_a_reason_and_a_sentence() -> None:
    for given in MANY:
        for one in composed(given).conditions:
            assert one.status in {"True", "False", "Unknown"}
            assert one.reason in set(Reason)
            assert one.message
            assert one.observed_generation == given.rule.generation
            assert one.last_transition_time == rfc3339(NOW)


def test_ready_is_false_exactly_while_something_is_wrong() -> None:
    for given in MANY:
        backlog_is_wrong = given.seen is None or (
            isinstance(given.seen.backlog, Unknown) or given.seen.backlog.paused
        )
        ready = composed(given).condition("Ready")
        assert ready is not None
        assert (ready.status == "False") == (given.unable is not None or backlog_is_wrong)


def test_it_is_known_of_every_condition_when_it_is_bad() -> None:
    assert set(USUAL) == {*KINDS, "Paused", "ScaledToZero"}
    bad = {one.type for given in MANY for one in composed(given).conditions if one.is_bad}
    assert bad == set(KINDS) - {"ScalingLimited"}


def test_an_unread_backlog_is_never_said_to_be_known() -> None:
    active = composed(facts(None, unable=NO_TARGET)).condition("ScalingActive")
    assert active is not None
    assert (active.status, "The backlog is known" in active.message) == ("False", False)


def test_messages_name_what_they_speak_of() -> None:
    def message(kind: str, given: Facts) -> str:
        found = composed(given).condition(kind)
        assert found is not None
        return found.message

    assert "ORDERS/workers in account $G" in message("ScalingActive", facts(30))
    assert UNKNOWN.message in message("Ready", facts(UNKNOWN))
    assert "ORDERS/workers" in message("ScalingActive", facts(backlog(1, paused=True)))
    assert message("AbleToScale", facts(30, unable=NO_TARGET)) == NO_TARGET.message
    assert message("EventDriven", facts(30)) == LISTENING.message


# The rest of the status.


def test_a_known_backlog_is_written_with_its_parts() -> None:
    given = facts(backlog(20, unacknowledged=11), 3)
    status = composed(given)
    assert (status.observed_generation, status.current_replicas, status.pending_messages) == (3, 3, 31)
    assert status.backlog_source == SOURCE
    last = status.last_decision
    assert last is not None
    assert (last.backlog, last.pending, last.unacknowledged) == (31, 20, 11)
    assert (last.recommendation, last.desired, last.reason) == (3, 3, "WithinThresholds")
    assert last.time == rfc3339(NOW)
    assert last.messages_until_change == 20
    assert last.next_change_time is None


def test_a_step_says_when_time_could_bring_the_next() -> None:
    last = composed(facts(51)).last_decision
    assert last is not None
    assert last.next_change_time == rfc3339(NOW + 30)
    assert last.messages_until_change is None


def test_the_messages_until_change_are_those_of_the_decision() -> None:
    for given in MANY:
        last = composed(given).last_decision
        if last and given.seen:
            assert last.messages_until_change == messages_until_change(given.rule, given.seen)


def test_an_unknown_backlog_is_absent_and_its_source_is_kept() -> None:
    status = composed(facts(30), facts(UNKNOWN))
    assert status.pending_messages is None
    assert status.backlog_source == SOURCE, "so that no worse source takes over"
    assert status.current_replicas == 3
    last = status.last_decision
    assert last is not None
    assert (last.backlog, last.pending, last.unacknowledged) == (None, None, None)


def test_another_source_replaces_the_kept_one() -> None:
    other = replace(SOURCE, match=Match.WITHIN)
    assert composed(facts(30), facts(backlog(30, source=other))).backlog_source == other


def test_what_only_the_past_knows_is_kept() -> None:
    past = RuleStatus(
        last_scaling_action="2025-01-01T00:00:00Z",
        last_scaling_reason="before",
        last_scaling=LastScaling(time="2025-01-01T00:00:00Z", before=1, after=2),
    )
    for given in MANY:
        status = compose(given, past)
        assert status.last_scaling_action == past.last_scaling_action
        assert status.last_scaling_reason == past.last_scaling_reason
        assert status.last_scaling == past.last_scaling


# Over time.


def test_a_status_at_rest_never_changes() -> None:
    first = composed(facts(30))
    later = compose(facts(30, now=NOW + 3_600), first)
    assert not noticeable(first, later)
    assert not new_count(first, later)
    assert later.conditions == first.conditions


def test_a_mere_new_count_is_not_noticed() -> None:
    first = composed(facts(30))
    later = compose(facts(31, now=NOW + 60), first)
    assert not noticeable(first, later)
    assert new_count(first, later)


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    status = composed(facts(UNKNOWN), facts(Unknown(Reason.STREAM_NOT_FOUND, "There is none"), now=NOW + 60))
    active = status.condition("ScalingActive")
    assert active is not None
    assert active.reason == "StreamNotFound"
    assert active.last_transition_time == rfc3339(NOW)
    known_again = compose(facts(30, now=NOW + 120), status).condition("ScalingActive")
    assert known_again is not None
    assert known_again.last_transition_time == rfc3339(NOW + 120)


def test_each_condition_has_a_time_of_its_own() -> None:
    status = composed(facts(30), facts(30, events=NOT_CONNECTED, now=NOW + 60))
    times = {one.type: one.last_transition_time for one in status.conditions}
    assert times.pop("EventDriven") == rfc3339(NOW + 60)
    assert set(times.values()) == {rfc3339(NOW)}


def test_a_rule_that_starts_well_has_no_event() -> None:
    assert changed_conditions(RuleStatus(), composed(facts(30))) == []


def test_an_unknown_backlog_has_one_event_when_it_comes_and_one_when_it_goes() -> None:
    well = composed(facts(30))
    ill = compose(facts(UNKNOWN), well)
    assert [one.type for one in changed_conditions(well, ill)] == ["ScalingActive"]
    assert changed_conditions(ill, compose(facts(UNKNOWN, now=NOW + 60), ill)) == []
    again = compose(facts(30, now=NOW + 60), ill)
    assert [one.reason for one in changed_conditions(ill, again)] == ["ValidMetricFound"]


# A rule that cannot be used.

MISTAKE = Finding(Reason.INVALID_RULE, "spec.subject: Expected `str`")


def test_an_invalid_rule_says_so_and_claims_nothing_else() -> None:
    before = composed(facts(30))
    status = invalid(MISTAKE, 4, before, NOW + 60)
    assert summary(status) == {"Ready": "False InvalidRule", "ScalingActive": "False InvalidRule"}
    assert status.observed_generation == 4
    assert all(one.message == MISTAKE.message for one in status.conditions)
    assert all(one.observed_generation == 4 for one in status.conditions)
    assert noticeable(before, status)
    assert [one.type for one in changed_conditions(before, status)] == ["ScalingActive"]
    assert not noticeable(status, invalid(MISTAKE, 4, status, NOW + 120))


def test_an_invalid_rule_has_no_backlog() -> None:
    status = invalid(MISTAKE, 4, composed(facts(30)), NOW + 60)
    assert (status.pending_messages, status.last_decision) == (None, None)


def test_merge_makes_conditions_in_the_order_of_the_findings() -> None:
    merged = merge({"B": ("True", LISTENING), "A": ("False", NO_TARGET)}, RuleStatus(), 7, NOW)
    assert [(one.type, one.status, one.reason) for one in merged] == [
        ("B", "True", "Listening"),
        ("A", "False", "TargetNotFound"),
    ]
    assert {one.observed_generation for one in merged} == {7}


def test_a_missing_deployment_is_one_event() -> None:
    missing = Finding(Reason.TARGET_NOT_FOUND, "There is no Deployment default/my-app")
    status = compose(replace(facts(30), seen=None, decision=None, unable=missing), RuleStatus())
    assert {one.reason for one in status.conditions} >= {Reason.TARGET_NOT_FOUND}
    reasons = [one.reason for one in changed_conditions(RuleStatus(), status)]
    assert reasons.count(Reason.TARGET_NOT_FOUND) == 1
