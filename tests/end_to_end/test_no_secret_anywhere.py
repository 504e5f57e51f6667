"""No byte of a secret leaves the operator but to its server: not in success, not in failure, not at debug.

Every secret is known to the test, and looked for in whatever the operator writes or shows: its log, statuses,
Events, metrics and pages, as it is and as base64. Servers that refuse send back what they have received.
"""

import asyncio
import base64
import contextlib
import json
import pathlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import nkeys  # type: ignore[import-untyped]
import pytest
from kubernetes.aio import client

from natsscaler.core.rule import GROUP, PLURAL, VERSION
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports
from tests.conftest import KubeApi
from tests.support.certificates import Certificates
from tests.support.nats_jwt import Key, OperatorMode
from tests.support.proxying import proxy
from tests.support.stage import Stage

Servers = Callable[..., Awaitable[NatsServer]]
pytestmark = pytest.mark.timeout(120)

GOOD, BAD = "hunter2-good", "hunter2-bad"
CONNECTED, REFUSED = ("EventDriven", "OtherServer"), ("EventDriven", "CredentialsRefused")
"""The servers that ask for credentials are not the one with the stream."""
KNOWN, TURNED_AWAY = ("Ready", "DryRun"), ("Ready", "CredentialsRefused")


class Case(NamedTuple):
    """A rule with a Secret, and the condition that it comes to."""

    data: dict[str, str]
    ends: tuple[str, str]
    url: str
    """Of NATS, or https:// of a monitoring endpoint."""
    use: str = "nats"

    @property
    def spec(self) -> dict[str, Any]:
        reference = {"secretRef": {"name": "to be named"}}
        if self.url.startswith("https"):
            return {"natsMonitoringURL": self.url, "monitoring": reference, "events": []}
        return {"nats": {"url": self.url, **reference}}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak NATS, refuse everybody, and quote what was sent."""
    writer.write(b'INFO {"server_id":"S","version":"2.12.0","auth_required":true,"nonce":"n"}\r\n')
    with contextlib.suppress(OSError):
        said = (await reader.readline()).decode().strip().replace("'", "")
        writer.write(f"-ERR 'Authorization Violation: {said}'\r\n".encode())
        await writer.drain()
    writer.close()


@pytest.fixture
async def cases(
    nats_servers: Servers, certificates: Certificates, nats_server: NatsServer
) -> AsyncIterator[Any]:
    """Every kind of secret where it is right, where it is refused, and where it cannot be used."""
    key, mode = Key(nkeys.PREFIX_BYTE_USER), OperatorMode()
    users = f'{{user: app, password: "{GOOD}"}}, {{nkey: {key.public}}}'
    by_user = (await nats_servers(config=f"authorization {{ users: [{users}] }}")).url
    by_token = (await nats_servers(config=f"authorization {{ token: {GOOD} }}")).url
    by_jwt = (await nats_servers(config=mode.config)).url
    secure = await nats_servers(config=certificates.nats_tls(verify=True))
    by_certificate = f"tls://localhost:{secure.port}"
    quoting = await asyncio.start_server(echo, "127.0.0.1", 0)
    by_echo = f"nats://127.0.0.1:{quoting.sockets[0].getsockname()[1]}"

    def pem(name: str) -> str:
        return certificates.read(name).decode()

    ca = {"ca.crt": pem("ca.crt")}
    client_pair = {"tls.crt": pem("client.crt"), "tls.key": pem("client.key")}
    stranger = {"tls.crt": pem("stranger.crt"), "tls.key": pem("stranger.key")}
    basic = "Basic " + base64.b64encode(f"app:{GOOD}".encode()).decode()

    def admits(headers: Any) -> bool:
        mine = headers.get("Authorization") in (basic, f"Bearer {GOOD}")
        return mine or headers.get("X-Key") == GOOD

    unusable, unlabelled = ("EventDriven", "SecretUnusable"), ("EventDriven", "SecretNotLabelled")
    async with quoting, proxy(nats_server, certificates, admits) as front:
        yield {
            "password": Case({"username": "app", "password": GOOD}, CONNECTED, by_user),
            "password-refused": Case({"username": "app", "password": BAD}, REFUSED, by_user),
            "password-quoted": Case({"username": "app", "password": BAD}, REFUSED, by_echo),
            "token": Case({"token": GOOD}, CONNECTED, by_token),
            "token-refused": Case({"token": BAD}, REFUSED, by_token),
            "token-quoted": Case({"token": BAD}, REFUSED, by_echo),
            "nkey": Case({"nkey": key.seed.decode()}, CONNECTED, by_user),
            "nkey-refused": Case({"nkey": Key(nkeys.PREFIX_BYTE_USER).seed.decode()}, REFUSED, by_user),
            "creds": Case({"creds": mode.creds()}, CONNECTED, by_jwt),
            "creds-refused": Case({"creds": OperatorMode().creds()}, REFUSED, by_jwt),
            "creds-quoted": Case({"creds": mode.creds()}, REFUSED, by_echo),
            "certificate": Case({**ca, **client_pair}, CONNECTED, by_certificate),
            "certificate-refused": Case({**ca, **stranger}, ("EventDriven", "NotConnected"), by_certificate),
            "half": Case({"password": BAD}, unusable, by_user),
            "no-seed": Case({"nkey": BAD}, unusable, by_user),
            "no-creds": Case({"creds": BAD}, unusable, by_user),
            "no-pem": Case({**ca, "tls.crt": BAD, "tls.key": pem("client.key")}, unusable, by_user),
            "no-key": Case({"tls.crt": pem("client.crt"), "tls.key": BAD}, unusable, by_user),
            "unlabelled": Case({"token": BAD}, unlabelled, by_token, "other"),
            "basic": Case({**ca, "username": "app", "password": GOOD}, KNOWN, front.url),
            "basic-refused": Case({**ca, "username": "app", "password": BAD}, TURNED_AWAY, front.url),
            "bearer": Case({**ca, "token": GOOD}, KNOWN, front.url),
            "bearer-refused": Case({**ca, "token": BAD}, TURNED_AWAY, front.url),
            "header": Case({**ca, "header.X-Key": GOOD}, KNOWN, front.url),
            "header-refused": Case({**ca, "header.X-Key": BAD}, TURNED_AWAY, front.url),
            "injection": Case({**ca, "token": f"{BAD}\nX: y"}, ("Ready", "SecretUnusable"), front.url),
        }


async def test_no_secret_is_in_anything_that_can_be_read(
    stage: Stage,
    kube_api: KubeApi,
    cases: dict[str, Case],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "token").write_text("hunter2-own")
    activity, metrics, probes = free_ports(3)
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("NATS_URL", f"nats://app:hunter2-url@127.0.0.1:{stage.nats.port}")
    monkeypatch.setenv("NATSSCALER_ACTIVITY_TOKEN", "hunter2-page")
    ports = ("--activity-port", str(activity), "--metrics-port", str(metrics), "--probe-port", str(probes))
    own = ("--monitoring-credentials", str(directory), "--monitoring-credentials-hosts", "127.0.0.1")
    await stage.start(*ports, *own, "--host", "127.0.0.1")
    await stage.create_deployment()
    await stage.apply_sample("own", dryRun=True)
    for name, case in cases.items():
        spec = json.loads(json.dumps(case.spec).replace("to be named", name))
        await stage.create_secret(case.data, name, use=case.use)
        await stage.apply_sample(name, dryRun=True, pollIntervalSeconds=1, **spec)
    for name, case in {**cases, "own": Case({}, ("EventDriven", "Listening"), "")}.items():
        await stage.becomes(case.ends[1], partial(reason, stage, name, case.ends[0]))

    seen = {"log": (tmp_path / "operator.log").read_text()}
    for path in ("/", "/scaling-activity", "/health", "/api/rules", "/api/openapi.json"):
        seen[path] = await get(activity, path)
    for name in cases:
        for path in ("/rules", "/api/rules"):
            seen[f"{path} {name}"] = await get(activity, f"{path}/{stage.namespace}/{name}")
    seen["metrics"] = await get(metrics, "/metrics")
    for path in ("/healthz", "/readyz"):
        seen[path] = await get(probes, path)
    objects = client.CustomObjectsApi(kube_api.client)
    for group, version, plural in ((GROUP, VERSION, PLURAL), ("events.k8s.io", "v1", "events")):
        found = await objects.list_namespaced_custom_object(group, version, stage.namespace, plural)
        seen[plural] = json.dumps(found, default=str)
    seen["check"] = await check(kube_api, stage.namespace)

    assert "no-creds" in seen["check"]
    assert '"DEBUG"' in seen["log"]
    assert "Logging error" not in seen["log"]
    assert all(
        "password-refused" in seen[where] for where in ("events", "scalingrules", "metrics", "/api/rules")
    )
    secrets = set(needles(case.data for case in cases.values()))
    assert len(secrets) > 30
    for where, text in seen.items():
        assert text, where
        leaked = [secret for secret in secrets if secret.lower() in text.lower()]
        assert leaked == [], where


async def reason(stage: Stage, name: str, kind: str) -> str:
    return (await stage.condition(kind, name))[1]


async def get(port: int, path: str) -> str:
    headers = {"Authorization": "Bearer hunter2-page"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        assert response.status == 200, path
        return await response.text()


async def check(kube_api: KubeApi, namespace: str) -> str:
    """Run `natsscaler check`, which connects with the same Secrets."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "natsscaler", "check", "-n", namespace, "-o", "json"),
        *("--kubeconfig", str(kube_api.kubeconfig)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return told.decode()


def needles(all_data: Any) -> Any:
    """List what must not be found: marks, and of what cannot be marked the lines that hold the secret."""
    yield "hunter2"
    for data in all_data:
        for key, value in data.items():
            secret_lines = [line for line in value.splitlines() if len(line) > 16 and "-----" not in line]
            if key not in ("ca.crt", "tls.crt", "username"):
                yield from secret_lines
                yield base64.b64encode(value.encode()).decode()
            if "password" in key:
                yield base64.b64encode(f"app:{value}".encode()).decode()
            if key == "creds" and secret_lines:
                yield from secret_lines[0].split(".")[1:]  # claims and signature of the JWT
