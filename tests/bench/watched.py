"""The operator with a wall clock that can be stepped, counting its tasks: `watched.py STEP TASKS run …`.

STEP is a file with the seconds that the wall clock is fast. To TASKS is written, every 5 s, how many
unfinished tasks there are of which coroutine, in JSON.
"""

import asyncio
import gc
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from natsscaler.cli import main

CENSUS_SECONDS = 5.0
true_time = time.time


def stepped(step: Path) -> float:
    return true_time() + float(step.read_text() or 0)


def count_tasks(into: Path) -> None:
    while True:
        tasks = (one for one in gc.get_objects() if isinstance(one, asyncio.Task))
        names = Counter(getattr(one.get_coro(), "__qualname__", "?") for one in tasks if not one.done())
        draft = into.with_suffix(".draft")
        draft.write_text(json.dumps(names))
        draft.replace(into)
        time.sleep(CENSUS_SECONDS)


if __name__ == "__main__":
    clock, census = Path(sys.argv[1]), Path(sys.argv[2])
    del sys.argv[1:3]
    time.time = lambda: stepped(clock)
    threading.Thread(target=count_tasks, args=[census], daemon=True).start()
    main()
