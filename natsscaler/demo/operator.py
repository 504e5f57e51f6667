"""The operator as the demo runs it: unchanged, as a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.manifests import NAMESPACE

OPERATOR = "from natsscaler.app.cli import main; main()"


@asynccontextmanager
async def run_operator(
    kubeconfig: Path, log: Path, **settings: int | str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the operator with these settings alone; ports not named are off. `namespace`: "" is all of them."""
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
    """Wait for the operator's end, which is not to come. Raises DemoFailed with its last words."""
    status = await operator.wait()
    lines = (await asyncio.to_thread(log.read_text)).splitlines()
    how = f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"
    last = _told(lines[-1]) if lines else "none"
    raise DemoFailed(f"the operator {how}; its last words: {last}")


def _told(line: str) -> str:
    """Return what a line of the log says, and of a traceback in it only the last line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    traceback = [part.strip(" |+-") for part in entry.get("exc_info", "").splitlines()]
    return ": ".join([entry["message"], *[part for part in traceback if part][-1:]])
