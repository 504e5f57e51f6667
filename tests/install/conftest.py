"""A real cluster that nothing has been installed on: not even the CRD."""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.conftest import find_helm, find_kubectl
from tests.support.clusters import RealCluster, assets_from_environment

Type = Callable[..., str]
CONFIG = pathlib.Path(__file__).parents[2] / "config"
CHURNING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"}
"""What a cluster at rest makes, renews and forgets by itself."""
MONITORING_KINDS = {"servicemonitors": "ServiceMonitor", "prometheusrules": "PrometheusRule"}


@pytest.fixture(scope="package")
def empty_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The cluster of these tests; whoever installs something takes it away again."""
    assets = assets_from_environment()
    assert assets, "tests that use empty_cluster are marked control_plane"
    with RealCluster(assets, tmp_path_factory.mktemp("empty-cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def type_(tmp_path_factory: pytest.TempPathFactory) -> Type:
    """Type a line into a shell at the root of the project; raises CalledProcessError if it fails."""
    programs = tmp_path_factory.mktemp("bin")
    for name, program in {"kubectl": find_kubectl(), "helm": find_helm()}.items():
        if program:
            (programs / name).symlink_to(program)
    path = f"{programs}:{sys.prefix}/bin:{os.environ['PATH']}"
    home = tmp_path_factory.mktemp("home")

    def run(cluster: RealCluster, line: str, **variables: str) -> str:
        more = f"{variables.pop('MORE', '')}:{path}".lstrip(":")
        environment = {"PATH": more, "HOME": str(home), "KUBECONFIG": str(cluster.kubeconfig), **variables}
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=CONFIG.parent,
            env=environment,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        return done.stdout

    return run


@pytest.fixture
def monitoring_kinds(empty_cluster: RealCluster) -> Iterator[None]:
    """The kinds of the Prometheus Operator, as far as it takes to store objects of them."""
    crds = "\n---\n".join(
        yaml.safe_dump(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.monitoring.coreos.com"},
                "spec": {
                    "group": "monitoring.coreos.com",
                    "names": {"plural": plural, "kind": kind},
                    "scope": "Namespaced",
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {
                                "openAPIV3Schema": {
                                    "type": "object",
                                    "properties": {
                                        "spec": {
                                            "type": "object",
                                            "x-kubernetes-preserve-unknown-fields": True,
                                        }
                                    },
                                }
                            },
                        }
                    ],
                },
            }
        )
        for plural, kind in MONITORING_KINDS.items()
    )
    empty_cluster.kubectl("apply", "-f", "-", stdin=crds)
    empty_cluster.kubectl("wait", "--for=condition=Established", "-f", "-", stdin=crds)
    yield
    empty_cluster.kubectl("delete", "-f", "-", stdin=crds)


def everything(cluster: RealCluster) -> set[str]:
    kinds = set(cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()) - CHURNING
    return set(cluster.kubectl("get", ",".join(sorted(kinds)), "-A", "-o", "name").split())


def await_everything(cluster: RealCluster, wanted: set[str]) -> None:
    """Wait until there is nothing but `wanted`: what a deleted object owned goes a little later."""
    deadline = time.monotonic() + 60
    while (found := everything(cluster)) != wanted:
        assert time.monotonic() < deadline, found ^ wanted
        time.sleep(0.1)


def await_no_difference(cluster: RealCluster, *what: str, stdin: str = "") -> None:
    """Wait until applying again would change nothing; a status written meanwhile looks like a difference."""
    deadline = time.monotonic() + 30
    while True:
        try:
            cluster.kubectl("diff", "--server-side", *what, stdin=stdin)
        except subprocess.CalledProcessError as different:
            if time.monotonic() > deadline:
                pytest.fail(different.stdout)
            time.sleep(0.1)
        else:
            return


def rendered(directory: pathlib.Path) -> list[dict[str, Any]]:
    command = [str(find_kubectl()), "kustomize", str(directory)]
    done = subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE)
    return list(yaml.safe_load_all(done.stdout))
