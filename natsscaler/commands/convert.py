"""`natsscaler convert`: ScalingRules out of KEDA's ScaledObjects. It reads files, and asks no cluster."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from natsscaler.core.errors import SettingsError
from natsscaler.core.keda.manifests import Output, convert_manifests

STDIN = "-"


def convert_files(program: str, arguments: Sequence[str]) -> Output:
    """Read what the arguments name, and convert it. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog=f"{program} convert",
        description="Convert KEDA's ScaledObjects with a nats-jetstream trigger into ScalingRules. The rules"
        " go to stdout as YAML, with a comment for whatever has no counterpart. The command changes nothing.",
        epilog="Exit status: 0 if all was converted, 1 if something was not, 2 for wrong usage.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", default=[STDIN], help="A manifest; -, or none: stdin."
    )
    parser.add_argument("-n", "--namespace", help="The namespace of objects that name none.")
    options = parser.parse_args(arguments)
    return convert_manifests({_shown(name): _read(name) for name in options.files}, options.namespace)


def _shown(name: str) -> str:
    return "stdin" if name == STDIN else name


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{_shown(name)} is no text in UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}") from error
