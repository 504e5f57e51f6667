"""A monitoring endpoint that fails in every way: the replicas stay, the rule says why, and it ends well."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from natsscaler.demo.nats_server import NatsServer
from natsscaler.errors import Reason
from tests.shell.world import TARGET, create_consumer, create_stream, publish, until, user, work_off, world

pytestmark = pytest.mark.timeout(60)

Answer = Callable[[bytes], Awaitable[web.StreamResponse]]


class Front:
    """Stands in front of a server's monitoring endpoint; `fault` makes answers of true ones."""

    def __init__(self, server: NatsServer) -> None:
        self.fault: Answer | None = None
        self.url = ""
        self._behind = httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        truth = (await self._behind.get(request.path_qs)).content
        if self.fault and request.path == "/jsz":
            return await self.fault(truth)
        return web.Response(body=truth, content_type="application/json")

    async def close(self) -> None:
        await self._behind.aclose()


@asynccontextmanager
async def front(server: NatsServer) -> AsyncIterator[Front]:
    made, app = Front(server), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
        await made.close()


def status(code: int, **headers: str) -> Answer:
    async def answer(_: bytes) -> web.StreamResponse:
        return web.Response(status=code, text="no", headers=headers)

    return answer


def changed(change: Callable[[bytes], bytes]) -> Answer:
    async def answer(truth: bytes) -> web.StreamResponse:
        return web.Response(body=change(truth), content_type="application/json")

    return answer


def without_accounts(truth: bytes) -> bytes:
    return json.dumps(json.loads(truth) | {"account_details": []}).encode()


def as_of_then(truth: bytes) -> bytes:
    return json.dumps(json.loads(truth) | {"now": "2026-01-01T00:00:00Z"}).encode()


async def never(_: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


FAULTS = [
    pytest.param(status(500), Reason.MONITORING_HTTP_STATUS, id="error-500"),
    pytest.param(status(401), Reason.MONITORING_HTTP_STATUS, id="unauthorized"),
    pytest.param(status(302, Location="/varz"), Reason.MONITORING_HTTP_STATUS, id="redirect"),
    pytest.param(
        changed(lambda truth: truth[: len(truth) // 2]), Reason.MONITORING_UNREADABLE, id="truncated"
    ),
    pytest.param(changed(lambda _: b"<html>"), Reason.MONITORING_UNREADABLE, id="not-json"),
    pytest.param(changed(lambda _: b"[]"), Reason.MONITORING_UNREADABLE, id="another-shape"),
    pytest.param(changed(lambda truth: truth + 2**21 * b" "), Reason.MONITORING_TOO_LARGE, id="too-large"),
    pytest.param(changed(as_of_then), Reason.MONITORING_STALE, id="a-clock-that-stands-still"),
    pytest.param(changed(without_accounts), Reason.MONITORING_INCOMPLETE, id="accounts-are-missing"),
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
