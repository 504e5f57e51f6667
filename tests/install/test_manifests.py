"""Everything below config/ is accepted by a real API server, does what it says, and goes without a trace."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from natsscaler import __version__
from natsscaler.core.rule import parse
from natsscaler.observe.metrics import Metrics
from natsscaler.settings import SETTINGS
from tests.install.conftest import CONFIG, await_everything, await_no_difference, everything, rendered
from tests.support.clusters import RealCluster

NAMESPACE, NAME = "scaling-operator-system", "scaling-operator-controller-manager"
NODES, ZONE = ("node-0", "node-1", "node-2"), "topology.kubernetes.io/zone"
SAMPLES = [yaml.safe_load(path.read_text()) for path in sorted(CONFIG.glob("samples/scaling_*.yaml"))]
OPT_IN = ("network-policy", "prometheus", "samples")


@contextlib.contextmanager
def installed(cluster: RealCluster, directory: str) -> Iterator[None]:
    """Apply a directory of config/ as its users do, and take it away at the end."""
    apply(cluster, directory)
    try:
        yield
    finally:
        cluster.kubectl("delete", "-k", str(CONFIG / directory), "--timeout=60s")


def apply(cluster: RealCluster, directory: str) -> None:
    cluster.kubectl("apply", "--server-side", "--validate=strict", "-k", str(CONFIG / directory))


def get(cluster: RealCluster, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", *what, "-o", "json"))
    return found


@pytest.mark.control_plane
def test_the_default_runs_is_stable_and_leaves_nothing_over(empty_cluster: RealCluster) -> None:
    before = everything(empty_cluster)
    with installed(empty_cluster, "default"):
        rollout(empty_cluster)
        apply(empty_cluster, "default")
        await_no_difference(empty_cluster, "-k", str(CONFIG / "default"))
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
def test_the_namespace_admits_no_pod_that_is_less_restricted(empty_cluster: RealCluster) -> None:
    with installed(empty_cluster, "default"):
        deployment = get(empty_cluster, "deployment", "-n", NAMESPACE, NAME)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": NAMESPACE}}
        spec = deployment["spec"]["template"]["spec"]
        create = ("create", "--dry-run=server", "-f", "-")
        empty_cluster.kubectl(*create, stdin=json.dumps(pod | {"spec": spec}))
        spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(subprocess.CalledProcessError):
            empty_cluster.kubectl(*create, stdin=json.dumps(pod | {"spec": spec}))


@pytest.mark.control_plane
@pytest.mark.parametrize("zones", [{}, {"node-0": "a", "node-1": "a", "node-2": "b"}], ids=["one", "two"])
def test_production_spreads_its_two_pods_and_guards_one(
    empty_cluster: RealCluster, zones: dict[str, str]
) -> None:
    for node in NODES:
        zone = f"{ZONE}={zones[node]}" if zones else f"{ZONE}-"
        empty_cluster.kubectl("label", "node", node, zone, "--overwrite")
    before = everything(empty_cluster)
    with installed(empty_cluster, "overlays/production"):
        rollout(empty_cluster)
        pods = get(empty_cluster, "pods", "-n", NAMESPACE)["items"]
        nodes = {pod["spec"]["nodeName"] for pod in pods}
        assert len(nodes) == len(pods) == 2
        assert {zones[node] for node in nodes if zones} == set(zones.values())
        allowed = "jsonpath={.status.disruptionsAllowed}=1"
        empty_cluster.kubectl("wait", "pdb", NAME, "-n", NAMESPACE, f"--for={allowed}", "--timeout=30s")
        for container in (pod["spec"]["containers"][0] for pod in pods):
            assert {"name": "NATSSCALER_LEADER_ELECT", "value": "true"} in container["env"]
        apply(empty_cluster, "overlays/production")
        await_no_difference(empty_cluster, "-k", str(CONFIG / "overlays/production"))
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
@pytest.mark.usefixtures("monitoring_kinds")
@pytest.mark.parametrize("directory", OPT_IN)
def test_what_is_opted_in_goes_beside_the_default(empty_cluster: RealCluster, directory: str) -> None:
    with installed(empty_cluster, "default"):
        before = everything(empty_cluster)
        with installed(empty_cluster, directory):
            apply(empty_cluster, directory)
            await_no_difference(empty_cluster, "-k", str(CONFIG / directory))
            assert everything(empty_cluster) > before


@pytest.mark.control_plane
@pytest.mark.usefixtures("monitoring_kinds")
def test_what_is_opted_in_selects_the_operator(empty_cluster: RealCluster) -> None:
    with installed(empty_cluster, "default"), contextlib.ExitStack() as stack:
        for directory in ("network-policy", "prometheus"):
            stack.enter_context(installed(empty_cluster, directory))
        rollout(empty_cluster)
        of = ("-n", NAMESPACE)
        for policy in get(empty_cluster, "networkpolicies", *of)["items"]:
            assert len(selected(empty_cluster, "pods", policy["spec"]["podSelector"])) == 1
        (monitor,) = get(empty_cluster, "servicemonitors", *of)["items"]
        (service,) = selected(empty_cluster, "services", monitor["spec"]["selector"])
        ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
        assert ports[monitor["spec"]["endpoints"][0]["port"]] == 8080
        (slices,) = get(empty_cluster, "endpointslices", *of)["items"]
        assert {(port["name"], port["port"]) for port in slices["ports"]} == set(ports.items())


def rollout(cluster: RealCluster) -> None:
    cluster.kubectl("rollout", "status", "deployment", NAME, "-n", NAMESPACE, "--timeout=60s")


def selected(cluster: RealCluster, kind: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
    labels = ",".join(f"{name}={value}" for name, value in selector["matchLabels"].items())
    found: list[dict[str, Any]] = get(cluster, kind, "-n", NAMESPACE, "-l", labels)["items"]
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["metadata"]["name"])
def test_the_operator_takes_every_sample(sample: dict[str, Any]) -> None:
    known = {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    rule = parse(sample | {"metadata": sample["metadata"] | known})
    assert rule.key.namespace == rule.target.namespace


def test_samples_do_not_contend_for_a_target() -> None:
    listed = yaml.safe_load((CONFIG / "samples/kustomization.yaml").read_text())["resources"]
    specs = [sample["spec"] for sample in SAMPLES]
    names = {spec.get("deploymentName") or spec["scaleTargetRef"]["name"] for spec in specs}
    assert len(listed) == len(SAMPLES) == len(names)


def test_alerts_look_at_metrics_that_exist() -> None:
    exposed = set(re.findall(r"^# TYPE (\w+) ", Metrics().write(openmetrics=False)[0].decode(), re.MULTILINE))
    exposed |= {f"{name}_{suffix}" for name in exposed for suffix in ("bucket", "count", "sum")}
    rules = yaml.safe_load((CONFIG / "prometheus/prometheus_rule.yaml").read_text())
    used = {
        name
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        for name in re.findall(r"natsscaler_\w+", rule["expr"])
    }
    assert used
    assert used <= exposed


@pytest.mark.control_plane
def test_components_mount_the_operators_own_credentials(
    empty_cluster: RealCluster, tmp_path: pathlib.Path
) -> None:
    """In an overlay as the components' comments describe it."""
    names = ("nats-credentials", "monitoring-credentials")
    overlay = {
        "resources": [os.path.relpath(CONFIG / "overlays/production", tmp_path)],
        "components": [os.path.relpath(CONFIG / "components" / name, tmp_path) for name in names],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    (deployment,) = (item for item in rendered(tmp_path) if item["kind"] == "Deployment")
    with installed(empty_cluster, "default"):
        strict = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "--force-conflicts")
        empty_cluster.kubectl(*strict, "-f", "-", stdin=json.dumps(deployment))
    spec = deployment["spec"]["template"]["spec"]
    (manager,) = spec["containers"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"]}
    mounted = {mount["mountPath"]: secrets[mount["name"]] for mount in manager["volumeMounts"]}
    environment = {item["name"]: item.get("value") for item in manager["env"]}
    assert mounted == {
        environment["NATSSCALER_NATS_CREDENTIALS"]: "natsscaler-nats",
        environment["NATSSCALER_MONITORING_CREDENTIALS"]: "natsscaler-monitoring",
    }


def test_manifests_set_what_the_operator_reads() -> None:
    texts = [path.read_text() for path in CONFIG.rglob("*.yaml")]
    named = {name for text in texts for name in re.findall(r"- name: ([A-Z_]+)\b", text)}
    assert named >= {"LOG_LEVEL", "NATSSCALER_LEADER_ELECT", "NATSSCALER_NATS_CREDENTIALS"}
    assert named <= {setting.variable for setting in SETTINGS.values()}


@pytest.mark.control_plane
def test_the_image_is_that_of_this_version() -> None:
    for directory in ("default", "overlays/production", "overlays/namespaced"):
        (deployment,) = (item for item in rendered(CONFIG / directory) if item["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"natsscaler:{__version__}"
