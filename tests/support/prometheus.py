"""Debian's Prometheus as a process, which scrapes operators and evaluates the alert rules."""

import asyncio
import json
import pathlib
import re
import time
from typing import Any, NamedTuple, Self

import httpx
import yaml

from natsscaler.demo.ports import free_port

CONFIG = pathlib.Path(__file__).parents[2] / "config/prometheus"
RULE_FILE = CONFIG / "prometheus_rule.yaml"
SECONDS = 30.0
"""How long a condition is waited for; only a failing test waits as long."""
MACROS = {"$__rate_interval": "1m", "$namespace": ".*", "$rule": ".*"}
"""What Grafana would put in, for an operator that has just been started."""

Sample = dict[str, str]
"""The labels of a series that a query has found."""


def alert_rules() -> list[dict[str, Any]]:
    """Give the alerting rules of the PrometheusRule."""
    groups = yaml.safe_load(RULE_FILE.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Query(NamedTuple):
    """What a panel or a variable of the dashboard asks for."""

    name: str
    expression: str
    labels: set[str]
    """Those that its legend or the variable shows."""


def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((CONFIG / "dashboard.json").read_text())
    return made


def dashboard_queries() -> list[Query]:
    """Give the queries of the dashboard, as Grafana would ask them."""
    found = [
        Query(f"{panel['title']} {target['refId']}", target["expr"], _shown(target["legendFormat"]))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]
    for variable in dashboard()["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
        if asked:
            expression = f"count by ({asked[2]}) ({asked[1]})"
            found.append(Query(f"variable {variable['name']}", expression, {asked[2]}))
    for macro, value in MACROS.items():
        found = [query._replace(expression=query.expression.replace(macro, value)) for query in found]
    return found


def _shown(legend: str) -> set[str]:
    return set(re.findall(r"{{(\w+)}}", legend))


class Prometheus:
    """One Prometheus; `targets` are ports of operators on 127.0.0.1, by the name of their pod."""

    def __init__(self, directory: pathlib.Path, targets: dict[str, int]) -> None:
        self._directory = directory
        self._targets = targets
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start it and wait until it answers; its first scrape comes 5 s later."""
        groups = yaml.safe_load(RULE_FILE.read_text())["spec"]
        (self._directory / "rules.yaml").write_text(yaml.safe_dump(groups))
        scrape = {
            "job_name": "scaling-operator",
            "honor_labels": True,
            "static_configs": [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "scaling-system", "pod": pod}}
                for pod, port in self._targets.items()
            ],
        }
        intervals = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
        settings = {"global": intervals, "rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
        file = self._directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump(settings))
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={self._directory / 'tsdb'}"),
                f"--web.listen-address={self._url.removeprefix('http://')}",
                stderr=log,
            )
        deadline = time.monotonic() + SECONDS
        while not await self._ready():
            assert self._process.returncode is None, (self._directory / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "Prometheus does not become ready"
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def query(self, expression: str) -> list[tuple[Sample, float]]:
        """Evaluate an expression now. Raises AssertionError if Prometheus cannot."""
        answer = await self._get("/api/v1/query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer}"
        return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]

    async def alerts(self) -> dict[str, tuple[str, str]]:
        """Give health and state of every alerting rule by its name."""
        answer = await self._get("/api/v1/rules")
        return {
            rule["name"]: (rule["health"], rule["state"])
            for group in answer["data"]["groups"]
            for rule in group["rules"]
        }

    async def scrape_errors(self) -> list[str]:
        """Give what went wrong in the last scrape of each target."""
        answer = await self._get("/api/v1/targets")
        return [target["lastError"] for target in answer["data"]["activeTargets"] if target["lastError"]]

    async def _ready(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self._url}/-/ready")).is_success
        except httpx.HTTPError:
            return False

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(f"{self._url}{path}", params=query)
        assert response.headers["Content-Type"] == "application/json", response.text
        answer: dict[str, Any] = response.json()
        return answer
