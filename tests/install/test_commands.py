"""What documents, page and messages tell a person to type works when it is typed, in this order.

Whoever tells a new command adds it to one of the stories in typed/, or to NOT_HERE of commands.py with the
reason why it cannot be tried here.
"""

import asyncio
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from natsscaler.demo.nats_server import NatsServer
from tests.conftest import find_nats_cli
from tests.install.commands import ELSEWHERE, NOT_HERE, ROOT, told, untried
from tests.install.conftest import Type, await_everything, everything
from tests.support.clusters import RealCluster

STORIES = {path.stem: path.read_text().splitlines() for path in (ROOT / "tests/install/typed").glob("*.txt")}
"""What is typed, one line after the other."""
FILLED = {
    "{name}": "my-app-scaling",
    "RULE": "my-app-scaling",
    "{namespace}": "default",
    "{target_namespace}": "default",
    "{operator.namespace}": "scaling-operator-system",
    "{target}": "deployment my-app",
    "{target.resource}": "deployments",
    "{target.name}": "my-app",
    "{target.namespace}": "default",
    "{resource}": "deployments",
    "{minimum}": "1",
    "{subject}": "orders.processing",
    "{place.namespace}": "shop",
    "{place.name}": "nats",
    "{USE_LABEL}={USE}": "scaling.example.com/use=nats",
    "NAMESPACE": "shop",
    "STREAM": "ORDERS",
    "CONSUMER": "workers",
    "NAME": "nats",
    "-n NAMESPACE describe": "-n default describe",
    "{stream}": "ORDERS",
    "{consumer}": "workers",
}
"""What a person puts in the place of what stands for something; the longest first."""


def filled(line: str) -> str:
    for place in sorted(FILLED, key=len, reverse=True):
        line = line.replace(place, FILLED[place])
    return line


def test_every_command_that_is_told_is_tried() -> None:
    """If this fails: add the line to a story, or to NOT_HERE with the reason."""
    assert untried({line for story in STORIES.values() for line in story}) == {}


def test_the_reasons_speak_of_commands_that_are_told() -> None:
    texts = "\n".join(told())
    for pattern in (*NOT_HERE, *ELSEWHERE):
        found = re.escape(pattern).replace(r"\*", ".*")
        assert re.search(f"^{found}$", texts, re.MULTILINE), pattern


def test_the_tests_that_type_commands_exist() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("line", STORIES["alone"])
def test_what_needs_no_cluster(line: str) -> None:
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", line], cwd=ROOT, check=True, capture_output=True, env=environment)


@pytest.mark.control_plane
@pytest.mark.usefixtures("helm")
def test_what_is_typed_to_install_by_helm(empty_cluster: RealCluster, type_: Type) -> None:
    before = everything(empty_cluster)
    for line in STORIES["helm"]:
        type_(empty_cluster, line)
    await_everything(empty_cluster, before)


@pytest.mark.control_plane
@pytest.mark.usefixtures("monitoring_kinds")
def test_what_is_typed_to_install_by_manifests(empty_cluster: RealCluster, type_: Type) -> None:
    empty_cluster.kubectl("create", "namespace", "shop")
    before = everything(empty_cluster)
    for line in STORIES["manifests"]:
        type_(empty_cluster, line)
    empty_cluster.kubectl("delete", "rolebinding", "natsscaler-secrets", "-n", "shop")
    await_everything(empty_cluster, before)
    empty_cluster.kubectl("delete", "namespace", "shop")


@pytest.fixture
def nats_cli() -> str:
    return str(find_nats_cli())


@pytest.mark.control_plane
async def test_what_is_typed_about_rules_from_the_first_one_on(
    empty_cluster: RealCluster, type_: Type, nats_server: NatsServer, nats_cli: str, tmp_path: pathlib.Path
) -> None:
    """The operator runs beside the cluster, and reaches NATS where the test has it."""
    here = nats_server.monitoring_url
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nats").symlink_to(nats_cli)
    for name in ("natsscaler.creds", "ca.crt"):
        (tmp_path / name).write_text("secret")
    sed = f"sed -E 's#http://nats[^ ]*:8222#{here}#'"

    def type_all() -> None:
        for line in [*STORIES["first_rule"], *STORIES["rules"]]:
            typed = filled(line).replace("http://127.0.0.1:8222", here)
            if file := re.fullmatch(r"kubectl (apply|delete) -f (\S+)", typed):
                typed = f"{sed} {file[2]} | kubectl {file[1]} -f -"
            typed = typed.replace("=natsscaler.creds", f"={tmp_path}/natsscaler.creds")
            typed = typed.replace("=ca.crt", f"={tmp_path}/ca.crt")
            type_(empty_cluster, typed, NATS_URL=nats_server.url, EDITOR="true", MORE=str(programs))

    with operator(empty_cluster, tmp_path):
        empty_cluster.kubectl("create", "namespace", "shop")
        rule = (ROOT / "config/samples/scaling_v1_scalingrule.yaml").read_text()
        empty_cluster.kubectl(
            "apply", "-f", "-", stdin=rule.replace("my-app", "workers").replace("-scaling", "")
        )
        await asyncio.to_thread(type_all)
    empty_cluster.kubectl("delete", "namespace", "shop", "scaling-operator-system")
    empty_cluster.kubectl("delete", "-k", str(ROOT / "config/crd"))


@contextmanager
def operator(cluster: RealCluster, directory: pathlib.Path) -> Iterator[None]:
    """Install what the operator needs, and run it on this machine."""
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "config/default"))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "scalingrules.scaling.example.com")
    manager = ("deployment", "scaling-operator-controller-manager", "-n", "scaling-operator-system")
    cluster.kubectl("scale", *manager, "--replicas=0")
    ports = [f"--{port}-port=0" for port in ("metrics", "probe", "activity")]
    elect = ["--leader-elect", "--leader-elect-namespace=scaling-operator-system"]
    with (directory / "log").open("w") as log:
        command = [sys.executable, "-m", "natsscaler", "run", "--kubeconfig", str(cluster.kubeconfig)]
        process = subprocess.Popen([*command, *ports, *elect], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()
            cluster.kubectl(
                "delete",
                "--ignore-not-found",
                "clusterroles,clusterrolebindings",
                "-l",
                "app.kubernetes.io/name=scaling-operator",
            )
