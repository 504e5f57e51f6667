"""The traces and plots of docs/simulate.md are what the script beside them makes."""

import importlib.util
import pathlib
from types import ModuleType

import pytest

from natsscaler.simulate.arrivals import read_csv

TRACES = pathlib.Path(__file__).parents[2] / "docs/traces"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", TRACES / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_trace_is_as_made_and_can_be_read(make: ModuleType) -> None:
    names = sorted(path.stem for path in TRACES.glob("*.csv"))
    assert names == sorted(make.TRACES)
    for name in names:
        text = (TRACES / f"{name}.csv").read_text()
        assert text == make.trace(name)
        assert read_csv(text.splitlines()).messages > 1000


def test_the_plot_of_the_first_example_shows_what_is_simulated_now(make: ModuleType) -> None:
    assert (TRACES.parent / "images/simulate-import.svg").read_text() == make.svg("import")
