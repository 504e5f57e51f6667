"""How numbers and times are written for people."""

import pytest

from natsscaler.core.words import amount, duration, with_ages

NOW = 1_772_355_600.0  # 2026-03-01T09:00:00Z


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 messages"), (1, "1 message"), (2, "2 messages"), (2500, "2,500 messages")],
)
def test_numbers_have_separators_and_their_noun_its_form(number: int, expected: str) -> None:
    assert amount(number, "message") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1 s"),
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_a_duration_has_one_unit(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well since 2026-03-01T08:53:00Z.", "Well for 7 min."),
        ("Since 2026-03-01T07:00:00Z it has", "For 2 h it has"),
        ("Not yet, until 2026-03-01T09:00:07.25Z", "Not yet, for another 7 s"),
        ("its decision, at 2026-03-01T08:59:00Z: no", "its decision, 1 min ago: no"),
        ("possible at 2026-03-01T09:10:00Z", "possible in 10 min"),
        ("2026-02-27T09:00:00Z", "2 d ago"),
        ("paused until 2026-12-24T18:00:00Z", "paused until 2026-12-24T18:00:00Z"),
        ("until 2026-03-01T08:00:00Z", "until 1 h ago"),
        ("2026-99-99T08:00:00Z", "2026-99-99T08:00:00Z"),
        ("nothing to do with time", "nothing to do with time"),
    ],
)
def test_times_in_a_sentence_become_ages(text: str, expected: str) -> None:
    assert with_ages(text, NOW) == expected
