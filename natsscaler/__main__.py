"""Where the command `natsscaler` and `python -m natsscaler` begin.

Process 1 of a container never sees a SIGTERM that it has no handler for. So there is one before the imports,
which take most of a second; the operator puts its own in its place.
"""

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - a user that has none, which the libraries need at import
        os.environ["HOME"] = "/"
    from natsscaler.app.cli import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
