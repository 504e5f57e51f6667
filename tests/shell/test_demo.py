"""The demo, as a user runs it: it is the one test of everything together."""

import re
import subprocess
import sys

import pytest

DEMO = "from natsscaler.demo.scenario import demo; import sys; sys.exit(demo([]))"


@pytest.mark.timeout(120)
def test_demo_scales_up_and_down_in_each_burst() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEMO], text=True, capture_output=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "get scalingrules" in done.stdout
    assert ">> ScaledUp: " in done.stdout
    assert ">> ScaledDown: " in done.stdout
    for number in (1, 2):
        summary = rf"^Burst {number}: 500 messages, scaled 1 .*→ 10 after \d+ ms; back to 1 after [\d.]+ s$"
        assert re.search(summary, done.stdout, re.MULTILINE), done.stdout
