"""One side of the comparison: an embedded cluster, an operator as a process, a stream, one rule."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
from kubernetes.aio import client
from nats.js import JetStreamContext

from natsscaler.core.crd import crd
from natsscaler.core.rule import GROUP, PLURAL, VERSION, Target
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.manifests import NAMESPACE, TARGET, deployment, rule
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.operator import run_operator, supervise
from natsscaler.demo.ports import free_port
from natsscaler.demo.workload import CONSUMER
from natsscaler.kube.connection import connect
from natsscaler.kube.objects import Deployment
from natsscaler.kube.watch import Watch

CHECK_SECONDS = 0.05
READY_SECONDS = 30.0
DELIVERIES = "natsscaler_doorbell_deliveries_total"
BURST_RULE = {
    "messagesPerReplica": 10,
    "minReplicas": 1,
    "maxReplicas": 10,
    "scaleUpThreshold": 5,
    "scaleDownThreshold": 1,
    "pollIntervalSeconds": 10,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


class Side:
    """What is measured on one side; `open_side` makes it."""

    def __init__(self, name: str, api: client.ApiClient, stream: JetStreamContext, metrics_url: str) -> None:
        self.name = name
        self.subject, self.stream_name = f"bench.{name}", f"BENCH_{name.upper()}"
        self.stream = stream
        self._metrics_url = metrics_url
        self._custom, self._apps = client.CustomObjectsApi(api), client.AppsV1Api(api)
        call = self._apps.list_namespaced_deployment_without_preload_content
        self.watch = Watch("deployments", partial(call, NAMESPACE), Deployment, self._changed)
        self.changed: asyncio.Future[float] | None = None

    @property
    def replicas(self) -> int:
        known = self.watch.find(TARGET)
        return known.spec.replicas if known else 0

    def expect_scale_up(self) -> asyncio.Future[float]:
        """Return what will be the time (monotonic) at which the watch shows more than one replica."""
        self.changed = asyncio.get_running_loop().create_future()
        return self.changed

    async def conditions(self) -> dict[str, tuple[str, str]]:
        """Return status and reason of the rule's conditions."""
        found: Any = await self._custom.get_namespaced_custom_object(
            GROUP, VERSION, NAMESPACE, PLURAL, TARGET.name
        )
        listed = found.get("status", {}).get("conditions", [])
        return {c["type"]: (c["status"], c["reason"]) for c in listed}

    async def ready(self, *, listening: bool) -> bool:
        """Tell whether there is one replica, the rule works and, if `listening`, events wake it."""
        found = await self.conditions()
        works = found.get("Ready", ("", ""))[0] == "True"
        heard = any(reason == "Listening" for _, reason in found.values())
        return works and self.replicas == 1 and (heard or not listening)

    async def reset(self) -> None:
        """Drain the stream and put the Deployment back to one replica."""
        await self.stream.purge_stream(self.stream_name, subject=self.subject)
        await self._apps.patch_namespaced_deployment(TARGET.name, NAMESPACE, {"spec": {"replicas": 1}})

    async def deliveries(self) -> int:
        """Read how many messages were delivered to doorbells so far."""
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(self._metrics_url)).raise_for_status().text
        lines = [line for line in text.splitlines() if line.startswith(DELIVERIES)]
        return int(sum(float(line.rsplit(maxsplit=1)[1]) for line in lines))

    async def backlog(self) -> int:
        info = await self.stream.consumer_info(self.stream_name, CONSUMER)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    def _changed(self, _target: Target) -> None:
        if self.changed and not self.changed.done() and self.replicas > 1:
            self.changed.set_result(time.monotonic())


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float = READY_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the API is asked
            await asyncio.sleep(CHECK_SECONDS)


@asynccontextmanager
async def open_side(
    name: str,
    directory: Path,
    server: NatsServer,
    stream: JetStreamContext,
    *,
    events: bool,
    spec: dict[str, Any],
) -> AsyncIterator[Side]:
    """Start one side and wait until its rule works."""
    async with AsyncExitStack() as stack:
        port, kubeconfig = free_port(), directory / f"{name}.kubeconfig"
        made = rule(server.url, server.monitoring_url)
        definition = msgspec.json.decode(msgspec.json.encode(crd()))
        cluster = EmbeddedKubernetes(crds=[definition])
        await stack.enter_async_context(cluster)
        cluster.write_kubeconfig(kubeconfig, namespace=NAMESPACE)
        api = await stack.enter_async_context(await connect(kubeconfig, in_cluster=False))
        side = Side(name, api, stream, f"http://127.0.0.1:{port}/metrics")
        await stream.add_stream(name=side.stream_name, subjects=[side.subject])
        await stream.pull_subscribe(side.subject, durable=CONSUMER, stream=side.stream_name)
        made["spec"] |= {**spec, "subject": side.subject}
        custom = client.CustomObjectsApi(api)
        namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE))
        await client.CoreV1Api(api).create_namespace(namespace)
        for group, plural, body in (("apps", "deployments", deployment()), (GROUP, PLURAL, made)):
            await custom.create_namespaced_custom_object(group, "v1", NAMESPACE, plural, body)
        log = directory / f"{name}.log"
        operator = await stack.enter_async_context(
            run_operator(
                kubeconfig, log, metrics_port=port, events="Advisories,Doorbell" if events else "none"
            )
        )
        async with asyncio.TaskGroup() as group_:
            tasks = [group_.create_task(supervise(operator, log)), group_.create_task(side.watch.run())]
            await until(partial(side.ready, listening=events))
            yield side
            for task in tasks:
                task.cancel()
