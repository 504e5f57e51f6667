"""The options of `natsscaler explain` and `natsscaler check`, in the words of kubectl."""

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from natsscaler.commands.arguments import PARSERS, check_parser, explain_parser
from natsscaler.core.errors import SettingsError
from natsscaler.core.installation import OPERATOR, Installation
from natsscaler.core.rule import Target
from natsscaler.settings import NAMESPACE_FILE, Settings
from natsscaler.settings import parse as parse_settings


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to look at, and how to say it."""

    rule: str = ""
    """NAME or NAMESPACE/NAME of the rule to explain."""
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    monitoring_url: str | None = None
    """Where to reach the rule's monitoring endpoint from here; None: at its natsMonitoringURL."""
    operator: Target | None = None
    """Namespace and ServiceAccount of the operator; None: it is looked for."""
    installed: Installation = Installation()  # noqa: RUF009 - it is immutable
    """The operator that was found."""
    output: str = "text"
    all: bool = False
    """Whether `check` lists the rules that are well, too."""
    watch: bool = False
    """Whether to look again until somebody ends it."""
    follow: bool = False
    """Whether `events` goes on with what happens."""
    settings: Settings = field(default_factory=Settings)
    """Those of `natsscaler run`, by the environment that the command shares with the operator in its pod."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """What to look at, if it is not all: the namespace that was asked for, else the operator's."""
        if self.namespace:
            return (self.namespace,)
        return self.settings.namespaces or self.installed.namespaces


def parse_explain(
    program: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Read the options of `natsscaler explain`. Raises SettingsError for an operator's setting that is wrong.

    Exits by itself on --help and on wrong usage (status 2).
    """
    return _parse(explain_parser(program), arguments, environment)


def parse_check(
    program: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Read the options of `natsscaler check`, likewise."""
    return _parse(check_parser(program), arguments, environment)


def parse_other(
    command: str, program: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Read the options of `natsscaler top` and `natsscaler events`, likewise."""
    return _parse(PARSERS[command](program), arguments, environment)


def _parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str], environment: Mapping[str, str]
) -> Options:
    values = vars(parser.parse_args(arguments))
    given = {name: value for name, value in values.items() if value is not None}
    settings = parse_settings([], environment)
    if "operator" in given:
        given["operator"] = Target(*given["operator"])
    elif settings.in_cluster:
        with contextlib.suppress(OSError):
            namespace = settings.leader_elect_namespace or NAMESPACE_FILE.read_text().strip()
            given["operator"] = Target(namespace, OPERATOR.name)
    return Options(**{"kubeconfig": settings.kubeconfig, **given}, settings=settings)


def split(rule: str, namespace: str | None) -> tuple[str | None, str]:
    """Return namespace and name of a rule that is given as NAMESPACE/NAME or NAME. Raises SettingsError."""
    before, slash, name = rule.rpartition("/")
    if (slash and not before) or not name or "/" in before:
        raise SettingsError(f"{rule!r} is neither NAME nor NAMESPACE/NAME")
    if slash and namespace and namespace != before:
        raise SettingsError(f"{rule} and --namespace {namespace} contradict each other: leave one out")
    return before or namespace, name
