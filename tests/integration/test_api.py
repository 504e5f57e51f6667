"""The API of the activity port: what it says, live too, is what its description promises."""

import asyncio
import copy
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import RuleKey
from natsscaler.core.status import Condition, RuleStatus, rfc3339
from natsscaler.core.waking import WakeSource
from natsscaler.web.api import Leader
from natsscaler.web.sse import MOST_READERS
from tests.support.activity import NOW, RULE, action, facts, named
from tests.support.factories import UNKNOWN, seen
from tests.support.serving import HOST, NOW_TEXT, Reader, Running, free_settings, serve

DESCRIPTION: dict[str, Any] = json.loads(files("natsscaler.web").joinpath("openapi.json").read_text())


@asynccontextmanager
async def reading(running: Running, path: str, last: str = "") -> AsyncIterator[Reader]:
    headers = {"Last-Event-ID": last} if last else {}
    url = f"http://{HOST}:{running.settings.activity_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        yield Reader(response)


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("natsscaler.web.sse.BEAT_SECONDS", 0.1)
    async with serve(free_settings()) as running:
        running.activity.learn(RULE.key, RULE, RuleStatus())
        yield running


async def get(running: Running, path: str) -> Any:
    answer = await running.get(running.settings.activity_port, path)
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.text)


def evaluate(running: Running, count: int, replicas: int = 3, time: float = NOW) -> None:
    found = facts(seen(count, replicas), now=time)
    running.activity.evaluated(found, RuleStatus(), {WakeSource.RULE: NOW - 60, WakeSource.DOORBELL: time})


async def test_a_row_says_how_a_rule_is(running: Running) -> None:
    evaluate(running, 801)
    running.activity.record(RULE.key, action(3))
    answer = await get(running, "/api/rules")
    assert (answer["timestamp"], answer["count"], answer["leader"]) == (NOW_TEXT, 1, None)
    row = answer["rules"][0]
    assert (row["replicas"], row["minReplicas"], row["maxReplicas"], row["desired"]) == (3, 1, 10, 4)
    assert (row["backlog"], row["scaleDownThreshold"], row["scaleUpThreshold"]) == (801, 10, 50)
    assert row["deployment"] == {"kind": "Deployment", "namespace": "default", "name": "my-app"}
    assert row["state"] == {
        "state": "ok",
        "title": "Scaling up",
        "text": "Backlog 801 is above scaleUpThreshold 50",
        "fix": None,
    }
    assert row["events"]["listening"]
    assert row["problems"] == []
    assert row["lastAction"]["toReplicas"] == 4


async def test_a_rule_is_told_with_its_steps_its_past_and_what_woke_it(running: Running) -> None:
    evaluate(running, 7, time=NOW - 60)
    evaluate(running, 801)
    rule = (await get(running, "/api/rules/default/orders"))["rule"]
    assert rule["summary"] == (await get(running, "/api/rules"))["rules"][0]
    assert rule["history"] == [[NOW - 60, 7, 3, None], [NOW, 801, 3, None]]
    assert [wake["source"] for wake in rule["wakeUps"]] == ["doorbell", "rule"]
    assert [rule["steps"][0]["title"], rule["steps"][-1]["title"]] == ["Rule", "Outcome"]
    assert rule["evaluatedAt"] == rfc3339(NOW)
    assert {one["type"] for one in rule["conditions"]} > {"Ready", "AbleToScale", "ScalingActive"}
    assert not any(one["bad"] for one in rule["conditions"])


@pytest.mark.parametrize(
    ("found", "state", "title"),
    [
        (facts(seen(UNKNOWN, 3)), "blocked", "Not scaling: NATS does not answer"),
        (facts(seen(801, 10)), "attention", "At maxReplicas: the backlog asks for more"),
        (facts(seen(7, 0)), "attention", "Not scaling: switched off, the Deployment has 0 replicas"),
        (facts(seen(20, 3)), "ok", "Steady: the backlog asks for no change"),
        (facts(seen(7, 3), rule=named("orders", dryRun=True)), "attention", "Not scaling: dry run only"),
        (
            facts(
                seen(7, 3),
                unable=Finding(Reason.TARGET_NOT_FOUND, "Deployment default/my-app does not exist"),
            ),
            "blocked",
            "Not scaling: no such Deployment",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_state_names_what_keeps_a_rule_from_scaling(
    running: Running, found: Any, state: str, title: str
) -> None:
    running.activity.evaluated(found, RuleStatus(), {WakeSource.DEADLINE: NOW})
    row = (await get(running, "/api/rules"))["rules"][0]
    assert (row["state"]["state"], row["state"]["title"]) == (state, title)


async def test_a_follower_retells_what_the_leader_has_written(running: Running) -> None:
    bad = Condition(
        type="EventDriven",
        status="False",
        reason="NotConnected",
        message="nats:4222 cannot be reached",
        last_transition_time=NOW_TEXT,
    )
    evaluate(running, 801)
    leaders = running.activity.rules[0].status
    conditions = (*(one for one in leaders.conditions if one.type != "EventDriven"), bad)
    follower = RuleStatus(
        current_replicas=3, pending_messages=801, last_decision=leaders.last_decision, conditions=conditions
    )
    running.activity.learn(RULE.key, RULE, follower)
    running.leader = Leader(identity="other", is_self=False)
    answer = await get(running, "/api/rules/default/orders")
    assert answer["leader"] == {"identity": "other", "self": False}
    steps = {step["title"]: step for step in answer["rule"]["steps"]}
    assert list(steps) == ["EventDriven", "Next change", "Outcome"]
    assert steps["Outcome"]["text"] == "Backlog 801 is above scaleUpThreshold 50"
    assert "4222" in steps["EventDriven"]["fix"]["text"]


async def test_a_rule_that_cannot_be_used_says_why_and_how_to_fix_it(running: Running) -> None:
    ready = Condition(
        type="Ready",
        status="False",
        reason="InvalidRule",
        message="spec.subject: empty",
        last_transition_time=NOW_TEXT,
    )
    running.activity.learn(RULE.key, None, RuleStatus(conditions=(ready,)))
    rule = (await get(running, "/api/rules/default/orders"))["rule"]
    assert rule["summary"]["state"]["title"] == "Not scaling: the rule is invalid"
    assert "spec.subject: empty" in rule["steps"][0]["text"]
    assert rule["steps"][0]["fix"]["commands"] == ["kubectl edit scalingrule orders -n default"]
    assert rule["summary"]["deployment"] is None


async def test_no_such_rule_is_404(running: Running) -> None:
    answer = await running.get(running.settings.activity_port, "/api/rules/default/none")
    assert answer.status == 404
    assert json.loads(answer.text) == {"error": "There is no ScalingRule default/none"}


async def test_the_stream_begins_with_everything_and_goes_on_with_changes(running: Running) -> None:
    other = named("other")
    running.activity.record(RULE.key, action(1))
    async with reading(running, "/api/events") as reader:
        first = await reader.update()
        assert first["everything"]
        assert [row["name"] for row in first["rules"]] == ["orders"]
        assert [one["fromReplicas"] for one in first["actions"]] == [1]
        running.activity.learn(other.key, other, RuleStatus())
        running.activity.record(RULE.key, action(2))
        second = await reader.update()
        assert not second["everything"]
        assert {row["name"] for row in second["rules"]} == {"orders", "other"}
        assert [one["fromReplicas"] for one in second["actions"]] == [2]
        running.activity.forget(other.key)
        assert (await reader.update())["gone"] == [{"namespace": "default", "name": "other"}]


async def test_a_reader_that_comes_back_is_given_what_it_missed_and_nothing_twice(running: Running) -> None:
    running.activity.record(RULE.key, action(1))
    async with reading(running, "/api/events") as reader:
        await reader.update()
    running.activity.record(RULE.key, action(2))
    async with reading(running, "/api/events", reader.last) as again:
        missed = await again.update()
    assert not missed["everything"]
    assert [one["fromReplicas"] for one in missed["actions"]] == [2]
    async with reading(running, "/api/events", again.last) as up_to_date:
        assert (await up_to_date.next()).name == "beat"


@pytest.mark.parametrize(
    "last", ["0123456789ab-1-0", "0123456789ab-99-0", "nonsense", "-", "0123456789ab-x-y"]
)
async def test_a_reader_of_another_process_is_told_everything(running: Running, last: str) -> None:
    async with reading(running, "/api/events", last) as reader:
        assert (await reader.update())["everything"]


async def test_one_rule_is_streamed_with_the_history_that_is_new(running: Running) -> None:
    evaluate(running, 7, time=NOW - 60)
    path = "/api/rules/default/orders/events"
    async with reading(running, path) as reader:
        first = (await reader.update())["rule"]
        assert (first["history"], first["historyFrom"]) == ([[NOW - 60, 7, 3, None]], 0)
        evaluate(running, 801)
        second = (await reader.update())["rule"]
    assert second["history"] == [[NOW - 60, 7, 3, None], [NOW, 801, 3, None]]
    assert second["historyFrom"] == NOW - 60
    evaluate(running, 802, time=NOW + 60)
    async with reading(running, path, reader.last) as again:
        third = (await again.update())["rule"]
    assert third["history"] == [[NOW, 801, 3, None], [NOW + 60, 802, 3, None]]
    assert third["historyFrom"] == NOW


async def test_a_rule_that_comes_and_goes_is_followed(running: Running) -> None:
    key = RuleKey("default", "later")
    async with reading(running, "/api/rules/default/later/events") as reader:
        assert (await reader.update())["rule"] is None
        running.activity.learn(key, named("later"), RuleStatus())
        assert (await reader.update())["rule"]["summary"]["name"] == "later"
        running.activity.forget(key)
        assert (await reader.update())["rule"] is None


async def test_silence_is_broken_by_beats_that_say_who_leads(running: Running) -> None:
    async with reading(running, "/api/events") as reader:
        await reader.update()
        running.leader = Leader(identity="other", is_self=False)
        beat = await reader.next()
    assert beat.name == "beat"
    assert beat.data["leader"]["identity"] == "other"


async def test_a_reader_that_takes_nothing_holds_nobody_up_and_gets_the_latest(running: Running) -> None:
    many = [named(f"rule-{number}") for number in range(300)]
    for rule in many:
        running.activity.learn(rule.key, rule, RuleStatus())
    async with reading(running, "/api/events") as slow, reading(running, "/api/events") as quick:
        await slow.next()
        for count in range(5):
            for rule in many:
                found = facts(seen(count, 3), rule=rule)
                running.activity.evaluated(found, RuleStatus(), {WakeSource.DEADLINE: NOW})
            await quick.update()
        rows: dict[str, int] = {}
        while rows.get("rule-299") != 4:
            rows |= {row["name"]: row["backlog"] for row in (await slow.update())["rules"]}
    assert {count for name, count in rows.items() if name != RULE.key.name} == {4}


async def test_readers_are_limited_in_number(running: Running) -> None:
    url = f"http://{HOST}:{running.settings.activity_port}/api/events"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        readers = [await session.get(url) for _ in range(MOST_READERS)]
        async with session.get(url) as refused:
            assert refused.status == 503
        assert {reader.status for reader in readers} == {200}
        for reader in readers:
            reader.close()


async def test_an_exit_does_not_wait_for_readers() -> None:
    settings = free_settings()
    async with aiohttp.ClientSession() as session:
        async with serve(settings):
            response = await session.get(f"http://{HOST}:{settings.activity_port}/api/events")
            await Reader(response).update()
        async with asyncio.timeout(5), response:
            with pytest.raises((aiohttp.ClientError, EOFError)):
                await Reader(response).end()


def strict(schema: Any) -> Any:
    """Let no object have fields that are not described."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if schema.get("type") == "object":
            schema["additionalProperties"] = False
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def conforms(answer: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": copy.deepcopy(STRICT["components"])}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer)


STRICT = strict(DESCRIPTION)


def test_the_description_is_valid_openapi() -> None:
    validate(DESCRIPTION)


async def test_every_answer_is_as_described(running: Running) -> None:
    evaluate(running, 801)
    running.activity.record(RULE.key, action(3))
    broken = named("broken")
    running.activity.learn(broken.key, None, RuleStatus())
    lost = named("lost")
    running.activity.learn(lost.key, lost, RuleStatus())
    running.activity.evaluated(facts(seen(UNKNOWN, 3), rule=lost), RuleStatus(), {WakeSource.DEADLINE: NOW})
    assert await get(running, "/api/openapi.json") == DESCRIPTION
    asked = 0
    for leader in (None, Leader(identity="other", is_self=False)):
        running.leader = leader
        for path, described in DESCRIPTION["paths"].items():
            content = described["get"]["responses"]["200"]["content"]
            for name in ("orders", "broken", "lost") if "{name}" in path else ("",):
                real = path.format(namespace="default", name=name)
                if "application/json" in content:
                    conforms(await get(running, real), content["application/json"]["schema"])
                else:
                    async with reading(running, real) as reader:
                        conforms(await reader.update(), content["text/event-stream"]["schema"])
                        conforms((await reader.next()).data, content["text/event-stream"]["schema"])
                asked += 1
    assert asked == 20


async def test_a_thousand_rules_are_sent_in_60_kb_and_each_event_at_once(running: Running) -> None:
    for number in range(1000):
        made = named(f"rule-{number:04}")
        running.activity.learn(made.key, made, RuleStatus())
        found = facts(seen(number * 37, 3), rule=made, now=NOW)
        running.activity.evaluated(found, RuleStatus(), {WakeSource.RULE: NOW})
    url = f"http://{HOST}:{running.settings.activity_port}"
    squeezed = {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(f"{url}/api/rules", headers=squeezed) as answer:
            assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
            body = await answer.read()
            assert len(body) <= 60_000
            assert json.loads(gzip.decompress(body))["count"] == 1001
        async with session.get(f"{url}/api/events", headers=squeezed) as stream, asyncio.timeout(20):
            assert stream.headers["Content-Encoding"] == "gzip"
            reading, sent, text = zlib.decompressobj(wbits=31), 0, b""
            while b"event: beat" not in text:
                chunk = await stream.content.readany()
                sent, text = sent + len(chunk), text + reading.decompress(chunk)
            assert sent <= 60_000
    assert b'"rule-0999"' in text


async def test_who_takes_no_compression_gets_none(running: Running) -> None:
    for path in ("/", "/api/rules"):
        answer = await running.get(running.settings.activity_port, path, **{"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in answer.headers, path
