"""The command lines of commands, in the words of kubectl.

What a command works with is imported after its arguments are read: help comes at once.
"""

import argparse
from pathlib import Path

from natsscaler.commands.simulating_arguments import record_parser, simulate_parser

STATUSES = "Exit status: 0 if all is well, 1 if something is wrong, 2 for wrong usage."
STDIN = "-"
WATCH_SECONDS = 2


def explain_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler explain`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} explain",
        description="Explain why a rule scales or does not. The command reads the rule, its Deployment and"
        " NATS from this machine, and decides afresh. It changes nothing.",
        epilog=STATUSES,
    )
    parser.add_argument("rule", metavar="[NAMESPACE/]NAME", help="The ScalingRule to explain.")
    looking = parser.add_argument_group("Where to look")
    looking.add_argument(
        "--monitoring-url",
        help="Read the monitoring endpoint at this URL, such as http://127.0.0.1:8222 after kubectl"
        " port-forward. Default: the rule's natsMonitoringURL.",
    )
    _add_common(parser, looking, "that of the context")
    return parser


def check_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler check`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} check",
        description="Check the whole installation: CRD, permissions, operator, NATS and every rule. The"
        " command changes nothing.",
        epilog=STATUSES,
    )
    output = _add_common(parser, parser.add_argument_group("Where to look"), "all")
    output.add_argument("-a", "--all", action="store_true", help="List the rules that are OK, too.")
    return parser


def top_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler top`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} top",
        description="Show all rules in a table, the gravest first: backlog, replicas, rates, and how long ago"
        f" the rule scaled. On a terminal it is live, every {WATCH_SECONDS} s, until Ctrl+C.",
    )
    parser.add_argument("-n", "--namespace", help="Look in this namespace. Default: all.")
    _add_access(parser)
    return parser


def events_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler events`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} events",
        description="Tell the last five changes of replicas of each rule, and what is wrong with it since"
        " when. It reads the statuses of the rules.",
    )
    parser.add_argument("-n", "--namespace", help="Look in this namespace. Default: all.")
    parser.add_argument("-f", "--follow", action="store_true", help="Go on with what happens, until Ctrl+C.")
    _add_access(parser)
    return parser


def convert_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler convert`."""
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
    return parser


def _add_common(
    parser: argparse.ArgumentParser, looking: argparse._ArgumentGroup, namespace: str
) -> argparse._ArgumentGroup:
    looking.add_argument("-n", "--namespace", help=f"Look in this namespace. Default: {namespace}.")
    looking.add_argument(
        "--operator",
        type=_operator,
        metavar="NAMESPACE/SERVICEACCOUNT",
        help="Namespace and ServiceAccount of the operator. Default: found by its label.",
    )
    _add_access(parser)
    output = parser.add_argument_group("Output")
    output.add_argument("-o", "--output", choices=("text", "json"), help="Output format. Default: text.")
    output.add_argument(
        "-w", "--watch", action="store_true", help=f"Look again every {WATCH_SECONDS} s, until Ctrl+C."
    )
    return output


def _add_access(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group("Access to Kubernetes")
    access.add_argument(
        "--kubeconfig",
        type=_file,
        help="Use this kubeconfig file. Default: the service account, else $KUBECONFIG.",
    )
    access.add_argument("--context", help="Use this context of the kubeconfig. Default: the current one.")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"There is no file {text}")
    return path


def _operator(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/SERVICEACCOUNT")
    return namespace, name


PARSERS = {
    "explain": explain_parser,
    "check": check_parser,
    "top": top_parser,
    "events": events_parser,
    "convert": convert_parser,
    "simulate": simulate_parser,
    "record": record_parser,
}
