"""Fixtures for tests that need real servers; each server listens on 127.0.0.1 at a free port."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import uuid
from asyncio.selector_events import BaseSelectorEventLoop
from asyncio.sslproto import SSLProtocol, SSLProtocolState
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config

from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer
from tests.install.pod.kubelet import can_run_pods
from tests.install.pod.pythons import find, versions
from tests.support.certificates import Certificates, make_certificates
from tests.support.clusters import RealCluster, assets_from_environment

Kubectl = Callable[..., Awaitable[str]]
Helm = Callable[..., str]
CRD_FILE = pathlib.Path(__file__).parent.parent / "config/crd/bases/scaling.example.com_scalingrules.yaml"


@pytest.fixture(scope="session", autouse=True)
def no_connection_left_behind() -> Iterator[None]:
    """Close what Python would leave to the garbage collector, whose warning fails some later test.

    That is a socket that was accepted in the very tick in which its server was closed (see
    https://github.com/python/cpython/issues/109564), and one whose TLS farewell the peer had not answered
    when the event loop was closed.
    """
    accept = BaseSelectorEventLoop._accept_connection2  # type: ignore[attr-defined]

    async def accept_or_close(
        loop: BaseSelectorEventLoop, factory: object, accepted: socket.socket, *settings: Any
    ) -> None:
        _, _, server, *_ = settings
        if server and not server.is_serving():
            accepted.close()
        else:
            await accept(loop, factory, accepted, *settings)

    close = BaseSelectorEventLoop.close

    def hang_up_and_close(loop: BaseSelectorEventLoop) -> None:
        if not loop.is_closed():
            for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
                if _says_farewell(transport):
                    transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
        close(loop)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BaseSelectorEventLoop, "close", hang_up_and_close)
        patched.setattr(BaseSelectorEventLoop, "_accept_connection2", accept_or_close)
        yield


def _says_farewell(transport: asyncio.Transport) -> bool:
    protocol = transport.get_protocol()
    return isinstance(protocol, SSLProtocol) and protocol._state in (  # type: ignore[attr-defined]
        SSLProtocolState.FLUSHING,
        SSLProtocolState.SHUTDOWN,
    )


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@dataclass(frozen=True, slots=True)
class KubeApi:
    """A Kubernetes API that serves ScalingRules, with a namespace of the test's own."""

    kubeconfig: pathlib.Path
    namespace: str
    client: client.ApiClient
    server: EmbeddedKubernetes | RealCluster

    async def stop(self) -> None:
        """Take the API server away; what it has stored stays."""
        if isinstance(self.server, RealCluster):
            await asyncio.to_thread(self.server.stop_api_server)
        else:
            await self.server.stop()

    async def start(self) -> None:
        """Bring it back at the same address."""
        if isinstance(self.server, RealCluster):
            await asyncio.to_thread(self.server.start_api_server)
        else:
            await self.server.start()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--containers", action="store_true", help="run the tests that need a container engine")


def pytest_report_header() -> list[str]:
    assets = assets_from_environment()
    told = f"control plane: {assets}" if assets else "control plane: none (KUBEBUILDER_ASSETS is not set)"
    here = [version for version in versions() if find(version)]
    return [told, f"pods: on Python {' and '.join(here) or 'of no supported version'}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "kube_api" in metafunc.fixturenames and "kube_api" not in chosen:
        real = pytest.param("real", marks=pytest.mark.control_plane)
        metafunc.parametrize("kube_api", ["embedded", real], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and say why; those that need a container engine run only if asked for."""
    if not config.getoption("--containers"):
        unasked = [item for item in items if item.get_closest_marker("containers")]
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]
    for item in items:
        if missing := _missing(item):
            item.add_marker(pytest.mark.skip(reason=missing))


def _missing(item: pytest.Item) -> str:
    fixtures, marked = getattr(item, "fixturenames", ()), item.get_closest_marker
    reasons = {
        "no real control plane: make test-integration builds one": (
            marked("control_plane") and not assets_from_environment()
        ),
        "no Prometheus: apt-get install prometheus": marked("prometheus") and not find_prometheus(),
        "no IPv6 on this machine": marked("ipv6") and not has_ipv6(),
        "no kubectl on PATH": "kubectl" in fixtures and not find_kubectl(),
        "pods need root, unshare and setpriv": (
            "pod_cluster" in fixtures and "CI" not in os.environ and not can_run_pods()
        ),
        "no helm on PATH: hack/helm/build builds one": "helm" in fixtures and not find_helm(),
        "no nats command on PATH: hack/nats/build builds one": "nats_cli" in fixtures and not find_nats_cli(),
    }
    return next((reason for reason, lacking in reasons.items() if lacking), "")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each reason how many tests were skipped."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.getreports("skipped"))
    for reason, number in skipped.most_common():
        tests = "test" if number == 1 else "tests"
        terminalreporter.write_line(f"{number} {tests} skipped: {reason.removeprefix('Skipped: ')}")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def find_prometheus() -> bool:
    """Say whether Prometheus is installed; in CI it must be, so there its tests fail without it."""
    return "CI" in os.environ or bool(shutil.which("prometheus") and shutil.which("promtool"))


def find_kubectl() -> str | None:
    assets = assets_from_environment()
    return str(assets / "kubectl") if assets else shutil.which("kubectl")


def find_helm() -> str | None:
    return os.environ.get("HELM") or shutil.which("helm")


def find_nats_cli() -> str | None:
    return os.environ.get("NATS_CLI") or shutil.which("nats")


@pytest.fixture
async def nats_servers(tmp_path: pathlib.Path) -> AsyncIterator[Callable[..., Awaitable[NatsServer]]]:
    """Start nats-servers: `await nats_servers(config="...", name="...")`."""
    started: list[NatsServer] = []

    async def start(*, config: str = "", name: str = "") -> NatsServer:
        server = NatsServer(tmp_path, config=config, name=name or f"nats-{len(started)}")
        started.append(server)
        await server.start()
        return server

    yield start
    for server in started:
        await server.kill()


@pytest.fixture
async def nats_server(nats_servers: Callable[..., Awaitable[NatsServer]]) -> NatsServer:
    return await nats_servers(name="nats")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The one real cluster of the test session, with its controllers and the CRD."""
    assets = assets_from_environment()
    assert assets, "tests that use control_plane are marked control_plane"
    with RealCluster(assets, tmp_path_factory.mktemp("control-plane")) as cluster:
        cluster.kubectl("create", "-f", str(CRD_FILE))
        cluster.kubectl("wait", "--for=condition=Established", "-f", str(CRD_FILE))
        yield cluster


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run helm with values and, where it is given, on a cluster; raises CalledProcessError."""
    home = tmp_path_factory.mktemp("helm")
    program = str(find_helm())

    def run(*arguments: str, values: dict[str, Any] | None = None, cluster: RealCluster | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        if cluster:
            environment["KUBECONFIG"] = str(cluster.kubeconfig)
        command = [program, *arguments]
        if values is not None:
            command += ["--values", "-"]
        done = subprocess.run(
            command, input=json.dumps(values), text=True, check=True, capture_output=True, env=environment
        )
        return done.stdout

    return run


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Have something run that ends only when it is cancelled, as it is in the end."""
    task = asyncio.create_task(work)
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def serve_embedded(kubeconfig: pathlib.Path) -> AsyncIterator[EmbeddedKubernetes]:
    crd = yaml.safe_load(CRD_FILE.read_text())
    async with EmbeddedKubernetes(crds=[crd]) as server:
        server.write_kubeconfig(kubeconfig)
        yield server


@pytest.fixture
async def embedded(tmp_path: pathlib.Path) -> AsyncIterator[EmbeddedKubernetes]:
    """The embedded API with the CRD; its kubeconfig is `tmp_path / "kubeconfig"`."""
    async with serve_embedded(tmp_path / "kubeconfig") as server:
        yield server


@pytest.fixture
async def kube_api(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[KubeApi]:
    """Run the test twice: on the embedded API, and on the real one if KUBEBUILDER_ASSETS is set."""
    async with contextlib.AsyncExitStack() as stack:
        server: EmbeddedKubernetes | RealCluster
        if request.param == "real":
            cluster: RealCluster = request.getfixturevalue("control_plane")
            server, kubeconfig = cluster, cluster.kubeconfig
        else:
            kubeconfig = tmp_path / "kubeconfig"
            server = await stack.enter_async_context(serve_embedded(kubeconfig))
        made = await config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        api_client = await stack.enter_async_context(made)
        namespace = f"test-{uuid.uuid4().hex[:8]}"
        body = client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace))
        await client.CoreV1Api(api_client).create_namespace(body)
        yield KubeApi(kubeconfig, namespace, api_client, server)


@pytest.fixture
def kubectl(kube_api: KubeApi) -> Kubectl:
    """Run the real kubectl in the test's namespace: `await kubectl("get", "sr")` gives its output."""
    options = [str(find_kubectl()), "--kubeconfig", str(kube_api.kubeconfig), "-n", kube_api.namespace]

    def run(arguments: tuple[str, ...], stdin: str) -> str:
        done = subprocess.run(
            [*options, *arguments], input=stdin, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def kubectl(*arguments: str, stdin: str = "") -> str:
        return await asyncio.to_thread(run, arguments, stdin)

    return kubectl
