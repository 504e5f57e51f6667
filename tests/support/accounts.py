"""ServiceAccounts with what config/ grants, or less, and the operator that runs as one of them."""

import asyncio
import functools
import json
import os
import pathlib
import re
import urllib.error
import urllib.request
from typing import Any

import yaml
from kubernetes.aio import client

from natsscaler.core.permissions import Permission
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports
from tests.conftest import KubeApi
from tests.install.conftest import CONFIG, rendered
from tests.support.clusters import RealCluster
from tests.support.stage import LONG, Stage

REFUSAL = re.compile("forbidden|may not")
ROLES, BINDINGS = ("Role", "ClusterRole"), ("RoleBinding", "ClusterRoleBinding")


def permissions() -> list[Permission]:
    """Read from config/rbac what the operator's ServiceAccount is granted."""
    objects = [yaml.safe_load(path.read_text()) for path in CONFIG.glob("rbac/*_role*.yaml")]
    bound = {item["roleRef"]["name"] for item in objects if item["kind"] in BINDINGS}
    return [
        Permission(verb, resource, group)
        for item in objects
        if item["metadata"]["name"] in bound
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


PERMISSIONS = permissions()


class Account:
    """The operator as a ServiceAccount, and the world as an administrator sees it."""

    def __init__(self, kube_api: KubeApi, nats_server: NatsServer, directory: pathlib.Path) -> None:
        self.api = kube_api.client
        self.stage = Stage(kube_api, nats_server, directory)
        self._log = directory / "operator.log"
        self._log.touch()
        self._probes, self._metrics = free_ports(2)
        self._process: asyncio.subprocess.Process | None = None
        self._objects = client.CustomObjectsApi(kube_api.client)

    async def start(self, *, everywhere: bool = True) -> asyncio.subprocess.Process:
        elect = (
            *("--leader-elect", "--leader-elect-namespace", self.stage.namespace),
            *("--leader-elect-lease-duration", "5s", "--leader-elect-renew-deadline", "3s"),
        )
        ports = ("--probe-port", str(self._probes), "--metrics-port", str(self._metrics))
        self._process = await self.stage.start(*ports, *elect, everywhere=everywhere)
        return self._process

    async def acts(self) -> None:
        """Wait until it is ready and leads: what changes after this it can only learn by its watches."""
        await self.stage.becomes("ok", self.ready)
        await self.stage.becomes(True, self._leads)

    async def exit_status(self) -> int | None:
        return self._process.returncode if self._process else None

    async def burst(self) -> None:
        """Make a Deployment, a rule for it, and a burst that wants five replicas."""
        await self.stage.create_deployment()
        await self.stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
        await self.stage.publish(100)

    async def able(self) -> tuple[str, str]:
        return await self.stage.condition("AbleToScale")

    async def events(self) -> set[str]:
        found: Any = await self._objects.list_namespaced_custom_object(
            "events.k8s.io", "v1", self.stage.namespace, "events"
        )
        return {item["reason"] for item in found["items"] if item["reportingController"] == "natsscaler"}

    async def ready(self) -> str:
        return await asyncio.to_thread(self._get, f"http://127.0.0.1:{self._probes}/readyz")

    async def refusals(self, what: str) -> int:
        """Count the lines of the log that tell of a refused request for a resource."""
        lines = self._log.read_text().lower().splitlines()
        return sum(1 for line in lines if what in line and REFUSAL.search(line))

    async def logged(self, what: str) -> bool:
        return what in self._log.read_text().lower()

    async def is_refused(self, what: str, times: int = 1) -> bool:
        return await self.refusals(what) >= times

    async def refused(self, what: str, times: int = 1) -> None:
        await self.stage.becomes(True, functools.partial(self.is_refused, what, times))

    async def _leads(self) -> bool:
        metrics = await asyncio.to_thread(self._get, f"http://127.0.0.1:{self._metrics}/metrics")
        return "\nnatsscaler_leader 1" in metrics

    def _get(self, url: str) -> str:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text: str = answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        except OSError:
            text = "no answer"
        return text


def grants(directory: str, namespace: str, scratch: pathlib.Path) -> list[dict[str, Any]]:
    """Render the ServiceAccount, roles and bindings of a directory of config/, for another namespace."""
    (scratch / "kustomization.yaml").write_text(
        json.dumps(
            {
                "resources": [os.path.relpath(CONFIG / directory, scratch)],
                "namespace": namespace,
                "nameSuffix": f"-{namespace}",
            }
        )
    )
    kinds = {"ServiceAccount", *ROLES, *BINDINGS}
    return [item for item in rendered(scratch) if item["kind"] in kinds]


def narrowed(item: dict[str, Any], without: tuple[Permission, ...]) -> dict[str, Any]:
    """Take permissions out of a role."""
    for rule in item.get("rules", ()):
        (group,), (resource,) = rule["apiGroups"], rule["resources"]
        rule["verbs"] = [v for v in rule["verbs"] if Permission(v, resource, group) not in without]
    if "rules" in item:
        item["rules"] = [rule for rule in item["rules"] if rule["verbs"]]
    return item


def make_account(
    cluster: RealCluster,
    directory: str,
    namespace: str,
    scratch: pathlib.Path,
    without: tuple[Permission, ...],
) -> tuple[str, str]:
    """Make a namespace with an account that is granted this much; return its name and what was applied."""
    objects = [narrowed(item, without) for item in grants(directory, namespace, scratch)]
    manifests = "\n---\n".join(yaml.safe_dump(item) for item in objects)
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("apply", "-f", "-", stdin=manifests)
    (name,) = (item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount")
    return name, manifests


def login(cluster: RealCluster, namespace: str, name: str, path: pathlib.Path) -> pathlib.Path:
    """Write a kubeconfig with a token of the ServiceAccount."""
    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", name, "-n", namespace).strip()
    kubeconfig["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(kubeconfig))
    return path


async def is_granted(api: client.ApiClient, user: str, namespace: str, permission: Permission) -> bool:
    review: Any = {"spec": {"user": user, "resourceAttributes": permission.attributes(namespace)}}
    answer: Any = await client.AuthorizationV1Api(api).create_subject_access_review(review)
    return bool(answer.status.allowed)
