"""What the demo scales: a Deployment with its rule, and workers that really pull and acknowledge.

The workers are simulated here, as many as the Deployment has replicas; its own pods, if any, do nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec
import nats
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from nats.aio.client import Client
from nats.errors import TimeoutError as NoMessageError
from nats.js import JetStreamContext

from natsscaler.crd import crd
from natsscaler.rules import GROUP, KIND, PLURAL, VERSION, Target

NAMESPACE = "natsscaler-demo"
TARGET = Target(NAMESPACE, "my-app")

STREAM, SUBJECT, CONSUMER = "ORDERS", "orders.processing", "workers"
MESSAGE_SECONDS = 0.05
"""What one message costs a worker: about 20 messages per second."""
TRICKLE_PER_SECOND = 5
FETCH_SECONDS = 1.0
CHECK_SECONDS = 0.02
ESTABLISH_SECONDS = 30.0
NOT_FOUND, CONFLICT = 404, 409


class Workload:
    """The stream, its durable consumer and their clients; `async with` connects."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = AsyncExitStack()
        self._client: Client
        self._stream: JetStreamContext

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._url, name="natsscaler demo")
        self._stack.push_async_callback(self._client.close)
        self._stream = self._client.jetstream()
        await self._stream.add_stream(name=STREAM, subjects=[SUBJECT])
        await self._stream.pull_subscribe(SUBJECT, durable=CONSUMER, stream=STREAM)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def backlog(self) -> int:
        """Count the messages that no worker has acknowledged yet."""
        info = await self._stream.consumer_info(STREAM, CONSUMER)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def burst(self, messages: int) -> float:
        """Publish as fast as it goes; return when the first message was published (monotonic clock)."""
        began = time.monotonic()
        for number in range(messages):
            await self._client.publish(SUBJECT, b"burst %d" % number)
        await self._client.flush()
        return began

    async def trickle(self) -> None:
        """Publish, until cancelled, what one worker easily keeps up with."""
        while True:
            await self._client.publish(SUBJECT, b"trickle")
            await asyncio.sleep(1 / TRICKLE_PER_SECOND)

    async def work(self, replicas: Callable[[], int]) -> None:
        """Keep, until cancelled, as many workers as there are replicas."""
        async with asyncio.TaskGroup() as group:
            workers: dict[int, asyncio.Task[None]] = {}
            while True:
                for number in range(replicas()):
                    if number not in workers or workers[number].done():
                        job = self._worker(number, replicas)
                        workers[number] = group.create_task(job, name=f"worker {number}")
                await asyncio.sleep(CHECK_SECONDS)

    async def _worker(self, number: int, replicas: Callable[[], int]) -> None:
        """Work until there are too many workers; a message that was begun is finished."""
        subscription = await self._stream.pull_subscribe_bind(CONSUMER, stream=STREAM)
        while number < replicas():
            try:
                (message,) = await subscription.fetch(1, timeout=FETCH_SECONDS)
            except NoMessageError:
                continue
            await asyncio.sleep(MESSAGE_SECONDS)
            await message.ack()
        await subscription.unsubscribe()


@asynccontextmanager
async def manifests(api: client.ApiClient, rule_: dict[str, Any]) -> AsyncIterator[None]:
    """Create what the demo needs; at the end delete what was created, but nothing that was there before."""
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    definitions = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    definition = msgspec.json.decode(msgspec.json.encode(crd()))
    async with AsyncExitStack() as stack:
        if await _created(custom.create_cluster_custom_object(*definitions, definition)):
            name = definition["metadata"]["name"]
            stack.push_async_callback(custom.delete_cluster_custom_object, *definitions, name)
        namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE))
        if await _created(core.create_namespace(namespace)):
            stack.push_async_callback(core.delete_namespace, NAMESPACE)
        for group, plural, body in (("apps", "deployments", deployment()), (GROUP, PLURAL, rule_)):
            where = (group, "v1", NAMESPACE, plural)
            async with asyncio.timeout(ESTABLISH_SECONDS):
                while not await _served(custom.create_namespaced_custom_object(*where, body)):  # noqa: ASYNC110 - the API tells nobody
                    await asyncio.sleep(CHECK_SECONDS)
            stack.push_async_callback(custom.delete_namespaced_custom_object, *where, TARGET.name)
        yield


async def _created(request: Any) -> bool:
    """Tell whether an object was created; False: it was there already."""
    try:
        await request
    except ApiException as error:
        if error.status != CONFLICT:
            raise
        return False
    return True


async def _served(request: Any) -> bool:
    """Tell whether an object was created; False: its kind is not served yet, as its definition is new."""
    try:
        await request
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return True


def deployment() -> dict[str, Any]:
    """Make the Deployment; on a real cluster its pods do nothing, the workers are simulated here."""
    labels = {"app": TARGET.name}
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": TARGET.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def rule(url: str, monitoring_url: str) -> dict[str, Any]:
    """Make the ScalingRule; its poll interval is long, so what happens sooner is by events."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": TARGET.name, "namespace": NAMESPACE},
        "spec": {
            "deploymentName": TARGET.name,
            "namespace": NAMESPACE,
            "minReplicas": 1,
            "maxReplicas": 10,
            "natsMonitoringURL": monitoring_url,
            "subject": SUBJECT,
            "scaleUpThreshold": 50,
            "scaleDownThreshold": 10,
            "pollIntervalSeconds": 30,
            "messagesPerReplica": 50,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
            "nats": {"url": url},
        },
    }
