"""How numbers and times are written for people."""

import re
from datetime import datetime

STAMP = re.compile(
    r"(?:\b(?P<word>[Ss]ince|until|at) )?"
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"
)
"""A time of RFC 3339 in a sentence, with the word before it."""
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
NEAR_SECONDS = 86_400
"""A time further away is told as it is: people mean the day."""


def amount(number: int, what: str) -> str:
    """Write a number with what it counts: 1 message, 2,000 messages."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def duration(seconds: float) -> str:
    """Write a duration in its largest unit, as kubectl does: 7 min, 3 h; a second at the least."""
    whole = max(1, round(seconds))
    size, unit = next((size, unit) for size, unit in UNITS if whole >= size)
    return f"{whole // size} {unit}"


def with_ages(text: str, now: float) -> str:
    """Write the times in a sentence as ages, for a reader at `now` (seconds since the epoch)."""
    return STAMP.sub(lambda found: _age(found, now), text)


def _age(found: re.Match[str], now: float) -> str:
    try:
        ahead = datetime.fromisoformat(found["time"]).timestamp() - now
    except ValueError:
        return found[0]
    word, lasts = found["word"] or "", duration(abs(ahead))
    if ahead > NEAR_SECONDS:
        return found[0]
    if word in ("since", "Since") and ahead <= 0:
        return f"{'f' if word == 'since' else 'F'}or {lasts}"
    if word == "until" and ahead > 0:
        return f"for another {lasts}"
    told = f"in {lasts}" if ahead > 0 else f"{lasts} ago"
    return told if word in ("", "at") else f"{word} {told}"
