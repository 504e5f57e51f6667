"""The command line: `natsscaler run`, `natsscaler demo`, `natsscaler version`."""

import sys
from collections.abc import Sequence

import uvloop

from natsscaler import __version__
from natsscaler.errors import SettingsError
from natsscaler.logs import configure_logging
from natsscaler.process import run
from natsscaler.settings import parse

USAGE = """usage: natsscaler COMMAND [--help]

  run      watch ScalingRules and scale their Deployments
  demo     see it work: a real nats-server, an embedded Kubernetes API, a burst
  version  print the version
"""


def main() -> None:
    """Run the command line."""
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: Sequence[str]) -> int:
    command, *rest = arguments or [""]
    try:
        if command == "run":
            settings = parse(rest)
            configure_logging(settings.log_level)
            return uvloop.run(run(settings))
        if command == "demo":
            return _demo(rest)
    except SettingsError as error:
        print(f"natsscaler {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if command == "version":
        print(__version__)
        return 0
    print(USAGE, end="", file=sys.stdout if command in ("-h", "--help", "help") else sys.stderr)
    return 0 if command in ("-h", "--help", "help") else 2


def _demo(arguments: Sequence[str]) -> int:
    try:
        from natsscaler.demo.command import demo  # noqa: PLC0415 - needs the extra `demo`
    except ModuleNotFoundError as error:
        message = f"{error.name} is missing: install the extra 'demo' (pip install 'natsscaler[demo]')"
        raise SettingsError(message) from error
    return demo(arguments)
