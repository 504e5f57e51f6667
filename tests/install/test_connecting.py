"""Every way that kubectl knows to the API server, for kopf and for the client alike."""

import asyncio
import base64
import json
import pathlib
import stat
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

import aiohttp
import kopf
import pytest
from kubernetes.aio import client

from natsscaler.app.rule_events import Handlers
from natsscaler.core.errors import SettingsError
from natsscaler.demo.ports import free_ports
from natsscaler.kube.connection import KubeClient, connect
from natsscaler.kube.refusals import Refusals
from natsscaler.reactor.reactor import Reactor
from tests.support.certificates import Certificates
from tests.support.clusters import RealCluster
from tests.support.gateways import HttpProxy, http_proxy, serve_as, serve_below

pytestmark = pytest.mark.control_plane
ACCOUNT = "system:serviceaccount:default:default"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
RULES = "/apis/scaling.example.com/v1/scalingrules"
BASIC = {"username": "ada", "password": "lace: é"}
PLUGIN = f"""#!{sys.executable}
import json, os, sys
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
given = json.load(open(os.environ["GIVEN"]))
assert sys.argv[1:] == ["--flag", "two words"], sys.argv
assert asked["kind"] == "ExecCredential" and not asked["spec"]["interactive"]
assert asked["spec"].get("cluster", {{}}).get("server") == given.pop("server", None), asked
print("noise on stderr", file=sys.stderr)
print(json.dumps({{"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": given}}))
with open(os.environ["GIVEN"] + ".runs", "a") as runs:
    runs.write(".")
"""


async def kopf_is(api: KubeClient) -> str:
    """Say as whom the API server knows kopf."""
    session: kopf.AiohttpSession = await Handlers(cast("Reactor", None), api)._login()
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with session.aiohttp_session as http, http.post(session.server + REVIEW, json=body) as answer:
        told = await answer.json()
    return str(told["status"]["userInfo"]["username"] if answer.ok else told["message"])


async def client_is(api: client.ApiClient) -> str:
    """Say as whom the API server knows the client."""
    asked: Any = {}
    review: Any = await client.AuthenticationV1Api(api).create_self_subject_review(asked)
    return str(review.status.user_info.username)


async def both_are(api: KubeClient) -> str:
    one, other = await client_is(api), await kopf_is(api)
    assert one == other
    return one


class Desk:
    """Where kubeconfigs of a test are written, with what is to be named in them."""

    def __init__(
        self, directory: pathlib.Path, cluster: RealCluster, certificates: Certificates, stack: AsyncExitStack
    ) -> None:
        self.directory, self.cluster, self.certificates, self.stack = directory, cluster, certificates, stack
        self.environment: dict[str, str] = {}
        self.context: str | None = None
        self.proxy: HttpProxy | None = None
        self.server = {"server": cluster.url, "certificate-authority": str(cluster.authority)}

    def write(
        self,
        user: Mapping[str, Any],
        cluster: Mapping[str, Any] | None = None,
        name: str = "kubeconfig",
        **more: Any,
    ) -> pathlib.Path:
        """Write a kubeconfig with a context, a cluster and a user, all called by the file's name."""
        path = self.directory / name
        config = {
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": dict(cluster or self.server)}],
            "users": [{"name": name, "user": dict(user)}],
        }
        path.write_text(json.dumps({**config, **more}))
        return path

    def token(self, account: str = "default") -> str:
        self.cluster.kubectl("wait", "--for=create", f"serviceaccount/{account}")
        return self.cluster.kubectl("create", "token", account).strip()

    def file(self, name: str, content: str) -> str:
        (self.directory / name).write_text(content)
        return name

    def certificate(self, name: str) -> dict[str, str]:
        """Give a client certificate as files with relative names."""
        self.cluster.sign(name, "testers", self.directory / name)
        return {"client-certificate": f"{name}.crt", "client-key": f"{name}.key"}

    def encoded(self, file: pathlib.Path | str) -> str:
        return base64.b64encode((self.directory / file).read_bytes()).decode()

    def plugin(self, given: Mapping[str, Any], version: str = "v1", **more: Any) -> dict[str, Any]:
        """Give a user whose credentials come from a command that says `given`, which may be changed later."""
        command = self.directory / "bin" / "plugin"
        command.parent.mkdir(exist_ok=True)
        command.write_text(PLUGIN)
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        self.say(given)
        return {
            "exec": {
                "apiVersion": f"client.authentication.k8s.io/{version}",
                "command": "bin/plugin",
                "args": ["--flag", "two words"],
                "env": [{"name": "GIVEN", "value": str(self.directory / "given")}],
                "interactiveMode": "IfAvailable",
                **more,
            }
        }

    def say(self, given: Mapping[str, Any]) -> None:
        (self.directory / "given").write_text(json.dumps(given))

    def plugin_runs(self) -> int:
        return len((self.directory / "given.runs").read_text())

    async def behind_a_proxy(self) -> HttpProxy:
        self.proxy = await self.stack.enter_async_context(http_proxy())
        return self.proxy

    async def connect(self, path: pathlib.Path | None) -> KubeClient:
        made = await connect(path, in_cluster=False, context=self.context, environment=self.environment)
        await self.stack.enter_async_context(made)
        return made


@pytest.fixture
async def desk(
    tmp_path: pathlib.Path, control_plane: RealCluster, certificates: Certificates
) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield Desk(tmp_path, control_plane, certificates, stack)


async def token(desk: Desk) -> pathlib.Path:
    return desk.write({"token": desk.token()})


async def token_file(desk: Desk) -> pathlib.Path:
    return desk.write({"tokenFile": desk.file("token", f"{desk.token()}\n"), "token": "void"})


async def client_certificate(desk: Desk) -> pathlib.Path:
    return desk.write(desk.certificate("tester"))


async def client_certificate_data(desk: Desk) -> pathlib.Path:
    desk.certificate("tester")
    user = {
        "client-certificate-data": desk.encoded("tester.crt"),
        "client-key-data": desk.encoded("tester.key"),
    }
    return desk.write(user)


async def basic_and_a_server_with_a_path(desk: Desk) -> pathlib.Path:
    below = serve_below(desk.cluster, desk.certificates, "/k8s/clusters/c-1")
    url = await desk.stack.enter_async_context(below)
    return desk.write(
        BASIC, {"server": f"{url}/", "certificate-authority": str(desk.certificates.path("ca.crt"))}
    )


async def exec_v1(desk: Desk) -> pathlib.Path:
    given = {"token": desk.token(), "server": desk.cluster.url}
    return desk.write(desk.plugin(given, provideClusterInfo=True))


async def exec_v1beta1(desk: Desk) -> pathlib.Path:
    return desk.write(desk.plugin({"token": desk.token(), "clientKeyData": None}, version="v1beta1"))


async def exec_with_a_certificate(desk: Desk) -> pathlib.Path:
    desk.certificate("tester")
    read = {name: (desk.directory / f"tester.{name}").read_text() for name in ("crt", "key")}
    return desk.write(desk.plugin({"clientCertificateData": read["crt"], "clientKeyData": read["key"]}))


async def oidc(desk: Desk) -> pathlib.Path:
    config = {"idp-issuer-url": "https://issuer", "client-id": "me", "id-token": desk.token()}
    return desk.write({"auth-provider": {"name": "oidc", "config": config}})


async def impersonation(desk: Desk) -> pathlib.Path:
    user = {"token": desk.cluster.token, "as": "somebody", "as-groups": ["a", "b"], "as-uid": "7"}
    return desk.write({**user, "as-user-extra": {"Example.com/Why": ["x", "y"]}})


async def authority_data(desk: Desk) -> pathlib.Path:
    data = desk.encoded(desk.cluster.authority)
    return desk.write(
        {"token": desk.token()}, {"server": desk.cluster.url, "certificate-authority-data": data}
    )


async def authority_with_a_relative_name(desk: Desk) -> pathlib.Path:
    name = desk.file("ca.crt", desk.cluster.authority.read_text())
    return desk.write({"token": desk.token()}, {"server": desk.cluster.url, "certificate-authority": name})


async def insecure_skip_tls_verify(desk: Desk) -> pathlib.Path:
    return desk.write({"token": desk.token()}, {"server": desk.cluster.url, "insecure-skip-tls-verify": True})


def localhost_alone(desk: Desk, url: str) -> dict[str, str]:
    known = str(desk.certificates.path("ca.crt"))
    return {"server": url, "certificate-authority": known, "tls-server-name": "localhost"}


async def tls_server_name(desk: Desk) -> pathlib.Path:
    url = await desk.stack.enter_async_context(serve_as(desk.cluster, desk.certificates))
    return desk.write({"token": desk.token()}, localhost_alone(desk, url))


async def proxy_url(desk: Desk) -> pathlib.Path:
    proxy = await desk.behind_a_proxy()
    url = f"http://me:secret@127.0.0.1:{proxy.port}"
    return desk.write({"token": desk.token()}, {**desk.server, "proxy-url": url})


async def proxy_url_and_tls_server_name(desk: Desk) -> pathlib.Path:
    proxy = await desk.behind_a_proxy()
    url = await desk.stack.enter_async_context(serve_as(desk.cluster, desk.certificates))
    server = localhost_alone(desk, url.replace("127.0.0.1", "api.internal"))
    return desk.write({"token": desk.token()}, {**server, "proxy-url": f"http://127.0.0.1:{proxy.port}"})


async def https_proxy_in_the_environment(desk: Desk) -> pathlib.Path:
    proxy = await desk.behind_a_proxy()
    desk.environment = {"HTTPS_PROXY": f"127.0.0.1:{proxy.port}", "NO_PROXY": "10.0.0.0/8,.svc"}
    server = {**desk.server, "server": f"https://api.internal:{desk.cluster.port}"}
    return desk.write({"token": desk.token()}, {**server, "tls-server-name": "kubernetes.default.svc"})


async def no_proxy_in_the_environment(desk: Desk) -> pathlib.Path:
    desk.environment = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"}
    return desk.write({"token": desk.token()})


async def another_context(desk: Desk) -> pathlib.Path:
    desk.context = "kubeconfig"
    path = desk.write({"token": desk.token()})
    path.write_text(path.read_text().replace('"current-context": "kubeconfig"', '"current-context": "none"'))
    return path


async def certificates_without_key_identifiers(desk: Desk) -> pathlib.Path:
    url = await desk.stack.enter_async_context(serve_as(desk.cluster, desk.certificates, "plain"))
    known = str(desk.certificates.path("plain-ca.crt"))
    return desk.write({"token": desk.token()}, {"server": url, "certificate-authority": known})


FEATURES = {
    token: ACCOUNT,
    token_file: ACCOUNT,
    client_certificate: "tester",
    client_certificate_data: "tester",
    basic_and_a_server_with_a_path: "admin",
    exec_v1: ACCOUNT,
    exec_v1beta1: ACCOUNT,
    exec_with_a_certificate: "tester",
    oidc: ACCOUNT,
    impersonation: "somebody",
    authority_data: ACCOUNT,
    authority_with_a_relative_name: ACCOUNT,
    insecure_skip_tls_verify: ACCOUNT,
    tls_server_name: ACCOUNT,
    proxy_url: ACCOUNT,
    proxy_url_and_tls_server_name: ACCOUNT,
    https_proxy_in_the_environment: ACCOUNT,
    no_proxy_in_the_environment: ACCOUNT,
    another_context: ACCOUNT,
    certificates_without_key_identifiers: ACCOUNT,
}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.__name__)
async def test_what_a_kubeconfig_may_have_works_for_kopf_and_the_client(desk: Desk, feature: Any) -> None:
    api = await desk.connect(await feature(desk))
    assert await both_are(api) == FEATURES[feature]
    if desk.proxy:
        assert len(desk.proxy.asked) == 2, "each by the proxy, on a connection of its own"


async def test_of_several_kubeconfigs_the_first_that_has_a_name_counts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.directory / "other").mkdir()
    users = [{"name": "a", "user": {"tokenFile": "token"}}]
    first = desk.write({}, name="a", users=users, clusters=[])
    desk.file("token", desk.token())
    second = desk.write({"token": "void"}, name="other/a")
    config = json.loads(second.read_text().replace("other/a", "a"))
    second.write_text(json.dumps({**config, "current-context": "none"}))
    missing = desk.directory / "missing"
    monkeypatch.setenv("KUBECONFIG", f"{missing}:{first}:{second}")
    assert await both_are(await desk.connect(None)) == ACCOUNT


async def test_a_proxy_is_told_its_password(desk: Desk) -> None:
    assert await client_is(await desk.connect(await proxy_url(desk))) == ACCOUNT
    assert desk.proxy
    given = "Basic " + base64.b64encode(b"me:secret").decode()
    assert desk.proxy.asked == [(f"127.0.0.1:{desk.cluster.port}", given)]


async def test_without_its_name_a_server_is_not_trusted(desk: Desk) -> None:
    path = await tls_server_name(desk)
    path.write_text(path.read_text().replace("tls-server-name", "unknown"))
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await client_is(await desk.connect(path))


@pytest.fixture
def pod(control_plane: RealCluster, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Let this process find a service account as in a pod; returns the directory of its files."""
    control_plane.kubectl("wait", "--for=create", "serviceaccount/default")
    (tmp_path / "token").write_text(control_plane.kubectl("create", "token", "default").strip())
    (tmp_path / "ca.crt").write_bytes(control_plane.authority.read_bytes())
    monkeypatch.setattr("natsscaler.kube.kubeconfig.SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(control_plane.port))
    return tmp_path


@pytest.mark.usefixtures("pod")
async def test_in_a_pod_kopf_and_the_client_are_its_service_account() -> None:
    async with await connect(None, in_cluster=True) as api:
        assert await both_are(api) == ACCOUNT


async def refused(api: KubeClient) -> None:
    with pytest.raises(client.ApiException) as error:
        await client_is(api)
    assert error.value.status == 401


async def test_a_token_file_is_followed_as_it_is_rotated(desk: Desk) -> None:
    api = await desk.connect(await token_file(desk))
    assert await both_are(api) == ACCOUNT
    desk.file("token", "refused")
    await refused(api)
    desk.file("token", "")  # as when it is being written
    await refused(api)
    desk.file("token", desk.token())
    assert await both_are(api) == ACCOUNT


async def test_a_client_certificate_is_followed_as_it_is_rotated(desk: Desk) -> None:
    api = await desk.connect(desk.write(desk.certificate("tester")))
    assert await both_are(api) == "tester"
    desk.cluster.sign("later", "testers", desk.directory / "later")
    (desk.directory / "later.crt").replace(desk.directory / "tester.crt")
    assert await both_are(api) == "tester", "until its key has come, too"
    (desk.directory / "later.key").replace(desk.directory / "tester.key")
    assert await both_are(api) == "later"


async def test_a_plugin_is_asked_again_when_its_token_has_expired(desk: Desk) -> None:
    given = {"token": desk.token(), "expirationTimestamp": "2020-01-01T00:00:00Z"}
    path = desk.write(desk.plugin(given))
    api = await desk.connect(path)
    before = desk.plugin_runs()
    desk.say({"clientCertificateData": None, "token": desk.cluster.token})
    assert await both_are(api) == "admin"
    assert await both_are(api) == "admin"
    assert desk.plugin_runs() == before + 1, "and not again, without an end"


async def test_a_plugin_is_asked_again_at_a_401_but_not_for_ever(desk: Desk) -> None:
    api = await desk.connect(desk.write(desk.plugin({"token": "revoked"})))
    desk.say({"token": desk.token()})
    assert await both_are(api) == ACCOUNT
    assert desk.plugin_runs() == 2
    other = await desk.connect(desk.write(desk.plugin({"token": "revoked"})))
    for _ in range(5):
        await refused(other)
    assert desk.plugin_runs() == 4, "what brought nothing new is not tried again at once"


async def test_many_requests_share_one_run_of_a_plugin(desk: Desk) -> None:
    api = await desk.connect(desk.write(desk.plugin({"token": "revoked"})))
    desk.say({"token": desk.token()})
    assert set(await asyncio.gather(*(client_is(api) for _ in range(10)))) == {ACCOUNT}
    assert desk.plugin_runs() == 2


async def test_a_plugin_that_fails_says_why(desk: Desk) -> None:
    path = desk.write(desk.plugin({"token": desk.token(), "server": "https://another"}))
    with pytest.raises(SettingsError, match=r"exec plugin plugin failed with status 1: .*AssertionError"):
        await desk.connect(path)
    user = desk.plugin({"token": desk.token()}, installHint="get it at example.com")
    user["exec"]["command"] = "no-such-command"
    with pytest.raises(SettingsError, match=r"no-such-command cannot be run: No such .*; get it at example"):
        await desk.connect(desk.write(user))


async def test_credentials_that_are_refused_are_told_until_they_are_renewed(desk: Desk) -> None:
    api = await desk.connect(desk.write({"tokenFile": desk.file("token", "refused")}))
    api.refusals = Refusals(seconds=-1)
    await refused(api)
    assert "401, it does not accept the credentials" in api.refusals.problem()
    desk.file("token", desk.token())
    with pytest.raises(client.ApiException):
        await client.AppsV1Api(api).list_deployment_for_all_namespaces()
    assert "403, the account may do nothing" in api.refusals.problem()
    assert await both_are(api) == ACCOUNT
    assert api.refusals.problem() == ""


async def test_kopf_waits_before_it_asks_again_where_its_credentials_are_refused(desk: Desk) -> None:
    api = await desk.connect(desk.write({"token": "refused"}))
    session = (await Handlers(cast("Reactor", None), api)._login()).aiohttp_session
    async with session:
        with pytest.raises(aiohttp.ClientConnectionError, match="does not accept the credentials"):
            await session.get(f"{api.host}{RULES}")


async def test_what_keeps_kopf_from_listing_rules_is_told(desk: Desk) -> None:
    api = await desk.connect(desk.write({"token": desk.token()}))
    handlers = Handlers(cast("Reactor", None), api)
    async with (await handlers._login()).aiohttp_session as session:
        await session.get(f"{api.host}{RULES}")
    assert handlers.problem.startswith("The operator lacks the verb list on scalingrules")


async def everything(desk: Desk) -> pathlib.Path:
    """Write a kubeconfig with a plugin, whose token expires, a proxy and another name of the server."""
    path = await proxy_url_and_tls_server_name(desk)
    config = json.loads(path.read_text())
    given = {"token": desk.cluster.token, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    config["users"][0]["user"] = desk.plugin(given)
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("command", [("explain", "default/none"), ("check",)], ids=" ".join)
async def test_the_commands_go_the_same_way(desk: Desk, command: tuple[str, ...]) -> None:
    program = (sys.executable, "-m", "natsscaler", *command, "--kubeconfig", str(await everything(desk)))
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE)
    told, failure = (text.decode() for text in await process.communicate())
    if command[0] == "explain":
        assert failure.startswith("natsscaler explain: There is no ScalingRule default/none")
    else:
        assert "✓ CRD" in told
        assert failure == ""
    assert desk.proxy
    assert desk.proxy.asked


async def test_the_operator_goes_the_same_way(desk: Desk) -> None:
    metrics, probes = free_ports(2)
    ports = (f"--metrics-port={metrics}", f"--probe-port={probes}", "--activity-port=0")
    program = (sys.executable, "-m", "natsscaler", "run", f"--kubeconfig={await everything(desk)}", *ports)
    process = await asyncio.create_subprocess_exec(*program, stderr=PIPE)
    try:
        async with aiohttp.ClientSession() as session:
            deadline = time.monotonic() + 60
            while not await is_ready(session, f"http://127.0.0.1:{probes}/readyz"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
    finally:
        process.terminate()
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.ok
    except aiohttp.ClientConnectionError:
        return False
