"""What the log looks like: to a machine, and to a person on a terminal."""

import json
import os
import re
import subprocess
import sys

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""As RFC 3339 has it: with the zone."""
SAY = """
import logging
from natsscaler.app.logs import configure_logging
configure_logging("info")
logging.getLogger("natsscaler.somewhere").debug("a detail")
logging.getLogger("natsscaler.somewhere").info("%s is scaled", "my-app")
try:
    raise ValueError("odd")
except ValueError:
    logging.getLogger("kopf.somewhere").exception("It failed")
"""


def test_each_line_is_json_where_no_person_reads() -> None:
    done = subprocess.run([sys.executable, "-c", SAY], check=True, capture_output=True, text=True)
    said, failed = (json.loads(line) for line in done.stderr.splitlines())
    assert TIME.fullmatch(said.pop("time"))
    assert said == {"level": "INFO", "logger": "natsscaler.somewhere", "message": "my-app is scaled"}
    assert (failed["level"], failed["message"]) == ("ERROR", "It failed")
    assert failed["exc_info"].endswith("ValueError: odd")


def test_lines_are_for_people_on_a_terminal() -> None:
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", SAY], check=True, stderr=theirs)
    os.close(theirs)
    with open(ours, encoding="utf-8") as terminal:  # noqa: PTH123 - it has no path
        line = terminal.readline()
    time, rest = line.split(maxsplit=1)
    assert TIME.fullmatch(time)
    assert rest.rstrip() == "INFO    my-app is scaled"
