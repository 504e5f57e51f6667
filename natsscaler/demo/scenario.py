"""`natsscaler demo`: a real nats-server, a Kubernetes API, the operator unchanged, and two bursts.

The reaction to a burst is measured from outside: from its first message to the change of the Deployment's
replicas, as a watch of the API sees it.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.demo.api_server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer, NatsServerError, free_ports
from natsscaler.demo.view import Burst, View
from natsscaler.demo.workload import NAMESPACE, TARGET, Workload, manifests, rule
from natsscaler.kube import Deployment, Watch, connect
from natsscaler.rules import GROUP, KIND, PLURAL, VERSION, Target

BURSTS, BURST_MESSAGES = 2, 500
QUIET_SECONDS = 5.0
READY_SECONDS, UP_SECONDS, DOWN_SECONDS = 30.0, 35.0, 60.0
CHECK_SECONDS, SAMPLE_SECONDS = 0.1, 0.25
OPERATOR = "from natsscaler.cli import main; main()"


class DemoFailed(Exception):
    """The demo cannot go on, or did not show what it is to show."""


def demo(arguments: Sequence[str]) -> int:
    """Run `natsscaler demo`; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="natsscaler demo",
        description="Show two bursts on a real nats-server scale a Deployment, in about half a minute.",
    )
    parser.add_argument("--keep-running", action="store_true", help="stay after the scenario, until Ctrl+C")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help=f"use this cluster, in a namespace {NAMESPACE}, instead of an embedded Kubernetes API",
    )
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(run(options.kubeconfig, View(sys.stdout), keep_running=options.keep_running))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def run(kubeconfig: Path | None, view: View, *, keep_running: bool) -> int:
    """Run the servers and the scenario; return the exit status."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    status = 1
    try:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natsscaler-demo-")))
            if kubeconfig is None:
                kubeconfig = directory / "kubeconfig"
                embedded = await stack.enter_async_context(EmbeddedKubernetes())
                embedded.write_kubeconfig(kubeconfig, namespace=NAMESPACE)
            nats_server = await stack.enter_async_context(NatsServer(directory))
            workload = await stack.enter_async_context(Workload(nats_server.url))
            api = await stack.enter_async_context(await connect(kubeconfig, in_cluster=False))
            await stack.enter_async_context(manifests(api, rule(nats_server.url, nats_server.monitoring_url)))
            (port,) = free_ports(1)
            view.say(f"kubectl --kubeconfig {kubeconfig} -n {NAMESPACE} get scalingrules")
            view.say(f"page   http://127.0.0.1:{port}/")
            view.say(f"NATS   {nats_server.url}, monitoring {nats_server.monitoring_url}")
            log = directory / "operator.log"
            operator = await stack.enter_async_context(run_operator(kubeconfig, log, activity_port=port))
            scenario = Scenario(api, workload, view)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(supervise(operator, log), name="operator"),
                    *(group.create_task(job(), name=name) for name, job in scenario.background.items()),
                ]
                await scenario.play()
                status = 0
                if keep_running:
                    view.say("Still running, until Ctrl+C")
                    await asyncio.Event().wait()
                for task in tasks:
                    task.cancel()
    except* (DemoFailed, NatsServerError, ApiException, TimeoutError) as failures:
        for failure in failures.exceptions:
            view.say(f"The demo failed: {failure}")
        status = 1
    return status


class Scenario:
    """What happens, and what is seen of it."""

    def __init__(self, api: client.ApiClient, workload: Workload, view: View) -> None:
        self._custom, self._workload, self._view = client.CustomObjectsApi(api), workload, view
        call = client.AppsV1Api(api).list_namespaced_deployment_without_preload_content
        self._watch = Watch("deployments", partial(call, NAMESPACE), Deployment, self._changed)
        self._known = 1
        self._bursts: list[Burst] = []
        self.background: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "watch": self._watch.run,
            "trickle": workload.trickle,
            "workers": partial(workload.work, self.replicas),
            "events": self._show_events,
            "samples": self._show_samples,
        }

    def replicas(self) -> int:
        """Return the replicas that the Deployment asks for, as last seen."""
        known = self._watch.table.get(TARGET)
        return known.spec.replicas if known else 0

    async def play(self) -> None:
        """Play the scenario. Raises DemoFailed if it does not show scaling up and down."""
        await _until(self._ready, READY_SECONDS, "the ScalingRule did not become Ready")
        for number in range(1, BURSTS + 1):
            self._view.step("quiet: a trickle that one worker keeps up with")
            await asyncio.sleep(QUIET_SECONDS)
            self._view.step(f"burst {number}: {BURST_MESSAGES} messages")
            burst = Burst(BURST_MESSAGES, time.monotonic(), self.replicas())
            self._bursts.append(burst)
            burst.began = await self._workload.burst(BURST_MESSAGES)
            await _until(
                partial(getattr, burst, "scaled_up"), UP_SECONDS, f"burst {number} did not scale anything"
            )
            down = f"after burst {number} the replicas did not come down to {burst.before}"
            await _until(partial(getattr, burst, "came_down"), DOWN_SECONDS, down)
        self._view.say("")
        for number, burst in enumerate(self._bursts, 1):
            self._view.say(f"Burst {number}: {burst}")

    async def _ready(self) -> bool:
        rule: Any = await self._custom.get_namespaced_custom_object(
            GROUP, VERSION, NAMESPACE, PLURAL, TARGET.name
        )
        conditions = rule.get("status", {}).get("conditions", [])
        return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)

    def _changed(self, _target: Target) -> None:
        now, replicas = time.monotonic(), self.replicas()
        if replicas != self._known and self._bursts:
            burst = self._bursts[-1]
            burst.changes.append((now, replicas))
            if burst.scaled_up and replicas == burst.before:
                burst.came_down = now
        self._known = replicas

    async def _show_samples(self) -> None:
        await self._watch.synced.wait()
        while True:
            self._view.sample(await self._workload.backlog(), self.replicas())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _show_events(self) -> None:
        shown = set()
        while True:
            found: Any = await self._custom.list_namespaced_custom_object(
                "events.k8s.io", "v1", NAMESPACE, "events"
            )
            for event in sorted(found["items"], key=lambda event: event.get("eventTime") or ""):
                uid = event["metadata"]["uid"]
                if event.get("regarding", {}).get("kind") == KIND and uid not in shown:
                    shown.add(uid)
                    self._view.decision(event["reason"], event.get("note", ""))
            await asyncio.sleep(CHECK_SECONDS)


async def _until(condition: Callable[[], Any], seconds: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = condition()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(CHECK_SECONDS)
    except TimeoutError as error:
        raise DemoFailed(f"{otherwise} within {seconds:g} s") from error


@asynccontextmanager
async def run_operator(
    kubeconfig: Path, log: Path, **settings: int | str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the operator as a process of its own, with these settings alone; ports not named are off."""
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
    """Wait for the operator's end, which is not to come. Raises DemoFailed with what it wrote."""
    status = await operator.wait()
    text = await asyncio.to_thread(log.read_text)
    raise DemoFailed(f"the operator ended with status {status}:\n{text}")
