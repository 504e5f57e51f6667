"""Steps as text for people, or as a JSON document. Pure: the caller prints."""

import textwrap
from collections.abc import Mapping, Sequence

import msgspec

from natsscaler.core.explain.steps import Step
from natsscaler.core.reasons import State

MARKS = {State.OK: "✓", State.WAITING: "…", State.ATTENTION: "!", State.BLOCKED: "✗"}
COLOURS = {State.OK: 32, State.WAITING: 36, State.ATTENTION: 33, State.BLOCKED: 31}
"""ANSI colours: green, cyan, yellow, red."""
SECTION = 1
"""How far a step is indented below the heading of its section."""

Sections = Mapping[str, Sequence[Step]]


def worst(sections: Sections) -> State:
    """Return the worst state of all steps."""
    states = list(State)
    return max(
        (step.state for steps in sections.values() for step in steps), key=states.index, default=State.OK
    )


def text(sections: Sections, *, colour: bool, width: int | None) -> str:
    """Write steps below the headings of their sections; no `width`: lines of any length."""
    lines: list[str] = []
    for heading, steps in sections.items():
        margin = max((len(step.title) for step in steps), default=0)
        lines += [heading, *(line for step in steps for line in _step(step, margin, colour, width)), ""]
    return "\n".join(lines)


def document(sections: Sections) -> str:
    """Write the same as JSON: the worst state, and the steps of each section."""
    made = {"state": worst(sections), "sections": sections}
    return msgspec.json.format(msgspec.json.encode(made)).decode() + "\n"


def _step(step: Step, margin: int, colour: bool, width: int | None) -> list[str]:
    """Write one step. Each command has a line of its own, however long, so that it can be copied."""
    hang = " " * (margin + SECTION + 4)
    mark = MARKS[step.state]
    if colour:
        mark = f"\x1b[{COLOURS[step.state]}m{mark}\x1b[0m"
    lines = [f"{' ' * SECTION}{mark} {step.title:<{margin}}  {_wrapped(step.text, hang, width)}"]
    if step.fix:
        lines.append(f"{hang}→ {_wrapped(step.fix.text, f'{hang}  ', width)}")
        lines += [f"{hang}  {_printable(command)}" for command in step.fix.commands]
    return lines


def _wrapped(said: str, hang: str, width: int | None) -> str:
    """Write a sentence in lines of this width, all but the first after `hang`."""
    said = _printable(said)
    if width is None:
        return said
    return f"\n{hang}".join(textwrap.wrap(said, max(width - len(hang), 20), break_on_hyphens=False))


def _printable(said: str) -> str:
    """Let no name that somebody gave a stream or a consumer command the terminal."""
    return "".join(character if character.isprintable() else " " for character in said)
