"""The operator with a wall clock that can be stepped, counting its tasks: `watched.py STEP TASKS run …`.

STEP is a file with the seconds that the wall clock is fast. To TASKS is written, every 5 s, how many
unfinished tasks there are of which coroutine, in JSON. The garbage collector's list of objects is no way to
find them: who holds a tuple that another thread has not finished breaks it (SystemError).
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

from natsscaler.app import cli
from natsscaler.app.process import run
from natsscaler.settings import Settings

CENSUS_SECONDS = 5.0
true_time = time.time


def stepped(step: Path) -> float:
    return true_time() + float(step.read_text() or 0)


async def watched_run(settings: Settings, census: Path) -> int:
    counting = [asyncio.get_running_loop(), census]
    threading.Thread(target=count_tasks, args=counting, daemon=True).start()
    return await run(settings)


def count_tasks(loop: asyncio.AbstractEventLoop, into: Path) -> None:
    while True:
        names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks(loop))
        draft = into.with_suffix(".draft")
        draft.write_text(json.dumps(names))
        draft.replace(into)
        time.sleep(CENSUS_SECONDS)


if __name__ == "__main__":
    clock, census = Path(sys.argv[1]), Path(sys.argv[2])
    del sys.argv[1:3]
    time.time = lambda: stepped(clock)
    vars(cli)["run"] = partial(watched_run, census=census)
    cli.main()
