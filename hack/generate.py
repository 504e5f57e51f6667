"""Write what is made from other files; with --check, only compare.

The CRD comes from natsscaler/core/rule.py and natsscaler/core/status.py, and from the CRD the page of its
fields; the pages of reasons and of settings from natsscaler/core/reasons.py and natsscaler/settings.py; the
versions of the Helm chart and of the manifests' image from natsscaler/__init__.py; the description of the API
from natsscaler/web/openapi.py. A chart reads no files but its own, so it has copies of the CRD, of the alerts
and of the dashboard.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hack.plots import plots
from natsscaler import __version__
from natsscaler.core.crd import crd
from natsscaler.core.reasons import Reason, State, Topic
from natsscaler.core.selector import INT32_MAX
from natsscaler.settings import SETTINGS, Group, Setting
from natsscaler.web.openapi import openapi

ROOT = Path(__file__).parent.parent
CRD = ROOT / "config/crd/bases/scaling.example.com_scalingrules.yaml"
ALERTS = ROOT / "config/prometheus/prometheus_rule.yaml"
DASHBOARD = ROOT / "config/prometheus/dashboard.json"
MANAGER = ROOT / "config/manager/kustomization.yaml"
OPENAPI = ROOT / "natsscaler/web/openapi.json"
CHART = ROOT / "helm/scaling-operator"
REFERENCE = ROOT / "docs/rules.md"
REFERENCE_HEAD = """<!-- Made by `make generate` from the CRD. -->

# Fields of a ScalingRule

`kubectl explain scalingrule.spec` says the same. Fields in bold are required. A first rule, step by step:
[first-rule.md](first-rule.md). What a condition's reason means: [reasons.md](reasons.md).

Annotations that begin with `scaling.example.com/paused` pause a rule:
[policies.md](policies.md#peoples-switches).
"""


REASONS = ROOT / "docs/reasons.md"
REASONS_HEAD = """<!-- Made by `make generate` from natsscaler/core/reasons.py. -->

# Reasons

Every outcome has a reason: the same word stands in conditions, Events, metrics and logs, and on the page.
Each has a section here: #monitoringtimeout is that of `MonitoringTimeout`. `natsscaler explain` gives the
same advice with the names of your rule; here they are in upper case, and URL is `spec.natsMonitoringURL`.
Where to look first: [troubleshooting.md](troubleshooting.md).
"""
PLACES = {"name": "RULE", "target_namespace": "NAMESPACE", "target": "deployment DEPLOYMENT"}
PLACES |= {"resource": "deployments", "field": "spec.deploymentName"}
PLACES |= {name: name.upper() for name in ("namespace", "minimum", "url", "subject", "stream")}
PLACES["consumer"] = "NAME"
"""What stands for the names of a rule."""

SETTINGS_PAGE = ROOT / "docs/settings.md"
SETTINGS_HEAD = """<!-- Made by `make generate` from natsscaler/settings.py. -->

# Settings

The settings of `natsscaler run`. Each has a flag and an environment variable, and most have a value of the
[Helm chart](../helm/scaling-operator/values.yaml).

- A flag replaces its environment variable. An empty variable counts as not set.
- A repeatable flag takes several values, and so does its variable, with commas between them.
- A flag without a value turns on what is true or false: `--leader-elect` is `--leader-elect=true`.
- A wrong value ends the start with a message that names the flag and the variable. An unknown variable that
  begins with `NATSSCALER_` is logged as a warning.
- Manifests and chart use the environment only, so that `natsscaler explain` and `natsscaler check` in the pod
  see what the operator sees. How to set a variable: [install.md](install.md#settings).
"""


class NoAliases(yaml.SafeDumper):
    """Writes equal values out each time: anchors are legal in manifests, but nobody expects them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Return True for all data."""
        return True


def reference(root: dict[str, Any]) -> str:
    """Return the page of all fields."""
    parts = [REFERENCE_HEAD]
    for name in ("spec", "status"):
        schema = root["properties"][name]
        parts.append(f"\n## {name}\n\n| field | type | default | what |\n|---|---|---|---|\n")
        rows = [f"| {' | '.join(row)} |\n" for row in _rows(schema, "")]
        parts += rows if name == "spec" else [row.replace("**", "") for row in rows]
    return "".join(parts)


def _rows(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in schema["properties"].items():
        place, inner = f"{path}{name}", field.get("items", field)
        shown = f"**`{place}`**" if name in schema.get("required", []) else f"`{place}`"
        kind = f"list of {inner['type']}" if field["type"] == "array" else field["type"]
        if "enum" in inner:
            kind += ": " + ", ".join(f"`{value}`" for value in inner["enum"])
        bounds = [str(field[bound]) for bound in ("minimum", "maximum") if bound in field]
        if len(bounds) == 2 and bounds[1] != str(INT32_MAX):  # noqa: PLR2004 - both of them
            kind += f", {bounds[0]} to {bounds[1]}"
        elif bounds and field.get("minimum") is not None:
            kind += f", {bounds[0]} or more"
        nested = "properties" in inner
        default = "" if nested or "default" not in field else f"`{json.dumps(field['default'])}`"
        yield shown, kind, default, field.get("description", "").replace("|", "\\|")
        if nested:
            yield from _rows(inner, f"{place}[]." if field["type"] == "array" else f"{place}.")


def reasons() -> str:
    """Return the page of all reasons."""
    parts = [REASONS_HEAD]
    for topic in Topic:
        parts.append(f"\n## {topic}\n")
        parts += [_reason(reason) for reason in Reason if reason.about.topic is topic]
    return "".join(parts)


def _reason(reason: Reason) -> str:
    about = reason.about
    means = f"{about.headline[0].upper()}{about.headline[1:]}."
    passes = (
        f"It {'passes' if about.state is State.WAITING else 'may pass'} by itself." if about.passes else ""
    )
    told = [f"### {reason}", " ".join(filter(None, [means, about.more, passes]))]
    if about.fix:
        fix = about.fix.filled(**PLACES)
        told.append(f"What to do: {fix.text}{':' if fix.commands else '.'}")
        told.append("\n".join(f"    {command}" for command in fix.commands))
    return "\n" + "\n\n".join(filter(None, told)) + "\n"


def settings() -> str:
    """Return the page of all settings."""
    parts = [SETTINGS_HEAD]
    for group in Group:
        parts.append(f"\n## {group}\n\n| flag, variable, chart | default | what it does |\n|---|---|---|\n")
        parts += [_setting(setting) for setting in SETTINGS.values() if setting.group is group]
    return "".join(parts)


def _setting(setting: Setting) -> str:
    value = setting.kind.placeholder.replace("|", "\\|")
    names = [f"`{setting.flag} {value}`", f"`{setting.variable}`"]
    names += [f"`{setting.chart}`"] if setting.chart else []
    default = f"`{setting.default}`" if setting.default else setting.unset
    values = f" Values: {setting.kind.values}." if setting.kind.values else ""
    repeatable = " Repeatable." if setting.kind.repeatable else ""
    return f"| {'<br>'.join(names)} | {default} | {setting.does}{values}{repeatable} |\n"


def generated() -> dict[Path, str]:
    """Return what each file must be."""
    header = "# Made by `make generate` from natsscaler/core/rule.py and natsscaler/core/status.py.\n"
    definition = crd()
    made = header + yaml.dump(definition, Dumper=NoAliases, sort_keys=False, width=110, allow_unicode=True)
    about = CHART / "Chart.yaml"
    versions = re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {__version__}", about.read_text())
    manager = re.sub(r"(?m)^( *newTag): .*$", rf"\1: {__version__}", MANAGER.read_text())
    copy = f"# A copy of {ALERTS.relative_to(ROOT)}, by `make generate`.\n{ALERTS.read_text()}"
    files = CHART / "files"
    return {
        CRD: made,
        files / CRD.name: made,
        files / ALERTS.name: copy,
        files / DASHBOARD.name: DASHBOARD.read_text(),
        about: versions,
        MANAGER: manager,
        REFERENCE: reference(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]),
        REASONS: reasons(),
        **plots(),
        SETTINGS_PAGE: settings(),
        OPENAPI: json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n",
    }


def main() -> int:
    """Return 0 if all files are, or now are, what they must be."""
    status = 0
    for file, text in generated().items():
        if "--check" not in sys.argv:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            print(f"{file.relative_to(ROOT)} is out of date: run `make generate`")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
