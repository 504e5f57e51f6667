"""Flags and environment, read once. Every flag has an environment variable; the flag wins.

Only this module reads the environment, so that what natsscaler does is what its settings say.
"""

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from natsscaler.core.access import servers
from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import EventSource

PREFIX = "NATSSCALER_"
MAX_ACTIONS = 10_000
LONGEST_TIMEOUT = 30
MAX_MIB = 1024
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its namespace."""
LONGEST_LEASE, SHORTEST_DEADLINE = 600, 2
NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HOST_PATTERN = re.compile(r"[A-Za-z0-9._*?\[\]!-]+")
ENDPOINT = re.compile(r"https?://([A-Za-z0-9._*-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?(/[A-Za-z0-9._~/-]*)?")
"""Scheme, host pattern or IPv6 address, port and path prefix."""
SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))\w*=.*|\w+_PORT=(tcp|udp|sctp)://.*"
)
"""What Kubernetes puts into the environment of a pod for a Service: its address and its ports."""
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one process of natsscaler runs."""

    kubeconfig: Path | None = None
    """None: the pod's service account, or outside a cluster the default kubeconfig."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose rules and Deployments are looked at; none: all."""
    host: str = ""
    """Address that the ports below are opened on; empty: all, of IPv4 and IPv6."""
    metrics_port: int = 8080
    """0: off; likewise for the next two."""
    probe_port: int = 8081
    activity_port: int = 8082
    max_actions: int = 100
    """How many actions `/scaling-activity` gives, 1 to 10,000; they are kept in memory."""
    activity_token: str = field(default="", repr=False)
    """What the activity port asks for; empty: nothing. Not shown with the other settings."""
    allow_cross_namespace: bool = False
    """Let a rule scale a Deployment in another namespace than its own."""
    allow_hosts: tuple[str, ...] = ()
    """Host patterns and CIDRs that rules may lead to; none: see network.AllowList."""
    events: frozenset[EventSource] = frozenset(EventSource)
    """What may wake rules before their deadline; a rule's spec.events can only narrow it."""
    read_budget: float = 0.05
    """Share of the time that a NATS server may be kept busy by reads, above 0 and up to 1."""
    monitoring_timeout: int = 5
    """Seconds for one answer of a monitoring endpoint, from connecting to the last byte, 1 to 30."""
    monitoring_max_mib: int = 64
    """MiB that one such answer may have, 1 to 1,024."""
    monitoring_proxy: str | None = None
    """HTTP proxy that monitoring endpoints are reached by; None: none, whatever the environment says."""
    nats_url: str | None = None
    """NATS servers for events of rules without spec.nats.url, between commas; None: derived from
    natsMonitoringURL."""
    nats_credentials: Path | None = None
    """Directory with the credentials for `nats_url`, in files named as the keys of a Secret."""
    monitoring_credentials: Path | None = None
    """Likewise for monitoring endpoints."""
    monitoring_credentials_hosts: tuple[str, ...] = ()
    """Host patterns, CIDRs and URLs of the monitoring endpoints that get them."""
    leader_elect: bool = False
    """Act only while holding a Lease, so that several processes can run."""
    leader_elect_lease_duration: int = 15
    """Seconds after which others take over a Lease that is not renewed; the failover takes this long."""
    leader_elect_renew_deadline: int = 10
    """Seconds without a renewal after which the leader ends. The rest of the lease duration is for a request
    that it sent just before, which may take 5 s."""
    leader_elect_namespace: str = ""
    """Namespace of the Lease."""
    log_level: str = "info"
    in_cluster: bool = False
    """Running in a pod (Kubernetes sets KUBERNETES_SERVICE_HOST there)."""
    api_service: str = ""
    """Address of the API server's Service, as KUBERNETES_SERVICE_HOST says."""


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of `natsscaler run`. Raises SettingsError; exits by itself on --help."""
    parser = _parser()
    given = [*_from_environment(parser, environment), *arguments]
    try:
        values = vars(parser.parse_args(given))
    except argparse.ArgumentError as error:
        flag = str(error.argument_name)
        raise SettingsError(f"{flag} [{variable(flag)}]: {error.message}") from error
    values["namespaces"] = values.pop("namespace")
    token_file = values.pop("activity_token_file")
    if token_file and not values["activity_token"]:
        values["activity_token"] = _token(token_file)
    for name in ("namespaces", "allow_hosts", "monitoring_credentials_hosts"):
        if values[name] is not None:
            values[name] = tuple(item for value in values[name] for item in _items(value))
    if values["events"] is not None:
        values["events"] = _events(values["events"])
    if values["leader_elect"] and not values["leader_elect_namespace"]:
        values["leader_elect_namespace"] = _own_namespace()
    settings = Settings(
        in_cluster="KUBERNETES_SERVICE_HOST" in environment,
        api_service=environment.get("KUBERNETES_SERVICE_HOST", ""),
        **{name: value for name, value in values.items() if value is not None},
    )
    _check_names(settings)
    _check_credentials(settings)
    duration, deadline = settings.leader_elect_lease_duration, settings.leader_elect_renew_deadline
    if not SHORTEST_DEADLINE <= deadline < duration <= LONGEST_LEASE:
        raise SettingsError(
            f"--leader-elect-renew-deadline {deadline}s must be at least {SHORTEST_DEADLINE}s and shorter"
            f" than --leader-elect-lease-duration {duration}s, which must be at most {LONGEST_LEASE}s"
        )
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="natsscaler run",
        description="Watch ScalingRules and scale their Deployments.",
        epilog=f"Each flag can be given by the environment instead, as {PREFIX}METRICS_PORT for"
        " --metrics-port; repeatable ones separate values by commas. LOG_LEVEL and NATS_URL have no prefix.",
        exit_on_error=False,
    )
    add = parser.add_argument
    add("--kubeconfig", type=Path, help="kubeconfig file (default: the service account, else $KUBECONFIG)")
    add("--namespace", action="append", help="only this namespace; repeatable (default: all)")
    add("--host", help="address to listen on (default: all, of IPv4 and IPv6)")
    add("--metrics-port", type=_whole(0, 2**16 - 1), help="Prometheus metrics (default 8080, 0: off)")
    add("--probe-port", type=_whole(0, 2**16 - 1), help="/healthz and /readyz (default 8081, 0: off)")
    add("--activity-port", type=_whole(0, 2**16 - 1), help="activity page and JSON (default 8082, 0: off)")
    add("--max-actions", type=_whole(1, MAX_ACTIONS), help="that the activity page keeps (default 100)")
    add(
        "--activity-token",
        help="ask for this token on the activity port; better by the environment or a file",
    )
    add("--activity-token-file", type=Path, help="file that has the token")
    add(
        "--allow-cross-namespace",
        nargs="?",
        const=True,
        type=_switch,
        metavar="true",
        help="let rules scale Deployments of other namespaces (default: no)",
    )
    add("--allow-hosts", action="append", help="host pattern or CIDR that rules may lead to; repeatable")
    add("--events", help="what wakes rules early: Advisories,Doorbell (default: both; none: poll only)")
    add("--read-budget", type=_share, help="share of time a NATS server may be busy with reads (0.05)")
    add("--monitoring-timeout", type=_timeout, help="for one answer of a monitoring endpoint (default 5s)")
    add("--monitoring-max-mib", type=_whole(1, MAX_MIB), help="that one such answer may have (default 64)")
    add("--monitoring-proxy", type=_proxy, help="HTTP proxy to reach monitoring endpoints by (default: none)")
    add(
        "--nats-url",
        type=_nats_url,
        help="NATS server for events, or several of one cluster between commas"
        " (default: derived from natsMonitoringURL) [NATS_URL]",
    )
    add("--nats-credentials", type=Path, help="directory with credentials for --nats-url, as of a Secret")
    add("--monitoring-credentials", type=Path, help="directory with credentials for monitoring endpoints")
    add(
        "--monitoring-credentials-hosts",
        action="append",
        help="URL, host pattern or CIDR of monitoring endpoints that get them; repeatable (default: none)",
    )
    add(
        "--leader-elect",
        nargs="?",
        const=True,
        type=_switch,
        metavar="true",
        help="act only while holding the Lease natsscaler.scaling.example.com (default: no)",
    )
    add("--leader-elect-lease-duration", type=_seconds, help="after which others take over (default 15s)")
    add("--leader-elect-renew-deadline", type=_seconds, help="after which a leader gives up (default 10s)")
    add("--leader-elect-namespace", help="namespace of the Lease (default: the pod's own)")
    add("--log-level", type=str.lower, choices=LOG_LEVELS, help="default info [LOG_LEVEL]")
    return parser


def _check_credentials(settings: Settings) -> None:
    """See that the operator's own credentials have a place to go, and one only."""
    if settings.nats_credentials and not settings.nats_url:
        raise SettingsError("--nats-credentials needs --nats-url: they are sent to no other server")
    if settings.nats_credentials and "@" in (settings.nats_url or ""):
        raise SettingsError("--nats-url holds a user, and --nats-credentials is given too: keep one of them")
    if settings.monitoring_credentials and not settings.monitoring_credentials_hosts:
        message = "needs --monitoring-credentials-hosts: who is not named there does not receive them"
        raise SettingsError(f"--monitoring-credentials {message}")
    for directory in (settings.nats_credentials, settings.monitoring_credentials):
        if directory and not directory.is_dir():
            raise SettingsError(f"{directory} is no directory: mount the Secret with the credentials there")


def _check_names(settings: Settings) -> None:
    """Refuse what can name no namespace and no host: it would select nothing, and nobody would notice."""
    for flag, names in (
        ("--namespace", settings.namespaces),
        ("--leader-elect-namespace", filter(None, [settings.leader_elect_namespace])),
    ):
        for name in names:
            if not NAMESPACE_NAME.fullmatch(name):
                raise SettingsError(
                    f"{flag} [{variable(flag)}]: {name!r} is no namespace's name, which has up to 63 small"
                    " letters, digits and hyphens"
                )
    for flag, patterns in (
        ("--allow-hosts", settings.allow_hosts),
        ("--monitoring-credentials-hosts", settings.monitoring_credentials_hosts),
    ):
        for pattern in patterns:
            takes_urls = flag == "--monitoring-credentials-hosts"
            if not (_is_host_pattern(pattern) or (takes_urls and _is_endpoint(pattern))):
                fix = "nor a URL, such as https://nats:8222" if takes_urls else "leave out scheme and port"
                raise SettingsError(
                    f"{flag} [{variable(flag)}]: {pattern!r} is neither a host pattern, such as *.nats.svc,"
                    f" nor an address, nor a CIDR, such as 10.0.0.0/8; {fix}"
                )


def _is_host_pattern(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return bool(HOST_PATTERN.fullmatch(text))
    return True


def _is_endpoint(text: str) -> bool:
    try:
        return bool(ENDPOINT.fullmatch(text)) and urlsplit(text).port != 0
    except ValueError:  # no port, or no IPv6 address
        return False


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Say of each variable with natsscaler's prefix that no flag reads, what it could have been meant to be.

    Those that Kubernetes itself sets for a Service of that name (service links) are passed over.
    """
    known = {variable(flag).removeprefix(PREFIX) for flag in _flags(_parser())}
    told = []
    for name, value in sorted(environment.items()):
        rest = name.removeprefix(PREFIX)
        if rest not in (name, *known) and not SERVICE_LINK.match(f"{name}={value}"):
            close = get_close_matches(rest, known, n=1)
            meant = f": did you mean {PREFIX}{close[0]}?" if close else ", see natsscaler run --help"
            told.append(f"The environment variable {name} is not known{meant}")
    return told


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    actions = parser._actions  # noqa: SLF001 - argparse has no public list of its options
    return [action.option_strings[0] for action in actions if action.dest != "help"]


def _from_environment(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> list[str]:
    given = {flag: environment.get(variable(flag)) for flag in _flags(parser)}
    return [f"{flag}={value}" for flag, value in given.items() if value]


def variable(flag: str) -> str:
    """Return the environment variable that stands for a flag."""
    return {"--nats-url": "NATS_URL", "--log-level": "LOG_LEVEL"}.get(
        flag, PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} must be true or false")
    return text.lower() == "true"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of time: above 0, at most 1")
    return share


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s?)?", text)
    if not text or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration in whole seconds, such as 15s or 1m")
    minutes, seconds = found.groups(default="0")
    return 60 * int(minutes) + int(seconds)


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--activity-token-file {path}: {error}") from error
    if not token:
        raise SettingsError(f"--activity-token-file {path}: the file is empty, so anybody could log in")
    return token


def _timeout(text: str) -> int:
    seconds = _seconds(text)
    if not 1 <= seconds <= LONGEST_TIMEOUT:
        raise argparse.ArgumentTypeError(f"{text} is out of bounds: 1s to {LONGEST_TIMEOUT}s")
    return seconds


def _proxy(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+/?", text):
        raise argparse.ArgumentTypeError("it must be a URL as http://proxy:3128")
    return text


def _nats_url(text: str) -> str:
    try:
        return ",".join(servers(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError as error:
        raise SettingsError(
            "--leader-elect-namespace is needed outside a cluster: the namespace that the Lease is to be in"
        ) from error


def _events(text: str) -> frozenset[EventSource]:
    names = [] if text.strip().lower() == "none" else _items(text)
    try:
        return frozenset(EventSource(name) for name in names)
    except ValueError as error:
        raise SettingsError(
            f"--events {text}: {error}; known are {', '.join(EventSource)} and none"
        ) from error
