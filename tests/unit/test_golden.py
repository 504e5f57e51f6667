"""Each of some hundred situations is decided, and told, as it was before."""

import pytest
import yaml

from tests.unit.golden.writing import FOLDER, files

MADE = files()


@pytest.mark.parametrize("name", sorted(MADE))
def test_decisions_are_those_that_are_written_down(name: str) -> None:
    before = yaml.safe_load((FOLDER / name).read_text())
    assert yaml.safe_load(MADE[name]) == before, "if this is meant: python -m tests.unit.golden"


def test_nothing_is_written_down_that_is_not_made() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(MADE)


def test_there_are_enough_situations() -> None:
    decided = {name: yaml.safe_load(text) for name, text in MADE.items()}
    assert sum(map(len, decided.values())) > 300


def test_sentences_begin_with_a_capital_letter() -> None:
    """But for an address, and the stand-in for a sentence from elsewhere."""
    kinds = ("Ready", "AbleToScale", "ScalingActive", "ScalingLimited", "EventDriven", "Paused")
    said = {
        text
        for made in MADE.values()
        for situation in yaml.safe_load(made).values()
        for name, value in situation.items()
        for text in ([value] if name == "message" else [value.split(", ", 2)[2]] if name in kinds else [])
    }
    assert len(said) > 50
    assert [
        text for text in said if text[0].islower() and not text.startswith(("http", "the sentence of"))
    ] == []
