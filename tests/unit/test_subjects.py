"""Subject patterns are compared as sets of subjects, so sets of subjects are the oracle."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.subjects import (
    SUBJECT_PATTERN,
    all_within,
    any_overlap,
    disjoint,
    is_literal,
    is_token,
    overlaps,
    subscribable,
    too_wide,
    within,
)

LITERALS = frozenset(".".join(tokens) for length in (1, 2, 3, 4) for tokens in product("ab", repeat=length))
"""All subjects of up to four tokens; patterns of up to three tokens can be told apart by them."""
PATTERNS = [
    ".".join((*tokens, *last))
    for length in (0, 1, 2, 3)
    for tokens in product("ab*", repeat=length)
    for last in ((), (">",))
    if tokens or last
    if len(tokens) + len(last) <= 3
]


def covered(pattern: str) -> frozenset[str]:
    """List the subjects that a pattern covers, in the words of the NATS documentation."""
    tokens = {"*": "[^.]+", ">": ".+"}
    expression = re.compile(r"\.".join(tokens.get(token, token) for token in pattern.split(".")))
    return frozenset(subject for subject in LITERALS if expression.fullmatch(subject))


COVERED = {pattern: covered(pattern) for pattern in PATTERNS}
groups_of_patterns = st.lists(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple), max_size=4
)


def test_the_patterns_include_every_kind() -> None:
    assert {"a", "*", ">", "a.b", "a.*", "*.b", "a.>", "*.>", "a.*.b", "a.b.>", "*.*.*"} <= set(PATTERNS)
    assert len(set(PATTERNS)) == len(PATTERNS) == 52


@pytest.mark.parametrize("outer", PATTERNS)
def test_within_is_the_subset_relation(outer: str) -> None:
    for inner in PATTERNS:
        assert within(inner, outer) == (COVERED[inner] <= COVERED[outer]), (inner, outer)


@pytest.mark.parametrize("one", PATTERNS)
def test_overlaps_is_a_common_subject(one: str) -> None:
    for other in PATTERNS:
        assert overlaps(one, other) == bool(COVERED[one] & COVERED[other]), (one, other)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_literal_covers_itself_alone(pattern: str) -> None:
    assert is_literal(pattern) == (COVERED[pattern] == {pattern})


@given(groups_of_patterns)
def test_disjoint_groups_share_no_subject(groups: list[tuple[str, ...]]) -> None:
    subjects = [subject for group in groups for subject in {s for pattern in group for s in COVERED[pattern]}]
    assert disjoint(groups) == (len(subjects) == len(set(subjects)))


@given(st.lists(st.sampled_from(PATTERNS), max_size=3), st.lists(st.sampled_from(PATTERNS), max_size=3))
def test_collections_overlap_where_any_two_patterns_do(ones: list[str], others: list[str]) -> None:
    common = {s for one in ones for s in COVERED[one]} & {s for other in others for s in COVERED[other]}
    assert any_overlap(ones, others) == bool(common)


@given(st.lists(st.sampled_from(PATTERNS), max_size=3), st.lists(st.sampled_from(PATTERNS), max_size=3))
def test_all_within_means_each_pattern_within_one(inners: list[str], outers: list[str]) -> None:
    expected = all(any(COVERED[inner] <= COVERED[outer] for outer in outers) for inner in inners)
    assert all_within(inners, outers) == expected


def test_what_would_take_long_to_compare_is_not_said_to_be_disjoint_or_within() -> None:
    many = [(f"a.{number}.*",) for number in range(2000)]
    wide = [f"b.{number}.*" for number in range(2000)]
    assert not disjoint(many)
    assert disjoint(many[:200])
    assert not all_within([pattern for (pattern,) in many], wide)
    assert all_within(wide, wide), "what is the same needs no comparison"


def test_disjoint_looks_at_its_groups_whatever_iterable_they_come_in() -> None:
    assert not disjoint(iter([("a",), ("b",), ("*",)]))
    assert disjoint(iter([("a",), ("b",), ("a.>",)]))


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        pytest.param("orders.processing", "orders.*", True, id="star-stands-for-a-token"),
        pytest.param("orders.processing.eu", "orders.*", False, id="star-stands-for-one-token-only"),
        pytest.param("orders.eu.de", "orders.>", True, id="tail-stands-for-several-tokens"),
        pytest.param("orders", "orders.>", False, id="tail-stands-for-no-less-than-one-token"),
        pytest.param("orders.>", "orders.*", False, id="tail-is-wider-than-star"),
        pytest.param("orders.*", "orders.>", True, id="star-is-narrower-than-tail"),
        pytest.param("ordersx", "orders", False, id="tokens-are-compared-whole"),
        pytest.param("Orders", "orders", False, id="case-matters"),
        pytest.param("a*.b", "*.b", True, id="star-inside-a-token-is-a-letter"),
        pytest.param("x.b", "a*.b", False, id="star-inside-a-token-stands-for-nothing"),
    ],
)
def test_one_pattern_lies_within_another(inner: str, outer: str, expected: bool) -> None:
    assert within(inner, outer) is expected


@pytest.mark.parametrize(
    "subject",
    [
        "a", "orders.processing", "orders.*", "orders.*.eu", "orders.>", ">", "*", "*.>", "$JS.API.>",
        "a*", "a>", "a-b_c.d", "größe.ø", "a" * 1024,
    ],
)  # fmt: skip
def test_the_pattern_accepts_a_subject(subject: str) -> None:
    assert re.search(SUBJECT_PATTERN, subject)


@pytest.mark.parametrize(
    "subject",
    [
        "", ".", "a.", ".a", "a..b", "orders.>.eu", ">.a", "a b", "a\tb", "a\rb", "a\nb", "\n", "a\fb",
        "a\vb",
        " a", "a ", "a. ",
    ],
)  # fmt: skip
def test_the_pattern_rejects_what_is_no_subject(subject: str) -> None:
    assert not re.search(SUBJECT_PATTERN, subject)


@given(st.text(alphabet="ab.*> \n", max_size=8))
def test_the_pattern_agrees_with_the_rules_of_subjects(text: str) -> None:
    tokens = text.split(".")
    allowed = (
        all(tokens)
        and not any(letter in text for letter in " \n")
        and ">" not in tokens[:-1]
        and not any(token.startswith(">") and token != ">" for token in tokens)
    )
    assert bool(re.fullmatch(SUBJECT_PATTERN, text)) == allowed


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (">", True), ("*", True), ("*.>", True), ("*.*", True), ("$JS.API.>", True), ("$KV.bucket.key", True),
        ("$SYS", True), ("_INBOX.>", True), ("_INBOX.natsscaler.>", True), ("_R_.x", True), ("_GR_.>", True),
        ("orders.>", False), ("*.processing", False), ("orders", False), ("orders.$x", False),
        ("_INBOXES.>", False), ("orders._INBOX", False),
    ],
)  # fmt: skip
def test_too_wide_a_subscription_sees_what_feeds_no_stream(pattern: str, expected: bool) -> None:
    assert too_wide(pattern) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ORDERS", True), ("Ünï:kode", True), ("a$b#c;d", True), ("'quoted\"", True), ("", False),
        ("a.b", False), ("a*", False), ("*", False), (">", False), ("a b", False), ("a\r\nPUB b", False),
    ],
)  # fmt: skip
def test_what_can_be_the_name_of_a_stream(name: str, expected: bool) -> None:
    assert is_token(name) is expected


@pytest.mark.parametrize(
    "subject", ["a", "*", ">", "a.*.b", "a.>", "$JS.x", "größe", "a" * 1024, "a." * 254 + "a"]
)
def test_what_can_be_subscribed_to(subject: str) -> None:
    assert subscribable(subject)


@pytest.mark.parametrize(
    "subject",
    [
        *("", ".", "a.", ".a", "a..b", "a.>.b", "a*", "a.b>"),
        *("a b", "a\tb", "a\r\nPUB b 0\r\n", "a\x00", "a\u2028b", "a\x85b"),
        *("a" * 1025, "ö" * 600, "a." * 255 + "a"),
    ],
)
def test_what_would_be_no_subscription_or_one_to_something_else(subject: str) -> None:
    assert not subscribable(subject)
