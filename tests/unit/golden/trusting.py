"""What is made of one read after another: which counts are believed or waited for, and when to look again."""

import math
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from natsscaler.core.jetstream.backlog import Backlog
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.trust import Trust, Verdict, judge
from natsscaler.core.reasons import Reason
from tests.support.factories import UNKNOWN, backlog

READ_SECONDS = 0.25
"""How long each read takes here."""
Read = tuple[float, Backlog | Unknown]


def reads() -> Iterator[tuple[str, str, str]]:
    """Give the name, the read and the outcome of each step of each sequence."""
    for name, sequence in SEQUENCES.items():
        trust = Trust()
        for number, (began, found) in enumerate(sequence):
            verdict = judge(trust, found, began, began + READ_SECONDS)
            trust = verdict.trust
            yield f"{name}, {number}", f"{_read(found)}, at {began:g} s", _told(verdict, began)


def _told(verdict: Verdict, began: float) -> str:
    believed = verdict.backlog
    if believed is None:
        return "waits for the next read"
    again = verdict.again_at - began - READ_SECONDS
    source = verdict.trust.source
    counted = ", ".join(source.consumers) if source else "nothing so far"
    looks = f"; looks again after {again:g} s" if again < math.inf else ""
    said = (
        f"unknown, {believed.reason}: {believed.message}" if isinstance(believed, Unknown) else "believes it"
    )
    return f"{said}; counted on {counted}{looks}"


def _read(found: Backlog | Unknown) -> str:
    if isinstance(found, Unknown):
        return f"unknown, {found.reason}"
    leaders = ", ".join(found.leaders) or "nobody"
    return f"{found.messages} messages, {leaders} for {found.led_seconds:g} s"


def led(leader: str, seconds: float = 0.0) -> Backlog:
    """Make a backlog by the word of this leader, which says for how long it has led; 0: it does not say."""
    return replace(backlog(5), leaders=(leader,), led_seconds=seconds)


def _unclear(reason: Reason) -> Unknown:
    return Unknown(reason, "a sentence")


SEQUENCES: dict[str, Sequence[Read]] = {
    "a leader that says so": [(0, led("n1", 1)), (1, led("n2", 60))],
    "a leader that says that it is new": [(0, led("n1", 0.01)), (0.5, led("n1", 0.51)), (1, led("n1", 1.01))],
    "a leader that does not say": [(time, led("n1")) for time in (0, 1, 1.25, 3)],
    "another leader": [(0, led("n1")), (2, led("n1")), (4, led("n2")), (6, led("n2"))],
    "leaders again and again": [(0.25 * number, led(f"n{number % 2}")) for number in range(16)],
    "a standalone server": [(0, led("n1", math.inf)), (1, UNKNOWN), (2, led("n1", math.inf))],
    "a moment without a leader": [
        *((0, led("n1", 60)), (1, _unclear(Reason.LEADER_UNCLEAR)), (2, led("n2", 0.1)), (4, led("n2", 2))),
    ],
    "a leader that is back": [
        (0, led("n1", 60)),
        (1, led("n2", 0.5)),
        (2, led("n1", 0.5)),
        (3, led("n1", 1.5)),
    ],
    "the consumer is missing once": [
        *((0, led("n1", 60)), (1, _unclear(Reason.CONSUMER_GONE)), (2, led("n1", 60))),
    ],
    "doubt that lasts": [(float(number), _unclear(Reason.MONITORING_INCOMPLETE)) for number in range(16)],
    "doubt that ends": [
        *((float(number), _unclear(Reason.IMPLAUSIBLE_COUNT)) for number in range(12)),
        *((20.0, led("n1", 60)), (21.0, _unclear(Reason.IMPLAUSIBLE_COUNT))),
    ],
    "no doubt that passes": [(0, UNKNOWN), (1, _unclear(Reason.STREAM_NOT_FOUND))],
}
