"""What the operator said last, against what is seen from elsewhere."""

import pytest
from msgspec.structs import replace

from natsscaler.core.conditions import Facts, compose
from natsscaler.core.decision.pipeline import Decision, decide
from natsscaler.core.decision.situation import Memory
from natsscaler.core.explain.operator_report import Lease, at_work, from_outside, last_word, led, remembered
from natsscaler.core.explain.steps import Step
from natsscaler.core.reasons import Finding, Fix, Reason, State
from natsscaler.core.rule import Rule, Target
from natsscaler.core.status import Condition, RuleStatus, rfc3339
from tests.support.factories import UNKNOWN, proportional, rule, seen

NOW = 1_767_225_600.0
OPERATOR = Target("scaling-operator-system", "scaling-operator-controller-manager")
LISTENING = Finding(Reason.LISTENING, "Listening on NATS at nats:4222")


def said(made: Rule, messages: object = 30, *, next_change: float | None = None) -> RuleStatus:
    """Write the status that the operator leaves after an evaluation with 3 replicas."""
    observation = seen(messages, 3)  # type: ignore[arg-type]
    decision = decide(made, observation, Memory(), NOW)
    return compose(Facts(made, observation, decision, None, LISTENING, False, next_change, NOW), RuleStatus())


def word(status: RuleStatus, *, here: Reason | None = None, lease: Lease | None = None) -> Step:
    return at_work(rule(), status, lease, here=here, operator=OPERATOR, now=NOW)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(RuleStatus(), "No operator has evaluated this rule yet", id="none"),
        pytest.param(
            replace(said(rule()), observed_generation=2),
            "It has evaluated generation 2 of this rule, but not yet generation 3",
            id="behind",
        ),
        pytest.param(
            said(rule(), UNKNOWN),
            "Since 2026-01-01T00:00:00Z it has reported MonitoringTimeout: The backlog is unknown, so the"
            " replicas do not change. http://nats:8222 did not answer within 5 s. This is not so from here:"
            " check what lies between the operator and NATS",
            id="sees-less",
        ),
    ],
)
def test_what_keeps_the_operator_from_acting(status: RuleStatus, text: str) -> None:
    step = word(status)
    assert (step.text, step.state) == (text, State.BLOCKED)
    assert step.fix
    assert "scaling-operator-system" in step.fix.commands[0]


def test_a_fault_that_is_seen_from_here_too_is_not_told_twice() -> None:
    step = word(said(rule(), UNKNOWN), here=Reason.MONITORING_TIMEOUT)
    assert step.text == "Since 2026-01-01T00:00:00Z it has reported MonitoringTimeout, as seen from here"
    assert step.state is State.BLOCKED
    other = word(said(rule(), UNKNOWN), here=Reason.STREAM_NOT_FOUND)
    assert "MonitoringTimeout: The backlog" in other.text
    assert "from here" not in other.text


def test_an_operator_that_is_well_is_quoted() -> None:
    step = word(said(rule()), lease=Lease("a-pod", NOW - 5, 15))
    assert step.state is State.OK
    assert step.text == (
        "It has reported no problem since 2026-01-01T00:00:00Z. Its last decision, at 2026-01-01T00:00:00Z:"
        " Backlog 30 is within the thresholds 10 to 50"
    )


@pytest.mark.parametrize(
    ("lease", "problem"),
    [
        pytest.param(None, "", id="none"),
        pytest.param(Lease("a-pod", NOW - 5, 15), "", id="led"),
        pytest.param(Lease("a-pod", NOW - 70, 15), "", id="clocks-may-differ"),
        pytest.param(Lease("a-pod", NOW - 76, 15), "a-pod last renewed", id="run-out"),
        pytest.param(Lease("", NOW, 15), "was released", id="released"),
    ],
)
def test_a_lease_tells_whether_somebody_leads(lease: Lease | None, problem: str) -> None:
    assert problem in led(lease, NOW)
    assert bool(led(lease, NOW)) == bool(problem)
    assert (word(said(rule()), lease=lease).state is State.BLOCKED) == bool(problem)


def stabilizing(made: Rule) -> Decision:
    return decide(made, seen(5, 3), Memory().wanted(3, NOW, 300), NOW)


def test_until_when_the_operator_stabilizes_it_has_said_itself() -> None:
    made, decision = proportional(), stabilizing(proportional())
    assert decision.reason is Reason.STABILIZING
    status = compose(Facts(made, seen(5, 3), decision, None, LISTENING, False, NOW + 100, NOW), RuleStatus())
    assert remembered(status, decision, NOW) == NOW + 100
    assert remembered(status, decision, NOW + 101) is None, "it is over"
    assert remembered(said(made, 30), decision, NOW) is None, "it said something else"
    last = status.last_decision
    assert last
    odd = replace(status, last_decision=replace(last, next_change_time="soon"))
    assert remembered(odd, decision, NOW) is None


def test_a_condition_of_another_version_is_not_taken_for_known() -> None:
    condition = Condition(
        type="Ready", status="True", reason="New", message="", last_transition_time=rfc3339(0)
    )
    assert last_word(RuleStatus(conditions=(condition,)), "Ready") is None
    assert last_word(said(rule()), "EventDriven") == LISTENING


@pytest.mark.parametrize("url", ["http://localhost:8222", "http://127.0.0.1:8222", "http://[::1]:8222"])
def test_an_address_of_the_machine_itself_is_nowhere_to_forward_a_port_from(url: str) -> None:
    step = Step("NATS", "it cannot be reached", fix=Fix("name NATS as the operator's pod resolves it"))
    assert from_outside(step, url, OPERATOR, "check") == step


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://nats:8222", "-n scaling-operator-system service/nats"),
        ("http://nats.messaging:8222", "-n messaging service/nats"),
        ("http://nats.messaging.svc.cluster.local:8222", "-n messaging service/nats"),
        ("http://10.0.0.7:8222", "-n NAMESPACE service/NAME"),
        ("http://[fd00::7]:8222", "-n NAMESPACE service/NAME"),
    ],
)
def test_from_outside_the_way_in_is_told(url: str, service: str) -> None:
    step = from_outside(Step("NATS", "it cannot be reached"), url, OPERATOR, "explain shop/orders")
    assert step.fix
    inside, *here = step.fix.commands
    assert inside.endswith("-- natsscaler explain shop/orders")
    assert here == [
        f"kubectl port-forward {service} 8222",
        "natsscaler explain shop/orders --monitoring-url http://127.0.0.1:8222",
    ]
