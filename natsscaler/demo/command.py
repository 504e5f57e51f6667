"""`natsscaler demo`: a real nats-server, a Kubernetes API, the operator unchanged, bursts, and a zero."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.errors import SettingsError
from natsscaler.demo.arguments import demo_parser
from natsscaler.demo.bursts import Burst
from natsscaler.demo.display import Addresses, Display, view_on
from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.manifests import (
    NAMESPACE,
    REPORTS_SUBJECT,
    TARGET,
    explained,
    manifests,
    rule,
    sleepy_rule,
)
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.operator import run_operator, supervise
from natsscaler.demo.ports import free_port
from natsscaler.demo.scenario import BURSTS, Scenario
from natsscaler.demo.workload import Workload
from natsscaler.kube.connection import connect
from natsscaler.kube.requests import NETWORK_FAILURES

FAILURES = (DemoFailed, SettingsError, ApiException, *NETWORK_FAILURES)
MOST_MESSAGES = 100_000
INTERRUPTED, TERMINATED = 130, 143
"""128 and the signal's number, as a shell gives it."""


def demo(arguments: Sequence[str]) -> int:
    """Run `natsscaler demo`; return the exit status."""
    options = demo_parser("natsscaler").parse_args(arguments)
    try:
        return asyncio.run(run(options.kubeconfig, view_on(sys.stdout), keep_running=options.keep_running))
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        return TERMINATED


async def run(kubeconfig: Path | None, view: Display, *, keep_running: bool) -> int:
    """Show the scenario and sum it up; return the exit status."""
    if task := asyncio.current_task():
        for ending in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    status, bursts = 1, list[Burst]()
    try:
        try:
            with view:
                await show(kubeconfig, view, bursts, keep_running=keep_running)
        except asyncio.CancelledError:
            say_sum(
                view, bursts, "Stopped before the end. Whatever the demo had started is stopped and removed."
            )
            raise
        say_sum(view, bursts)
        if not keep_running:
            view.say(f"To stay and look around with kubectl and the page: {program()} demo --keep-running")
        status = 0
    except* BrokenPipeError:  # nobody reads on, and Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* FAILURES as failures:
        found = list(leaves(failures))
        causes = [failure for failure in found if isinstance(failure, DemoFailed)] or found[:1]
        for cause in causes:
            view.say(f"The demo failed: {sentence(cause)}")
    return status


def say_sum(view: Display, bursts: Sequence[Burst], *words: str) -> None:
    """Sum up what was shown."""
    for line in ("", *words, *map(str, bursts)):
        view.say(line)


async def show(kubeconfig: Path | None, view: Display, bursts: list[Burst], *, keep_running: bool) -> None:
    """Run the servers and the scenario, and list its bursts.

    Raises FAILURES, in a group where several things ran.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natsscaler-")))
        kubectl, namespace = f"kubectl --kubeconfig {kubeconfig} -n {NAMESPACE}", NAMESPACE
        if kubeconfig is None:
            kubeconfig = directory / "kubeconfig"
            kubectl, namespace = f"kubectl --kubeconfig {kubeconfig}", ""
            embedded = await stack.enter_async_context(EmbeddedKubernetes())
            embedded.write_kubeconfig(kubeconfig, namespace=NAMESPACE)
        api = await stack.enter_async_context(await connect(kubeconfig, in_cluster=False))
        nats_server = await stack.enter_async_context(NatsServer(directory))
        workload = await stack.enter_async_context(Workload(nats_server.url))
        reports = await stack.enter_async_context(
            Workload(nats_server.url, stream="REPORTS", subject=REPORTS_SUBJECT)
        )
        addresses = nats_server.url, nats_server.monitoring_url
        await stack.enter_async_context(manifests(api, rule(*addresses), sleepy_rule(*addresses)))
        port = free_port()
        view.introduce(
            Addresses(
                page=f"http://127.0.0.1:{port}/",
                nats=f"{nats_server.url}, monitoring {nats_server.monitoring_url}",
                commands=(
                    f"{kubectl} get scalingrules",
                    f"{kubectl} get deployments",
                    f"{program()} explain --kubeconfig {kubeconfig} {TARGET}",
                ),
            )
        )
        log = directory / "operator.log"
        operator = await stack.enter_async_context(
            run_operator(kubeconfig, log, namespace=namespace, activity_port=port)
        )
        scenario = Scenario(api, workload, reports, view, bursts)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(supervise(operator, log), name="operator"),
                group.create_task(nats_server.supervise(), name="nats-server"),
                *(group.create_task(job(), name=name) for name, job in scenario.background.items()),
            ]
            await scenario.play()
            if keep_running:
                view.step(
                    f"still running, until Ctrl+C; Enter: a burst of {BURSTS[0]} messages; or type how many"
                )
                await stay(scenario)
            for task in tasks:
                task.cancel()


async def stay(scenario: Scenario) -> None:
    """Make bursts as they are asked for on stdin, until Ctrl+C."""
    loop, asked = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    loop.add_signal_handler(signal.SIGINT, asked.put_nowait, None)

    def listen() -> None:
        line = sys.stdin.readline()
        if line:
            asked.put_nowait(line.strip())
        else:  # there is nobody to ask for one
            loop.remove_reader(sys.stdin)

    with contextlib.suppress(OSError, ValueError):  # stdin is closed, or no terminal and no pipe
        loop.add_reader(sys.stdin, listen)
    while (line := await asked.get()) is not None:
        messages = int(line) if line.isdecimal() else 0 if line else BURSTS[0]
        if messages:
            await scenario.burst(min(messages, MOST_MESSAGES))


def program() -> str:
    """Return how natsscaler was called, to be typed again."""
    return sys.argv[0] if Path(sys.argv[0]).name == "natsscaler" else "natsscaler"


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """Yield the exceptions in a group and in the groups in it."""
    for failure in group.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from leaves(failure)
        else:
            yield failure


def sentence(failure: Exception) -> str:
    """Say what has failed."""
    if isinstance(failure, ApiException):
        return explained(failure)
    if isinstance(failure, NETWORK_FAILURES):
        return f"the Kubernetes API does not answer: {failure or type(failure).__name__}"
    return str(failure)
