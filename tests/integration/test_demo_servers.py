"""What tests and the demo rely on in their servers, beyond what the real ones do."""

import asyncio
import gc
import json
import pathlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import nats
import pytest
import yaml

from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer, NatsServerError
from tests.conftest import CRD_FILE, in_background
from tests.support.certificates import Certificates

RULES = "/apis/scaling.example.com/v1/scalingrules"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 2},
}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def test_what_kubectl_create_deployment_sends_is_refused_with_the_fix() -> None:
    async with EmbeddedKubernetes() as server, httpx.AsyncClient(base_url=server.url) as client:
        protobuf = {"Content-Type": "application/vnd.kubernetes.protobuf"}
        refused = await client.post(DEPLOYMENTS, content=b"k8s\0", headers=protobuf)
    assert refused.status_code == 415
    assert "kubectl apply -f" in refused.json()["message"]


@pytest.mark.parametrize("ticks", range(6))
async def test_a_connection_that_comes_while_an_api_stops_is_closed(ticks: int) -> None:
    server = EmbeddedKubernetes()
    await server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        for _ in range(ticks):
            await asyncio.sleep(0)
        await server.stop()
    gc.collect()


def test_a_connection_whose_farewell_is_not_answered_is_closed(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("server.crt"), certificates.path("server.key"))
    ours, theirs = socket.socketpair()

    async def say_farewell() -> None:
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(sock=ours, ssl=anybody, server_hostname="nats")
        writer.close()

    with ThreadPoolExecutor(1) as pool, theirs:
        accepted = pool.submit(context.wrap_socket, theirs, server_side=True)
        asyncio.run(say_farewell())
        accepted.result().close()
    gc.collect()


@pytest.fixture
async def http(embedded: EmbeddedKubernetes) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=embedded.url, timeout=20) as http:
        yield http


async def test_a_stopped_api_ends_its_watches_and_keeps_what_was_written(
    embedded: EmbeddedKubernetes,
) -> None:
    embedded.objects.add(DEPLOYMENT)
    async with httpx.AsyncClient(base_url=embedded.url) as http:
        listed = (await http.get(DEPLOYMENTS)).json()
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with asyncio.timeout(10), http.stream("GET", DEPLOYMENTS, params=query) as answer:
            await embedded.stop()
            assert [line async for line in answer.aiter_lines()] == []
        with pytest.raises(httpx.ConnectError):
            await http.get(DEPLOYMENTS)
        await embedded.start()
        assert (await http.get(DEPLOYMENTS)).json() == listed


async def test_a_silent_watch_has_bookmarks() -> None:
    async with EmbeddedKubernetes(bookmark_seconds=0.01) as embedded, httpx.AsyncClient() as http:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "1"}
        async with (
            asyncio.timeout(10),
            http.stream("GET", embedded.url + DEPLOYMENTS, params=query) as answer,
        ):
            event = json.loads(await anext(answer.aiter_lines()))
    assert event["type"] == "BOOKMARK"
    assert event["object"]["metadata"]["resourceVersion"] == str(embedded.store.revision)


async def test_a_forgotten_version_is_expired(embedded: EmbeddedKubernetes, http: httpx.AsyncClient) -> None:
    embedded.objects.add(DEPLOYMENT)
    embedded.store.compact()
    old = {"watch": "true", "resourceVersion": "2"}
    event = (await http.get(DEPLOYMENTS, params=old)).json()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    gone = await http.get(DEPLOYMENTS, params={"limit": "1", "continue": "gone"})
    assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")


async def test_requests_fail_as_asked(embedded: EmbeddedKubernetes, http: httpx.AsyncClient) -> None:
    embedded.fail(lambda request: request.path == DEPLOYMENTS, status=503, times=2)
    assert [(await http.get(DEPLOYMENTS)).status_code for _ in range(3)] == [503, 503, 200]
    assert (await http.get(RULES)).status_code == 200
    embedded.fail(lambda request: request.method == "GET", status=None)
    async with in_background(_get(http)) as asking:
        async with asyncio.timeout(10):
            while embedded.requests[-1] != ("GET", DEPLOYMENTS):  # noqa: ASYNC110 - the server is asked
                await asyncio.sleep(0.005)
        await asyncio.wait([asking], timeout=0.05)


async def _get(http: httpx.AsyncClient) -> None:
    await http.get(DEPLOYMENTS)


async def test_a_token_is_asked_for(tmp_path: pathlib.Path) -> None:
    async with (
        EmbeddedKubernetes(token="t" * 8) as embedded,
        httpx.AsyncClient(base_url=embedded.url) as http,
    ):
        refused = await http.get(DEPLOYMENTS)
        assert (refused.status_code, refused.json()["reason"]) == (401, "Unauthorized")
        embedded.write_kubeconfig(tmp_path / "kubeconfig")
        token = yaml.safe_load((tmp_path / "kubeconfig").read_text())["users"][0]["user"]["token"]
        assert (await http.get(DEPLOYMENTS, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_a_crd_is_served_once_created_and_no_more_once_deleted() -> None:
    crd = yaml.safe_load(CRD_FILE.read_text())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with EmbeddedKubernetes() as embedded, httpx.AsyncClient(base_url=embedded.url) as http:
        assert (await http.get(RULES)).status_code == 404
        created = await http.post(path, json=crd)
        conditions = {c["type"]: c["status"] for c in created.json()["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
        assert (await http.get(RULES)).status_code == 200
        await http.delete(f"{path}/{crd['metadata']['name']}")
        assert (await http.get(RULES)).status_code == 404


async def test_nats_keeps_ports_and_messages_over_a_crash(nats_server: NatsServer) -> None:
    connection = await nats.connect(nats_server.url)
    stream = connection.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["orders.>"])
    await stream.publish("orders.new", b"1")
    await connection.close()
    await nats_server.kill()
    with pytest.raises(NatsServerError):
        assert nats_server.pid
    await nats_server.start()
    async with httpx.AsyncClient() as http:
        answer = (await http.get(f"{nats_server.monitoring_url}/jsz", params={"streams": "true"})).json()
    assert (answer["streams"], answer["messages"]) == (1, 1)


async def test_a_paused_nats_answers_again_once_resumed(nats_server: NatsServer) -> None:
    async with httpx.AsyncClient(base_url=nats_server.monitoring_url) as http:
        nats_server.pause()
        with pytest.raises(httpx.TimeoutException):
            await http.get("/healthz", timeout=0.2)
        nats_server.resume()
        assert (await http.get("/healthz", timeout=10)).json() == {"status": "ok"}


async def test_a_nats_that_does_not_stop_is_killed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.demo.nats_server.GRACE_SECONDS", 0)
    nats_server.pause()  # frozen, it cannot obey SIGTERM however late it is killed
    await nats_server.stop()
    assert nats_server._process
    assert nats_server._process.returncode == -signal.SIGKILL


async def test_a_nats_that_cannot_start_says_so(tmp_path: pathlib.Path) -> None:
    server = NatsServer(tmp_path, config="nonsense: {")
    with pytest.raises(NatsServerError, match="ended with status"):
        await server.start()
