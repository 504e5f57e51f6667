"""Write config/crd/bases/scaling.example.com_scalingrules.yaml; with --check, only compare."""

import sys
from pathlib import Path

import yaml

from natsscaler.crd import crd

FILE = Path(__file__).parent.parent / "config/crd/bases/scaling.example.com_scalingrules.yaml"


class NoAliases(yaml.SafeDumper):
    """Writes equal values out each time: anchors are legal in manifests, but nobody expects them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Return True for all data."""
        return True


def main() -> int:
    """Return 0 if the file is, or now is, what natsscaler/rules.py and natsscaler/status.py say."""
    header = "# Made by `make generate` from natsscaler/rules.py and natsscaler/status.py.\n"
    text = header + yaml.dump(crd(), Dumper=NoAliases, sort_keys=False, width=110, allow_unicode=True)
    if "--check" not in sys.argv:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text)
    elif not FILE.exists() or FILE.read_text() != text:
        print(f"{FILE.name} is out of date: run `make generate`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
