"""Of every reason there is all to say that there is to say of its kind."""

import re

import pytest

from natsscaler.core.explain.steps import fix
from natsscaler.core.reasons import REASONS, SCALES_NOT, Reason, State, Topic
from tests.support.factories import rule

GOOD = (Topic.DECISION, Topic.BOUNDS, Topic.WAKING, Topic.WELL)
"""Topics of reasons that may be as they should be."""


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_told_in_a_few_words(reason: Reason) -> None:
    about = reason.about
    assert re.fullmatch(r".{3,89}[^.]", about.headline)
    assert not about.more or about.more.endswith(".")
    assert about.title.endswith(about.headline)
    assert about.title.startswith("Not scaling: ") == (about.topic in SCALES_NOT)


@pytest.mark.parametrize("reason", Reason)
def test_what_is_not_as_it_should_be_can_be_fixed_or_passes(reason: Reason) -> None:
    about, found = reason.about, fix(reason, rule())
    if about.state in (State.BLOCKED, State.ATTENTION):
        assert found
        assert not found.text.endswith(".")
        assert not re.search(r"[{}]", "".join([found.text, *found.commands]).replace("jetstream {}", "")) or (
            reason is Reason.DRY_RUN
        ), "every name is filled in"
    else:
        assert found is None
    assert about.state is not State.WAITING or about.passes
    assert about.topic in GOOD or about.state in (State.BLOCKED, State.ATTENTION)


@pytest.mark.parametrize("reason", Reason)
def test_a_persons_switch_is_nothing_wrong_and_holds_until_it_is_thrown(reason: Reason) -> None:
    about = reason.about
    assert (about.topic is Topic.SWITCH) == (about.topic in SCALES_NOT and about.state is State.ATTENTION)
    if about.holds or about.topic is Topic.SWITCH:
        assert re.fullmatch(r"while .* (is|has) .*", about.holds)
        assert about.fix
        assert about.fix.commands


def test_each_word_is_that_of_one_reason() -> None:
    assert {str(reason): reason for reason in Reason} == REASONS
    assert all(re.fullmatch(r"([A-Z][a-zA-Z]+)+", word) for word in REASONS)
    titles = [reason.about.title for reason in Reason]
    assert {title for title in titles if titles.count(title) > 1} == {"Scaling down"}
