"""Part of an object, whose fields are taken one by one; whatever nobody took is told, so nothing is lost.

Values are never told: they may be credentials that somebody wrote into a trigger.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from natsscaler.core.errors import excerpt

TRUE, FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
"""What Go's strconv.ParseBool takes, as KEDA does."""
SUFFIXES = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)}
"""Of a Kubernetes quantity, as far as a tolerance has one."""


class Unconvertible(Exception):
    """An object cannot be converted; the message names the field and the fix."""


class Part:
    """A mapping at a path of an object. What was not taken at the end, `rest` tells."""

    def __init__(self, path: str, value: Any, notes: list[str]) -> None:
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise Unconvertible(f"{path} must be an object with fields")
        self.path, self.notes = path, notes
        self._left = {str(name): one for name, one in value.items()}

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def at(self, name: str) -> str:
        """Name a field by its path."""
        named = f'["{name}"]' if re.search(r"[^\w-]", name) else f".{name}"
        return f"{self.path}{named}".lstrip(".")

    def note(self, name: str, said: str) -> None:
        """Tell something about a field."""
        self.notes.append(f"{self.at(name)}: {said}")

    def leave(self, name: str, said: str) -> None:
        """Tell about a field, if it is there, why it has no counterpart."""
        if self.take(name) is not None:
            self.note(name, said)

    def take(self, name: str) -> Any:
        """Take a field; None: it is not there."""
        return self._left.pop(name, None)

    def part(self, name: str) -> "Part":
        """Take a field that is a mapping; where it is not there, one without fields."""
        return Part(self.at(name), self.take(name), self.notes)

    def parts(self, name: str) -> list["Part"]:
        """Take a field that is a list of mappings."""
        found = self.take(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise Unconvertible(f"{self.at(name)} must be a list")
        return [Part(f"{self.at(name)}[{index}]", one, self.notes) for index, one in enumerate(found)]

    def text(self, name: str) -> str | None:
        """Take a field that is a text; an empty one is none."""
        found = self.take(name)
        if found is None or found == "":
            return None
        if isinstance(found, (Mapping, list)):
            raise Unconvertible(f"{self.at(name)} must be a text")
        return str(found)

    def needed(self, name: str) -> str:
        """Take a text that must be there."""
        found = self.text(name)
        if found is None:
            raise Unconvertible(f"{self.at(name)} is missing: add it")
        return found

    def number(self, name: str) -> int | None:
        """Take a field that is a whole number; KEDA has those of metadata as texts."""
        found = self.take(name)
        if found is None:
            return None
        if isinstance(found, bool) or not re.fullmatch(r"[+-]?[0-9]{1,18}", str(found)):
            raise Unconvertible(f"{self.at(name)} {_shown(found)} is no whole number: write one, such as 10")
        return int(found)

    def switch(self, name: str) -> bool | None:
        """Take a field that is true or false."""
        found = self.take(name)
        if found is None or str(found) in (*TRUE, *FALSE):
            return None if found is None else str(found) in TRUE
        raise Unconvertible(
            f'{self.at(name)} {_shown(found)} is neither "true" nor "false": write one of them'
        )

    def share(self, name: str) -> float | None:
        """Take a field that is a Kubernetes quantity, such as 0.1 or 100m."""
        found = self.take(name)
        if found is None:
            return None
        number, suffix = re.fullmatch(r"(.*?)([a-zA-Z]?)", str(found), re.DOTALL).groups()  # type: ignore[union-attr]
        try:
            return float(Decimal(number) * SUFFIXES[suffix])
        except (InvalidOperation, KeyError):
            message = f"{self.at(name)} {_shown(found)} is no quantity: write a number such as 0.1"
            raise Unconvertible(message) from None

    def remaining(self) -> Iterator[tuple[str, Any]]:
        """Take all that is left."""
        while self._left:
            yield self._left.popitem()

    def rest(self, said: str = "natsscaler has no counterpart for it.") -> None:
        """Tell about whatever nobody took."""
        for name in sorted(name for name, value in self._left.items() if value is not None):
            self.leave(name, said)


def _shown(value: Any) -> str:
    return repr(excerpt(str(value), 40))
