"""The command line itself: its commands, its help, its mistakes, its completion."""

import subprocess
import sys

import pytest

from natsscaler import __version__
from natsscaler.app.cli import COMMANDS, unknown
from natsscaler.app.completion import script

HEAVY = ("kubernetes", "kopf", "aiohttp", "httpx", "nats", "uvloop", "rich")
"""What takes long to import."""


def natsscaler(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "natsscaler", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("flag", ["--version", "-V", "version"])
def test_the_version(flag: str) -> None:
    done = natsscaler(flag)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_the_help_names_every_command(flag: str) -> None:
    done = natsscaler(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []


@pytest.mark.parametrize(
    ("command", "meant"),
    [("expl", "explain"), ("chekc", "check"), ("chk", "check"), ("v", "version"), ("xyzzy", ""), ("", "")],
)
def test_a_command_that_does_not_exist(command: str, meant: str) -> None:
    told = unknown("kubectl natsscaler", command)
    assert told.endswith("See 'kubectl natsscaler --help'")
    assert ("Did you mean" in told) == bool(meant)
    assert f"Did you mean {meant}? " in told or not meant


def test_a_mistake_is_told_on_stderr_with_status_2() -> None:
    done = natsscaler("expl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "natsscaler: There is no command 'expl'. Did you mean explain? See 'natsscaler --help'\n"
    )
    assert natsscaler().returncode == 2


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["expl"], *([one, "--help"] for one in COMMANDS)]
)
def test_help_and_mistakes_import_nothing_that_takes_long(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from natsscaler.app.cli import _main\n"
        "try: _main('natsscaler', sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["explain", "check", "run"])
def test_options_are_grouped_in_the_help(command: str) -> None:
    told = natsscaler("help", command).stdout
    assert told.startswith(f"usage: natsscaler {command}")
    assert "\nKubernetes:" in told or "\nAccess to Kubernetes:" in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["natsscaler", "ex"], ["explain"]),
        (["natsscaler", "--v"], ["--version"]),
        (["natsscaler", "explain", "--mon"], ["--monitoring-url"]),
        (["natsscaler", "run", "--leader-elect-n"], ["--leader-elect-namespace"]),
        (["natsscaler", "demo", "--k"], ["--keep-running", "--kubeconfig"]),
        (["natsscaler", "completion", "z"], ["zsh"]),
        (["natsscaler", "convert", "some-file"], []),
    ],
)
def test_bash_completes_commands_and_flags(words: list[str], expected: list[str]) -> None:
    made = script("bash", dict.fromkeys(COMMANDS, ""))
    asked = (
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _natsscaler; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", f"{made}\n{asked}"], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (expected, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_every_command(shell: str) -> None:
    done = natsscaler("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if name not in done.stdout] == []


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_completion_for_no_shell_it_knows(arguments: list[str]) -> None:
    done = natsscaler("completion", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: natsscaler completion {bash,zsh,fish}")
