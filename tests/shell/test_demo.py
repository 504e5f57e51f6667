"""The demo, as a user runs it: it is the one test of everything together."""

import asyncio
import pathlib
import re
import subprocess
import sys

import pytest

from natsscaler.demo.api_server import EmbeddedKubernetes

DEMO = "from natsscaler.demo.command import demo; import sys; sys.exit(demo([]))"


@pytest.mark.timeout(240)
def test_demo_scales_up_and_down_in_each_burst() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEMO], text=True, capture_output=True, timeout=230, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "get scalingrules" in done.stdout
    assert ">> ScaledUp: " in done.stdout
    assert ">> ScaledDown: " in done.stdout
    for number, messages, replicas in ((1, 800, r"10"), (2, 190, r"\d+")):
        scaled = rf"scaled 1 .*→ {replicas} after \d+ ms; back to 1 after [\d.]+ s"
        summary = rf"^Burst {number}: {messages} messages, {scaled}$"
        assert re.search(summary, done.stdout, re.MULTILINE), done.stdout


IMPATIENT = """
import sys
from natsscaler.demo import command, scenario
scenario.QUIET_SECONDS, scenario.UP_SECONDS = 0, 2
sys.exit(command.demo(["--kubeconfig", sys.argv[1]]))
"""


async def test_demo_fails_if_nothing_is_scaled(embedded: EmbeddedKubernetes, tmp_path: pathlib.Path) -> None:
    embedded.fail(lambda request: request.path.endswith("/scale"), status=403, times=None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IMPATIENT, tmp_path / "kubeconfig"), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode == 1
    assert "The demo failed: burst 1 did not scale anything within 2 s" in told.decode()
