"""The page knows the words of the API that it depends on."""

import pathlib
import re

from natsscaler.core.decision.situation import StepKind
from natsscaler.core.waking import WakeSource

SCRIPT = (pathlib.Path(__file__).parents[2] / "natsscaler/web/assets/rule.js").read_text()


def test_every_wake_source_has_its_words() -> None:
    (sources,) = re.findall(r"const SOURCES = \{(.*?)\};", SCRIPT, re.DOTALL)
    assert set(re.findall(r"^  (\w+):", sources, re.MULTILINE)) == set(WakeSource)


def test_steps_are_found_by_titles_that_exist() -> None:
    titles = re.findall(r"title === \"([^\"]+)\"", SCRIPT)
    assert titles == [StepKind.NEXT_CHANGE]
