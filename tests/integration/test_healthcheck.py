"""The image's health check, as a container engine runs it: a process of its own, judged by its status."""

import asyncio
import subprocess
import sys

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port


async def check(**environment: str) -> int:
    command = (sys.executable, "-m", "natsscaler.app.healthcheck")
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    return await process.wait()


@pytest.mark.parametrize(("answer", "status"), [(200, 0), (503, 1)])
async def test_healthy_is_what_healthz_answers(answer: int, status: int) -> None:
    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(status=answer)

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    async with TestServer(application) as server:
        assert await check(NATSSCALER_PROBE_PORT=str(server.port)) == status


async def test_nobody_answering_is_unhealthy() -> None:
    assert await check(NATSSCALER_PROBE_PORT=str(unused_port())) == 1


async def test_wrong_settings_are_unhealthy() -> None:
    assert await check(NATSSCALER_PROBE_PORT="no port") == 1


def test_it_imports_nothing_that_takes_long() -> None:
    """It runs every few seconds."""
    heavy = ("aiohttp", "asyncio", "httpx", "kopf", "kubernetes", "nats", "prometheus_client")
    code = f"import sys, natsscaler.app.healthcheck; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], text=True, check=True, capture_output=True)
    assert done.stdout == "[]\n"


async def test_probes_that_are_switched_off_say_nothing_bad() -> None:
    assert await check(NATSSCALER_PROBE_PORT="0") == 0
