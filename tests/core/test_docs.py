"""The pages for users name only what exists: reasons, fields, files, flags."""

import pathlib
import re

import pytest
import yaml

from natsscaler.errors import Reason
from natsscaler.rules import KIND, parse
from natsscaler.settings import Settings

ROOT = pathlib.Path(__file__).parents[2]
OTHER_FLAGS = {
    *("--namespace", "--help", "--keep-running"),
    *("--bursts", "--minutes", "--containers"),
    "--activity-token-file",
    *("--set", "--take-ownership", "--force-conflicts"),
}
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
    flags = OTHER_FLAGS | {f"--{name.replace('_', '-')}" for name in Settings.__dataclass_fields__}
    for line in page.read_text().splitlines():
        for flag in re.findall(r"`(--[a-z-]+)(?: [^`]*)?`", line):
            assert flag in flags, f"{page.name} names {flag}"


def test_troubleshooting_names_reasons_that_exist() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([A-Z][A-Za-z]+)`", cell)}
    assert len(named) > 20
    assert named <= set(Reason)


def test_every_test_that_reliability_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_contributing_names_every_module() -> None:
    modules = {path.stem for path in (ROOT / "natsscaler").iterdir() if path.suffix == ".py" or path.is_dir()}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = {name.rstrip("/") for name in re.findall(r"`([a-z]+/?)`", text)}
    assert {name for name in modules if not name.startswith("_")} - named == set()
