"""Manifests with ScaledObjects, and what `natsscaler convert` makes of each."""

from pathlib import Path

from natsscaler.core.keda.manifests import convert_manifests

FOLDER = Path(__file__).parent
INPUTS = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_converted"))
NAMESPACE = "staging"
"""Of objects that name none."""


def expected(name: str) -> Path:
    """Give the file with what a manifest becomes."""
    return FOLDER / f"{name}_converted.yaml"


def converted(name: str) -> str:
    """Convert a manifest."""
    made = convert_manifests({f"{name}.yaml": (FOLDER / f"{name}.yaml").read_text()}, NAMESPACE)
    assert made.errors == []
    return made.text
