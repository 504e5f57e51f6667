"""The demo, as a user runs it: it is the one test of everything together."""

import re
import subprocess
import sys

import pytest

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
