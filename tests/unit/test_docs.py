"""The pages for users name only what exists: reasons, fields, files, flags."""

import pathlib
import pkgutil
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from natsscaler.commands.options import Options
from natsscaler.commands.simulating_arguments import simulate_parser
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.rates import Work, Workers
from natsscaler.core.decision.situation import Memory
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import KIND, RuleKey, parse
from natsscaler.observe.metrics import Metrics
from natsscaler.settings import SETTINGS
from tests.support import factories
from tests.support.working import Queue

ROOT = pathlib.Path(__file__).parents[2]
OTHER_FLAGS = {
    *("--help", "--keep-running"),
    *("--bursts", "--minutes", "--containers"),
    *("--set", "--take-ownership", "--force-conflicts"),
}
SIMULATING = set(re.findall(r"--[a-z-]+", simulate_parser("").format_help()))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_sections(page: pathlib.Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        assert anchor in sections(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"


def sections(page: pathlib.Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_alert_has_its_section() -> None:
    rules = yaml.safe_load((ROOT / "config/prometheus/prometheus_rule.yaml").read_text())
    alerts = {alert["alert"]: alert for group in rules["spec"]["groups"] for alert in group["rules"]}
    for name, alert in alerts.items():
        page, anchor = alert["annotations"]["runbook"].split("#")
        assert anchor == name.lower()
        assert anchor in sections(ROOT / page)
    described = re.findall(r"^### (Scaling\w+)$", (ROOT / "docs/observability.md").read_text(), re.MULTILINE)
    assert described == list(alerts)


def test_the_table_of_metrics_is_what_a_process_tells() -> None:
    metrics, key = Metrics(), RuleKey("shop", "orders")
    metrics.failed("read", Reason.MONITORING_TIMEOUT)
    rule, queue, work = factories.rule(), Queue(), Work()
    for _ in range(2):
        queue.at += 60
        queue.publish(60)
        queue.work(10)
        work = work.observed(queue.backlog, Workers(1, ""))
    seen = factories.seen(queue.backlog, 1)
    series = metrics.follow(key)
    series.evaluated(
        rule, seen, decide(rule, seen, Memory(work=work), 0.0), Finding(Reason.LISTENING, "listening"), 0.0
    )
    series.unable(None)
    told = {
        (family.name + "_total" * (family.type == "counter"), family.type, *family.samples[0].labels)
        for family in text_string_to_metric_families(metrics.write(openmetrics=False)[0].decode())
    }
    rows = re.findall(
        r"^\| `((?:natsscaler|process)_\w+)` \| (\w+) \| ([^|]*)\|",
        (ROOT / "docs/observability.md").read_text(),
        re.MULTILINE,
    )
    documented = {
        (name, kind, *(label for label in labels.strip().split(", ") if label)) for name, kind, labels in rows
    }
    without_buckets = {tuple(part for part in row if part != "le") for row in told}
    assert documented == without_buckets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_exist(page: pathlib.Path) -> None:
    families = re.findall(r"# TYPE (\w+) ", Metrics().write(openmetrics=False)[0].decode())
    parts = {f"{name}{suffix}" for name in families for suffix in ("", "_bucket", "_sum", "_count")}
    assert set(re.findall(r"\bnatsscaler_[a-z_]+", page.read_text())) <= parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_rules_can_be_pasted(page: pathlib.Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        for document in yaml.safe_load_all(block):
            if document.get("kind") == KIND:
                document["metadata"] |= {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
                document["metadata"].setdefault("namespace", "default")
                assert parse(document).spec.subject


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_exist(page: pathlib.Path) -> None:
    options = {f"--{name.replace('_', '-')}" for name in Options.__dataclass_fields__}
    flags = OTHER_FLAGS | options | SIMULATING | {setting.flag for setting in SETTINGS.values()}
    for line in page.read_text().splitlines():
        for flag in re.findall(r"`(--[a-z-]+)(?: [^`]*)?`", line):
            assert flag in flags, f"{page.name} names {flag}"


def test_every_reason_has_its_section() -> None:
    assert {reason.lower() for reason in Reason} <= sections(ROOT / "docs/reasons.md")


def test_troubleshooting_names_reasons_that_exist() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    other = {"Ready", "AbleToScale", "ScalingActive", "ScalingLimited", "EventDriven", "False", "True"}
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", text)) - other
    assert len(named) > 5
    assert named <= set(Reason)


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in tests] == []


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PACKAGES = {path.parent.relative_to(ROOT) for path in (ROOT / "natsscaler").glob("*/**/__init__.py")}
NAMES = set(re.findall(r"`([a-z]+(?:\.\w+)+)`", ARCHITECTURE)) - {"pyproject.toml"}
OWN_FOLDERS = r"`((?:natsscaler|tests|docs|config|hack|helm|examples)/[\w./-]+)`"


def test_the_architecture_names_every_package() -> None:
    assert len(NAMES) > 50
    rows = set(re.findall(r"^\| `(natsscaler/[\w/]+)` \|", ARCHITECTURE, re.MULTILINE))
    assert rows == {str(package) for package in PACKAGES}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_the_architecture_names_exists(name: str) -> None:
    assert pkgutil.resolve_name(f"natsscaler.{name}")


def test_the_index_has_every_decision() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"^\| \[\d+\]\((.+?)\) \|", (folder / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_paths_exist(page: pathlib.Path) -> None:
    text = page.read_text()
    for path in re.findall(OWN_FOLDERS, text):
        assert "Superseded by" in text or (ROOT / path).exists(), f"{page.name} names {path}"
