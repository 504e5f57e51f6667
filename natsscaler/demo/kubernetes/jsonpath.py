r"""The JSON paths that printer columns use: `.a.b`, `['a']`, `.a\.b`, `[0]`, `[*]` and `[?(@.a=="b")]`."""

import re
from collections.abc import Iterator
from typing import Any

STEP = re.compile(
    r"""\.(?P<key>(?:\\.|[^.\[\]\\])+)
      | \['(?P<quoted>[^']+)'\]
      | \[(?P<index>-?\d+)\]
      | (?P<every>\[\*\]|\.\*)
      | \[\?\(\s*@\.(?P<field>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\s*\)]
    """,
    re.VERBOSE,
)


def first(document: Any, path: str) -> Any:
    """Return the first value at `path`, or None; a path that is not understood finds nothing."""
    found = [document]
    position = 0
    while position < len(path):
        step = STEP.match(path, position)
        if not step:
            return None
        found = [inner for outer in found for inner in _take(outer, step)]
        position = step.end()
    return found[0] if found else None


def _take(value: Any, step: re.Match[str]) -> Iterator[Any]:
    key = step["quoted"] or (step["key"] or "").replace("\\", "")
    if isinstance(value, dict) and key in value:
        yield value[key]
    elif isinstance(value, dict) and step["every"]:
        yield from value.values()
    elif isinstance(value, list) and step["index"]:
        yield from value[int(step["index"]) :][:1]
    elif isinstance(value, list) and step["every"]:
        yield from value
    elif isinstance(value, list) and step["field"]:
        yield from (item for item in value if first(item, f".{step['field']}") == step["value"])
