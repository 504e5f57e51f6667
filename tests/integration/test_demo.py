"""The demo, as a user runs it: it is the one test of everything together."""

import asyncio
import contextlib
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
from typing import Any

import pytest
from kubernetes.aio import client

from natsscaler.core.rule import GROUP, PLURAL, VERSION
from natsscaler.demo import manifests
from natsscaler.demo.bursts import Burst
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.workload import Workload
from natsscaler.kube.connection import connect

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
    asleep = done.stdout.index("Scaled Deployment natsscaler-demo/reports from 1 to 0 replicas")
    assert "Scaled Deployment natsscaler-demo/reports from 0 to 1 replicas" in done.stdout[asleep:]
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


STAYING = """
import sys
from natsscaler.demo import command, scenario
scenario.QUIET_SECONDS, scenario.END_SECONDS, scenario.BURSTS = 0, 0, (90,)
sys.exit(command.demo(["--keep-running"]))
"""


@pytest.mark.timeout(120)
async def test_whoever_stays_asks_for_bursts_edits_the_rule_and_ends_in_order() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STAYING), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    told: list[str] = []

    async def says(pattern: str) -> re.Match[str]:
        assert process.stdout
        async with asyncio.timeout(60):
            while True:
                line = (await process.stdout.readline()).decode()
                assert line, f"{pattern} was not said:\n{''.join(told)}"
                told.append(line)
                if found := re.search(pattern, line):
                    return found

    kubeconfig = (await says(r"explain --kubeconfig (\S+) natsscaler-demo/my-app$"))[1]
    await says("still running, until Ctrl")
    async with await connect(pathlib.Path(kubeconfig), in_cluster=False) as api:
        custom, apps = client.CustomObjectsApi(api), client.AppsV1Api(api)
        elsewhere = {
            **manifests.rule("nats://nats:4222", "http://127.0.0.1:1"),
            "metadata": {"name": "other"},
        }
        elsewhere["spec"] = {**elsewhere["spec"], "namespace": "default"}
        await custom.create_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, elsewhere)
        process.stdin.write(b"190\n")
        await says("burst 2: 190 messages")
        await says(r"replicas  4 ")
        async with asyncio.timeout(20):
            while True:
                found: Any = await custom.get_namespaced_custom_object(
                    GROUP, VERSION, "default", PLURAL, "other"
                )
                if "status" in found:
                    break
                await asyncio.sleep(0.05)
        await apps.delete_namespaced_deployment("my-app", manifests.NAMESPACE)
        await says("replicas none, as the Deployment is gone")
    process.send_signal(signal.SIGINT)
    await says(r"^Burst 1: 90 messages, scaled 1 → 2 after")
    await says(r"^Burst 2: 190 messages, scaled 1 → 4 after")
    assert await process.wait() == 0


async def test_workers_end_at_whatever_moment_they_are_told_to(nats_server: NatsServer) -> None:
    """Also when a message comes in the same moment: asyncio.wait_for of Python 3.11 then loses that."""
    async with Workload(nats_server.url) as workload:
        for moment in range(60):
            working = asyncio.create_task(workload.work(lambda: 10))
            await asyncio.sleep(0.1)
            await workload.burst(10)
            for _ in range(moment):
                await asyncio.sleep(0)
            working.cancel()
            _, running = await asyncio.wait({working}, timeout=5)
            assert not running


STOPPED = """
import sys
from natsscaler.demo import command, scenario
scenario.QUIET_SECONDS, scenario.BURSTS = 0, (90,)
sys.exit(command.demo([]))
"""


@pytest.mark.timeout(120)
async def test_ctrl_c_leaves_the_screen_clean_and_says_what_happened() -> None:
    shown, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STOPPED), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    read = ""

    async def more() -> None:
        nonlocal read
        read += (await asyncio.to_thread(os.read, shown, 65536)).decode(errors="replace")

    while not ("scaled 1 → 2" in read and "ScaledUp" in read):
        await more()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # nobody writes any more
        while True:
            await more()
    os.close(shown)
    assert await process.wait() == 130
    _, _, end = read.partition(
        "Stopped before the end. Whatever the demo had started is stopped and removed."
    )
    assert "Burst 1: 90 messages, scaled 1 → 2 after" in end
    assert read.count("\x1b[?25h") == read.count("\x1b[?25l")  # the cursor is back
    assert "Traceback" not in read
    assert "▲" in read  # what scaled stands out


def test_what_follows_a_burst_that_is_over_is_not_its_doing() -> None:
    burst = Burst(1, 90, 0.0, 1)
    for at, replicas in ((0.03, 2), (9.0, 1), (185.0, 10), (198.0, 1)):
        burst.changed(at, replicas)
    assert str(burst) == "Burst 1: 90 messages, scaled 1 → 2 after 30 ms; back to 1 after 9.0 s"
