"""Addresses as NATS's own clients take them: lists of servers, without a scheme, with a final dot."""

from typing import Any

import pytest

from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_ports
from natsscaler.net.allowlist import AllowList
from tests.support.certificates import Certificates
from tests.support.proxying import proxy
from tests.support.secrets import PASSWORD, Servers, prepare
from tests.support.until import until
from tests.support.world import publish, user, world

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    "form", ["nats://127.0.0.1:{},nats://{}", "127.0.0.1:{} , {}", "{1},nats://localhost:{0}/"]
)
@pytest.mark.parametrize("field", ["spec.nats.url", "NATS_URL"])
async def test_of_a_list_of_servers_one_that_answers_is_listened_on(
    nats_server: NatsServer, form: str, field: str
) -> None:
    (dead,) = free_ports(1)
    urls = form.format(dead, nats_server.url.removeprefix("nats://"))
    own: dict[str, Any] = {"nats_url": urls} if field == "NATS_URL" else {}
    spec: dict[str, Any] = {} if own else {"nats": {"url": urls}}
    async with world(nats_server, **own) as here:
        here.apply(**spec)
        await here.becomes("EventDriven", "True", "Listening")
        assert f"127.0.0.1:{nats_server.port}" in here.message("EventDriven")


async def test_a_list_goes_on_with_the_next_server_when_one_is_lost(nats_servers: Servers) -> None:
    one, other = await nats_servers(name="one"), await nats_servers(name="other")
    async with world(one) as here:
        here.apply(nats={"url": f"{one.url},{other.url}"})
        await here.becomes("EventDriven", "True", "Listening")
        first = here.connections[0].server_id
        await one.kill()
        await until(lambda: here.connections[0].server_id not in ("", first))


async def test_each_server_of_a_list_goes_through_the_allow_list(nats_server: NatsServer) -> None:
    async with world(nats_server, allow_hosts=("127.0.0.1",)) as here:
        here.apply(nats={"url": "nats://127.0.0.2:4222,nats://127.0.0.3:4222"})
        await here.becomes("EventDriven", "False", "NotConnected")
        assert "The operator may not connect to 127.0.0.3:4222" in here.message("EventDriven")


async def test_the_user_of_a_list_is_that_of_the_first_server_that_has_one(nats_servers: Servers) -> None:
    server = await nats_servers(config=PASSWORD.format("hunter2"))
    (dead,) = free_ports(1)
    urls = f"nats://127.0.0.1:{dead},nats://app:hunter2@127.0.0.1:{server.port}"
    async with world(server, nats_url=urls) as here:
        here.apply()
        await here.becomes("EventDriven", "True", "Listening")
        assert "hunter2" not in here.message("EventDriven")


async def test_a_final_dot_is_no_part_of_the_name(nats_servers: Servers, certificates: Certificates) -> None:
    """Neither for the certificate nor for the allow-list, of NATS and of its monitoring endpoint."""
    server = await nats_servers(config=certificates.nats_tls())
    assert await AllowList(("LOCALHOST",), in_cluster=True).resolve("localhost.", 4222)
    assert await AllowList(("localhost.",), in_cluster=True).resolve("localhost", 4222)
    async with proxy(server, certificates) as front, world(server, allow_hosts=("localhost",)) as here:
        here.keep_secret({"ca.crt": certificates.read("ca.crt")})
        ref = {"secretRef": {"name": "nats"}}
        here.apply(
            natsMonitoringURL=front.url.replace("localhost", "localhost."),
            monitoring=ref,
            nats=ref | {"url": f"tls://localhost.:{server.port}"},
        )
        await here.becomes("EventDriven", "True", "Listening")
        await here.becomes("ScalingActive", "False", "StreamNotFound")


async def test_an_address_of_nats_that_is_set_is_connected_to_while_monitoring_fails(
    nats_server: NatsServer,
) -> None:
    (dead,) = free_ports(1)
    async with world(nats_server) as here:
        here.apply(natsMonitoringURL=f"http://127.0.0.1:{dead}", nats={"url": nats_server.url})
        await here.becomes("ScalingActive", "False", "MonitoringUnreachable")
        await here.becomes("EventDriven", "True", "Listening")
        here.apply(nats={"url": nats_server.url})
        await prepare(nats_server.url)
        await here.becomes("Ready", "True", "Scaling")
        async with user(nats_server.url) as client:
            await publish(client, 51)
        await until(lambda: 2 in here.cluster.table.values())


async def test_a_server_without_a_name_of_its_own_is_named_by_its_address(nats_servers: Servers) -> None:
    """Its random id tells nobody anything."""
    server = await nats_servers(config='server_name: ""')
    await prepare(server.url)
    async with world(server) as here:
        key = here.apply()
        await here.becomes("Ready", "True", "Scaling")
        decided = here.cluster.statuses[key].last_decision
        assert decided
        assert decided.leaders == (f"127.0.0.1:{server.monitoring_port}",)
