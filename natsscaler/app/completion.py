"""Scripts that complete commands and flags in a shell; whatever is no flag, the shell completes as a file."""

import re
from collections.abc import Callable, Mapping, Sequence

from natsscaler.commands.arguments import PARSERS
from natsscaler.demo.arguments import demo_parser

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "natsscaler"
FLAG = re.compile(r"^  (?:-\w(?: \S+)?, )?--([a-z-]+)", re.MULTILINE)
"""A flag of a command, as its help shows it."""


def script(shell: str, commands: Mapping[str, str]) -> str:
    """Write the script for one of SHELLS. `commands`: what each does."""
    flags = {name: _flags(name) for name in commands}
    writers: dict[str, Callable[[Mapping[str, str], Mapping[str, Sequence[str]]], str]] = {
        "bash": _bash,
        "zsh": _zsh,
        "fish": _fish,
    }
    return writers[shell](commands, flags)


def _flags(command: str) -> list[str]:
    """List the flags of a command, without their dashes."""
    if command == "run":
        from natsscaler.settings import SETTINGS  # noqa: PLC0415 - takes longer than the rest

        return [one.flag.removeprefix("--") for one in SETTINGS.values()]
    parsers = {**PARSERS, "demo": demo_parser}
    return FLAG.findall(parsers[command](PROGRAM).format_help()) if command in parsers else []


def _bash(commands: Mapping[str, str], flags: Mapping[str, Sequence[str]]) -> str:
    cases = "".join(
        f"    {name}) words='{' '.join(f'--{flag}' for flag in own)}' ;;\n"
        for name, own in flags.items()
        if own
    )
    return (
        f"_{PROGRAM}() {{\n"
        '  local current=${COMP_WORDS[COMP_CWORD]} words=""\n'
        '  if [ "$COMP_CWORD" -eq 1 ]; then\n'
        f"    words='{' '.join(commands)} --help --version'\n"
        '  elif [ "${COMP_WORDS[1]}" = completion ]; then\n'
        f"    words='{' '.join(SHELLS)}'\n"
        "  elif [[ $current == -* ]]; then case ${COMP_WORDS[1]} in\n"
        f"{cases}"
        "  esac; fi\n"
        '  COMPREPLY=($(compgen -W "$words" -- "$current"))\n'
        "}\n"
        f"complete -o default -F _{PROGRAM} {PROGRAM}\n"
    )


def _zsh(commands: Mapping[str, str], flags: Mapping[str, Sequence[str]]) -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash(commands, flags)}"


def _fish(commands: Mapping[str, str], flags: Mapping[str, Sequence[str]]) -> str:
    lines = [
        f'complete -c {PROGRAM} -f -n __fish_use_subcommand -a {name} -d "{does}"'
        for name, does in commands.items()
    ]
    lines += [
        f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}' -l {flag}"
        for name, own in flags.items()
        for flag in own
    ]
    lines.append(
        f"complete -c {PROGRAM} -f -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'"
    )
    return "\n".join([*lines, ""])
