"""What a person is told of each fault of a monitoring endpoint: what is wrong, and what to do about it."""

import pytest

from natsscaler.core.explain.steps import fix
from natsscaler.core.reasons import Reason, State
from natsscaler.core.rule import parse
from natsscaler.demo.nats_server import NatsServer
from natsscaler.settings import Settings
from tests.support.asking import ask
from tests.support.factories import body
from tests.support.faulty_monitoring import Answer, front
from tests.support.reading_faults import FAULTS
from tests.support.world import create_consumer, create_stream, publish, user

pytestmark = pytest.mark.timeout(60)
ELSEWHERE = {
    *(Reason.MONITORING_STALE, Reason.MONITORING_TOO_LARGE, Reason.MONITORING_TIMEOUT),
    Reason.MONITORING_UNREACHABLE,
}
"""Reasons that take two reads, or the operator's own limits, to be seen; and one with its own fix."""


@pytest.mark.parametrize(("fault", "reason"), [one for one in FAULTS if one.values[1] not in ELSEWHERE])
async def test_a_fault_is_told_with_its_fix(nats_server: NatsServer, fault: Answer, reason: Reason) -> None:
    async with front(nats_server) as behind, user(nats_server.url) as client:
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 80)
        steps = await ask(natsMonitoringURL=behind.url)
        assert (steps["NATS"].state, steps["Backlog"].text.split(":")[0]) == (State.OK, "80 messages")
        behind.fault = fault
        steps = await ask(natsMonitoringURL=behind.url)
        assert steps["NATS"].state is State.BLOCKED
        assert steps["NATS"].fix == fix(reason, parse(body(natsMonitoringURL=behind.url)))
        assert steps["Outcome"].text.startswith(
            "default/my-app keeps 4 replicas, because the backlog is unknown"
        )


@pytest.mark.parametrize(
    ("able", "text"),
    [
        pytest.param(None, "Deployment shop/my-app is in another namespace than the rule", id="not-said"),
        pytest.param(
            ("False", Reason.CROSS_NAMESPACE_NOT_ALLOWED),
            "Deployment shop/my-app is in another namespace than the rule",
            id="not-allowed",
        ),
        pytest.param(("False", Reason.NAMESPACE_NOT_WATCHED), "as the operator said", id="not-watched"),
        pytest.param(("True", Reason.READY_FOR_NEW_SCALE), "Deployment shop/my-app asks for 4", id="allowed"),
    ],
)
async def test_what_the_operators_flags_allow_it_has_said_itself(
    able: tuple[str, Reason] | None, text: str
) -> None:
    conditions = [
        {
            "type": "AbleToScale",
            "status": status,
            "reason": reason,
            "message": "as the operator said",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for status, reason in ([able] if able else [])
    ]
    address = "http://127.0.0.1:1"  # nobody answers there
    steps = await ask({"conditions": conditions}, namespace="shop", natsMonitoringURL=address)
    assert steps["Deployment"].text.startswith(text)


@pytest.mark.parametrize(
    ("settings", "title", "text"),
    [
        pytest.param(
            Settings(allow_cross_namespace=True),
            "Deployment",
            "Deployment shop/my-app asks for 4",
            id="allowed",
        ),
        pytest.param(
            Settings(allow_cross_namespace=True, namespaces=("default",)),
            "Deployment",
            "The operator does not watch namespace shop",
            id="not-watched",
        ),
        pytest.param(
            Settings(allow_cross_namespace=True, monitoring_proxy="http://127.0.0.1:1"),
            "NATS",
            "The backlog is unknown",
            id="proxy",
        ),
    ],
)
async def test_in_its_pod_the_operators_settings_count(
    nats_server: NatsServer, settings: Settings, title: str, text: str
) -> None:
    url = nats_server.monitoring_url
    assert (
        await ask(settings=Settings(allow_cross_namespace=True), namespace="shop", natsMonitoringURL=url)
    )["NATS"].state is State.OK
    steps = await ask(settings=settings, namespace="shop", natsMonitoringURL=url)
    assert steps[title].text.startswith(text)
