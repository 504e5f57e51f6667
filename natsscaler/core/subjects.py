"""The algebra of NATS subjects: which subjects one pattern covers, and what it shares with another.

A subject is made of tokens between dots; in a pattern, `*` stands for one token and a final `>` for one
or more (https://docs.nats.io/nats-concepts/subjects). Patterns are compared as sets of subjects.
"""

import re
from collections.abc import Collection, Iterable, Sequence

_TOKEN = r"[^ \t\r\n\f\v.>][^ \t\r\n\f\v.]*"

SUBJECT_PATTERN = rf"^({_TOKEN}\.)*(>|{_TOKEN})\Z"
"""What a subject or pattern may look like: no empty token, no white space, `>` alone only as last token."""


_WILDCARD = re.compile(r"(?:^|\.)(?:\*|>)(?:\.|\Z)")

MOST_COMPARED = 100_000
"""Pairs of patterns that are compared to answer one question; each takes a microsecond."""
MAX_LENGTH = 1024
"""Of a subject that is subscribed to, in bytes; nats-server ends a connection at a line of over 4 KiB."""
MAX_TOKENS = 255
"""Of a subject that is subscribed to."""
ANSWERS = ("_INBOX", "_R_", "_GR_")
"""First token of what answers to requests come on (nats-server: server/accounts.go, server/gateway.go)."""


def subscribable(pattern: str) -> bool:
    """Tell whether this can be subscribed to as it is: it came from elsewhere, and is sent to a server.

    It must be printable, as a line break would begin a command of its own.
    """
    tokens = pattern.split(".")
    shaped = all(token and (token in ("*", ">") or not set(token) & {"*", ">"}) for token in tokens)
    plain = pattern.isprintable() and not any(map(str.isspace, pattern))
    return (
        shaped
        and plain
        and ">" not in tokens[:-1]
        and len(pattern.encode()) <= MAX_LENGTH
        and len(tokens) <= MAX_TOKENS
    )


def is_token(name: str) -> bool:
    """Tell whether a name can stand in a subject as one token, as those of streams and consumers can."""
    return subscribable(name) and is_literal(name) and "." not in name


def is_literal(pattern: str) -> bool:
    """Tell whether a pattern covers exactly one subject: itself."""
    return _WILDCARD.search(pattern) is None


def literal_prefix(pattern: str) -> str:
    """Return what all subjects of a pattern begin with: the tokens before its first wildcard."""
    wildcard = _WILDCARD.search(pattern)
    return pattern if wildcard is None else pattern[: wildcard.start()]


def within(inner: str, outer: str) -> bool:
    """Tell whether every subject that `inner` covers is covered by `outer` too."""
    inner_tokens, outer_tokens = _tokens(inner, outer)
    for position, token in enumerate(outer_tokens):
        if position >= len(inner_tokens):
            return False
        if token == ">":
            return True
        if inner_tokens[position] == ">" or (token != "*" and token != inner_tokens[position]):
            return False
    return len(inner_tokens) == len(outer_tokens)


def overlaps(one: str, other: str) -> bool:
    """Tell whether there is a subject that both patterns cover."""
    one_tokens, other_tokens = _tokens(one, other)
    for a, b in zip(one_tokens, other_tokens, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(one_tokens) == len(other_tokens)


def _tokens(one: str, other: str) -> tuple[list[str], list[str]]:
    """Split two patterns, each as far as the other one goes; one may have millions of tokens."""
    return one.split(".", other.count(".") + 1), other.split(".", one.count(".") + 1)


def any_overlap(ones: Iterable[str], others: Sequence[str]) -> bool:
    """Tell whether a subject is covered by both collections of patterns."""
    return any(overlaps(one, other) for one in ones for other in others)


def all_within(inners: Iterable[str], outers: Collection[str]) -> bool:
    """Tell whether each inner pattern lies within one of the outer ones; False, too, if that takes long."""
    known = set(outers)
    others = [inner for inner in inners if inner not in known]
    return len(others) * len(known) <= MOST_COMPARED and all(
        any(within(inner, outer) for outer in known) for inner in others
    )


def disjoint(groups: Iterable[Sequence[str]]) -> bool:
    """Tell whether no subject is covered by two of the groups of patterns; False, too, if that takes long."""
    groups = list(groups)
    split = [
        ({p for p in group if is_literal(p)}, [p for p in group if not is_literal(p)]) for group in groups
    ]
    if len(set().union(*(literals for literals, _ in split))) < sum(len(literals) for literals, _ in split):
        return False
    if sum(len(patterns) for _, patterns in split) * sum(map(len, groups)) > MOST_COMPARED:
        return False
    return not any(
        any_overlap(patterns, [*literals, *others])
        for one, (_, patterns) in enumerate(split)
        if patterns
        for other, (literals, others) in enumerate(split)
        if other != one
    )


def too_wide(pattern: str) -> bool:
    """Tell whether a core subscription to this would also see traffic that feeds no stream.

    A pattern of wildcards alone includes answers to requests; `$…` is the server's own name space
    (https://docs.nats.io/nats-concepts/subjects#reserved-subject-names).
    """
    first, *_ = tokens = pattern.split(".")
    return first.startswith("$") or first in ANSWERS or all(token in ("*", ">") for token in tokens)
