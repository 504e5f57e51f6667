"""Columns of text: how a terminal shows what was measured over time."""

import math
from collections.abc import Sequence

EIGHTHS = " ▁▂▃▄▅▆▇█"
FULL = len(EIGHTHS) - 1


def columns(values: Sequence[int], height: int, top: int) -> list[str]:
    """Draw each value as a column; return `height` lines, the highest first.

    0 leaves its column empty, anything above 0 shows, `top` and more fill the height.
    """
    filled = [math.ceil(min(value, top) * height * FULL / top) for value in values]
    return [
        "".join(EIGHTHS[min(max(level - row * FULL, 0), FULL)] for level in filled)
        for row in reversed(range(height))
    ]


def resampled(samples: Sequence[tuple[float, int]], now: float, seconds: float, width: int) -> list[int]:
    """Return the highest value in each of `width` equal parts of the last `seconds`.

    `samples` are (time, value), oldest first. A part without a sample repeats the one before it; parts
    before the first sample and after `now` are left out, so the answer may be shorter.
    """
    part = seconds / width
    last = math.floor(now / part)
    highest: dict[int, int] = {}
    for when, value in samples:
        index = math.floor(when / part)
        highest[index] = max(value, highest.get(index, value))
    found: list[int] = []
    for index in range(last - width + 1, last + 1):
        if index in highest or found:
            found.append(highest[index] if index in highest else found[-1])
    return found
