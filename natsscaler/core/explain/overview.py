"""All rules at a glance, and what happened to them, by what the operator wrote into their statuses. Pure."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from natsscaler.core.errors import InvalidRule
from natsscaler.core.explain.headline import bad_conditions, headline
from natsscaler.core.explain.text import Style, printable
from natsscaler.core.reasons import REASONS, State
from natsscaler.core.rule import Rule, RuleKey, parse
from natsscaler.core.status import RuleStatus, epoch, read_back
from natsscaler.core.words import duration

COLUMNS = ("RULE", "BACKLOG", "REPLICAS", "COME/S", "DONE/S", "DRAINS IN", "SCALED", "STATE")
RIGHT = ("BACKLOG", "REPLICAS", "COME/S", "DONE/S", "DRAINS IN", "SCALED")
UNKNOWN = "-"
UP, DOWN = "▲", "▼"

Body = Mapping[str, Any]


class Happening(NamedTuple):
    """Something that happened to a rule."""

    at: float
    """In seconds since the epoch."""
    rule: RuleKey
    mark: str
    text: str


def _read(body: Body) -> tuple[RuleKey, Rule | None, RuleStatus]:
    metadata = body["metadata"]
    try:
        rule = parse(body)
    except InvalidRule:
        rule = None
    return RuleKey(metadata["namespace"], metadata["name"]), rule, read_back(body.get("status"))


def table(bodies: Iterable[Body], style: Style) -> str:
    """Write a line for each rule, the gravest first."""
    order = list(State)
    rows = []
    for body in bodies:
        key, rule, status = _read(body)
        said = headline(key, rule, status)
        rows.append(
            (-order.index(said.state), str(key), said.state, _cells(key, rule, status, style.now), said.title)
        )
    rows.sort(key=lambda row: row[:2])
    cells = [row[3] for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS[:-1], *cells, strict=True)]
    used = sum(widths) + 2 * len(widths) + 2
    lines = [f"  {_line(COLUMNS[:-1], widths)}  {COLUMNS[-1]}"]
    for _, _, state, row, title in rows:
        shown = title if style.width is None else _shortened(title, style.width - used)
        lines.append(f"{style.mark(state)} {_line(row, widths)}  {shown}".rstrip())
    return "\n".join([*lines, ""]) if rows else "There are no rules that you can see\n"


def _shortened(text: str, room: int) -> str:
    """Leave out words at the end that have no room."""
    return textwrap.shorten(text, max(room, 12), placeholder=" …")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        f"{cell:>{width}}" if name in RIGHT else f"{cell:<{width}}"
        for name, cell, width in zip(COLUMNS, cells, widths, strict=False)
    )


def _cells(key: RuleKey, rule: Rule | None, status: RuleStatus, now: float) -> tuple[str, ...]:
    rates, last = status.rates, epoch(status.last_scaling_action or "")
    most = f"/{rule.bounds(now).high}" if rule else ""
    drain = rates.drain_seconds if rates else None
    return (
        printable(str(key)),
        UNKNOWN if status.pending_messages is None else f"{status.pending_messages:,}",
        UNKNOWN if status.current_replicas is None else f"{status.current_replicas}{most}",
        _rate(rates.arriving_per_second if rates else None),
        _rate(rates.processing_per_second if rates else None),
        UNKNOWN if drain is None or not status.pending_messages else duration(drain),
        UNKNOWN if last is None else duration(now - last),
    )


def _rate(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:,.1f}"


def happenings(bodies: Iterable[Body]) -> list[Happening]:
    """List changes of replicas, and conditions that are not as they should be, the oldest first."""
    found = []
    for body in bodies:
        key, _, status = _read(body)
        for action in status.recent_actions:
            mark = UP if action.to_replicas > action.from_replicas else DOWN
            text = f"{action.from_replicas} → {action.to_replicas}  {action.reason}"
            found.append(Happening(epoch(action.timestamp) or 0.0, key, mark, text))
        for condition in bad_conditions(status):
            reason = REASONS.get(condition.reason)
            grave = reason is None or reason.about.state is State.BLOCKED
            text = f"{condition.reason}: {condition.message}"
            at = epoch(condition.last_transition_time) or 0.0
            found.append(Happening(at, key, "✗" if grave else "!", text))
    return sorted(set(found))


def told(one: Happening, style: Style) -> str:
    """Write something that happened, in a line or more."""
    ago = f"{duration(style.now - one.at)} ago"
    first = f"{ago:>10}  {one.mark} {printable(str(one.rule))}  "
    return "\n".join(style.wrapped(one.text, first, len(first)))
