"""`natsscaler simulate` and `record`, as a person or a pull request's check runs them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml

from natsscaler.core.status import RuleStatus
from tests.support.activity import NOW, facts
from tests.support.activity import RULE as SHOWN
from tests.support.factories import seen
from tests.support.serving import HOST, free_settings, serve

ROOT = Path(__file__).parents[2]
RULE = ROOT / "config/samples/scaling_v1_scalingrule.yaml"
USUAL = ("--pattern", "burst", "--replica-rate", "10")
START = 1_767_225_600


def natsscaler(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "natsscaler", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done


def result(*arguments: object) -> Any:
    return json.loads(natsscaler("simulate", *arguments, "--output", "json").stdout)


def test_a_table_a_chart_and_the_steps_with_their_reasons() -> None:
    told = natsscaler("simulate", RULE, *USUAL).stdout
    assert "wait, p99 (s)" in told
    assert "backlog, up to" in told
    assert "1 → 2  Backlog" in told
    assert "What a simulation cannot know" in told


def test_rules_and_keda_side_by_side(tmp_path: Path) -> None:
    changed = yaml.safe_load(RULE.read_text())
    changed["spec"]["messagesPerReplica"] = 20
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(changed))
    scaled = tmp_path / "scaled.yaml"
    trigger = {"type": "nats-jetstream", "metadata": {"lagThreshold": "20"}}
    spec = {"triggers": [trigger]}
    scaled.write_text(yaml.safe_dump({"kind": "ScaledObject", "metadata": {"name": "s"}, "spec": spec}))
    found = result(RULE, *USUAL, "--compare", other, "--compare", "keda", "--compare", scaled)
    names = [one["name"] for one in found["results"]]
    assert names[1:] == [str(other), "keda", "keda s"]
    waits = [one["figures"]["p99_wait_seconds"] for one in found["results"]]
    assert waits[1] < waits[0]
    assert len({one["figures"]["messages"] for one in found["results"]}) == 1


def test_a_check_fails_and_names_the_figure() -> None:
    done = natsscaler("simulate", RULE, *USUAL, "--fail-if", "p99_wait_seconds > 1", status=1)
    assert "p99_wait_seconds is " in done.stderr
    assert natsscaler("simulate", RULE, *USUAL, "--fail-if", "p99_wait_seconds > 1000").stderr == ""
    assert (
        "figures are messages"
        in natsscaler("simulate", RULE, *USUAL, "--fail-if", "p98 > 1", status=2).stderr
    )


def test_the_page_needs_nothing_else_and_a_name_cannot_end_its_script(tmp_path: Path) -> None:
    other = tmp_path / "<script>.yaml"
    other.write_text(RULE.read_text())
    page = tmp_path / "page.html"
    natsscaler("simulate", RULE, *USUAL, "--compare", other, "--html", page)
    text = page.read_text()
    assert text.count("<script>") == text.count("</script>") == 1
    assert "//" not in text.replace("http://www.w3.org", "")
    assert '"p99_wait_seconds"' in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.yaml", *USUAL), "nowhere.yaml cannot be read"),
        ((RULE, "--pattern", "burst"), "--replica-rate is needed"),
        ((RULE, "--trace", "nowhere.csv", "--replica-rate", "1"), "--trace nowhere.csv cannot be read"),
        ((RULE, *USUAL, "--range", "soon"), "is no duration"),
        ((RULE, "--pattern", "burst", "--replica-rate", "0"), "more than 0"),
        ((RULE,), "one of the arguments"),
    ],
)
def test_mistakes_are_told(arguments: tuple[object, ...], said: str) -> None:
    assert said in natsscaler("simulate", *arguments, status=2).stderr


class Answers(BaseHTTPRequestHandler):
    """The page's API and Prometheus, as far as they are asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps(self._prometheus() if "query_range" in self.path else self._operator()).encode()
        self.send_response(200 if "missing" not in self.path else 404)
        self.end_headers()
        self.wfile.write(body)

    def _operator(self) -> Any:
        history = [[START, 0, 1], [START + 60, 900, 1], [START + 120, 0, 2]]
        rates = {"processingPerReadyReplica": 10.0}
        return {"timestamp": "2026-01-01T00:10:00Z", "rule": {"rates": rates, "history": history}}

    def _prometheus(self) -> Any:
        values = {"backlog": 0, "replicas": 1, "arriving": 30, "replica_processed": 10}
        value = next(value for name, value in values.items() if f"natsscaler_{name}" in self.path)
        samples = [[START + 15 * index, str(value)] for index in range(40)]
        return {"data": {"result": [{"values": samples}]}}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, name="answers", daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_past_of_a_rule_on_the_page(answering: str, tmp_path: Path) -> None:
    found = result(RULE, "--from-operator", answering, "--rule", "shop/orders", "--range", "24h")
    assert Answers.asked[-1] == "/api/rules/shop/orders"
    assert found["replica_rate"] == 10.0
    assert found["start"] == START
    assert found["seconds"] == 600 + 480
    recording = tmp_path / "recording.json"
    recording.write_text(natsscaler("record", "shop/orders", "--from-operator", answering).stdout)
    assert json.loads(recording.read_text())["format"] == "natsscaler-recording"
    again = result(RULE, "--trace", recording)
    assert again["results"] == found["results"]


async def test_the_past_of_a_rule_as_the_page_gives_it() -> None:
    async with serve(free_settings()) as running:
        running.activity.learn(SHOWN.key, SHOWN, RuleStatus())
        for after, backlog in ((60, 900), (30, 40), (0, 0)):
            running.activity.evaluated(facts(seen(backlog, 3), now=NOW - after), RuleStatus(), {})
        page = f"http://{HOST}:{running.settings.activity_port}"
        asked = (RULE, "--from-operator", page, "--rule", SHOWN.key, "--replica-rate", "10")
        found = await asyncio.to_thread(result, *asked)
    assert found["start"] == NOW - 60
    assert found["results"][0]["figures"]["messages"] == 40, "of 900 as many were worked off"


def test_the_past_of_a_rule_in_prometheus(answering: str) -> None:
    found = result(RULE, "--from-prometheus", answering, "--rule", "shop/orders", "--range", "24h")
    assert "rule%3D%22orders%22" in Answers.asked[-1]
    assert found["results"][0]["figures"]["messages"] == 30 * 15 * 39


def test_who_does_not_answer_is_named(answering: str) -> None:
    done = natsscaler("simulate", RULE, "--from-operator", answering, "--rule", "shop/missing", status=2)
    assert "answered 404" in done.stderr
    done = natsscaler("record", "shop/orders", "--from-operator", "http://127.0.0.1:1", status=2)
    assert "http://127.0.0.1:1/api/rules/shop/orders gives no answer" in done.stderr
