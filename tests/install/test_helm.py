"""The Helm chart: a real API server takes every variant of it, and it does what its values say."""

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes.aio import config

from natsscaler.core.rule import EventSource
from natsscaler.demo.nats_server import NatsServer
from natsscaler.kube.lease import NAME as LEASE
from natsscaler.settings import SETTINGS, Settings, parse
from tests.conftest import CRD_FILE, Helm, KubeApi
from tests.install.conftest import (
    CONFIG,
    await_everything,
    await_no_difference,
    everything,
    rendered,
)
from tests.support.accounts import login
from tests.support.clusters import RealCluster
from tests.support.stage import Stage

Object = dict[str, Any]
CHART = CONFIG.parent / "helm/scaling-operator"
DEFAULTS: Object = yaml.safe_load((CHART / "values.yaml").read_text())
NAMESPACE, RELEASE = "scaling-operator-system", "scaling-operator"
NAME = "scaling-operator-controller-manager"
CRD = "customresourcedefinition.apiextensions.k8s.io/scalingrules.scaling.example.com"
RULE = CONFIG / "samples/scaling_v1_scalingrule.yaml"
STRICT = ("--server-side", "--validate=strict", "-f", "-")

OPT_IN: Object = {
    "networkPolicy": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "grafanaDashboard": {"enabled": True},
}
PRODUCTION: Object = {
    "replicaCount": 2,
    "podDisruptionBudget": {"enabled": True},
    "resources": {"requests": {"cpu": "200m", "memory": "320Mi"}, "limits": {"memory": "1Gi"}},
}
EVERYTHING: Object = {
    **OPT_IN,
    **PRODUCTION,
    "imagePullSecrets": [{"name": "my-registry"}],
    "image": {"repository": "registry.internal/natsscaler", "digest": f"sha256:{'a' * 64}"},
    "commonLabels": {"example.com/team": "orders", "release": "ours"},
    "podAnnotations": {"example.com/team": "orders"},
    "podLabels": {"example.com/team": "scaling"},
    "priorityClassName": "system-cluster-critical",
    "extraVolumes": [{"name": "ca", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/company-ca", "readOnly": True}],
    "topologySpreadConstraints": [
        {
            "topologyKey": "topology.kubernetes.io/zone",
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "controller-manager"}},
        }
    ],
    "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
    "serviceAccount": {"annotations": {"example.com/role": "scaler"}},
    "nodeSelector": {"kubernetes.io/hostname": "node-0"},
    "tolerations": [{"key": "example.com/busy", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "service": {"type": "NodePort", "port": 80},
    "operator": {
        "logLevel": "debug",
        "host": "::",
        "allowCrossNamespace": True,
        "dryRun": True,
        "allowHosts": ["*.nats.svc", "10.0.0.0/8"],
        "events": ["Doorbell"],
        "readBudget": 0.1,
        "monitoring": {"timeout": "3s", "maxMib": 32, "proxy": "http://proxy:3128"},
        "leaderElection": {"leaseDuration": "30s", "renewDeadline": "20s"},
        "metrics": {"port": 9090},
        "healthProbe": {"port": 9091},
        "activityServer": {"port": 9092, "maxActions": 500, "existingSecret": "page"},
    },
    "nats": {"existingSecret": "nats"},
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "grafanaDashboard": {"enabled": True, "labels": {"dashboards": "ours"}},
}
OFF: Object = {
    "operator": {
        "events": [],
        "leaderElection": {"enabled": False},
        "metrics": {"enabled": False},
        "activityServer": {"enabled": False},
    },
    "networkPolicy": {"enabled": True},
}
NUMBERS: Object = {
    "operator": {
        "namespaces": ["123"],
        "activityServer": {"existingSecret": "0x10", "existingSecretKey": "1"},
    },
    "nats": {"existingSecret": "1e3", "existingSecretKey": "2", "credentialsSecret": "1e4"},
    "monitoring": {"credentialsSecret": "1e5", "credentialsHosts": ["1e6"]},
    "serviceAccount": {"create": False, "name": "1e7"},
    "priorityClassName": "1e8",
    "nameOverride": "null",
    "fullnameOverride": "true",
    "commonLabels": {"number": "1e9"},
    "podLabels": {"number": "0o7"},
    **OPT_IN,
}
VARIANTS: dict[str, Object] = {
    "defaults": {},
    "namespaced": {"operator": {"namespaces": ["default", "kube-public"]}},
    "everything": EVERYTHING,
    "everything off": OFF,
    "production": PRODUCTION,
    "another name": {"nameOverride": "scaler"},
    "a longer name": {"fullnameOverride": "s" * 63},
    "existing ServiceAccount": {"serviceAccount": {"create": False, "name": "existing"}},
    "the default ServiceAccount": {"serviceAccount": {"create": False}},
    "without CRD and roles": {"crds": {"install": False}, "rbac": {"create": False}},
    "NATS by URL": {"nats": {"url": "nats://nats.nats:4222"}},
    "own credentials": {
        "nats": {"url": "tls://nats.nats:4222", "credentialsSecret": "nats"},
        "monitoring": {"credentialsSecret": "monitoring", "credentialsHosts": ["nats.nats", "10.0.0.0/8"]},
    },
    "OpenShift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
}
each_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


@pytest.fixture
def namespace(empty_cluster: RealCluster) -> Iterator[str]:
    """The release's namespace, which admits restricted pods only; what a failed test leaves goes with it."""
    empty_cluster.kubectl("create", "namespace", NAMESPACE)
    empty_cluster.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield NAMESPACE
    empty_cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
    clusterwide = "crds,clusterroles,clusterrolebindings"
    empty_cluster.kubectl("delete", clusterwide, "-l", "app.kubernetes.io/managed-by=Helm")


def template(helm: Helm, values: Object, chart: pathlib.Path = CHART) -> list[Object]:
    """Render the chart as its users' tools do."""
    text = helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, values=values)
    return [item for item in yaml.safe_load_all(text) if item]


def only(items: list[Object], kind: str) -> Object:
    (item,) = (item for item in items if item["kind"] == kind)
    return item


def container(items: list[Object]) -> Object:
    (container,) = only(items, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def settings(items: list[Object]) -> Settings:
    """Read the container's environment as the operator does, and whoever asks in its pod."""
    manager = container(items)
    assert manager["args"] == ["run"]
    environment = {item["name"]: item.get("value", "") for item in manager["env"]}
    return parse([], environment | {"NATSSCALER_LEADER_ELECT_NAMESPACE": NAMESPACE})


@each_variant
def test_helm_lint_finds_nothing(helm: Helm, values: Object) -> None:
    helm("lint", "--strict", str(CHART), values=values)


FREE = {
    "commonLabels",
    "podLabels",
    "affinity",
    "nodeSelector",
    "podAnnotations",
    "podSecurityContext",
    "resources",
    "securityContext",
    "serviceAccount.annotations",
    "serviceMonitor.labels",
    "prometheusRule.labels",
    "grafanaDashboard.labels",
}
"""Objects of Kubernetes itself, which the API server checks, and names that anybody chooses."""


def levels(values: Object, path: str = "") -> Iterator[str]:
    yield path
    for name, value in values.items():
        below = f"{path}.{name}".lstrip(".")
        if isinstance(value, dict) and below not in FREE:
            yield from levels(value, below)


@pytest.mark.parametrize("level", list(levels(DEFAULTS)))
def test_a_typo_is_an_error_that_names_it(helm: Helm, level: str) -> None:
    values: Object = {"replicsa": 2}
    for name in reversed(level.split(".") if level else []):
        values = {name: values}
    with pytest.raises(subprocess.CalledProcessError) as refused:
        template(helm, values)
    assert f"at '/{level.replace('.', '/')}'".replace("'/'", "''") in refused.value.stderr
    assert "'replicsa'" in refused.value.stderr


@pytest.mark.parametrize(
    ("values", "explanation"),
    [
        pytest.param(
            {"replicaCount": 2, "operator": {"leaderElection": {"enabled": False}}},
            "needs operator.leaderElection.enabled",
            id="two replicas without leader election",
        ),
        pytest.param(
            {"nats": {"url": "nats://nats:4222", "existingSecret": "nats"}},
            "choose one",
            id="two sources of the NATS URL",
        ),
        pytest.param(
            {"nats": {"url": "nats://me:hush@nats:4222"}}, "nats.existingSecret", id="a password in values"
        ),
        pytest.param(
            {"serviceMonitor": {"enabled": True}, "operator": {"metrics": {"enabled": False}}},
            "needs operator.metrics.enabled",
            id="a monitor of metrics that are off",
        ),
        pytest.param({"nats": {"credentialsSecret": "nats"}}, "needs nats.url", id="credentials for nobody"),
        pytest.param(
            {"monitoring": {"credentialsSecret": "monitoring"}},
            "needs monitoring.credentialsHosts",
            id="credentials for no host",
        ),
        pytest.param({"operator": {"readBudget": 0}}, "/operator/readBudget", id="no read budget"),
        pytest.param({"operator": {"logLevel": "loud"}}, "/operator/logLevel", id="log level"),
        pytest.param({"operator": {"events": ["Bell"]}}, "/operator/events/0", id="events"),
        pytest.param({"operator": {"namespaces": ["a,b"]}}, "/operator/namespaces/0", id="namespaces"),
        pytest.param({"service": {"port": 0}}, "/service/port", id="port"),
        pytest.param({"image": {"digest": "sha256:0"}}, "/image/digest", id="digest"),
        pytest.param(
            {"podLabels": {"app.kubernetes.io/name": "mine"}},
            "/podLabels",
            id="a label that pods are found by",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, values: Object, explanation: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        template(helm, values)
    assert explanation in refused.value.stderr
    assert "hush" not in refused.value.stderr


def without_labels_of_tools(item: Any) -> Any:
    """Take away labels that name the tool, and defaults of the API that only one side spells out."""
    if isinstance(item, list):
        return [without_labels_of_tools(entry) for entry in item]
    if not isinstance(item, dict):
        return item
    tools = ("app.kubernetes.io/", "helm.sh/")
    kept = {
        name: without_labels_of_tools(value) for name, value in item.items() if not name.startswith(tools)
    }
    for name, default in {
        "imagePullPolicy": "IfNotPresent",
        "type": "ClusterIP",
        "strategy": STRATEGY,
    }.items():
        if kept.get(name) == default:
            del kept[name]
    return {name: value for name, value in kept.items() if value or name not in ("labels", "annotations")}


STRATEGY = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
"""What the API's default of 25 % each means for two replicas."""


@pytest.mark.parametrize(
    ("values", "directories"),
    [
        pytest.param({}, ["default"], id="default"),
        pytest.param(OPT_IN, ["default", "network-policy", "prometheus"], id="opted in"),
        pytest.param(PRODUCTION, ["overlays/production"], id="production"),
    ],
)
@pytest.mark.control_plane
def test_the_chart_is_the_kustomization_but_for_labels(
    helm: Helm, values: Object, directories: list[str]
) -> None:
    def by_name(items: list[Object]) -> dict[tuple[str, str], Object]:
        return {(item["kind"], item["metadata"]["name"]): without_labels_of_tools(item) for item in items}

    kustomized = by_name([item for name in directories for item in rendered(CONFIG / name)])
    del kustomized["Namespace", NAMESPACE]  # helm install --create-namespace
    assert by_name(template(helm, values)) == kustomized


def test_values_say_the_defaults_of_the_program(helm: Helm) -> None:
    operator, defaults = DEFAULTS["operator"], Settings(**ELECTION)
    assert settings(template(helm, {})) == defaults
    assert operator["logLevel"] == defaults.log_level
    assert set(operator["events"]) == defaults.events
    assert operator["readBudget"] == defaults.read_budget
    assert operator["monitoring"]["timeout"] == f"{defaults.monitoring_timeout}s"
    assert operator["monitoring"]["maxMib"] == defaults.monitoring_max_mib
    assert (operator["monitoring"]["proxy"] or None) == defaults.monitoring_proxy
    assert operator["allowCrossNamespace"] == defaults.allow_cross_namespace
    assert operator["dryRun"] == defaults.dry_run
    assert operator["metrics"]["port"] == defaults.metrics_port
    assert operator["healthProbe"]["port"] == defaults.probe_port
    assert operator["activityServer"]["port"] == defaults.activity_port
    assert operator["activityServer"]["maxActions"] == defaults.max_actions
    election = operator["leaderElection"]
    assert election["leaseDuration"] == f"{defaults.leader_elect_lease_duration}s"
    assert election["renewDeadline"] == f"{defaults.leader_elect_renew_deadline}s"


ELECTION: Object = {"leader_elect": True, "leader_elect_namespace": NAMESPACE}


def test_every_value_of_the_operator_reaches_it(helm: Helm) -> None:
    operator = EVERYTHING["operator"] | {"namespaces": ["a", "b"]}
    nats = {"url": "nats://nats.nats:4222"}
    assert settings(template(helm, {"operator": operator, "nats": nats})) == Settings(
        namespaces=("a", "b"),
        metrics_port=9090,
        probe_port=9091,
        activity_port=9092,
        max_actions=500,
        allow_cross_namespace=True,
        dry_run=True,
        allow_hosts=("*.nats.svc", "10.0.0.0/8"),
        events=frozenset({EventSource.DOORBELL}),
        read_budget=0.1,
        monitoring_timeout=3,
        monitoring_max_mib=32,
        monitoring_proxy="http://proxy:3128",
        nats_url="nats://nats.nats:4222",
        log_level="debug",
        host="::",
        leader_elect_lease_duration=30,
        leader_elect_renew_deadline=20,
        **ELECTION,
    )


REACHED: Object = {
    "namespaces": ["a", "b"],
    "allow_cross_namespace": True,
    "dry_run": True,
    "allow_hosts": ["*.nats.svc"],
    "events": ["Doorbell"],
    "read_budget": 0.1,
    "host": "::",
    "metrics_port": 9090,
    "probe_port": 9091,
    "activity_port": 9092,
    "max_actions": 500,
    "activity_token": "page",
    "monitoring_timeout": "3s",
    "monitoring_max_mib": 32,
    "monitoring_proxy": "http://proxy:3128",
    "monitoring_credentials": "monitoring",
    "monitoring_credentials_hosts": ["nats.nats"],
    "nats_url": "nats://elsewhere:4222",
    "nats_credentials": "nats",
    "leader_elect": False,
    "leader_elect_lease_duration": "30s",
    "leader_elect_renew_deadline": "8s",
    "log_level": "debug",
}
"""For each setting, something else than the default for its value of the chart."""
NOT_FOR_A_POD = {
    "kubeconfig": "a pod has a ServiceAccount",
    "activity_token_file": "the token comes from a Secret, as a variable",
    "leader_elect_namespace": "the Lease is in the namespace of the pod",
}


def test_each_setting_has_a_value_of_the_chart_or_is_not_for_a_pod() -> None:
    assert {name for name, setting in SETTINGS.items() if setting.chart} == set(REACHED)
    assert {name for name, setting in SETTINGS.items() if not setting.chart} == set(NOT_FOR_A_POD)


@pytest.mark.parametrize("name", REACHED)
def test_a_value_of_the_chart_reaches_its_setting_and_no_other(helm: Helm, name: str) -> None:
    def environment(*more: str) -> Object:
        base = {"nats": {"url": "nats://nats:4222"}, "monitoring": {"credentialsHosts": ["nats"]}}
        text = helm("template", RELEASE, str(CHART), *more, values=base)
        manager = container([item for item in yaml.safe_load_all(text) if item])
        return {item["name"]: item for item in manager["env"]}

    setting = SETTINGS[name]
    before, after = environment(), environment("--set-json", f"{setting.chart}={json.dumps(REACHED[name])}")
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {setting.variable}


def test_what_is_switched_off_is_off(helm: Helm) -> None:
    items = template(helm, OFF)
    off = Settings(events=frozenset(), metrics_port=0, activity_port=0, leader_elect_namespace=NAMESPACE)
    assert settings(items) == off
    assert [port["name"] for port in container(items)["ports"]] == ["probes"]
    kinds = {item["kind"] for item in items}
    assert not kinds & {"Service", "Role", "RoleBinding"}


def test_credentials_are_mounted_where_the_flags_say(helm: Helm) -> None:
    items = template(helm, VARIANTS["own credentials"])
    manager, spec = container(items), only(items, "Deployment")["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"]}
    mounted = {mount["mountPath"]: secrets[mount["name"]] for mount in manager["volumeMounts"]}
    assert mounted == {"/etc/natsscaler/nats": "nats", "/etc/natsscaler/monitoring": "monitoring"}
    environment = {item["name"]: item["value"] for item in manager["env"]}
    assert environment["NATSSCALER_NATS_CREDENTIALS"] == "/etc/natsscaler/nats"
    assert environment["NATSSCALER_MONITORING_CREDENTIALS"] == "/etc/natsscaler/monitoring"
    assert environment["NATSSCALER_MONITORING_CREDENTIALS_HOSTS"] == "nats.nats,10.0.0.0/8"


def test_without_permission_for_secrets_all_else_is_the_same(helm: Helm) -> None:
    def roles(values: Object) -> set[str]:
        return {item["metadata"]["name"] for item in template(helm, values) if "Role" in item["kind"]}

    gone = roles({}) - roles({"rbac": {"secrets": False}})
    assert gone == {f"{RELEASE}-secret-reader-role", f"{RELEASE}-secret-reader-rolebinding"}


def strings(item: Any) -> Iterator[str]:
    """Give all strings at any depth."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        yield from (found for value in item.values() for found in strings(value))
    elif isinstance(item, list):
        yield from (found for value in item for found in strings(value))


@pytest.mark.parametrize("release", ["1234", "1e3"])
def test_names_that_yaml_takes_for_numbers_stay_names(helm: Helm, release: str) -> None:
    text = helm("template", release, str(CHART), "--namespace", "42", values=NUMBERS)
    bare = re.findall(r": *(?:1e\d|0x10|0o7)$", text, re.MULTILINE)
    assert bare == [], "PyYAML takes them for strings, Kubernetes for numbers"
    items = [item for item in yaml.safe_load_all(text) if item]
    given = {release, "42", "null", "true", *strings(NUMBERS)} - {"1e6"}  # one of a list, in a longer string
    assert given <= set(strings(items)) | {"grafana_dashboard"}
    for item in items:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == release
        assert labels["number"] == "1e9"
        assert item["metadata"].get("namespace", "42") in {"42", "123"}


def test_openshift_chooses_the_user(helm: Helm) -> None:
    """The flags are those of docs/install.md."""
    page = (CONFIG.parent / "docs/install.md").read_text()
    (flags,) = re.findall(r"^    (--set podSecurityContext\S+)$", page, re.MULTILINE)
    text = helm("template", RELEASE, str(CHART), *flags.split())
    pod = only(list(filter(None, yaml.safe_load_all(text))), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_an_image_can_be_named_by_its_digest(helm: Helm) -> None:
    assert container(template(helm, EVERYTHING))["image"] == f"registry.internal/natsscaler@sha256:{'a' * 64}"
    assert container(template(helm, {"image": {"tag": "7"}}))["image"] == "natsscaler:7"


def test_own_labels_are_on_everything_and_those_of_an_object_win(helm: Helm) -> None:
    items = template(helm, EVERYTHING)
    labels = {item["kind"]: item["metadata"]["labels"] for item in items}
    assert {found["example.com/team"] for found in labels.values()} == {"orders"}
    assert labels["ServiceMonitor"]["release"] == "prometheus"
    assert labels["Service"]["release"] == "ours"
    pod = only(items, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert (pod["example.com/team"], pod["release"]) == ("scaling", "ours")


def test_values_for_the_pods_reach_them(helm: Helm) -> None:
    items = template(helm, EVERYTHING)
    pod = only(items, "Deployment")["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["topologySpreadConstraints"] == EVERYTHING["topologySpreadConstraints"]
    assert pod["volumes"] == EVERYTHING["extraVolumes"]
    assert container(items)["volumeMounts"] == EVERYTHING["extraVolumeMounts"]
    budget = only(items, "PodDisruptionBudget")["spec"]
    assert (budget["minAvailable"], "maxUnavailable" in budget) == (1, False)


def test_the_nats_url_can_come_from_a_secret(helm: Helm) -> None:
    manager = container(template(helm, {"nats": {"existingSecret": "nats", "existingSecretKey": "where"}}))
    source = {"secretKeyRef": {"name": "nats", "key": "where"}}
    assert {"name": "NATS_URL", "valueFrom": source} in manager["env"]


def test_the_token_of_the_page_comes_from_a_secret(helm: Helm) -> None:
    page = {"existingSecret": "page", "existingSecretKey": "word"}
    manager = container(template(helm, {"operator": {"activityServer": page}}))
    source = {"secretKeyRef": {"name": "page", "key": "word"}}
    assert {"name": "NATSSCALER_ACTIVITY_TOKEN", "valueFrom": source} in manager["env"]


def test_a_namespaced_release_has_no_cluster_wide_permissions(helm: Helm) -> None:
    items = template(helm, VARIANTS["namespaced"])
    assert [item for item in items if item["kind"].startswith("ClusterRole")] == []
    roles = {item["metadata"]["namespace"] for item in items if item["kind"] == "Role"}
    assert roles == {"default", "kube-public", NAMESPACE}
    assert settings(items).namespaces == ("default", "kube-public")


@pytest.mark.control_plane
@pytest.mark.usefixtures("monitoring_kinds")
@each_variant
def test_the_api_server_takes_every_variant_and_its_pods(
    helm: Helm, empty_cluster: RealCluster, namespace: str, values: Object
) -> None:
    empty_cluster.kubectl("create", "serviceaccount", "existing", "-n", namespace)
    before = everything(empty_cluster)
    manifests = yaml.safe_dump_all(template(helm, values))
    empty_cluster.kubectl("apply", *STRICT, stdin=manifests)
    try:
        name = only(template(helm, values), "Deployment")["metadata"]["name"]
        rollout = ("rollout", "status", "deployment", name, "-n", namespace, "--timeout=60s")
        empty_cluster.kubectl(*rollout)
        await_no_difference(empty_cluster, "-f", "-", stdin=manifests)
    finally:
        empty_cluster.kubectl("delete", "-f", "-", "--timeout=60s", stdin=manifests)
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
async def test_a_namespaced_release_scales_with_its_settings_and_roles(
    helm: Helm, empty_cluster: RealCluster, namespace: str, nats_server: NatsServer, tmp_path: pathlib.Path
) -> None:
    """The operator runs here as the release's ServiceAccount, which lives beside the rules' namespace."""
    before = everything(empty_cluster)
    values = {"operator": {"namespaces": ["orders"]}, "crds": {"keep": False}}
    release = (RELEASE, "--namespace", namespace)
    empty_cluster.kubectl("create", "namespace", "orders")
    helm("install", *release, str(CHART), "--wait", values=values, cluster=empty_cluster)
    kubeconfig = login(empty_cluster, namespace, NAME, tmp_path / "kubeconfig")
    environment = {item["name"]: item["value"] for item in container(template(helm, values))["env"]}
    async with await config.new_client_from_config(str(empty_cluster.kubeconfig)) as api:  # type: ignore[no-untyped-call]
        stage = Stage(KubeApi(kubeconfig, "orders", api, empty_cluster), nats_server, tmp_path)
        try:
            await stage.create_stream()
            await stage.create_deployment()
            beside = ("--leader-elect-namespace", namespace)
            await stage.start(*beside, everywhere=True, environment=environment)
            await stage.apply_sample(messagesPerReplica=20)
            await stage.publish(100)
            await stage.becomes(5, stage.replicas)
            empty_cluster.kubectl("get", "leases", "-n", namespace, LEASE)
        finally:
            await stage.stop()
    helm("uninstall", *release, "--wait", cluster=empty_cluster)
    empty_cluster.kubectl("delete", "namespace", "orders", "--timeout=60s")
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
def test_install_upgrade_and_uninstall(
    helm: Helm, empty_cluster: RealCluster, namespace: str, tmp_path: pathlib.Path
) -> None:
    """An upgrade brings the new CRD, and neither it nor an uninstall touches the rules."""
    before = everything(empty_cluster)
    release = (RELEASE, "--namespace", namespace)
    wait = ("--wait", "--timeout", "60s")
    notes = helm("install", *release, str(older_chart(tmp_path)), *wait, cluster=empty_cluster)
    for command in commands(notes):
        empty_cluster.kubectl(*command)
    assert "Age" not in columns(empty_cluster)
    empty_cluster.kubectl("apply", *STRICT, stdin=RULE.read_text())

    upgraded = helm("upgrade", *release, str(CHART), *wait, values=PRODUCTION, cluster=empty_cluster)
    assert "STATUS: deployed" in upgraded
    assert "Age" in columns(empty_cluster)
    empty_cluster.kubectl("get", "pdb", NAME, "-n", namespace)
    empty_cluster.kubectl("get", "scalingrule", "my-app-scaling", "-n", "default")

    helm("uninstall", *release, *wait, cluster=empty_cluster)
    rule = "scalingrule.scaling.example.com/my-app-scaling"
    served = "apiservice.apiregistration.k8s.io/v1.scaling.example.com"
    await_everything(empty_cluster, before | {CRD, rule, served})

    swept = {"crds": {"keep": False}}
    helm("install", *release, str(CHART), *wait, values=swept, cluster=empty_cluster)
    helm("uninstall", *release, *wait, cluster=empty_cluster)
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
def test_a_crd_that_came_by_kubectl_is_taken_over_on_request(
    helm: Helm, empty_cluster: RealCluster, namespace: str
) -> None:
    before = everything(empty_cluster)
    empty_cluster.kubectl("apply", *STRICT, stdin=older_crd())
    install = ("install", RELEASE, str(CHART), "--namespace", namespace)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        helm(*install, cluster=empty_cluster)
    assert "exists and cannot be imported" in refused.value.stderr
    assert "Age" not in columns(empty_cluster)

    take = ("--take-ownership", "--force-conflicts")
    helm(*install, *take, values={"crds": {"keep": False}}, cluster=empty_cluster)
    assert "Age" in columns(empty_cluster)
    helm("uninstall", RELEASE, "--namespace", namespace, "--wait", cluster=empty_cluster)
    await_everything(empty_cluster, before)


def older_chart(directory: pathlib.Path) -> pathlib.Path:
    """Copy the chart as it could have been in an older version."""
    older = directory / CHART.name
    shutil.copytree(CHART, older)
    (older / "files" / CRD_FILE.name).write_text(older_crd())
    return older


def older_crd() -> str:
    """Return the CRD without one of its columns."""
    crd = yaml.safe_load(CRD_FILE.read_text())
    shown = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    shown[:] = [column for column in shown if column["name"] != "Age"]
    return yaml.safe_dump(crd)


def columns(cluster: RealCluster) -> list[str]:
    crd = json.loads(cluster.kubectl("get", CRD, "-o", "json"))
    return [column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]


def commands(notes: str) -> list[list[str]]:
    """Return the kubectl commands of NOTES.txt that end by themselves."""
    lines = [line.split() for line in notes.splitlines() if line.startswith("  kubectl ")]
    found = [line[1:] for line in lines if not {"port-forward", "natsscaler"} & set(line)]
    assert found
    return found
