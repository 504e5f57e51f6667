"""The local stack, as `make up` starts it, with a real control plane in kind's place."""

import json
import os
import pathlib
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from natsscaler.demo.ports import free_ports
from tests.containers.conftest import ROOT, Container, Images, docker
from tests.support.clusters import RealCluster, assets_from_environment

pytestmark = [pytest.mark.containers, pytest.mark.control_plane, pytest.mark.timeout(300)]

PORTS = (
    "NATS_PORT",
    "NATS_MONITORING_PORT",
    "METRICS_PORT",
    "PROBE_PORT",
    "ACTIVITY_PORT",
    "PROMETHEUS_PORT",
)


@dataclass(frozen=True, slots=True)
class Stack:
    """`make up`, `make burst` and `make down`, and what they leave in the engine and in the cluster."""

    project: str
    network: str
    ports: dict[str, int]
    images: Images
    cluster: RealCluster
    directory: pathlib.Path

    def make(self, target: str, *variables: str) -> None:
        kubectl, admin = self.cluster.assets / "kubectl", self.cluster.kubeconfig
        command = ["make", target, f"IMG={self.images.operator}", f"EXAMPLES_IMG={self.images.examples}"]
        self._run([*command, f"KUBECTL={kubectl}", f"ADMIN_KUBECONFIG={admin}", *variables])

    def compose(self, *arguments: str) -> None:
        v2 = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
        self._run([*(("docker", "compose") if v2.returncode == 0 else ("docker-compose",)), *arguments])

    def container(self, service: str) -> Container:
        (name,) = self.owned(
            "ps", f"--filter=label=com.docker.compose.service={service}", "--format={{.Names}}"
        )
        return Container(name)

    def owned(self, *command: str) -> list[str]:
        """List what the engine has of this project: `owned("volume", "ls", "--quiet")`."""
        return docker(*command, f"--filter=label=com.docker.compose.project={self.project}").split()

    def replicas(self) -> int:
        answer = self.cluster.kubectl("get", "deployment", "my-app", "-o", "jsonpath={.spec.replicas}")
        return int(answer or 1)

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def _run(self, command: list[str]) -> None:
        environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": self.project,
            "CLUSTER_NETWORK": self.network,
            "STACK_DIR": str(self.directory),
            "KUBECONFIG_FILE": str(self.directory / "kubeconfig"),
            "BURST_SECONDS": "3600",
        }
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def stack(images: Images, tmp_path: pathlib.Path) -> Iterator[Stack]:
    """A network as kind would make it, with an API server at its gateway; nothing of the stack runs yet."""
    project = f"natsscaler-test-{uuid.uuid4().hex[:8]}"
    assets = assets_from_environment()
    assert assets
    docker("network", "create", project)
    try:
        gateway = docker("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", project)
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        with RealCluster(assets, tmp_path / "cluster", host=gateway) as cluster:
            stack = Stack(project, project, ports, images, cluster, tmp_path / "stack")
            yield stack
            stack.make("down")
    finally:
        docker("network", "rm", project)


async def test_a_burst_scales_the_worker_and_nothing_is_left(
    stack: Stack, run_container: Callable[..., Container]
) -> None:
    stack.make("up")
    operator, nats = stack.container("operator"), stack.container("nats")

    await operator.becomes(lambda: stack.replicas() == 10)
    async with httpx.AsyncClient(base_url=stack.url("ACTIVITY_PORT"), trust_env=False) as http:
        activity = (await http.get("/scaling-activity")).json()
    assert [(action["deployment"], action["toReplicas"]) for action in activity["actions"]] == [
        ("my-app", 10)
    ]

    # kwok's pods run nothing, so a worker of the same image does their work.
    run_container(
        *(f"--network={stack.network}", "--env=NATS_URL=nats://nats:4222", "--env=ORDER_SECONDS=0"),
        stack.images.examples,
    )
    await operator.becomes(lambda: stack.replicas() == 1)

    began = nats.inspect("{{.State.StartedAt}}")
    stack.make("up")
    assert stack.container("nats").inspect("{{.State.StartedAt}}") == began
    assert len(stack.owned("ps", "--quiet")) == 3

    stack.make("burst", "ORDERS=100000")
    await stack.container("operator").becomes(lambda: stack.replicas() > 1)

    stack.make("down")
    for what in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert stack.owned(*what, "--quiet") == []
    left = stack.cluster.kubectl("get", "deployments,crd,clusterroles,namespaces", "-A", "-o", "name")
    assert "my-app" not in left
    assert "scaling" not in left.replace("horizontal-pod-autoscaler", "").replace("autoscaling", "")
    assert not stack.directory.exists()


async def test_in_the_operators_container_explain_and_check_answer_as_the_operator_does(stack: Stack) -> None:
    stack.make("up")
    operator = stack.container("operator")
    await operator.becomes(lambda: stack.replicas() == 10)

    def asks(*command: str) -> dict[str, tuple[str, str]]:
        done = subprocess.run(
            ["docker", "exec", *command, "--output", "json"], check=False, capture_output=True, text=True
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        sections = json.loads(done.stdout)["sections"]
        return {step["title"]: (step["state"], step["text"]) for steps in sections.values() for step in steps}

    explain = ("natsscaler", "explain", "default/my-app-scaling")
    steps = asks(operator.name, *explain)
    assert steps["NATS"] == ("ok", "nats answered at http://nats:8222")
    assert "default/my-app keeps 10 replicas" in steps["Outcome"][1]
    assert asks(operator.name, "natsscaler", "check")["http://nats:8222"][0] == "ok"

    steps = asks("--env=NATSSCALER_ALLOW_HOSTS=elsewhere", operator.name, *explain)
    assert steps["NATS"][0] == "blocked"
    assert "--allow-hosts" in steps["NATS"][1]


async def test_operator_may_do_no_more_than_its_role(stack: Stack) -> None:
    stack.make("up")
    kubectl = [str(stack.cluster.assets / "kubectl"), "--kubeconfig", str(stack.directory / "kubeconfig")]

    def allowed(*what: str) -> bool:
        done = subprocess.run([*kubectl, "auth", "can-i", *what, "-A"], check=False, capture_output=True)
        return done.stdout.strip() == b"yes"

    assert allowed("list", "scalingrules.scaling.example.com")
    assert not allowed("delete", "deployments")
    assert allowed("get", "secrets")
    assert not allowed("list", "secrets")
    assert stack.container("operator").inspect("{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}") == (
        "65532:65532 true"
    )


async def test_prometheus_scrapes_the_operator(stack: Stack) -> None:
    stack.make("up")
    stack.compose("up", "--detach", "prometheus")
    prometheus = stack.container("prometheus")

    def up() -> bool:
        try:
            query = {"query": 'up{job="natsscaler"}'}
            answer = httpx.get(f"{stack.url('PROMETHEUS_PORT')}/api/v1/query", params=query, trust_env=False)
        except httpx.TransportError:
            return False
        if not answer.is_success:  # it is starting
            return False
        return [series["value"][1] for series in answer.json()["data"]["result"]] == ["1"]

    await prometheus.becomes(up)
    docker("exec", prometheus.name, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert json.loads(
        docker("inspect", "--format={{json .NetworkSettings.Networks}}", prometheus.name)
    ).keys() == {stack.network}
