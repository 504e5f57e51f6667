"""A monitoring endpoint that fails in every way: the replicas stay, the rule says why, and it ends well."""

import pytest

from natsscaler.demo.nats_server import NatsServer
from natsscaler.errors import Reason
from tests.faulty_monitoring import Answer, changed, cut_off, front, never, status, with_fields
from tests.shell.world import TARGET, create_consumer, create_stream, publish, until, user, work_off, world

pytestmark = pytest.mark.timeout(60)

FAULTS = [
    pytest.param(status(500), Reason.MONITORING_HTTP_STATUS, id="error-500"),
    pytest.param(status(401), Reason.MONITORING_HTTP_STATUS, id="unauthorized"),
    pytest.param(status(302, Location="/varz"), Reason.MONITORING_HTTP_STATUS, id="redirect"),
    pytest.param(
        changed(lambda truth: truth[: len(truth) // 2]), Reason.MONITORING_UNREADABLE, id="truncated"
    ),
    pytest.param(cut_off, Reason.MONITORING_UNREACHABLE, id="cut-off"),
    pytest.param(changed(lambda _: b"<html>"), Reason.MONITORING_UNREADABLE, id="not-json"),
    pytest.param(changed(lambda _: b"[]"), Reason.MONITORING_UNREADABLE, id="another-shape"),
    pytest.param(changed(lambda truth: truth + 2**21 * b" "), Reason.MONITORING_TOO_LARGE, id="too-large"),
    pytest.param(
        with_fields(now="2026-01-01T00:00:00Z"), Reason.MONITORING_STALE, id="a-clock-that-stands-still"
    ),
    pytest.param(with_fields(account_details=[]), Reason.MONITORING_INCOMPLETE, id="accounts-are-missing"),
    pytest.param(
        changed(lambda _: b'{"server_id": "X", "now": "1", "disabled": true}'),
        Reason.LEADER_UNCLEAR,
        id="another-server",
    ),
    pytest.param(never, Reason.MONITORING_TIMEOUT, id="no-answer"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_replicas_are_held_while_the_backlog_cannot_be_read(
    nats_server: NatsServer, fault: Answer, reason: Reason
) -> None:
    async with (
        front(nats_server) as behind,
        world(nats_server, monitoring_timeout=1, monitoring_max_mib=2) as here,
        user(nats_server.url) as client,
    ):
        await create_stream(client)
        await create_consumer(client)
        await publish(client, 80)
        here.cluster.table[TARGET] = 4
        here.apply(
            natsMonitoringURL=behind.url,
            nats={"url": nats_server.url},
            messagesPerReplica=20,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
            pollIntervalSeconds=1,
        )
        await here.becomes("Ready", "True", "Scaling")
        behind.fault = fault
        await here.becomes("Ready", "False", reason)
        await work_off(client, 80)
        reads = here.monitoring.begun
        await until(lambda: here.monitoring.begun > reads + 1)
        assert here.cluster.table[TARGET] == 4
        assert here.condition("Ready") == ("False", reason)
        behind.fault = None
        await here.becomes("Ready", "True", "Scaling")
        await until(lambda: here.cluster.table[TARGET] == 1)
