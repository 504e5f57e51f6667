"""Why a rule does what it does, step by step: each state that a rule can be in, in the rule's own numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.conditions import Facts, compose
from natsscaler.core.decision.situation import Memory, Want
from natsscaler.core.explain.steps import Step, explain_invalid, fix, next_change
from natsscaler.core.explain.story import explain
from natsscaler.core.jetstream.backlog import Via
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.reasons import RESUME, Finding, Reason, State, Topic
from natsscaler.core.rule import RuleKey
from natsscaler.core.selector import BacklogMode
from natsscaler.core.status import RuleStatus
from tests.support.factories import NOW, SOURCE, UNKNOWN, backlog, facts, proportional, rule
from tests.support.waiting import WAITING_FOR

NOT_CONNECTED = Finding(
    Reason.NOT_CONNECTED, "There is no connection to NATS at nats:4222: the connection was lost"
)
NO_TARGET = Finding(Reason.TARGET_NOT_FOUND, "There is no Deployment default/my-app")
ASKS = (
    "default/my-app-scaling asks for 1 to 10 replicas: more above 50 messages, fewer below 10,"
    " one replica at a time, every 30 s at most"
)
EVERY = ["Rule", "Deployment", "NATS", "Consumer", "Backlog", "Rates", "Recommendation", "Bounds"]


def steps(given: Facts) -> dict[str, Step]:
    return {step.title: step for step in explain(given)}


def test_a_rule_at_rest_is_told_from_its_spec_to_what_happens() -> None:
    told = explain(facts(backlog(29, unacknowledged=1)))
    assert [step.title for step in told] == [*EVERY, "Waking", "Next change", "Outcome"]
    assert [step.text for step in told] == [
        ASKS,
        "Deployment default/my-app asks for 3 replicas, and nothing else scales it",
        "the server answered at http://nats:8222",
        "ORDERS/workers in account $G: durable, and its filter is the rule's subject orders.processing",
        "30 messages: 29 not yet delivered and 1 not yet acknowledged",
        "How fast messages come and are worked off is unknown: it takes two looks that fit together",
        "3 replicas: Backlog 30 is within the thresholds 10 to 50",
        "3 is within minReplicas 1 to maxReplicas 10",
        "Messages wake it at once, and so do 30 s without any. Listening on NATS at nats:4222",
        "21 further messages would ask for more replicas",
        "default/my-app keeps 3 replicas: Backlog 30 is within the thresholds 10 to 50",
    ]
    assert {step.state for step in told} == {State.OK}
    assert [step.fix for step in told if step.fix] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            facts(51),
            "default/my-app is scaled from 3 to 4: Backlog 51 is above scaleUpThreshold 50",
            id="up",
        ),
        pytest.param(
            facts(9),
            "default/my-app is scaled from 3 to 2: Backlog 9 is below scaleDownThreshold 10",
            id="down",
        ),
        pytest.param(
            facts(51, made=rule(paused=True)),
            "default/my-app keeps 3 replicas while the rule is paused;"
            " otherwise default/my-app is scaled from 3 to 4",
            id="paused",
        ),
        pytest.param(
            facts(30, made=rule(dryRun=True)),
            "default/my-app keeps 3 replicas while it is a dry run; otherwise it would keep them too",
            id="dry-run",
        ),
        pytest.param(
            facts(51, 0),
            "default/my-app keeps 0 replicas: The Deployment has 0 replicas, which switches scaling off:"
            " set 1 or more to resume",
            id="switched-off",
        ),
        pytest.param(
            facts(UNKNOWN),
            "default/my-app keeps 3 replicas, because the backlog is unknown."
            " http://nats:8222 did not answer within 5 s",
            id="unknown",
        ),
        pytest.param(
            facts(None, unable=NO_TARGET),
            "The replicas of default/my-app do not change",
            id="no-deployment",
        ),
        pytest.param(
            facts(51, unable=Finding(Reason.FORBIDDEN, "natsscaler may not patch deployments/scale")),
            "default/my-app keeps 3 replicas, although the backlog asks for 4",
            id="forbidden",
        ),
    ],
)
def test_the_last_step_says_what_happens(given: Facts, expected: str) -> None:
    last = explain(given)[-1]
    assert (last.title, last.text) == ("Outcome", expected)


@pytest.mark.parametrize(
    ("given", "title", "text", "state"),
    [
        pytest.param(
            facts(51, memory=Memory(last_up=NOW - 10)),
            "Pace",
            "Not yet: the last step up was less than 30 s ago, until 2026-01-01T00:00:20Z",
            State.WAITING,
            id="the-last-step-up",
        ),
        pytest.param(
            facts(5, memory=Memory(last_down=NOW - 10)),
            "Pace",
            "Not yet: the last step was less than 30 s ago, until 2026-01-01T00:00:20Z",
            State.WAITING,
            id="the-last-step",
        ),
        pytest.param(
            facts(5, 7, made=proportional(), memory=Memory(wants=(Want(NOW - 100, 7),))),
            "Stabilization",
            "Not yet: up to 7 were wanted in the last 300 s, until 2026-01-01T00:03:20Z",
            State.WAITING,
            id="stabilizing",
        ),
        pytest.param(
            facts(45, made=proportional()),
            "Threshold",
            "Not yet: it is not above scaleUpThreshold 50",
            State.WAITING,
            id="not-above-the-threshold",
        ),
        pytest.param(
            facts(51, 10),
            "Bounds",
            "More than maxReplicas 10 are asked for, or were in the stabilization window",
            State.ATTENTION,
            id="at-the-maximum",
        ),
        pytest.param(facts(0, 1), "Bounds", "Never fewer than minReplicas 1", State.OK, id="at-the-minimum"),
        pytest.param(
            facts(UNKNOWN, 1, made=rule(minReplicas=2)),
            "Out of bounds",
            "1 replicas are below minReplicas 2, which is corrected whatever the backlog is",
            State.ATTENTION,
            id="below-the-minimum",
        ),
        pytest.param(
            facts(backlog(40, unacknowledged=7, mode=BacklogMode.PENDING)),
            "Backlog",
            "40 messages are not yet delivered; the 7 not yet acknowledged do not count (spec.backlog)",
            State.OK,
            id="pending-only",
        ),
        pytest.param(
            facts(backlog(0, paused=True)),
            "Backlog",
            "ORDERS/workers is paused in NATS, so workers get no messages."
            " 0 messages: 0 not yet delivered and 0 not yet acknowledged",
            State.BLOCKED,
            id="consumer-paused",
        ),
        pytest.param(
            facts(backlog(80, source=replace(SOURCE, match=Match.STREAM, consumers=("ORDERS",)))),
            "Consumer",
            "ORDERS in account $G: no consumer, but a work queue on orders.processing alone:"
            " each message in it waits for a worker",
            State.OK,
            id="work-queue",
        ),
        pytest.param(
            facts(replace(backlog(80, source=replace(SOURCE, match=Match.NAMED)), wider=("orders.>",))),
            "Consumer",
            "ORDERS/workers in account $G: named by spec.consumer; it takes orders.>, so all that waits for"
            " it counts, not only orders.processing",
            State.ATTENTION,
            id="named-and-wider",
        ),
        pytest.param(
            facts(backlog(80, source=replace(SOURCE, match=Match.WITHIN, consumers=("A/a", "A/b")))),
            "Consumer",
            "A/a, A/b in account $G, 2 that share no message: durable, and all that it takes lies within"
            " the rule's subject orders.processing",
            State.OK,
            id="several",
        ),
        pytest.param(
            facts(replace(backlog(80), via=Via.CONSUMER_INFO, leaders=("n2",))),
            "NATS",
            "n2 answered over NATS, as http://nats:8222 does not lead there",
            State.OK,
            id="asked-over-nats",
        ),
        pytest.param(
            facts(replace(backlog(80), leaders=("n1", "n2"))),
            "NATS",
            "n1, n2 answered at http://nats:8222",
            State.OK,
            id="leaders",
        ),
        pytest.param(
            facts(UNKNOWN),
            "NATS",
            "The backlog is unknown. http://nats:8222 did not answer within 5 s",
            State.BLOCKED,
            id="no-answer",
        ),
        pytest.param(
            facts(Unknown(Reason.CONSUMER_NOT_FOUND, "No consumer on ORDERS takes messages of orders.x")),
            "Consumer",
            "The backlog is unknown. No consumer on ORDERS takes messages of orders.x",
            State.BLOCKED,
            id="no-consumer",
        ),
        pytest.param(
            facts(30, events=NOT_CONNECTED),
            "Waking",
            "No message wakes it, so it is evaluated every 30 s. There is no connection to NATS at nats:4222:"
            " the connection was lost",
            State.ATTENTION,
            id="not-connected",
        ),
        pytest.param(
            facts(30, events=Finding(Reason.SWITCHED_OFF, "The doorbell is off (spec.events, --events)")),
            "Waking",
            "It is evaluated every 30 s. The doorbell is off (spec.events, --events)",
            State.OK,
            id="polled-as-asked",
        ),
        pytest.param(
            facts(30, late=True),
            "Waking",
            "Messages wake it at once, and so do 30 s without any. Listening on NATS at nats:4222."
            " Deadlines are late, because --read-budget limits the reads of this server",
            State.ATTENTION,
            id="late",
        ),
        pytest.param(
            facts(backlog(190), 3, made=proportional(50)),
            "Recommendation",
            "4 replicas: Backlog 190 at 50 per replica wants 4",
            State.OK,
            id="proportional",
        ),
        pytest.param(
            facts(3, 4, made=proportional(50)),
            "Recommendation",
            "1 replica: Backlog 3 is below scaleDownThreshold 10",
            State.OK,
            id="proportional-below",
        ),
        pytest.param(
            facts(51),
            "Next change",
            "possible at 2026-01-01T00:00:30Z, even without a further message",
            State.OK,
            id="the-next-step",
        ),
        pytest.param(
            facts(51, 10),
            "Next change",
            "only if the backlog falls: no number of messages asks for more replicas",
            State.OK,
            id="at-most",
        ),
        *(
            pytest.param(given, "Next change", text, State.OK, id=f"next-{name}")
            for name, given, text in WAITING_FOR
        ),
        pytest.param(
            facts(None, unable=NO_TARGET),
            "Deployment",
            "There is no Deployment default/my-app",
            State.BLOCKED,
            id="no-deployment",
        ),
        pytest.param(
            facts(30, 0),
            "Deployment",
            "Deployment default/my-app has 0 replicas, which turns scaling off",
            State.ATTENTION,
            id="zero-replicas",
        ),
    ],
)
def test_a_step_says_what_it_rests_on(given: Facts, title: str, text: str, state: State) -> None:
    step = steps(given)[title]
    assert (step.text, step.state) == (text, state)


def test_what_comes_after_a_break_is_left_out() -> None:
    broken = explain(facts(Unknown(Reason.STREAM_NOT_FOUND, "There is no stream X")))
    assert [step.title for step in broken] == [
        *("Rule", "Deployment", "NATS", "Consumer", "Bounds", "Waking", "Next change", "Outcome")
    ]
    assert [step.title for step in explain(facts(None, unable=NO_TARGET))] == [
        *("Rule", "Deployment", "Waking", "Outcome")
    ]


def test_fixes_have_commands_with_the_rules_own_names() -> None:
    def commands(given: Facts, title: str) -> tuple[str, ...]:
        fix = steps(given)[title].fix
        return fix.commands if fix else ()

    assert commands(facts(30, 0), "Deployment") == (
        "kubectl scale deployment my-app -n default --replicas=1",
    )
    assert commands(facts(30, made=rule(paused=True)), "Rule") == (
        RESUME.format(name="my-app-scaling", namespace="default"),
    )
    assert commands(facts(30, made=rule(dryRun=True)), "Rule") == (
        """kubectl patch scalingrule my-app-scaling -n default --type=merge -p '{"spec":{"dryRun":false}}'""",
    )


def test_a_subject_cannot_smuggle_a_command_into_a_fix() -> None:
    found = fix(Reason.CONSUMER_NOT_FOUND, rule(subject="a';reboot;'"))
    assert found
    assert """--filter 'a'"'"';reboot;'"'"''""" in found.commands[0]


def test_a_rule_that_cannot_be_used_is_named_with_its_fix() -> None:
    told = explain_invalid(Finding(Reason.INVALID_RULE, "spec.subject: too long"), RuleKey("shop", "orders"))
    assert [step.state for step in told] == [State.BLOCKED, State.BLOCKED]
    assert told[0].text == "shop/orders cannot be used: spec.subject: too long"
    assert told[0].fix
    assert told[0].fix.commands == ("kubectl edit scalingrule orders -n shop",)
    assert told[-1].title == "Outcome"


WRONG = [reason for reason in Reason if reason.about.fix and reason.about.topic is not Topic.DECISION]
BACKLOGS = st.one_of(
    st.builds(
        lambda pending, unacknowledged, mode, paused, match, via: replace(
            backlog(pending, unacknowledged=unacknowledged, mode=mode, paused=paused),
            source=Source("subject orders.processing", "$G", match, ("ORDERS/a", "ORDERS/b")),
            via=via,
        ),
        *(st.integers(0, 500), st.integers(0, 500), st.sampled_from(BacklogMode), st.booleans()),
        *(st.sampled_from([one for one in Match if not one.former]), st.sampled_from(Via)),
    ),
    st.builds(Unknown, st.sampled_from(WRONG), st.text()),
    st.none(),
)
FINDINGS = st.one_of(st.none(), st.builds(Finding, st.sampled_from(WRONG), st.text()))
RULES = st.builds(
    lambda paused, dry, per, low: rule(
        paused=paused,
        dryRun=dry,
        minReplicas=low,
        scaleDownThreshold=low,
        **({"messagesPerReplica": per} if per else {}),
    ),
    *(st.booleans(), st.booleans(), st.integers(0, 100), st.integers(1, 10)),
)
PASTS = st.builds(
    lambda up, down, highest: Memory(
        last_up=NOW - up, last_down=NOW - down, wants=(Want(NOW - up, highest),)
    ),
    *(st.integers(0, 400), st.integers(0, 400), st.integers(1, 20)),
)
FACTS = st.builds(
    lambda found, replicas, made, memory, unable, events, late: facts(
        found, replicas, made=made, memory=memory, unable=unable, events=events, late=late
    ),
    *(BACKLOGS, st.integers(0, 20), RULES, PASTS, FINDINGS, FINDINGS, st.booleans()),
)


@given(FACTS)
def test_every_state_ends_with_what_happens_and_is_blocked_where_ready_is_false(given: Facts) -> None:
    told = explain(given)
    assert told[-1].title == "Outcome"
    assert "replica" in told[-1].text or "scaled from" in told[-1].text
    assert len({step.title for step in told}) == len(told)
    assert all(step.fix for step in told[:-1] if step.state is State.BLOCKED)
    ready = compose(given, RuleStatus()).condition("Ready")
    assert ready
    assert (ready.status == "False") == (told[-1].state is State.BLOCKED)


def test_one_message_is_no_messages() -> None:
    assert next_change(unable=False, inactive=None, further=1, at=None).text.startswith(
        "1 further message would"
    )
