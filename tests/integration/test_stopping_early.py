"""`natsscaler run` that is stopped before it has begun."""

import asyncio
import pathlib
import sys
from asyncio.subprocess import PIPE

from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from tests.support.stage import OFF


async def test_stopped_while_it_waits_for_the_crd_the_operator_says_so_in_one_line(
    tmp_path: pathlib.Path,
) -> None:
    async with EmbeddedKubernetes() as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        run = (sys.executable, "-m", "natsscaler", "run", "--kubeconfig", str(tmp_path / "kubeconfig"), *OFF)
        process = await asyncio.create_subprocess_exec(*run, stderr=PIPE)
        assert process.stderr
        async with asyncio.timeout(60):
            while b"Waiting for ScalingRules" not in await process.stderr.readline():
                continue
            process.terminate()
            rest = (await process.stderr.read()).decode()
            assert await process.wait() == 0
    assert len(rest.splitlines()) == 1, rest
    assert "The process was told to exit" in rest
