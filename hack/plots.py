"""The plots of docs/policies.md, drawn from the pipeline that decides: `make generate` writes them.

Each shows what rules do about the same backlog: a fold of `decide` over it, a decision every second.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from msgspec.structs import replace

from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Observation
from natsscaler.core.jetstream.backlog import Backlog, Traffic
from natsscaler.core.jetstream.counters import Counters
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.jetstream.together import together
from natsscaler.core.pause import PAUSED_ANNOTATION, UNTIL_ANNOTATION
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule, parse
from natsscaler.core.selector import BacklogMode

FOLDER = Path(__file__).parent.parent / "docs/images"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 46, 80, 34, 40
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce")
SPEC: Mapping[str, Any] = {
    "deploymentName": "workers",
    "namespace": "default",
    "minReplicas": 1,
    "maxReplicas": 40,
    "natsMonitoringURL": "http://nats:8222",
    "subject": "orders.processing",
    "scaleUpThreshold": 50,
    "scaleDownThreshold": 10,
    "pollIntervalSeconds": 30,
    "messagesPerReplica": 50,
}
SOURCE = Source(selector="", account="$G", match=Match.EQUAL, consumers=("ORDERS/workers",))

ARRIVING = 50
"""Messages that come and are worked off per second, beside what the backlog grows by."""

Trace = tuple[tuple[float, float], ...]
"""Corners of a backlog over time: seconds, messages; straight lines between them."""


class Plot(NamedTuple):
    """What happens, and the rules that answer to it, by the names that the legend gives them."""

    title: str
    backlog: Trace
    rules: Mapping[str, Rule]
    unacknowledged: Trace = ((0, 0),)
    """Messages that workers have in hand, beside the backlog."""
    unknown: tuple[float, float] = (0, 0)
    """Between which seconds the backlog is unknown; of several sources, that of the last one."""


def rule(annotations: Mapping[str, str] = MappingProxyType({}), **spec: object) -> Rule:
    """Make a rule of this spec and the usual one."""
    metadata = {"name": "workers", "namespace": "default", "uid": "", "creationTimestamp": ""}
    return parse({"metadata": {**metadata, "annotations": annotations}, "spec": {**SPEC, **spec}})


def observed(
    made: Rule, messages: int, unacknowledged: int, replicas: int, at: float, *, unknown: bool
) -> Observation:
    """See so many messages that wait, as many of each source, and so many replicas at a time."""
    number = len(made.selectors)
    measured: list[Backlog | Unknown] = [
        _waiting(f"S{index}/w", messages // number, unacknowledged // number, at) for index in range(number)
    ]
    if unknown:
        measured[-1] = Unknown(Reason.MONITORING_TIMEOUT, "")
    backlog, least = together(made.selectors, measured)
    return Observation(backlog, replicas, at, asleep=replicas == 0, least=least)


def _waiting(consumer: str, messages: int, unacknowledged: int, at: float) -> Backlog:
    came = round(ARRIVING * at) + messages
    return Backlog(
        pending=messages,
        unacknowledged=unacknowledged,
        mode=BacklogMode.PENDING,
        source=replace(SOURCE, consumers=(consumer,)),
        account_key="",
        feeds=(),
        at=datetime.fromtimestamp(at, UTC),
        counters=(Counters(name=consumer, ever=came, delivered=came - messages, pending=messages),),
        traffic=Traffic(waiting=messages, delivered=0),
    )


def replicas_over_time(made: Rule, plot: Plot, seconds: int) -> Iterator[tuple[int, int]]:
    """Decide and act every second; give each second and its replicas."""
    memory, replicas = Memory(), max(1, made.spec.min_replicas)
    backlog, in_hand = interpolated(plot.backlog), interpolated(plot.unacknowledged)
    for now in range(seconds + 1):
        unknown = plot.unknown[0] <= now < plot.unknown[1]
        seen = observed(made, backlog(now), in_hand(now), replicas, float(now), unknown=unknown)
        decision = decide(made, seen, memory, float(now))
        memory = decision.memory.acted(replicas, decision.permitted, now)
        memory = memory.stepped(replicas, decision.permitted, now)
        replicas = decision.permitted
        yield now, replicas


def interpolated(trace: Trace) -> Callable[[float], int]:
    """Return the messages at any second."""

    def at(now: float) -> int:
        for (begin, low), (end, high) in pairwise(trace):
            if begin <= now <= end and begin < end:
                return round(low + (high - low) * (now - begin) / (end - begin))
        return round(trace[-1][1])

    return at


def svg(plot: Plot) -> str:
    """Draw a plot: the backlog as an area, the replicas of each rule as steps."""
    seconds, most = int(plot.backlog[-1][0]), max(messages for _, messages in plot.backlog)
    runs = {name: list(replicas_over_time(made, plot, seconds)) for name, made in plot.rules.items()}
    highest = max(replicas for run in runs.values() for _, replicas in run)

    def x(now: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * now / seconds, 1)

    def y(share: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 1)

    area = " ".join(f"{x(now)},{y(messages / most)}" for now, messages in plot.backlog)
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<polygon fill="#e5e7eb" points="{x(0)},{y(0)} {area} {x(seconds)},{y(0)}"/>',
        *_unknown(plot.unknown, x, y),
        f'<path stroke="#9ca3af" d="M{LEFT} {y(0)}H{WIDTH - RIGHT}"/>',
    ]
    minutes = range(0, seconds // 60 + 1, max(1, seconds // 600))
    parts += [_text(x(60 * minute), y(0) + 16, f"{minute} min", "middle") for minute in minutes]
    counts = sorted({0, highest // 2, highest})
    parts += [_text(LEFT - 6, y(count / highest) + 4, str(count), "end") for count in counts]
    parts += [
        _text(WIDTH - RIGHT + 6, y(1) + 4, f"{most:g}", "start"),
        _text(WIDTH - RIGHT + 6, y(1) + 18, "messages", "start"),
    ]
    for index, (name, run) in enumerate(runs.items()):
        steps = [(now, replicas) for now, replicas in run if now == 0 or run[now - 1][1] != replicas]
        line = f"M{x(0)} {y(steps[0][1] / highest)}"
        line += "".join(f"H{x(now)}V{y(replicas / highest)}" for now, replicas in steps[1:])
        colour = COLOURS[index]
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="{line}H{x(seconds)}"/>')
        parts.append(_text(LEFT + 230 * index, 20, f"replicas: {name}", "start", colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="sans-serif" font-size="12">\n<title>{escape(plot.title)}</title>\n{body}\n</svg>\n'
    )


def _unknown(
    span: tuple[float, float], x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    """Draw where the backlog is unknown."""
    begin, end = map(x, span)
    if begin == end:
        return []
    shape = f'x="{begin}" y="{y(1)}" width="{round(end - begin, 1)}" height="{round(y(0) - y(1), 1)}"'
    return [
        f'<rect {shape} fill="#fde68a" fill-opacity="0.5"/>',
        _text(begin + 4, y(1) + 14, "unknown", "start"),
    ]


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#374151") -> str:
    return f'<text x="{x}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


BURSTS: Trace = ((0, 50), (60, 50), (61, 1500), (240, 50), (330, 50), (331, 700), (390, 50), (1200, 50))
POLICIES = {
    "scaleUp": {
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 30},
            {"type": "Pods", "value": 4, "periodSeconds": 30},
        ]
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 120,
        "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
    },
}
QUIET: Trace = ((0, 20), (60, 20), (61, 0), (660, 0), (661, 400), (780, 0), (1320, 0))
DRAINED: Trace = ((0, 5), (60, 5), (61, 1500), (120, 20), (300, 20), (301, 400), (420, 20), (600, 20))
MINUTES = {"name": "day", "start": "8 0 * * *", "end": "14 0 * * *", "minReplicas": 20}
FALLBACK = {"afterSeconds": 120, "behavior": "AtLeast", "replicas": 15}
BURST: Trace = ((0, 20), (60, 20), (61, 1500), (180, 20), (600, 20))
QUICK = {"scaleDown": {"stabilizationWindowSeconds": 60}}


def busy(kind: str) -> dict[str, Any]:
    """Ask for protection of busy workers."""
    return {"scaleDown": {"stabilizationWindowSeconds": 60, "busyWorkers": kind}}


def paused(kind: str, until: str) -> dict[str, str]:
    """Annotate a rule with a pause; the plots begin with the year 1970."""
    return {PAUSED_ANNOTATION: kind, UNTIL_ANNOTATION: until}


SOURCES = [
    {"subject": "mail.receipts", "messagesPerReplica": 50},
    {"subject": "mail.newsletters", "messagesPerReplica": 50},
]
PLOTS = {
    "policies-zero.svg": Plot(
        "A quiet time to zero, and a burst that wakes it",
        QUIET,
        {"minReplicas 1": rule(), "minReplicas 0": rule(minReplicas=0, idleSeconds=300)},
    ),
    "policies-behavior.svg": Plot(
        "Two bursts, answered with and without policies",
        BURSTS,
        {"no behavior": rule(), "the sample's policies": rule(behavior=POLICIES)},
    ),
    "policies-busy-workers.svg": Plot(
        "A burst whose last 12 messages are worked on until the ninth minute",
        BURST,
        {f"busyWorkers {kind}": rule(behavior=busy(kind)) for kind in ("Ignore", "Floor", "UntilIdle")},
        unacknowledged=((0, 0), (60, 0), (61, 30), (180, 30), (200, 12), (540, 12), (541, 0), (600, 0)),
    ),
    "policies-sources.svg": Plot(
        "Two bursts, half of each of one subject and half of another, which is unknown for a time",
        BURSTS,
        {
            f"combine {how}": rule(
                subject=None, messagesPerReplica=None, behavior=QUICK, sources=SOURCES, combine=how
            )
            for how in ("Sum", "Max")
        },
        unknown=(100, 400),
    ),
    "policies-fallback.svg": Plot(
        "A burst while the backlog is unknown, with and without a fallback",
        BURSTS,
        {"no fallback": rule(), "at least 15 after 2 min": rule(fallback=FALLBACK)},
        unknown=(45, 480),
    ),
    "policies-schedules.svg": Plot(
        "Two bursts, with and without a schedule from the eighth minute to the fourteenth",
        BURSTS,
        {
            "no schedule": rule(behavior=QUICK),
            "minReplicas 20, minutes 8 to 14": rule(behavior=QUICK, schedules=[MINUTES]),
        },
    ),
    "policies-drain-time.svg": Plot(
        "A burst and a steady load, answered by messagesPerReplica and by drainTime",
        DRAINED,
        {
            "messagesPerReplica 50": rule(behavior=QUICK),
            "drainTime 30 s": rule(
                behavior=QUICK,
                drainTime={"targetSeconds": 30, "replicaRate": 10},
                scaleUpThreshold=0,
                scaleDownThreshold=0,
            ),
        },
    ),
    "policies-pauses.svg": Plot(
        "Two bursts, with a pause of both directions and one of scaling down until the tenth minute",
        BURSTS,
        {
            "no pause": rule(),
            "paused until 3 min": rule(paused("true", "1970-01-01T00:03:00Z")),
            "scale-down until 10 min": rule(paused("scale-down", "1970-01-01T00:10:00Z")),
        },
    ),
}


def plots() -> dict[Path, str]:
    """Return what each file must be."""
    return {FOLDER / name: svg(plot) for name, plot in PLOTS.items()}
