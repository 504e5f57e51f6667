"""Write what is made from other files; with --check, only compare.

The CRD comes from natsscaler/rules.py and natsscaler/status.py, the versions of the Helm chart and of the
manifests' image from natsscaler/__init__.py, the description of the API from natsscaler/web/openapi.py. A
chart reads no files but its own, so it has copies of the CRD, of the alerts and of the dashboard.
"""

import json
import re
import sys
from pathlib import Path

import yaml

from natsscaler import __version__
from natsscaler.crd import crd
from natsscaler.web.openapi import openapi

ROOT = Path(__file__).parent.parent
CRD = ROOT / "config/crd/bases/scaling.example.com_scalingrules.yaml"
ALERTS = ROOT / "config/prometheus/prometheus_rule.yaml"
DASHBOARD = ROOT / "config/prometheus/dashboard.json"
MANAGER = ROOT / "config/manager/kustomization.yaml"
OPENAPI = ROOT / "natsscaler/web/openapi.json"
CHART = ROOT / "helm/scaling-operator"


class NoAliases(yaml.SafeDumper):
    """Writes equal values out each time: anchors are legal in manifests, but nobody expects them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Return True for all data."""
        return True


def generated() -> dict[Path, str]:
    """Return what each file must be."""
    header = "# Made by `make generate` from natsscaler/rules.py and natsscaler/status.py.\n"
    made = header + yaml.dump(crd(), Dumper=NoAliases, sort_keys=False, width=110, allow_unicode=True)
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
