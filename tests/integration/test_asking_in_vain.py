"""`natsscaler explain` and `check` where there is nothing to look at: one line says why, and what to do."""

import os
import pathlib
import subprocess
import sys

import pytest

from natsscaler.commands.options import Options
from natsscaler.commands.runner import Answer, Terminal, inquire
from natsscaler.core.errors import SettingsError
from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.settings import Settings

USABLE = """
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""
"""But nobody listens at that port."""
commands = pytest.mark.parametrize("rule", ["default/my-app", ""], ids=["explain", "check"])


async def ask(rule: str, kubeconfig: pathlib.Path | None, *, in_cluster: bool = False) -> Answer:
    made = Options(rule=rule, kubeconfig=kubeconfig, settings=Settings(in_cluster=in_cluster))
    return await inquire(made, Terminal(colour=False, width=None))


@commands
@pytest.mark.parametrize(
    ("content", "explanation"),
    [
        pytest.param(b"", "has no current-context", id="empty"),
        pytest.param(b"only words", "is no kubeconfig", id="words"),
        pytest.param(b"contexts: 1\ncurrent-context: a", "is no kubeconfig", id="another shape"),
        pytest.param(b"a: [", r"is no YAML \(line 1\)", id="no YAML"),
        pytest.param(b"\x00\xff", "is no YAML", id="no text"),
        pytest.param(b"a: 1", "has no current-context: give one by --context", id="no context"),
        pytest.param(
            USABLE.replace("cluster: c,", "cluster: d,").encode(),
            "there is no cluster d; there are: c",
            id="no such cluster",
        ),
    ],
)
async def test_a_broken_kubeconfig(
    tmp_path: pathlib.Path, rule: str, content: bytes, explanation: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(content)
    with pytest.raises(SettingsError, match=explanation) as told:
        await ask(rule, kubeconfig)
    assert "--kubeconfig" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("command", ["explain my-app", "check"])
def test_without_a_kubeconfig_the_command_says_where_it_looked(tmp_path: pathlib.Path, command: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    program = (sys.executable, "-m", "natsscaler", *command.split())
    done = subprocess.run(program, env=environment, check=False, capture_output=True, text=True)
    name = f"natsscaler {command.split(maxsplit=1)[0]}"
    looked = (
        f"{name}: there is no kubeconfig {tmp_path}/.kube/config: give one by --kubeconfig or $KUBECONFIG"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{looked}\n")


@commands
async def test_a_pod_without_its_service_account(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(SettingsError, match="set automountServiceAccountToken: true"):
        await ask(rule, None, in_cluster=True)


@commands
@pytest.mark.parametrize(
    ("server", "why"),
    [
        pytest.param("http://127.0.0.1:1", "nobody accepts connections there", id="down"),
        pytest.param("http://nowhere.invalid:6443", "its host cannot be resolved", id="no such host"),
    ],
)
async def test_an_api_server_that_is_not_reached(
    tmp_path: pathlib.Path, rule: str, server: str, why: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(USABLE.replace("http://127.0.0.1:1", server))
    answer = await ask(rule, kubeconfig)
    assert (answer.status, answer.told) == (1, "")
    assert answer.failure.startswith("The Kubernetes API did not answer to ")
    assert f"{why} (asked of {server}, by --kubeconfig and --context)" in answer.failure


@commands
async def test_a_cluster_without_the_crd(tmp_path: pathlib.Path, rule: str) -> None:
    async with EmbeddedKubernetes() as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        answer = await ask(rule, tmp_path / "kubeconfig")
    assert (answer.status, answer.told) == (1, "")
    missing = "The cluster has no CustomResourceDefinition scalingrules.scaling.example.com"
    assert answer.failure.startswith(f"{missing}: make install, or helm install (asked of http")


@commands
async def test_a_token_that_is_not_known(tmp_path: pathlib.Path, rule: str) -> None:
    right, kubeconfig = "the-right-one", tmp_path / "kubeconfig"
    async with EmbeddedKubernetes(token=right) as server:
        server.write_kubeconfig(kubeconfig)
        kubeconfig.write_text(kubeconfig.read_text().replace(right, "another-one"))
        answer = await ask(rule, kubeconfig)
    assert (answer.status, answer.told) == (1, "")
    assert answer.failure.startswith("The Kubernetes API answered 401")


@commands
async def test_a_proxy_that_is_not_reached(tmp_path: pathlib.Path, rule: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    by_proxy = 'server: "https://127.0.0.1:1", proxy-url: "http://127.0.0.1:1"'
    kubeconfig.write_text(USABLE.replace('server: "http://127.0.0.1:1"', by_proxy))
    answer = await ask(rule, kubeconfig)
    assert "nobody accepts connections at the proxy (asked of https://127.0.0.1:1" in answer.failure
