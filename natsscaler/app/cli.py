"""The command line: `natsscaler run`, `explain`, `check`, `convert`, `demo`, `version`."""

import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import uvloop

from natsscaler import __version__
from natsscaler.app.logs import configure_logging
from natsscaler.app.process import run
from natsscaler.commands.convert import convert_files
from natsscaler.commands.options import Options, parse_check, parse_explain
from natsscaler.commands.runner import Terminal, inquire
from natsscaler.core.errors import SettingsError
from natsscaler.core.words import amount
from natsscaler.settings import parse, unknown_variables

log = logging.getLogger(__name__)

PROGRAM = "natsscaler"
PLUGIN = "kubectl-natsscaler"
"""By this name kubectl finds it on PATH, as `kubectl natsscaler`."""
USAGE = """usage: {program} COMMAND [--help]

Scale Kubernetes Deployments on the backlog of NATS JetStream.

Commands:
  run      Watch ScalingRules and scale their Deployments.
  explain  Explain why a rule scales or does not, and how to fix it.
  check    Check the whole installation: CRD, permissions, NATS and every rule.
  convert  Convert KEDA's ScaledObjects into ScalingRules.
  demo     Show bursts on a real nats-server, with an embedded Kubernetes API.
  version  Print the version.

'{program} COMMAND --help' describes a command.
"""


def main() -> None:
    """Run the command line."""
    plugin = pathlib.Path(sys.argv[0]).name == PLUGIN
    sys.exit(_main("kubectl natsscaler" if plugin else PROGRAM, sys.argv[1:]))


def _main(program: str, arguments: Sequence[str]) -> int:
    command, *rest = arguments or [""]
    if command not in COMMANDS:
        asked = command in ("-h", "--help", "help")
        print(USAGE.format(program=program), end="", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        return COMMANDS[command](program, rest)
    except SettingsError as error:
        print(f"{program} {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(_: str, arguments: Sequence[str]) -> int:
    settings = parse(arguments)
    configure_logging(settings.log_level)
    for told in unknown_variables():
        log.warning(told)
    return uvloop.run(run(settings))


def _explain(program: str, arguments: Sequence[str]) -> int:
    return _inquire(f"{program} explain", parse_explain(program, arguments))


def _check(program: str, arguments: Sequence[str]) -> int:
    return _inquire(f"{program} check", parse_check(program, arguments))


def _inquire(command: str, options: Options) -> int:
    logging.disable(logging.WARNING)  # the answer says what is to be said
    people = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if people else None
    terminal = Terminal(colour=people and "NO_COLOR" not in os.environ, width=width)
    answer = uvloop.run(inquire(options, terminal))
    if answer.failure:
        print(f"{command}: {answer.failure}", file=sys.stderr)
    print(answer.told, end="")
    return answer.status


def _convert(program: str, arguments: Sequence[str]) -> int:
    made = convert_files(program, arguments)
    print(made.text, end="")
    for error in made.errors:
        print(f"{program} convert: {error}", file=sys.stderr)
    rules, notes = amount(made.rules, "ScalingRule"), amount(made.notes, "comment")
    print(f"{program} convert: {rules}, {notes} to read, {len(made.errors)} not converted", file=sys.stderr)
    return int(bool(made.errors) or not made.rules)


def _version(_: str, __: Sequence[str]) -> int:
    print(__version__)
    return 0


def _demo(_: str, arguments: Sequence[str]) -> int:
    try:
        from natsscaler.demo.command import demo  # noqa: PLC0415 - needs the extra `demo`
    except ModuleNotFoundError as error:
        message = f"{error.name} is missing: install the extra 'demo' (pip install 'natsscaler[demo]')"
        raise SettingsError(message) from error
    return demo(arguments)


COMMANDS = {
    "run": _run,
    "explain": _explain,
    "check": _check,
    "convert": _convert,
    "demo": _demo,
    "version": _version,
}
