"""Steps as text for people, or as a JSON document. Pure: the caller prints, and gives the time."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from natsscaler.core.decision.situation import StepKind
from natsscaler.core.explain.steps import Step
from natsscaler.core.reasons import Fix, State
from natsscaler.core.words import amount, with_ages

MARKS = {State.OK: "✓", State.WAITING: "…", State.ATTENTION: "!", State.BLOCKED: "✗"}
COLOURS = {State.OK: 32, State.WAITING: 36, State.ATTENTION: 33, State.BLOCKED: 31}
"""ANSI colours: green, cyan, yellow, red."""
TOLD = (StepKind.NEXT_CHANGE, StepKind.RATES)
"""Steps that tell something and check nothing."""
RULES, SERVERS = "Rules", "NATS"
"""Sections of `check`: with a step for each rule and a sum, and with one for each server."""
COUNTED = {RULES: "rule", SERVERS: "NATS server"}
LISTED_RULES = 5
"""How many names of rules a cause lists."""

Sections = Mapping[str, Sequence[Step]]


class Style(NamedTuple):
    """How to write for the reader."""

    now: float
    """What time it is there, in seconds since the epoch."""
    colour: bool = False
    width: int | None = None
    """None: lines of any length."""

    def mark(self, state: State) -> str:
        return f"\x1b[{COLOURS[state]}m{MARKS[state]}\x1b[0m" if self.colour else MARKS[state]

    def wrapped(self, said: str, first: str, hang: int) -> list[str]:
        """Write a sentence after `first`, whose signs take `hang` columns; further lines begin below it."""
        said = printable(with_ages(said, self.now))
        if self.width is None:
            return [f"{first}{said}"]
        room = max(self.width - hang, 20)
        lines = textwrap.wrap(said, room, break_on_hyphens=False, break_long_words=False) or [""]
        return [f"{first}{lines[0]}", *(f"{' ' * hang}{line}" for line in lines[1:])]


def worst(sections: Sections) -> State:
    """Return the worst state of all steps."""
    states = list(State)
    return max(
        (step.state for steps in sections.values() for step in steps), key=states.index, default=State.OK
    )


def document(sections: Sections) -> str:
    """Write steps as JSON: the worst state, and the steps of each section."""
    made = {"state": worst(sections), "sections": sections}
    return msgspec.json.format(msgspec.json.encode(made)).decode() + "\n"


def explanation(heading: str, steps: Sequence[Step], style: Style) -> str:
    """Write what happens to a rule, then how to fix what is wrong, then what was checked."""
    *checks, outcome = steps
    lines = style.wrapped(f"{heading}: {outcome.text}", f"{style.mark(outcome.state)} ", 2)
    cause = next((one for one in checks if one.state is outcome.state and one.fix), None)
    fix = (cause and cause.fix) or outcome.fix
    if fix and outcome.state in (State.ATTENTION, State.BLOCKED):
        lines += ["", *_fix(fix, "Fix  ", 5, style)]
    lines += ["", "Checks"]
    margin = max((len(step.title) for step in checks), default=0)
    for step in checks:
        shown = msgspec.structs.replace(step, fix=None) if step is cause else step
        lines += _step(shown, margin, style)
    return "\n".join([*lines, ""])


def summary(sections: Sections, style: Style, *, everything: bool) -> str:
    """Write what needs action, then each section; rules by cause. `everything`: those that are well, too."""
    state = worst(sections)
    lines = [f"{style.mark(state)} {_verdict(sections, state)}"]
    for heading, steps in sections.items():
        lines += ["", heading]
        if heading == RULES:
            lines += _causes(steps[:-1], style, everything=everything)
        else:
            margin = max((len(step.title) for step in steps), default=0)
            lines += [line for step in steps for line in _step(step, margin, style)]
    return "\n".join([*lines, ""])


def _verdict(sections: Sections, state: State) -> str:
    """Say how much needs action; the last step of the rules is their sum."""
    if state is not State.BLOCKED:
        return (
            "Nothing needs action" if state is not State.ATTENTION else "Nothing needs action, but see the !"
        )
    parts: list[str] = []
    for heading, steps in sections.items():
        checked = steps[:-1] if heading == RULES else steps
        bad = [step.title for step in checked if step.state is State.BLOCKED]
        if bad and heading in COUNTED:
            parts.insert(0, f"{len(bad)} of {amount(len(checked), COUNTED[heading])}")
        else:
            parts += bad
    return f"Needs action: {', '.join(parts)}"


def _causes(rules: Sequence[Step], style: Style, *, everything: bool) -> Iterator[str]:
    """Write what is wrong once for all rules that it is wrong with, the gravest first."""
    found: dict[tuple[State, str], list[Step]] = {}
    for step in rules:
        found.setdefault((step.state, step.text), []).append(step)
    order = list(State)
    well = [step for (state, _), steps in found.items() if not _is_told(state) for step in steps]
    for (state, text), steps in sorted(found.items(), key=lambda one: -order.index(one[0][0])):
        if _is_told(state) or everything:
            names = [step.title for step in steps]
            shown = names if everything else names[:LISTED_RULES]
            more = f" and {len(names) - len(shown)} more" if shown != names else ""
            yield from style.wrapped(text, f" {style.mark(state)} ", 3)
            yield from style.wrapped(f"{', '.join(shown)}{more}", "   ", 3)
            if steps[0].fix and _is_told(state):
                yield from _fix(steps[0].fix, "   → ", 5, style)
    if not rules:
        yield " There are no rules that you can see"
    elif well and not everything:
        verb = "is" if len(well) == 1 else "are"
        yield f" {style.mark(State.OK)} {amount(len(well), 'rule')} {verb} OK; --all lists them"


def _is_told(state: State) -> bool:
    return state in (State.ATTENTION, State.BLOCKED)


def _step(step: Step, margin: int, style: Style) -> list[str]:
    told = step.title in TOLD and step.state is State.OK
    mark, text = (" ", step.text[:1].upper() + step.text[1:]) if told else (style.mark(step.state), step.text)
    hang = margin + 5
    lines = style.wrapped(text, f" {mark} {step.title:<{margin}}  ", hang)
    return lines + (_fix(step.fix, f"{' ' * hang}→ ", hang + 2, style) if step.fix else [])


def _fix(fix: Fix, first: str, hang: int, style: Style) -> list[str]:
    """Write what to do. Each command has a line of its own, however long, so that it can be copied."""
    lines = style.wrapped(fix.text, first, hang)
    return lines + [f"{' ' * hang}$ {printable(command)}" for command in fix.commands]


def printable(said: str) -> str:
    """Let no name that somebody gave a stream or a consumer command the terminal."""
    return "".join(character if character.isprintable() else " " for character in said)
