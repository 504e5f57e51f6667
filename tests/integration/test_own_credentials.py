"""The operator's own credentials: used where they are meant for, and no byte of them sent to anybody else."""

import pathlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from tests.support.certificates import Certificates
from tests.support.nats_cluster import NatsCluster
from tests.support.proxying import proxy
from tests.support.secrets import PASSWORD, Recorder, Servers, login
from tests.support.until import until
from tests.support.world import create_consumer, create_stream, user, world

pytestmark = pytest.mark.timeout(60)

MARK = "hunter2"
Keep = Callable[..., pathlib.Path]


@pytest.fixture
def keep(tmp_path: pathlib.Path) -> Keep:
    """Write a directory as a mounted Secret looks: files behind links to a directory of their own."""

    def keep(name: str, data: dict[str, Any]) -> pathlib.Path:
        directory = tmp_path / name
        hidden = directory / "..data"
        hidden.mkdir(parents=True, exist_ok=True)
        for key, value in data.items():
            (hidden / key).write_bytes(value if isinstance(value, bytes) else str(value).encode())
            if not (directory / key).exists():
                (directory / key).symlink_to(hidden / key)
        return directory

    return keep


@pytest.fixture
async def secured(nats_servers: Servers) -> NatsServer:
    server = await nats_servers(config=PASSWORD.format(MARK))
    async with user(f"nats://app:{MARK}@127.0.0.1:{server.port}") as client:
        await create_stream(client)
        await create_consumer(client)
    return server


async def test_by_nats_url(secured: NatsServer) -> None:
    async with world(secured, nats_url=f"nats://app:{MARK}@127.0.0.1:{secured.port}") as here:
        here.apply()
        await here.becomes("EventDriven", "True", "Listening")
        assert MARK not in here.message("EventDriven")


async def test_by_a_directory_that_is_read_again(secured: NatsServer, keep: Keep) -> None:
    wrong = keep("nats", login("app", "wrong"))
    async with world(secured, nats_url=secured.url, nats_credentials=wrong) as here:
        here.apply()
        await here.becomes("EventDriven", "False", "CredentialsRefused")
        assert "fix --nats-credentials [NATSSCALER_NATS_CREDENTIALS]" in here.message("EventDriven")
        keep("nats", login("app", f"{MARK}\n"))
        await here.becomes("EventDriven", "True", "Listening")


async def test_a_directory_that_cannot_be_used_is_told(secured: NatsServer, keep: Keep) -> None:
    half = keep("nats", {"password": MARK})
    async with world(secured, nats_url=secured.url, nats_credentials=half) as here:
        here.apply()
        await here.becomes("EventDriven", "False", "SecretUnusable")
        told = (
            "Key password of --nats-credentials [NATSSCALER_NATS_CREDENTIALS] needs the key username"
            " beside it"
        )
        assert here.message("EventDriven") == told


@pytest.mark.parametrize("with_secret", [False, True])
async def test_nats_credentials_go_to_nats_url_alone(
    secured: NatsServer, keep: Keep, recorder: Recorder, with_secret: bool
) -> None:
    """Not to the address that a rule names, be it with a Secret of its own or without."""
    own = keep("nats", login("app", MARK))
    async with world(secured, nats_url=secured.url, nats_credentials=own) as here:
        here.apply("guide", dryRun=True)
        await here.becomes("EventDriven", "True", "Listening", "guide")
        here.keep_secret({"token": "of the rule"})
        reference = {"secretRef": {"name": "nats"}} if with_secret else {}
        here.apply(nats={"url": f"nats://127.0.0.1:{recorder.port}", **reference})
        await until(lambda: b"PING" in recorder.received)
        assert b"CONNECT" in recorder.received
        assert (b"of the rule" in recorder.received) == with_secret
    assert MARK.encode() not in recorder.received
    assert b"app" not in recorder.received


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with Recorder().serve() as made:
        yield made


async def test_monitoring_credentials_go_to_their_hosts_alone(
    nats_server: NatsServer, certificates: Certificates, orders: Client, keep: Keep
) -> None:
    """The same endpoint, by a name that is listed and by one that is not."""
    assert orders.is_connected
    data = {"ca.crt": certificates.read("ca.crt"), "token": MARK, "header.X-Key": MARK}
    settings: dict[str, Any] = {
        "monitoring_credentials": keep("monitoring", data),
        "monitoring_credentials_hosts": ("localhost",),
    }
    received: list[str] = []

    def note(headers: Mapping[str, str]) -> bool:
        received.append(str(dict(headers)))
        return (headers.get("Authorization"), headers.get("X-Key")) == (f"Bearer {MARK}", MARK)

    async with proxy(nats_server, certificates, note) as front, world(nats_server, **settings) as here:
        here.apply("listed", natsMonitoringURL=front.url)
        await here.becomes("ScalingActive", "True", "ValidMetricFound", "listed")
        assert MARK in received[-1]
    received.clear()
    plain = {"ca.crt": certificates.read("ca.crt")}
    async with proxy(nats_server, certificates, note) as front, world(nats_server, **settings) as here:
        here.keep_secret(plain)
        here.apply("secret", natsMonitoringURL=front.url, monitoring={"secretRef": {"name": "nats"}})
        await here.becomes("ScalingActive", "False", "CredentialsRefused", "secret")
        assert received
        assert MARK not in str(received)


@pytest.mark.parametrize("listed", [("localhost", "10.0.0.0/8"), ("http://127.0.0.1:1",)])
async def test_a_recording_host_that_is_not_listed_receives_nothing(
    nats_server: NatsServer, keep: Keep, recorder: Recorder, listed: tuple[str, ...]
) -> None:
    settings: dict[str, Any] = {
        "monitoring_credentials": keep("monitoring", {"token": MARK}),
        "monitoring_credentials_hosts": listed,
    }
    async with world(nats_server, **settings) as here:
        here.apply(natsMonitoringURL=f"http://127.0.0.1:{recorder.port}")
        await until(lambda: b"\r\n\r\n" in recorder.received)
        assert b"GET /jsz" in recorder.received
    assert b"Authorization" not in recorder.received
    assert MARK.encode() not in recorder.received


async def test_nodes_that_are_not_listed_are_not_asked(tmp_path: pathlib.Path, keep: Keep) -> None:
    """A cluster whose nodes are named by `/varz`: with credentials of the operator only the listed one is."""
    cluster = NatsCluster(tmp_path / "cluster")
    await cluster.start()
    first, *others = cluster.nodes
    settings: dict[str, Any] = {
        "monitoring_credentials": keep("monitoring", {"token": MARK}),
        "monitoring_credentials_hosts": (first.host,),
    }
    try:
        async with cluster.connect() as js:
            await js.add_stream(name="ORDERS", subjects=["orders.>"], num_replicas=3)
        async with world(first, **settings) as here:
            reading = await here.monitoring.read(here.rule().monitoring)
            assert list(reading.view.nodes) == [first.name]
        settings["monitoring_credentials_hosts"] = tuple(node.host for node in cluster.nodes)
        async with world(first, **settings) as here:
            reading = await here.monitoring.read(here.rule().monitoring)
            assert len(reading.view.nodes) == 1 + len(others)
    finally:
        await cluster.kill()
