"""What the demo puts into the cluster: the CRD if it is missing, a namespace, Deployments and their rules.

The cluster may be somebody's real one: what was there before stays, what was created is deleted at the end.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.crd import crd
from natsscaler.core.rule import GROUP, KIND, PLURAL, VERSION, Target
from natsscaler.demo.errors import DemoFailed

NAMESPACE = "natsscaler-demo"
TARGET = Target(NAMESPACE, "my-app")
SUBJECT = "orders.processing"
REPORTS = Target(NAMESPACE, "reports")
"""The Deployment that idles at zero until somebody asks for a report."""
REPORTS_SUBJECT = "reports.requested"
IDLE_SECONDS = 8
MIN_REPLICAS, MAX_REPLICAS = 1, 10
SCALE_DOWN_THRESHOLD = 10
STABILIZATION_SECONDS = 12

DEFINITIONS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
DEFINITION = f"{PLURAL}.{GROUP}"
DEPLOYMENTS = ("apps", "v1", NAMESPACE, "deployments")
RULES = (GROUP, VERSION, NAMESPACE, PLURAL)
CHECK_SECONDS, DELETE_SECONDS, ESTABLISH_SECONDS, GONE_SECONDS = 0.05, 5.0, 30.0, 60.0
BAD_REQUEST, NOT_FOUND, CONFLICT, INVALID = 400, 404, 409, 422


@asynccontextmanager
async def manifests(api: client.ApiClient, *rules: dict[str, Any]) -> AsyncIterator[None]:
    """Create what the demo needs, a Deployment for each rule; at the end delete what was created.

    Nothing is deleted that was there before.

    Raises DemoFailed if the cluster has another CRD or another demo, ApiException if it refuses otherwise.
    """
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    create, delete = custom.create_namespaced_custom_object, custom.delete_namespaced_custom_object
    async with AsyncExitStack() as stack:
        if await _define(custom):
            stack.push_async_callback(_undefine, custom)
        if await _claim_namespace(core):
            stack.push_async_callback(_deleted, partial(core.delete_namespace, NAMESPACE))
        for made in rules:
            name = made["spec"]["deploymentName"]
            if not await _created(create(*DEPLOYMENTS, deployment(name))):
                raise DemoFailed(_taken("Deployment", name))
            stack.push_async_callback(_deleted, partial(delete, *DEPLOYMENTS, name))
            if not await _create_rule(custom, made):
                raise DemoFailed(_taken(KIND, name))
            stack.push_async_callback(_deleted, partial(delete, *RULES, name))
        yield


async def _define(custom: client.CustomObjectsApi) -> bool:
    """Create the CRD; False: there was one already. Raises DemoFailed if that one is of no use here."""
    definition = msgspec.json.decode(msgspec.json.encode(crd()))
    if await _created(custom.create_cluster_custom_object(*DEFINITIONS, definition)):
        return True
    found: Any = await custom.get_cluster_custom_object(*DEFINITIONS, DEFINITION)
    if not any(version["name"] == VERSION and version["served"] for version in found["spec"]["versions"]):
        raise DemoFailed(_other_definition(f"it does not serve version {VERSION}"))
    return False


async def _undefine(custom: client.CustomObjectsApi) -> None:
    """Delete the CRD, unless somebody has made rules in the meantime: they would go with it."""
    rules: Any = await custom.list_cluster_custom_object(GROUP, VERSION, PLURAL)
    if not any(rule["metadata"]["namespace"] != NAMESPACE for rule in rules["items"]):
        await _deleted(partial(custom.delete_cluster_custom_object, *DEFINITIONS, DEFINITION))


async def _claim_namespace(core: client.CoreV1Api) -> bool:
    """Create the namespace, once that of an earlier demo is gone; False: there is one that stays."""
    body = client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE))
    async with _within(GONE_SECONDS, f"the namespace {NAMESPACE} of an earlier demo is still being deleted"):
        while not await _created(core.create_namespace(body)):
            listed: Any = await core.list_namespace(field_selector=f"metadata.name={NAMESPACE}")
            if any(found.status.phase == "Active" for found in listed.items):
                return False
            await asyncio.sleep(CHECK_SECONDS)
    return True


async def _create_rule(custom: client.CustomObjectsApi, rule_: dict[str, Any]) -> bool:
    """Create the rule, once its kind is served; False: it exists. Raises DemoFailed if the CRD is another."""
    async with _within(ESTABLISH_SECONDS, f"the cluster does not serve {DEFINITION}"):
        while True:
            try:
                return await _created(
                    custom.create_namespaced_custom_object(*RULES, rule_, field_validation="Strict")
                )
            except ApiException as error:
                if error.status in {BAD_REQUEST, INVALID}:
                    raise DemoFailed(_other_definition(explained(error))) from error
                if error.status != NOT_FOUND:
                    raise
            await asyncio.sleep(CHECK_SECONDS)


@asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DemoFailed(f"{otherwise} after {seconds:g} s") from error


async def _created(request: Awaitable[Any]) -> bool:
    """Tell whether an object was created; False: it was there already."""
    try:
        await request
    except ApiException as error:
        if error.status != CONFLICT:
            raise
        return False
    return True


async def _deleted(request: Callable[[], Awaitable[Any]]) -> None:
    """Delete an object; a person may have done so before."""
    try:
        async with asyncio.timeout(DELETE_SECONDS):
            await request()
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise


def _taken(kind: str, name: str) -> str:
    return (
        f"{kind} {NAMESPACE}/{name} exists already: another demo runs in this cluster, or left it behind;"
        f" to remove it: kubectl delete namespace {NAMESPACE}"
    )


def _other_definition(why: str) -> str:
    return (
        f"the CustomResourceDefinition {DEFINITION} in this cluster is not this natsscaler's: {why};"
        " to update it: kubectl apply -f config/crd/bases"
    )


def explained(error: ApiException) -> str:
    """Return the sentence in the answer of the API, which comes as a `Status` object."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return f"the Kubernetes API answered {error.status} {error.reason}"


def deployment(name: str = TARGET.name) -> dict[str, Any]:
    """Make a Deployment; on a real cluster its pods do nothing, the workers are simulated here."""
    labels = {"app": name}
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": MIN_REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def rule(url: str, monitoring_url: str) -> dict[str, Any]:
    """Make the ScalingRule; what happens sooner than its poll interval is by events."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": TARGET.name, "namespace": NAMESPACE},
        "spec": {
            "deploymentName": TARGET.name,
            "namespace": NAMESPACE,
            "minReplicas": MIN_REPLICAS,
            "maxReplicas": MAX_REPLICAS,
            "natsMonitoringURL": monitoring_url,
            "subject": SUBJECT,
            "scaleUpThreshold": 50,
            "scaleDownThreshold": SCALE_DOWN_THRESHOLD,
            "pollIntervalSeconds": 10,
            "messagesPerReplica": 50,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": STABILIZATION_SECONDS}},
            "nats": {"url": url},
        },
    }


def sleepy_rule(url: str, monitoring_url: str) -> dict[str, Any]:
    """Make the ScalingRule of the Deployment that idles at zero, and wakes."""
    made = rule(url, monitoring_url)
    made["metadata"]["name"] = made["spec"]["deploymentName"] = REPORTS.name
    made["spec"] |= {
        "subject": REPORTS_SUBJECT,
        "minReplicas": 0,
        "maxReplicas": 3,
        "idleSeconds": IDLE_SECONDS,
        "pollIntervalSeconds": 2,
    }
    return made
