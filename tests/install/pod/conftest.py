"""A real control plane that the manifests and the chart are installed on, and the pods that it makes."""

import asyncio
import json
import os
import pathlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config

from natsscaler.demo.nats_server import NatsServer
from tests.conftest import CRD_FILE, Helm, KubeApi
from tests.install.conftest import CONFIG, rendered
from tests.install.pod.kubelet import Object, Pod
from tests.install.pod.pythons import Python, find, prepare, versions
from tests.support.clusters import RealCluster, assets_from_environment
from tests.support.stage import Stage

CHART = CONFIG.parent / "helm/scaling-operator"
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}
LOOPBACK = "127.0.0.1/32"
"""Where the tests' nats-server is: in a cluster rules may lead there only if that is allowed."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the image's Python, if it is here, unless it names versions itself."""
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "python" in metafunc.fixturenames and "python" not in chosen:
        here = [version for version in versions() if find(version)]
        metafunc.parametrize("python", here[-1:] or versions()[-1:], indirect=True)


@pytest.fixture(scope="session")
def pod_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The cluster of these tests, with the CRD."""
    assets = assets_from_environment()
    assert assets, "tests that use pod_cluster are marked control_plane"
    with RealCluster(assets, tmp_path_factory.mktemp("pod-cluster")) as cluster:
        cluster.kubectl("apply", "--server-side", "-k", str(CONFIG / "crd"))
        cluster.kubectl("wait", "--for=condition=Established", "-f", str(CRD_FILE))
        yield cluster


@pytest.fixture
def python(request: pytest.FixtureRequest) -> Python:
    version: str = request.param
    if not find(version):
        pytest.skip(f"there is no Python {version} here")
    return prepare(version)


class World:
    """A namespace with something to scale, another one with the operator, and its pods."""

    def __init__(
        self,
        cluster: RealCluster,
        api: client.ApiClient,
        nats_server: NatsServer,
        python: Python,
        directory: pathlib.Path,
    ) -> None:
        self.cluster, self.python = cluster, python
        self.namespace = f"operator-{uuid.uuid4().hex[:8]}"
        self._api, self._nats = api, nats_server
        self.pods: list[Pod] = []
        self._directory = directory
        self._applied: list[Object] = []
        self._stages: list[str] = []
        self.stage = self.another_stage()

    def apply(self, objects: list[Object]) -> None:
        """Apply what was rendered, but for the CRD, which is there."""
        found = [item for item in objects if item and item["kind"] != "CustomResourceDefinition"]
        self._applied += found
        self.cluster.kubectl(
            "apply", "--server-side", "--validate=strict", "-f", "-", stdin=_documents(found)
        )

    def create_namespace(self, name: str) -> None:
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply(
            [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}]
        )

    def apply_again(self, namespace: str) -> None:
        """Bring back a namespace that was deleted, with all that was installed in it."""
        self.cluster.kubectl("create", "namespace", namespace)
        lost = [item for item in self._applied if item["metadata"].get("namespace") == namespace]
        self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=_documents(lost))

    def another_stage(self) -> Stage:
        """Make a further namespace, for something to scale."""
        namespace = f"shop-{uuid.uuid4().hex[:8]}"
        self.cluster.kubectl("create", "namespace", namespace)
        self._stages.append(namespace)
        kube_api = KubeApi(self.cluster.kubeconfig, namespace, self._api, self.cluster)
        return Stage(kube_api, self._nats, self._directory)

    async def start(self, *, refused: bool = False) -> list[Pod]:
        """Start the process of every pod of the operator; `refused`: with tokens that count no more."""
        self.pods = await self.made()
        for pod in self.pods:
            await pod.start(refused=refused)
        return self.pods

    async def made(self) -> list[Pod]:
        """Wait for the pods that the operator's Deployment makes."""
        (deployment,) = (item for item in self._applied if item["kind"] == "Deployment")
        wanted = deployment["spec"]["replicas"]
        await self.stage.becomes(wanted, lambda: asyncio.to_thread(lambda: len(self._found())))
        return [Pod(self.cluster, pod, self.python, self._directory) for pod in self._found()]

    async def stop(self) -> None:
        for pod in self.pods:
            if pod.process:
                await pod.stop()

    def clean(self) -> None:
        cluster_wide = [item for item in self._applied if item["kind"] in CLUSTER_WIDE]
        if cluster_wide:
            self.cluster.kubectl("delete", "-f", "-", "--wait=false", stdin=_documents(cluster_wide))
        names = {item["metadata"]["name"] for item in self._applied if item["kind"] == "Namespace"}
        self.cluster.kubectl("delete", "scalingrules", "--all", "--all-namespaces")
        gone = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "namespace", *names.union(self._stages), *gone)

    async def burst(self, messages: int = 100) -> None:
        """Make a Deployment, a rule for it, and a backlog that wants five replicas."""
        await self.stage.create_stream()
        await self.stage.create_deployment()
        await self.stage.apply_sample(messagesPerReplica=20)
        await self.stage.publish(messages)

    def _found(self) -> list[Object]:
        found: list[Object] = json.loads(
            self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", "json")
        )["items"]
        return found


@pytest.fixture
async def world(
    pod_cluster: RealCluster, nats_server: NatsServer, python: Python, tmp_path: pathlib.Path
) -> AsyncIterator[World]:
    (tmp_path / "operator.log").touch()
    async with await config.new_client_from_config(str(pod_cluster.kubeconfig)) as api:  # type: ignore[no-untyped-call]
        world = await asyncio.to_thread(World, pod_cluster, api, nats_server, python, tmp_path)
        yield world
        await world.stop()
        await asyncio.to_thread(world.clean)


Install = Callable[..., None]


@pytest.fixture
def kustomize(world: World, tmp_path: pathlib.Path) -> Install:
    """Install a directory of config/ in a namespace of the test's own, with more environment variables."""

    def install(directory: str = "default", **environment: str) -> None:
        scratch = tmp_path / "kustomization"
        scratch.mkdir()
        given = {"NATSSCALER_ALLOW_HOSTS": LOOPBACK} | environment
        container = {"name": "manager", "env": [{"name": k, "value": v} for k, v in given.items()]}
        patch = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "any"},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        kustomization = {
            "resources": [os.path.relpath(CONFIG / directory, scratch)],
            "namespace": world.namespace,
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(patch)}],
        }
        (scratch / "kustomization.yaml").write_text(json.dumps(kustomization))
        objects = rendered(scratch)
        if not any(item["kind"] == "Namespace" for item in objects):
            world.create_namespace(world.namespace)
        world.apply(objects)

    return install


@pytest.fixture
def chart(world: World, helm: Helm) -> Install:
    """Install the chart with values, as `helm template` renders them."""

    def install(values: Object | None = None) -> None:
        values = values or {}
        operator = {"allowHosts": [LOOPBACK]} | values.get("operator", {})
        where = ("--namespace", world.namespace)
        text = helm(
            "template", "scaling-operator", str(CHART), *where, values=values | {"operator": operator}
        )
        world.create_namespace(world.namespace)
        world.apply(list(yaml.safe_load_all(text)))

    return install


def _documents(objects: list[Any]) -> str:
    return "\n---\n".join(yaml.safe_dump(item) for item in objects)
