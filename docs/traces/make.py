"""Makes the traces beside it, and the plots of docs/simulate.md: `python docs/traces/make.py`."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from natsscaler.core.rule import Rule, parse
from natsscaler.simulate.arrivals import read_csv
from natsscaler.simulate.keda import of_rule, simulate_keda
from natsscaler.simulate.outcome import Simulated
from natsscaler.simulate.plant import Speed
from natsscaler.simulate.run import simulate

HERE = Path(__file__).parent
IMAGES = HERE.parent / "images"
SPEED = Speed(replica_rate=10.0, startup_seconds=20.0)
WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 150, 60, 30, 40
COLOURS = ("#0b6bcb", "#c2410c", "#15803d")
EXAMPLES = {
    "import": ("one-by-one.yaml", "proportional.yaml", "keda"),
    "day": ("proportional.yaml", "drain-time.yaml"),
    "reports": ("proportional.yaml", "to-zero.yaml"),
}
"""Which ways to scale are compared on which trace."""


def day() -> Iterator[tuple[int, int]]:
    """A shop: quiet at night, a peak at noon and a higher one in the evening; a row each five minutes."""
    for minute in range(0, 24 * 60, 5):
        hour = minute / 60
        noon, evening = (math.exp(-(((hour - at) / wide) ** 2)) for at, wide in ((12, 2.5), (20, 1.5)))
        uneven = 1 + 0.15 * math.sin(minute * 0.7) + 0.1 * math.sin(minute * 0.31)
        yield 60 * minute, round(300 * uneven * (3 + 45 * noon + 75 * evening))


def imports() -> Iterator[tuple[int, int]]:
    """Somebody imports 12,000 orders within a minute, into a trickle; a row each ten seconds."""
    for second in range(0, 1800, 10):
        yield second, 2000 if 300 <= second < 360 else 20


def reports() -> Iterator[tuple[int, int]]:
    """Reports at each full hour for six hours, and nothing between; a row each minute."""
    for minute in range(6 * 60):
        yield 60 * minute, 600 if minute % 60 < 3 else 0


TRACES = {"day": day, "import": imports, "reports": reports}


def trace(name: str) -> str:
    """Write a trace as CSV."""
    return "time,messages\n" + "".join(f"{time},{messages}\n" for time, messages in TRACES[name]())


def rule(name: str) -> Rule:
    """Read one of the rules beside this script."""
    manifest = yaml.safe_load((HERE / name).read_text())
    metadata = {"namespace": "default", "uid": "", "creationTimestamp": ""}
    return parse({**manifest, "metadata": {**metadata, **manifest["metadata"]}})


def results(name: str) -> Mapping[str, Simulated]:
    """Simulate an example."""
    arrivals, first = read_csv(trace(name).splitlines()), rule(EXAMPLES[name][0])
    threshold = first.spec.scale_up_threshold
    return {
        way: simulate_keda(of_rule(rule("proportional.yaml")), arrivals, SPEED, 1, threshold)
        if way == "keda"
        else simulate(rule(way), arrivals, SPEED)
        for way in EXAMPLES[name]
    }


def svg(name: str) -> str:
    """Draw an example: the waits and the replicas of each way over time."""
    found = results(name)
    seconds = max(one.series[-1].time for one in found.values())
    parts = [f'<rect width="{WIDTH}" height="{2 * HEIGHT + 2 * GAP + TOP}" fill="#ffffff"/>']
    for index, way in enumerate(found):
        parts.append(f'<text x="{LEFT + 190 * index}" y="18" fill="{COLOURS[index]}">{way}</text>')
    for row, (title, column) in enumerate((("wait (s)", 4), ("replicas", 3))):
        bottom = TOP + HEIGHT * (row + 1) + GAP * row
        lines = {
            way: [(one.time, (one.wait, one.replicas)[column == 3]) for one in run.series]
            for way, run in found.items()
        }
        top = max(1.0, *(value for line in lines.values() for _, value in line))
        parts.append(f'<text x="4" y="{bottom - HEIGHT + 14}" fill="#6b7280">{title}</text>')
        parts.append(f'<text x="4" y="{bottom - HEIGHT + 30}" fill="#6b7280">{top:g}</text>')
        parts.append(f'<path stroke="#9ca3af" d="M{LEFT} {bottom}H{WIDTH}"/>')
        for index, line in enumerate(lines.values()):
            path, last = "", None
            for time, value in line:
                if value != last:
                    x = LEFT + (WIDTH - LEFT) * time / seconds
                    y = bottom - (HEIGHT - 20) * value / top
                    path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
                last = value
            parts.append(
                f'<path fill="none" stroke="{COLOURS[index]}" stroke-width="1.5" d="{path}H{WIDTH}"/>'
            )
        for part in range(5):
            at, x = seconds * part / 4, LEFT + (WIDTH - LEFT) * part / 4
            anchor = ("start", "middle", "middle", "middle", "end")[part]
            label = f"{int(at // 3600)}:{int(at // 60 % 60):02}"
            parts.append(f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="{anchor}">{label}</text>')
    size = f'width="{WIDTH}" height="{2 * HEIGHT + 2 * GAP + TOP}"'
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return f"{head}\n{body}\n</svg>\n"


def main() -> None:
    """Write all files."""
    for name in TRACES:
        (HERE / f"{name}.csv").write_text(trace(name))
        (IMAGES / f"simulate-{name}.svg").write_text(svg(name))


if __name__ == "__main__":
    main()
