"""`natsscaler check` finds the operator however it was installed, and gives a line that works."""

import re
from typing import Any

import pytest

from natsscaler.commands.options import Options
from natsscaler.commands.runner import Terminal, inquire
from tests.conftest import Helm
from tests.install.conftest import CONFIG, Type, await_everything, everything
from tests.support.clusters import RealCluster

pytestmark = pytest.mark.control_plane
ROOT = CONFIG.parent
CRD = "scalingrules.scaling.example.com"


async def permissions(cluster: RealCluster, **options: Any) -> tuple[str, str]:
    """Tell what `check` says of permissions, and the line to type."""
    asked = Options(kubeconfig=cluster.kubeconfig, **options)
    told = (await inquire(asked, Terminal(colour=False, width=None))).told
    found = re.search(r" . Permissions +(.*)\n(?: +→ .*\n +\$ (.*)\n)?", told)
    assert found, told
    return found[1], found[2] or ""


@pytest.mark.parametrize(
    ("overlay", "role"),
    [("default", "clusterrole"), ("overlays/namespaced", "role")],
    ids=["all namespaces", "one namespace"],
)
async def test_the_line_for_missing_permissions_grants_them_and_leaves_nothing_else(
    empty_cluster: RealCluster, type_: Type, overlay: str, role: str
) -> None:
    where, home = (
        ("in all namespaces", "scaling-operator-system")
        if overlay == "default"
        else ("in namespace default", "default")
    )
    before = everything(empty_cluster)
    empty_cluster.kubectl("apply", "--server-side", "-k", str(CONFIG / "crd"))
    empty_cluster.kubectl("wait", "--for=condition=Established", "crd", CRD)
    empty_cluster.kubectl("apply", "--server-side", "-k", str(CONFIG / overlay))
    installed = everything(empty_cluster)
    try:
        assert await permissions(empty_cluster) == (
            f"ServiceAccount {home}/scaling-operator-controller-manager has all that it needs {where}",
            "",
        )
        empty_cluster.kubectl("delete", role, "scaling-operator-manager-role")
        lacking, line = await permissions(empty_cluster)
        assert "patch deployments/scale.apps" in lacking
        type_(empty_cluster, line)
        assert (await permissions(empty_cluster))[1] == ""
        assert {one for one in everything(empty_cluster) if "rbac." in one} == {
            one for one in installed if "rbac." in one
        }
    finally:
        empty_cluster.kubectl("delete", "--ignore-not-found", "-k", str(CONFIG / overlay))
        empty_cluster.kubectl("delete", "--ignore-not-found", "-k", str(CONFIG / "crd"))
    await_everything(empty_cluster, before)


async def test_a_release_of_another_name_and_namespace_is_found_and_fixed(
    empty_cluster: RealCluster, helm: Helm, type_: Type
) -> None:
    before = everything(empty_cluster)
    values = {
        "crds": {"keep": False},
        "fullnameOverride": "ours",
        "serviceAccount": {"name": "scaler"},
        "operator": {"namespaces": ["default"]},
    }
    chart = str(ROOT / "helm/scaling-operator")
    helm("install", "backlog", chart, "-n", "ops", "--create-namespace", values=values, cluster=empty_cluster)
    try:
        fine = "ServiceAccount ops/scaler has all that it needs in namespace default"
        assert await permissions(empty_cluster) == (fine, "")
        empty_cluster.kubectl("delete", "role", "ours-manager-role", "-n", "default")
        lacking, line = await permissions(empty_cluster)
        assert "patch deployments/scale.apps" in lacking
        type_(empty_cluster, line)
        assert await permissions(empty_cluster) == (fine, "")
    finally:
        helm("uninstall", "backlog", "-n", "ops", cluster=empty_cluster)
        empty_cluster.kubectl("delete", "namespace", "ops")
    await_everything(empty_cluster, before)
