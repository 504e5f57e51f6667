"""Asks this container for its `/healthz`, for engines without probes.

Run as `python -m natsscaler.app.healthcheck`. A module of its own, because it runs every few seconds:
to import the operator would cost more than the operator itself does.
"""

import sys
from http.client import HTTPConnection, HTTPException

from natsscaler.core.errors import SettingsError
from natsscaler.settings import parse

TIMEOUT_SECONDS = 3.0


def main() -> int:
    """Return the exit status: 0 if healthy or the probes are off, else 1.

    Host and port are read from the environment alone: flags of the operator's command line are not seen.
    """
    try:
        settings = parse([])
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    if not settings.probe_port:
        return 0
    connection = HTTPConnection(settings.host or "localhost", settings.probe_port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
    except (OSError, HTTPException) as error:
        print(f"port {settings.probe_port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1  # noqa: PLR2004 - HTTP's OK


if __name__ == "__main__":
    sys.exit(main())
