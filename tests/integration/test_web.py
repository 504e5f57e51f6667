"""A real Web on real ports, read by a real client."""

import asyncio
import dataclasses
import errno
import json
import re
import socket
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import Action
from natsscaler.observe.feed import Activity
from natsscaler.observe.metrics import Metrics
from natsscaler.settings import Settings, parse
from natsscaler.web.api import Leader
from natsscaler.web.server import HEADERS, Web
from tests.support.serving import (
    HOST,
    NOW,
    NOW_TEXT,
    FakeHealth,
    Running,
    free_settings,
    is_open,
    serve,
)

KEY = RuleKey("default", "my-app-scaling")


def action(deployment: str, pending: int | None) -> Action:
    return Action(
        timestamp=NOW_TEXT,
        deployment=deployment,
        namespace="default",
        from_replicas=1,
        to_replicas=2,
        reason="BacklogAboveThreshold",
        pending_messages=pending,
    )


async def test_scaling_activity_is_the_contract_newest_first(running: Running) -> None:
    running.activity.record(KEY, action("old", 51))
    running.activity.record(KEY, action("new", None))
    answer = await running.get(running.settings.activity_port, "/scaling-activity")
    rest = (
        '"namespace":"default","fromReplicas":1,"toReplicas":2,"reason":"BacklogAboveThreshold",'
        '"pendingMessages":'
    )
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.text == (
        f'{{"timestamp":"{NOW_TEXT}","actions":['
        f'{{"timestamp":"{NOW_TEXT}","deployment":"new",{rest}null}},'
        f'{{"timestamp":"{NOW_TEXT}","deployment":"old",{rest}51}}],"count":2}}'
    )


async def test_no_action_is_an_empty_list(running: Running) -> None:
    answer = await running.get(running.settings.activity_port, "/scaling-activity")
    assert answer.text == f'{{"timestamp":"{NOW_TEXT}","actions":[],"count":0}}'


@pytest.mark.parametrize(("given", "kept"), [([], 100), (["--max-actions", "2"], 2)])
async def test_the_oldest_actions_go(given: list[str], kept: int) -> None:
    limit = parse(given, {}).max_actions
    async with serve(dataclasses.replace(free_settings(), max_actions=limit)) as running:
        for number in range(kept + 1):
            running.activity.record(KEY, action(f"app-{number}", 51))
        answer = await running.get(running.settings.activity_port, "/scaling-activity")
    actions = json.loads(answer.text)["actions"]
    assert [actions[0]["deployment"], actions[-1]["deployment"]] == [f"app-{kept}", "app-1"]
    assert len(actions) == kept


@pytest.mark.parametrize("wrong", ["0", "10001", "many"])
def test_a_limit_of_actions_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="--max-actions"):
        parse([], {"NATSSCALER_MAX_ACTIONS": wrong})


@pytest.mark.parametrize(("identity", "text"), [("pod-0_1f", '"pod-0_1f"'), (None, "null")])
async def test_with_leader_election_it_says_who_leads(
    running: Running, identity: str | None, text: str
) -> None:
    running.leader = Leader(identity=identity, is_self=False)
    answer = await running.get(running.settings.activity_port, "/scaling-activity")
    assert answer.text.endswith(f'"count":0,"leader":{{"identity":{text},"self":false}}}}')


async def test_health_is_the_contract(running: Running) -> None:
    answer = await running.get(running.settings.activity_port, "/health")
    assert answer.text == f'{{"status":"healthy","timestamp":"{NOW_TEXT}","service":"scaling-operator"}}'


async def test_probes_tell_what_is_wrong(running: Running) -> None:
    port = running.settings.probe_port
    for path in ("/healthz", "/readyz"):
        answer = await running.get(port, path)
        assert (answer.status, answer.text) == (200, "ok")
    running.health.wrong_live = ["The watch is stuck."]
    running.health.wrong_ready = ["No rules yet.", "No lease."]
    live, ready = await running.get(port, "/healthz"), await running.get(port, "/readyz")
    assert (live.status, live.text) == (503, "The watch is stuck.")
    assert (ready.status, ready.text) == (503, "No rules yet.\nNo lease.")


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        pytest.param("*/*", "text/plain; version=0.0.4;", "\n", id="anybody"),
        pytest.param("text/plain", "text/plain; version=0.0.4;", "\n", id="text"),
        pytest.param("text/plain;version=x, a/b;version", "text/plain; version=0.0.4;", "\n", id="nonsense"),
        pytest.param(
            PROMETHEUS_3, "application/openmetrics-text; version=1.0.0;", "\n# EOF\n", id="prometheus"
        ),
    ],
)
async def test_metrics_come_as_their_reader_prefers(
    running: Running, accept: str, content_type: str, end: str
) -> None:
    running.metrics.rules.set(3)
    for number in range(1000):
        running.metrics.follow(RuleKey("default", f"rule-{number}")).unable(None)
    answer = await running.get(running.settings.metrics_port, "/metrics", Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "\nnatsscaler_rules 3.0\n" in answer.text
    assert answer.text.count('rule="rule-') == 1000
    assert answer.text.endswith(end)
    assert answer.text.count("# EOF") == end.count("# EOF")
    plain = await running.get(
        running.settings.metrics_port, "/metrics", Accept=accept, **{"Accept-Encoding": "identity"}
    )
    assert (plain.text, plain.headers.get("Content-Encoding")) == (answer.text, None)


@pytest.mark.parametrize("path", ["/", "/timeline", "/servers", "/rules/default/orders"])
async def test_a_page_finds_its_files_and_has_nothing_inline(running: Running, path: str) -> None:
    port = running.settings.activity_port
    page = await running.get(port, path)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"<style|style=|\son\w+=|<script(?! src=)", page.text)
    links = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    assert not any(link.startswith(("/", "http")) for link in links), "a proxy may put a path in front"
    types = {}
    for link in links:
        answer = await running.get(port, urljoin(path, link))
        assert answer.status == 200, link
        types[link.rpartition(".")[2]] = answer.headers["Content-Type"]
    assert types["css"] == "text/css; charset=utf-8"
    assert types["js"] == "text/javascript; charset=utf-8"
    assert types["svg"] == "image/svg+xml"
    (script,) = (link for link in links if link.endswith(".js"))
    text = (await running.get(port, urljoin(path, script))).text
    assert all(f'id="{name}"' in page.text for name in re.findall(r'getElementById\("(\w+)"\)', text))
    for module in re.findall(r'(?:from |import\()"(.+?)"', text):
        imported = await running.get(port, urljoin(urljoin(path, script), module))
        assert imported.status == 200


def test_nothing_is_set_as_html_but_by_libraries() -> None:
    scripts = list(files("natsscaler.web").joinpath("assets").iterdir())
    texts = {script.name: script.read_text() for script in scripts if script.name.endswith(".js")}
    assert len(texts) > 5
    assert [
        name for name, text in texts.items() if re.search("inner.?html|outerhtml", text, re.IGNORECASE)
    ] == []


async def test_half_a_request_is_closed_and_a_stream_is_not(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.web.door.HEAD_SECONDS", 0.1)
    port = running.settings.activity_port
    half, half_writer = await asyncio.open_connection(HOST, port)
    half_writer.write(b"GET /health HTTP/1.1\r\nHost: here\r\nX-Slow: ")
    silent, silent_writer = await asyncio.open_connection(HOST, port)
    stream, stream_writer = await asyncio.open_connection(HOST, port)
    stream_writer.write(b"GET /api/events HTTP/1.1\r\nHost: here\r\n\r\n")
    async with asyncio.timeout(10):
        await stream.readuntil(b"\r\n\r\n")
        assert await half.read() == b""
        assert await silent.read() == b""
    assert (await running.get(running.settings.probe_port, "/healthz")).status == 200
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await stream.read()  # to its end
    for writer in (half_writer, silent_writer, stream_writer):
        writer.close()


async def test_every_answer_has_the_security_headers(running: Running) -> None:
    settings = running.settings
    asked = [(settings.activity_port, path) for path in ("/", "/timeline", "/health", "/none")]
    asked += [(settings.probe_port, "/readyz"), (settings.metrics_port, "/metrics")]
    running.health.wrong_ready = ["No."]
    for port, path in asked:
        answer = await running.get(port, path)
        assert HEADERS.items() <= answer.headers.items(), path
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none';")
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


async def test_paths_live_on_their_own_port_only(running: Running) -> None:
    settings = running.settings
    for port, path in ((settings.activity_port, "/metrics"), (settings.metrics_port, "/scaling-activity")):
        assert (await running.get(port, path)).status == 404


@pytest.mark.parametrize("off", [0, 1, 2])
async def test_port_0_is_off(off: int) -> None:
    free = free_settings()
    ports = [free.metrics_port, free.probe_port, free.activity_port]
    metrics, probe, activity = (0 if index == off else port for index, port in enumerate(ports))
    settings = Settings(host=HOST, metrics_port=metrics, probe_port=probe, activity_port=activity)
    async with serve(settings):
        assert [await is_open(port) for port in ports] == [index != off for index in range(3)]


async def test_all_ports_off_still_runs_until_cancelled() -> None:
    async with serve(Settings(metrics_port=0, probe_port=0, activity_port=0)):
        await asyncio.sleep(0.05)


async def test_ports_close_when_cancelled_despite_an_idle_client() -> None:
    settings = free_settings()
    async with aiohttp.ClientSession() as session, asyncio.timeout(5):
        async with serve(settings):
            response = await session.get(f"http://{HOST}:{settings.activity_port}/health")
            await response.read()
        assert not await is_open(settings.activity_port)


async def test_a_taken_port_is_an_error_and_closes_the_others() -> None:
    settings = free_settings()
    with socket.socket() as taken:
        taken.bind((HOST, settings.metrics_port))
        taken.listen()
        web = Web(settings, Activity(settings.max_actions), Metrics(), FakeHealth(), lambda: NOW)
        refused = rf"--metrics-port \[NATSSCALER_METRICS_PORT\]: .*:{settings.metrics_port}: .*in use"
        with pytest.raises(SettingsError, match=refused):
            await web.run()
        assert not await is_open(settings.activity_port)


@pytest.mark.ipv6
@pytest.mark.parametrize(
    ("bound", "reached", "refused"),
    [
        pytest.param("", ["127.0.0.1", "[::1]"], [], id="both families by default"),
        pytest.param("0.0.0.0", ["127.0.0.1"], ["[::1]"], id="IPv4 alone"),  # noqa: S104 - what is tried
        pytest.param("::1", ["[::1]"], ["127.0.0.1"], id="IPv6 alone"),
    ],
)
async def test_the_ports_are_open_to_the_families_of_the_cluster(
    bound: str, reached: list[str], refused: list[str]
) -> None:
    """In a cluster of IPv6 alone, the kubelet asks the probes by IPv6."""
    settings = dataclasses.replace(free_settings(), host=bound)
    async with serve(settings, reached=reached[0]) as running:
        for port in (settings.metrics_port, settings.probe_port, settings.activity_port):
            for host in reached:
                await running.get(port, "/", host=host)
            for host in refused:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await running.get(port, "/", host=host)


@pytest.mark.parametrize("switched_off", [False, True], ids=["no IPv6", "IPv6 switched off"])
async def test_without_ipv6_the_ports_are_open_to_ipv4(
    monkeypatch: pytest.MonkeyPatch, *, switched_off: bool
) -> None:
    create = socket.create_server

    def create_server(address: tuple[str, int], **options: Any) -> socket.socket:
        if options.get("family") == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no IPv6 here")
        return create(address, **options)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: switched_off)
    monkeypatch.setattr(socket, "create_server", create_server)
    async with serve(dataclasses.replace(free_settings(), host="")) as running:
        assert (await running.get(running.settings.probe_port, "/healthz")).status == 200


async def test_files_of_the_page_are_compressed_and_kept_until_they_change(running: Running) -> None:
    port = running.settings.activity_port
    page = await running.get(port, "/")
    assert page.headers["Cache-Control"] == "no-store"
    (style,) = re.findall(r'href="(assets/[0-9a-f]{12}/page.css)"', page.text)
    answer = await running.get(port, f"/{style}")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Cache-Control"] == "max-age=31536000, immutable"
    assert (await running.get(port, "/assets/000000000000/page.css")).status == 404
