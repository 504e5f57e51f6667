"""The Makefile's targets do to a real cluster what their users expect."""

import os
import subprocess
import sys

import pytest

from tests.conftest import find_kubectl
from tests.install.conftest import CONFIG, await_everything, everything
from tests.support.clusters import RealCluster

NAMESPACE, NAME = "scaling-operator-system", "scaling-operator-controller-manager"
CRD = {
    "customresourcedefinition.apiextensions.k8s.io/scalingrules.scaling.example.com",
    "apiservice.apiregistration.k8s.io/v1.scaling.example.com",
}


def command(*arguments: str) -> list[str]:
    """Call make with the virtual environment of this test run."""
    venv = f"{sys.prefix}/complete"
    return ["make", "-s", "-o", venv, f"VENV={sys.prefix}", f"KUBECTL={find_kubectl()}", *arguments]


def environment(cluster: RealCluster) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}


def make(cluster: RealCluster, *arguments: str) -> None:
    subprocess.run(command(*arguments), cwd=CONFIG.parent, env=environment(cluster), check=True)


@pytest.mark.control_plane
def test_install_and_uninstall_are_for_the_crd(empty_cluster: RealCluster) -> None:
    before = everything(empty_cluster)
    make(empty_cluster, "install")
    await_everything(empty_cluster, before | CRD)
    for _ in range(2):
        make(empty_cluster, "uninstall")
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
def test_deploy_and_undeploy_are_for_all_of_it(empty_cluster: RealCluster) -> None:
    before = everything(empty_cluster)
    make(empty_cluster, "deploy", "IMG=registry.example.com/natsscaler:test")
    deployment = ("deployment", NAME, "-n", NAMESPACE)
    empty_cluster.kubectl("rollout", "status", *deployment, "--timeout=60s")
    path = "jsonpath={.spec.template.spec.containers[*].image}"
    image = empty_cluster.kubectl("get", *deployment, "-o", path)
    assert image == "registry.example.com/natsscaler:test"
    for _ in range(2):
        make(empty_cluster, "undeploy")
    await_everything(empty_cluster, before)
