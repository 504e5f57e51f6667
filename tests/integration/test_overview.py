"""`natsscaler top` and `natsscaler events` as they are typed: once, and live on a terminal."""

import asyncio
import os
import pathlib
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from natsscaler.commands.overview import CLEAR
from tests.conftest import KubeApi, Kubectl

SAMPLE = (pathlib.Path(__file__).parents[2] / "config/samples/scaling_v1_scalingrule.yaml").read_text()


def typed(kube_api: KubeApi, *words: str) -> Sequence[str]:
    return (sys.executable, "-m", "natsscaler", *words, "--kubeconfig", str(kube_api.kubeconfig))


async def run(kube_api: KubeApi, *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *typed(kube_api, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_they_end_by_themselves_where_nobody_watches(kube_api: KubeApi) -> None:
    nothing = "There are no rules that you can see\n"
    assert await run(kube_api, "top", "-n", kube_api.namespace) == (0, nothing, "")
    assert await run(kube_api, "events", "-n", kube_api.namespace) == (0, "", "")


async def test_a_rule_is_in_the_table(kube_api: KubeApi, kubectl: Kubectl) -> None:
    sample = SAMPLE.replace("namespace: default", f"namespace: {kube_api.namespace}")
    await kubectl("apply", "-f", "-", stdin=sample)
    status, told, errors = await run(kube_api, "top", "-n", kube_api.namespace)
    assert (status, errors) == (0, "")
    assert f"… {kube_api.namespace}/my-app-scaling" in told
    assert "Not evaluated yet" in told


@pytest.mark.parametrize("kube_api", ["embedded"], indirect=True)
@pytest.mark.parametrize("words", [("top",), ("check", "--watch")], ids=" ".join)
async def test_on_a_terminal_a_look_is_repeated_until_ctrl_c(kube_api: KubeApi, words: Sequence[str]) -> None:
    shown, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(*typed(kube_api, *words), stdout=terminal, stderr=terminal)
    os.close(terminal)
    read = ""
    while read.count(CLEAR) < 2:  # the second one is another look
        read += (await asyncio.to_thread(os.read, shown, 65536)).decode()
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    os.close(shown)
    assert "There are no rules that you can see" in read
    assert "Traceback" not in read
