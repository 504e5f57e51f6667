"""What the demo shows, in one of two views: plain lines, or a live picture on a terminal.

Both write what happens as lines that stay (the scenario's steps, each decision with its reason); they differ
in how they show the backlog and the replicas in between.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from natsscaler.demo.bursts import Burst
from natsscaler.simulate.columns import columns, resampled

BAR = "█"
LINE_SECONDS = 1.0
SHOWN_SECONDS = 60.0
LABEL_WIDTH = 15
BACKLOG_ROWS, REPLICAS_ROWS = 5, 3
LEAST_COLUMNS = 10
LEAST_BACKLOG = 50
"""What at least fills the height, so that a trickle looks like one."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a person needs to look for themselves."""

    page: str
    nats: str
    commands: tuple[str, ...]
    """Lines to paste."""

    @property
    def lines(self) -> tuple[str, ...]:
        return (f"page  {self.page}", f"NATS  {self.nats}", *self.commands)


class Sample(NamedTuple):
    """What is true at one moment."""

    backlog: int
    replicas: int | None
    """None: the Deployment is gone."""
    min_replicas: int
    """Of the rule, which a person may have edited."""
    max_replicas: int


class Display(Protocol):
    """Where the scenario reports to; `with` begins and ends the showing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """Write a line that stays, at any time, also when the showing is over."""

    def introduce(self, facts: Addresses) -> None:
        """Tell how a person can look for themselves."""

    def step(self, text: str) -> None:
        """Tell what the scenario does now."""

    def decision(self, reason: str, note: str) -> None:
        """Show an Event of the operator."""

    def sample(self, seen: Sample, bursts: Sequence[Burst]) -> None:
        """Show the present state."""


class PlainView:
    """Plain lines, each with the time since the beginning."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._shown_at = float("-inf")
        self._replicas: int | None = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()

    def introduce(self, facts: Addresses) -> None:
        for line in facts.lines:
            self.say(line)

    def step(self, text: str) -> None:
        self._line(f"-- {text}")

    def decision(self, reason: str, note: str) -> None:
        self._line(f">> {reason}: {note}")

    def sample(self, seen: Sample, bursts: Sequence[Burst]) -> None:  # noqa: ARG002 - shown by say at the end
        """Show the present state if the replicas have changed, and otherwise once a second."""
        now, replicas = time.monotonic(), seen.replicas
        if replicas == self._replicas and now - self._shown_at < LINE_SECONDS:
            return
        self._shown_at, self._replicas = now, replicas
        shown = "none, as the Deployment is gone" if replicas is None else f"{replicas:2d} {BAR * replicas}"
        self._line(f"backlog {seen.backlog:4d}   replicas {shown}")

    def _line(self, text: str) -> None:
        self.say(f"{time.monotonic() - self._began:6.1f} s  {text}")


SCALED = {"ScaledUp": (" ▲", "bold green"), "ScaledDown": (" ▼", "bold cyan")}
"""How a change of replicas is marked; whatever else is told, is dimmed."""


class LiveView:
    """A picture of the last minute at the bottom of the terminal; what stays scrolls away above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._began = time.monotonic()
        self._step = ""
        self._facts: Addresses | None = None
        self._backlogs: list[tuple[float, int]] = []
        self._replicas: list[tuple[float, int]] = []
        self._bursts: Sequence[Burst] = ()
        self._seen = Sample(0, None, 0, 0)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the picture, without what is no longer true."""
        self._live.update(Group(*self._charts()))
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def introduce(self, facts: Addresses) -> None:
        self._facts = facts

    def step(self, text: str) -> None:
        self._step = text
        self._line("--", text, "bold")

    def decision(self, reason: str, note: str) -> None:
        mark, style = SCALED.get(reason, (" ·", "dim"))
        self._line(mark, f"{reason}: {note}", style)

    def sample(self, seen: Sample, bursts: Sequence[Burst]) -> None:
        now = self._now()
        for samples, value in ((self._backlogs, seen.backlog), (self._replicas, seen.replicas or 0)):
            samples.append((now, value))
            while samples[0][0] < now - 2 * SHOWN_SECONDS:
                del samples[0]
        self._bursts, self._seen = bursts, seen
        self._live.update(Group(*self._charts(), *self._notes()), refresh=True)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _line(self, mark: str, text: str, style: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_row(f"{self._now():6.1f} s ", Text(mark), Text(text, style=style))
        self._console.print(line)

    def _charts(self) -> list[RenderableType]:
        if not self._backlogs:
            return []
        (_, backlog), (_, replicas) = self._backlogs[-1], self._replicas[-1]
        low, high = self._seen.min_replicas, self._seen.max_replicas
        peak = max(value for _, value in self._backlogs)
        charts = Table.grid()
        charts.add_column(width=LABEL_WIDTH)
        charts.add_column(no_wrap=True)
        label = Text.assemble("backlog ", (str(backlog), "bold"), f"\npeak {peak}")
        charts.add_row(
            label, Text(self._chart(self._backlogs, BACKLOG_ROWS, max(peak, LEAST_BACKLOG)), style="yellow")
        )
        label = Text.assemble("replicas ", (str(replicas), "bold"), f"\nof {low} to {high}")
        if self._seen.replicas is None:
            label = Text("no Deployment")
        top = max(high, replicas)
        charts.add_row(label, Text(self._chart(self._replicas, REPLICAS_ROWS, top), style="green"))
        return [Rule(f"natsscaler demo, the last {SHOWN_SECONDS:g} s", align="left"), charts]

    def _chart(self, samples: Sequence[tuple[float, int]], height: int, top: int) -> str:
        width = max(self._console.width - LABEL_WIDTH, LEAST_COLUMNS)
        values = resampled(samples, self._now(), SHOWN_SECONDS, width)
        return "\n".join(columns(values, height, top))

    def _notes(self) -> list[RenderableType]:
        facts = self._facts.lines if self._facts else ()
        now = Text(f"{self._now():.0f} s  {self._step}", style="bold")
        return [now, *(Text(str(burst)) for burst in self._bursts), *(Text(line) for line in facts)]


def view_on(out: TextIO) -> Display:
    """Return the live view if `out` is a terminal that can move its cursor, else the plain one."""
    console = Console(file=out)
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(out)
