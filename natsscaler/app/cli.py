"""The command line. A command is imported when it is asked for, so help and mistakes are told at once."""

import difflib
import logging
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from natsscaler import __version__

if TYPE_CHECKING:
    from natsscaler.commands.options import Options

PROGRAM = "natsscaler"
PLUGIN = "kubectl-natsscaler"
"""By this name kubectl finds it on PATH, as `kubectl natsscaler`."""
HELP, VERSION = ("-h", "--help", "help"), ("-V", "--version", "version")


def main() -> None:
    """Run the command line."""
    plugin = pathlib.Path(sys.argv[0]).name == PLUGIN
    sys.exit(_main("kubectl natsscaler" if plugin else PROGRAM, sys.argv[1:]))


def _main(program: str, arguments: Sequence[str]) -> int:
    command, *rest = arguments or [""]
    if command == "help" and rest:
        command, rest = rest[0], ["--help"]
    if command in VERSION:
        print(__version__)
        return 0
    if command in HELP:
        print(usage(program), end="")
        return 0
    if command not in COMMANDS:
        print(f"{unknown(program, command)}\n" if command else usage(program), end="", file=sys.stderr)
        return 2
    return _run_command(program, command, rest)


def _run_command(program: str, command: str, arguments: Sequence[str]) -> int:
    if set(HELP[:2]) & set(arguments):
        _tell_help(program, command)
    from natsscaler.core.errors import SettingsError

    try:
        return COMMANDS[command].run(program, arguments)
    except SettingsError as error:
        print(f"{program} {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def usage(program: str) -> str:
    """Write what the commands are."""
    width = max(map(len, COMMANDS))
    listed = "".join(f"  {name:<{width}}  {command.does}\n" for name, command in COMMANDS.items())
    return (
        f"usage: {program} COMMAND [--help]\n\n"
        "Scale Kubernetes Deployments on the backlog of NATS JetStream.\n\n"
        f"Commands:\n{listed}\n"
        f"'{program} COMMAND --help' describes a command.\n"
    )


def unknown(program: str, command: str) -> str:
    """Say that there is no such command, and which one may be meant."""
    starting = [name for name in COMMANDS if command and name.startswith(command)]
    near = starting or difflib.get_close_matches(command, COMMANDS, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{program}: There is no command {command!r}. {meant}See '{program} --help'"


def _tell_help(program: str, command: str) -> None:
    """Print the help of a command that has more to import than its help needs, and exit."""
    from natsscaler.commands.arguments import PARSERS
    from natsscaler.demo.arguments import demo_parser

    parsers = {**PARSERS, "demo": demo_parser}
    if command in parsers:
        parsers[command](program).parse_args(["--help"])


def _run(_: str, arguments: Sequence[str]) -> int:
    from natsscaler.settings import parse, unknown_variables

    settings = parse(arguments)
    import uvloop

    from natsscaler.app.logs import configure_logging
    from natsscaler.app.process import run

    configure_logging(settings.log_level)
    for told in unknown_variables():
        logging.getLogger(__name__).warning(told)
    return uvloop.run(run(settings))


def _explain(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.options import parse_explain

    return _inquire(f"{program} explain", parse_explain(program, arguments))


def _check(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.options import parse_check

    return _inquire(f"{program} check", parse_check(program, arguments))


def _inquire(command: str, options: "Options") -> int:
    import uvloop

    from natsscaler.commands.arguments import WATCH_SECONDS
    from natsscaler.commands.overview import CLEAR
    from natsscaler.commands.runner import Terminal, inquire

    logging.disable(logging.WARNING)  # the answer says what is to be said
    people = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if people else None
    terminal = Terminal(colour=people and "NO_COLOR" not in os.environ, width=width)
    while True:
        answer = uvloop.run(inquire(options, terminal))
        if people and options.watch:
            print(CLEAR, end="")
        if answer.failure:
            print(f"{command}: {answer.failure}", file=sys.stderr)
        print(answer.told, end="", flush=True)
        if not options.watch:
            return answer.status
        time.sleep(WATCH_SECONDS)


def _top(program: str, arguments: Sequence[str]) -> int:
    return _look("top", program, arguments)


def _events(program: str, arguments: Sequence[str]) -> int:
    return _look("events", program, arguments)


def _look(command: str, program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.options import parse_other

    options = parse_other(command, program, arguments)
    import uvloop

    from natsscaler.commands.overview import events, top
    from natsscaler.core.errors import KubernetesError
    from natsscaler.core.explain.text import Style

    logging.disable(logging.WARNING)
    people = sys.stdout.isatty()

    def style() -> Style:
        width = shutil.get_terminal_size().columns if people else None
        return Style(time.time(), people and "NO_COLOR" not in os.environ, width)

    def say(text: str) -> None:
        print(text, end="", flush=True)

    look = top(options, style, say, live=people) if command == "top" else events(options, style, say)
    try:
        uvloop.run(look)
    except KubernetesError as error:
        print(f"{program} {command}: {error.message}", file=sys.stderr)
        return 1
    return 0


def _convert(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.convert import convert_files
    from natsscaler.core.words import amount

    made = convert_files(program, arguments)
    print(made.text, end="")
    for error in made.errors:
        print(f"{program} convert: {error}", file=sys.stderr)
    rules, notes = amount(made.rules, "ScalingRule"), amount(made.notes, "comment")
    print(f"{program} convert: {rules}, {notes} to read, {len(made.errors)} not converted", file=sys.stderr)
    return int(bool(made.errors) or not made.rules)


def _simulate(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.simulate import run_simulation

    told = run_simulation(program, arguments, shutil.get_terminal_size().columns)
    print(told.text, end="")
    for failure in told.failures:
        print(f"{program} simulate: {failure}", file=sys.stderr)
    return int(bool(told.failures))


def _record(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.commands.record import record

    print(record(program, arguments))
    return 0


def _completion(program: str, arguments: Sequence[str]) -> int:
    from natsscaler.app.completion import SHELLS, script

    shell = arguments[0] if len(arguments) == 1 else ""
    asked = bool(set(HELP) & set(arguments))
    if shell in SHELLS:
        print(script(shell, {name: command.does for name, command in COMMANDS.items()}), end="")
        return 0
    told = (
        f"usage: {program} completion {{{','.join(SHELLS)}}}\n\n"
        "Print a script that completes commands and flags. In bash: source <(natsscaler completion bash)"
    )
    print(told, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


def _demo(_: str, arguments: Sequence[str]) -> int:
    from natsscaler.core.errors import SettingsError

    try:
        from natsscaler.demo.command import demo
    except ModuleNotFoundError as error:
        message = f"{error.name} is missing: install the extra 'demo' (pip install 'natsscaler[demo]')"
        raise SettingsError(message) from error
    return demo(arguments)


class Command(NamedTuple):
    """A command."""

    does: str
    """What it does, in a sentence."""
    run: Callable[[str, Sequence[str]], int]


COMMANDS = {
    "run": Command("Watch ScalingRules and scale their Deployments.", _run),
    "explain": Command("Explain why a rule scales or does not, and how to fix it.", _explain),
    "check": Command("Check the whole installation: CRD, permissions, NATS and every rule.", _check),
    "top": Command("Show all rules in a live table.", _top),
    "events": Command("Tell what the rules did, and with -f what they do.", _events),
    "convert": Command("Convert KEDA's ScaledObjects into ScalingRules.", _convert),
    "simulate": Command("Simulate what a rule would do with given arrivals of messages.", _simulate),
    "record": Command("Write down the past of a rule, to simulate it later.", _record),
    "demo": Command("Show bursts on a real nats-server, with an embedded Kubernetes API.", _demo),
    "completion": Command("Print a script for completion in bash, zsh or fish.", _completion),
    "version": Command("Print the version.", lambda *_: 0),
}
