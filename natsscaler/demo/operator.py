"""The operator as the demo runs it: unchanged, as a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.manifests import NAMESPACE

OPERATOR = "from natsscaler.cli import main; main()"
SHOWN_LINES = 5


@asynccontextmanager
async def run_operator(
    kubeconfig: Path, log: Path, **settings: int | str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the operator with these settings alone; ports not named are off."""
    ports = {"activity_port": 0, "metrics_port": 0, "probe_port": 0}
    flags = {"kubeconfig": kubeconfig, "namespace": NAMESPACE, "host": "127.0.0.1", **ports, **settings}
    named = (f"--{name.replace('_', '-')}={value}" for name, value in flags.items())
    command = [sys.executable, "-c", OPERATOR, "run", *named]
    dropped = ("NATSSCALER_", "LOG_LEVEL", "NATS_URL", "KUBERNETES_SERVICE_HOST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, stderr=stderr, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def supervise(operator: asyncio.subprocess.Process, log: Path) -> None:
    """Wait for the operator's end, which is not to come. Raises DemoFailed with the end of its log."""
    status = await operator.wait()
    lines = (await asyncio.to_thread(log.read_text)).splitlines()
    how = f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"
    raise DemoFailed("\n".join([f"the operator {how}; the end of its log:", *lines[-SHOWN_LINES:]]))
