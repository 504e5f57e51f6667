"""A monitoring endpoint behind a proxy that asks for certificates and credentials, on a real nats-server."""

from collections.abc import Mapping

import pytest
from nats.aio.client import Client

from natsscaler.core.errors import KubernetesError
from natsscaler.core.reasons import Reason
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats import monitoring
from tests.support.certificates import Certificates
from tests.support.proxying import proxy
from tests.support.until import until
from tests.support.world import TARGET, World, publish, world

pytestmark = pytest.mark.timeout(60)

REF = {"secretRef": {"name": "nats"}}
MARK = "hunter2"
BASIC = {"username": "app", "password": MARK}


async def known(here: World) -> None:
    await here.becomes("ScalingActive", "True", "ValidMetricFound")


@pytest.mark.parametrize(
    ("data", "header"),
    [
        pytest.param(BASIC, ("Authorization", "Basic YXBwOmh1bnRlcjI="), id="basic"),
        pytest.param({"token": MARK}, ("Authorization", f"Bearer {MARK}"), id="bearer"),
        pytest.param({"header.X-Api-Key": MARK}, ("X-Api-Key", MARK), id="header"),
    ],
)
async def test_credentials_of_every_kind(
    nats_server: NatsServer,
    certificates: Certificates,
    orders: Client,
    data: dict[str, str],
    header: tuple[str, str],
) -> None:
    """Refused, the replicas stay and the rule says why; a fixed Secret is used at once."""
    ca = {"ca.crt": certificates.read("ca.crt")}
    wrong = dict.fromkeys(data, "wrong")
    async with (
        proxy(nats_server, certificates, lambda headers: headers.get(header[0]) == header[1]) as front,
        world(nats_server) as here,
    ):
        await publish(orders, 60)
        here.keep_secret({**ca, **wrong})
        here.apply(natsMonitoringURL=front.url, monitoring=REF)
        await here.becomes("ScalingActive", "False", "CredentialsRefused")
        told = here.message("ScalingActive")
        assert told.endswith(f"{front.url} answered HTTP status 401: fix Secret default/nats")
        assert ("rule", "ScalingActive", "CredentialsRefused") in here.cluster.events
        assert here.cluster.table[TARGET] == 1
        here.keep_secret({**ca, **data})
        await known(here)
        await until(lambda: here.cluster.table[TARGET] == 2)


async def test_without_credentials_the_rule_says_where_to_name_them(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    async with (
        proxy(nats_server, certificates, lambda headers: "Authorization" in headers) as front,
        world(nats_server) as here,
    ):
        here.keep_secret({"ca.crt": certificates.read("ca.crt")})
        here.apply(natsMonitoringURL=front.url, monitoring=REF)
        await here.becomes("ScalingActive", "False", "CredentialsRefused")
        here.apply(natsMonitoringURL=front.url)
        await here.becomes("ScalingActive", "False", "MonitoringCertificate")
        assert "its certificate is not accepted" in here.message("ScalingActive")
        fix = "put its authority's certificate as ca.crt into the Secret of spec.monitoring.secretRef"
        assert here.message("ScalingActive").endswith(fix)
        assert "_ssl.c" not in here.message("ScalingActive")


async def test_a_clients_certificate(
    nats_server: NatsServer, certificates: Certificates, orders: Client
) -> None:
    assert orders.is_connected
    ca = {"ca.crt": certificates.read("ca.crt")}
    mine = {"tls.crt": certificates.read("client.crt"), "tls.key": certificates.read("client.key")}
    async with proxy(nats_server, certificates, verify=True) as front, world(nats_server) as here:
        here.keep_secret(ca)
        here.apply(natsMonitoringURL=front.url, monitoring=REF)
        await here.becomes("ScalingActive", "False", "MonitoringUnreachable")
        here.keep_secret(ca | mine)
        await known(here)


async def test_a_name_that_the_certificate_does_not_have(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    async with proxy(nats_server, certificates) as front, world(nats_server) as here:
        here.keep_secret({"ca.crt": certificates.read("ca.crt")})
        here.apply(natsMonitoringURL=front.url.replace("localhost", "127.0.0.1"), monitoring=REF)
        await here.becomes("ScalingActive", "False", "MonitoringCertificate")
        assert "certificate is not accepted: IP address mismatch" in here.message("ScalingActive")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("SecretNotFound", "Secret default/nats"),
        ("SecretNotLabelled", "kubectl -n default label secret nats scaling.example.com/use=nats"),
        ("Forbidden", "natsscaler may not get secrets"),
        ("SecretUnusable", "Key token of Secret default/nats must be"),
    ],
)
async def test_a_secret_that_cannot_be_used(
    nats_server: NatsServer, certificates: Certificates, orders: Client, reason: str, told: str
) -> None:
    ca, right = {"ca.crt": certificates.read("ca.crt")}, {"token": MARK.encode()}
    async with (
        proxy(nats_server, certificates, lambda headers: "Authorization" in headers) as front,
        world(nats_server) as here,
    ):
        await publish(orders, 60)
        if reason == "SecretNotLabelled":
            here.keep_secret(ca | right, use="")
        elif reason == "SecretUnusable":
            here.keep_secret(ca | {"token": f"{MARK}\nX: y".encode()})
        elif reason == "Forbidden":
            here.refusal = KubernetesError(Reason.FORBIDDEN, "natsscaler may not get secrets: grant it")
        here.apply(natsMonitoringURL=front.url, monitoring=REF)
        await here.becomes("Ready", "False", reason)
        assert told in here.message("Ready")
        assert MARK not in here.message("Ready")
        assert here.cluster.table[TARGET] == 1
        here.refusal = None
        here.keep_secret(ca | right)
        await known(here)


async def test_a_secret_that_changes_is_taken_up_in_time(
    nats_server: NatsServer, certificates: Certificates, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the Kubernetes API does not answer, what is known goes on being used."""
    assert orders.is_connected
    monkeypatch.setattr(monitoring, "MAX_AGE_SECONDS", 0.0)
    seen: list[str] = []

    def note(headers: Mapping[str, str]) -> bool:
        seen.append(headers.get("Authorization", ""))
        return True

    ca = {"ca.crt": certificates.read("ca.crt")}
    async with proxy(nats_server, certificates, note) as front, world(nats_server) as here:
        here.keep_secret({**ca, "token": "first"})
        here.apply(natsMonitoringURL=front.url, monitoring=REF, pollIntervalSeconds=1, events=[])
        await known(here)
        here.refusal = KubernetesError(Reason.KUBERNETES_UNAVAILABLE, "no answer")
        reads = here.monitoring.reads
        await until(lambda: here.monitoring.reads > reads + 1)
        assert set(seen) == {"Bearer first"}
        here.refusal = None
        here.keep_secret({**ca, "token": "second"})
        await until(lambda: seen[-1] == "Bearer second")
        here.keep_secret({**ca, "token": "second"}, use="no longer")
        await here.becomes("ScalingActive", "False", "SecretNotLabelled")
