"""The options of `natsscaler explain` and `natsscaler check`, in the words of kubectl."""

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    parser = argparse.ArgumentParser(
        prog=f"{program} explain",
        description="Explain why a rule scales or does not. The command reads the rule, its Deployment and"
        " NATS from this machine, and decides afresh. It changes nothing.",
        epilog="Exit status: 0 if all is well, 1 if something is wrong, 2 for wrong usage.",
    )
    parser.add_argument("rule", metavar="[NAMESPACE/]NAME", help="The ScalingRule to explain.")
    parser.add_argument(
        "--monitoring-url",
        help="Read the monitoring endpoint at this URL, such as http://127.0.0.1:8222 after kubectl"
        " port-forward. Default: the rule's natsMonitoringURL.",
    )
    return _parse(parser, arguments, environment)


def parse_check(
    program: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Read the options of `natsscaler check`, likewise."""
    parser = argparse.ArgumentParser(
        prog=f"{program} check",
        description="Check the whole installation: CRD, permissions, operator, NATS and every rule. The"
        " command changes nothing.",
        epilog="Exit status: 0 if all is well, 1 if something is wrong, 2 for wrong usage.",
    )
    return _parse(parser, arguments, environment)


def _parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str], environment: Mapping[str, str]
) -> Options:
    add = parser.add_argument
    add(
        "--kubeconfig",
        type=_file,
        help="Use this kubeconfig file. Default: the service account, else $KUBECONFIG.",
    )
    add("--context", help="Use this context of the kubeconfig. Default: the current one.")
    add(
        "-n",
        "--namespace",
        help="Look in this namespace. Default: for explain, that of the context; for check, all.",
    )
    add(
        "--operator",
        type=_operator,
        metavar="NAMESPACE/SERVICEACCOUNT",
        help="Namespace and ServiceAccount of the operator. Default: found by its label.",
    )
    add("-o", "--output", choices=("text", "json"), help="Output format. Default: text.")
    values = vars(parser.parse_args(arguments))
    given = {name: value for name, value in values.items() if value is not None}
    settings = parse_settings([], environment)
    if settings.in_cluster and "operator" not in given:
        with contextlib.suppress(OSError):
            namespace = settings.leader_elect_namespace or NAMESPACE_FILE.read_text().strip()
            given["operator"] = Target(namespace, OPERATOR.name)
    return Options(**{"kubeconfig": settings.kubeconfig, **given}, settings=settings)


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"There is no file {text}")
    return path


def _operator(text: str) -> Target:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/SERVICEACCOUNT")
    return Target(namespace, name)


def split(rule: str, namespace: str | None) -> tuple[str | None, str]:
    """Return namespace and name of a rule that is given as NAMESPACE/NAME or NAME. Raises SettingsError."""
    before, slash, name = rule.rpartition("/")
    if (slash and not before) or not name or "/" in before:
        raise SettingsError(f"{rule!r} is neither NAME nor NAMESPACE/NAME")
    if slash and namespace and namespace != before:
        raise SettingsError(f"{rule} and --namespace {namespace} contradict each other: leave one out")
    return before or namespace, name
