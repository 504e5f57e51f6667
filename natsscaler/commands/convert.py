"""`natsscaler convert`: ScalingRules out of KEDA's ScaledObjects. It reads files, and asks no cluster."""

import sys
from collections.abc import Sequence
from pathlib import Path

from natsscaler.commands.arguments import STDIN, convert_parser
from natsscaler.core.errors import SettingsError
from natsscaler.core.keda.manifests import Output, convert_manifests


def convert_files(program: str, arguments: Sequence[str]) -> Output:
    """Read what the arguments name, and convert it. Raises SettingsError."""
    options = convert_parser(program).parse_args(arguments)
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
