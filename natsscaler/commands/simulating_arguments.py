"""The command lines of `simulate` and `record`."""

import argparse
import math
import re
from pathlib import Path

from natsscaler.simulate.arrivals import DAY, PATTERNS

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
OPERATOR = "http://127.0.0.1:8082"
"""Where `kubectl port-forward` usually brings the page."""


def simulate_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler simulate`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} simulate",
        description="Simulate what a rule would do with given arrivals of messages, and how long they would"
        " wait. The rule is a manifest; the command asks no cluster and changes nothing.",
        epilog="Exit status: 0, 1 if --fail-if applies, 2 for wrong usage.",
    )
    add = parser.add_argument
    add("rule", metavar="RULE.yaml", type=Path, help="The ScalingRule.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--trace", metavar="FILE", type=Path, help="Arrivals: CSV of time,messages, or a recording."
    )
    source.add_argument(
        "--from-operator", metavar="URL", help="Arrivals: the past of --rule on the operator's page."
    )
    source.add_argument(
        "--from-prometheus", metavar="URL", help="Arrivals: natsscaler's metrics of --rule in Prometheus."
    )
    source.add_argument("--pattern", choices=sorted(PATTERNS), help="Arrivals: made up.")
    add("--rule", dest="key", metavar="NAMESPACE/NAME", help="Whose past. Default: of the rule's own name.")
    add(
        "--range",
        type=duration,
        help="How much of the past, or how long a pattern, such as 90m or 24h. Default: 1h, and 24h for a"
        " daily pattern.",
    )
    add("--peak-rate", type=_positive, help="The highest rate of a pattern, in messages per second.")
    add(
        "--replica-rate",
        type=_positive,
        help="Messages per second that a ready replica works off. Default: as measured, if that is known.",
    )
    add("--startup-seconds", type=_number, default=0.0, help="From the patch until a replica is ready.")
    add(
        "--limit-rate",
        type=_positive,
        default=math.inf,
        help="Messages per second that all replicas together can work off, as a database may have it.",
    )
    add(
        "--compare",
        action="append",
        default=[],
        metavar="OTHER.yaml|keda",
        help="Also simulate another ScalingRule, a ScaledObject, or what KEDA would do. Repeatable.",
    )
    add("-o", "--output", choices=("table", "json"), default="table", help="Output format. Default: table.")
    add(
        "--fail-if",
        action="append",
        default=[],
        metavar="'FIGURE > NUMBER'",
        help="Exit with 1 if this applies to the rule, such as 'p99_wait_seconds > 60'. Repeatable.",
    )
    add("--html", metavar="FILE", type=Path, help="Also write a page with charts, which needs nothing else.")
    return parser


def record_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler record`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} record",
        description="Write down what a rule has seen, as the operator's page knows it: the last hour in"
        " detail, the day before roughly. The recording goes to stdout, for natsscaler simulate --trace.",
    )
    parser.add_argument("rule", metavar="NAMESPACE/NAME", help="The ScalingRule.")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        default=DAY,
        help="How much of the past, such as 1h. Default: 24h, which is all that there is.",
    )
    parser.add_argument("--from-operator", metavar="URL", default=OPERATOR, help=f"Default: {OPERATOR}.")
    return parser


def duration(text: str) -> float:
    """Read a duration such as 90s, 30m, 24h or 7d, for argparse."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, such as 90s, 30m, 24h or 7d")
    return float(int(found[1]) * UNITS[found[2]])


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("it must be more than 0")
    return number
