"""The settings of `natsscaler run`: each is declared once, as a field of Settings, and read once.

From the declaration come the flag, the environment variable, the help, the messages and the row in
docs/settings.md. Only this module reads the environment, so that what natsscaler does is what its settings
say.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from natsscaler.core import setting_kinds as kinds
from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import EventSource
from natsscaler.core.setting_kinds import ValueKind

PREFIX = "NATSSCALER_"
LONGEST_LEASE = 600
"""Seconds. No process writes a longer lease duration."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its namespace."""
SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))\w*=.*|\w+_PORT=(tcp|udp|sctp)://.*"
)
"""What Kubernetes puts into the environment of a pod for a Service: its address and its ports."""
HELP = "natsscaler run --help"


class Group(StrEnum):
    """A heading of the help, with the settings below it."""

    RULES = "Rules"
    KUBERNETES = "Kubernetes"
    PORTS = "Ports"
    MONITORING = "NATS monitoring endpoints"
    EVENTS = "NATS connections for events"
    LEADER_ELECTION = "Leader election"
    LOG = "Log"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a setting is given, and what it does."""

    kind: ValueKind
    default: str | None
    """As it is written; empty or None: see `unset`."""
    does: str
    """What it does, in whole sentences."""
    group: Group
    unset: str = ""
    """What happens without a value."""
    chart: str = ""
    """The value of the Helm chart that sets it; empty: there is none, because a pod does not need it."""
    flag: str = ""
    variable: str = ""

    def __str__(self) -> str:
        return f"{self.flag} [{self.variable}]"

    @property
    def facts(self) -> str:
        """Its values and its default."""
        values = f"Values: {self.kind.values}. " if self.kind.values else ""
        repeatable = "Repeatable. " if self.kind.repeatable else ""
        return f"{values}{repeatable}Default: {self.default or self.unset}."

    def read(self, text: str) -> object:
        """Read a value. Raises SettingsError."""
        try:
            return self.kind.read(text)
        except ValueError as error:
            raise SettingsError(f"{self}: {error}") from error

    def of(self, name: str) -> "Setting":
        """Derive flag and variable from the name of the field, unless they are declared."""
        flag = self.flag or f"--{name.replace('_', '-')}"
        variable = self.variable or PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        return replace(self, flag=flag, variable=variable)


def setting(
    kind: ValueKind, default: str | None, does: str, group: Group, *, secret: bool = False, **more: str
) -> Any:
    """Declare a field of Settings. A `secret` one is not shown with the others; `more`: of Setting."""
    value = None if default is None else kind.read(default)
    declared = Setting(kind=kind, default=default, does=does, group=group, **more)
    return field(default=value, repr=not secret, metadata={"setting": declared})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one process of natsscaler runs."""

    namespaces: tuple[str, ...] = setting(
        kinds.NAMESPACES,
        "",
        "Watch only the ScalingRules and Deployments of this namespace.",
        Group.RULES,
        unset="all namespaces",
        flag="--namespace",
        chart="operator.namespaces",
    )
    allow_cross_namespace: bool = setting(
        kinds.SWITCH,
        "false",
        "Let a rule scale a Deployment of another namespace than its own.",
        Group.RULES,
        chart="operator.allowCrossNamespace",
    )
    dry_run: bool = setting(
        kinds.SWITCH,
        "false",
        "Decide and record for every rule, but never change replicas.",
        Group.RULES,
        chart="operator.dryRun",
    )
    allow_hosts: tuple[str, ...] = setting(
        kinds.HOSTS,
        "",
        "Let rules lead only to these hosts. Link-local and metadata addresses and the Kubernetes API are"
        " never allowed.",
        Group.RULES,
        unset="all other hosts",
        chart="operator.allowHosts",
    )
    events: frozenset[EventSource] = setting(
        kinds.EVENTS,
        "Advisories,Doorbell",
        "Let these events wake a rule before its pollIntervalSeconds is over. A rule's spec.events can only"
        " narrow the list.",
        Group.RULES,
        chart="operator.events",
    )
    read_budget: float = setting(
        kinds.SHARE,
        "0.05",
        "Keep each NATS server busy with reads for at most this share of the time.",
        Group.RULES,
        chart="operator.readBudget",
    )
    kubeconfig: Path | None = setting(
        kinds.FILE,
        None,
        "Reach the Kubernetes API as this kubeconfig file says.",
        Group.KUBERNETES,
        unset="the pod's service account, or outside a cluster $KUBECONFIG or ~/.kube/config",
    )
    host: str = setting(
        kinds.ADDRESS,
        "",
        "Open the ports on this address.",
        Group.PORTS,
        unset="all addresses, of IPv4 and IPv6",
        chart="operator.host",
    )
    metrics_port: int = setting(
        kinds.PORT,
        "8080",
        "Serve Prometheus metrics on this port; 0 turns it off.",
        Group.PORTS,
        chart="operator.metrics.port",
    )
    probe_port: int = setting(
        kinds.PORT,
        "8081",
        "Serve /healthz and /readyz on this port; 0 turns it off.",
        Group.PORTS,
        chart="operator.healthProbe.port",
    )
    activity_port: int = setting(
        kinds.PORT,
        "8082",
        "Serve the activity page and its JSON on this port; 0 turns it off.",
        Group.PORTS,
        chart="operator.activityServer.port",
    )
    max_actions: int = setting(
        kinds.whole(1, 10_000),
        "100",
        "Keep this many scaling actions in memory for the activity page.",
        Group.PORTS,
        chart="operator.activityServer.maxActions",
    )
    activity_token: str = setting(
        kinds.TEXT,
        "",
        "Require this token on the activity port. The environment variable is safer than the flag, which"
        " other processes can see.",
        Group.PORTS,
        secret=True,
        unset="no token",
        chart="operator.activityServer.existingSecret",
    )
    activity_token_file: Path | None = setting(
        kinds.FILE,
        None,
        "Read the token for the activity port from this file, unless it is given directly.",
        Group.PORTS,
        unset="no file",
    )
    monitoring_timeout: int = setting(
        kinds.duration(1, 30),
        "5s",
        "Wait this long for a monitoring endpoint's answer, from connecting to the last byte.",
        Group.MONITORING,
        chart="operator.monitoring.timeout",
    )
    monitoring_max_mib: int = setting(
        kinds.whole(1, 1024, "MiB"),
        "64",
        "Refuse an answer of a monitoring endpoint that is larger than this many MiB.",
        Group.MONITORING,
        chart="operator.monitoring.maxMib",
    )
    monitoring_proxy: str | None = setting(
        kinds.PROXY,
        None,
        "Reach monitoring endpoints through this HTTP proxy, such as http://proxy:3128. Proxies of the"
        " environment (HTTP_PROXY and the like) are not used for them.",
        Group.MONITORING,
        unset="no proxy",
        chart="operator.monitoring.proxy",
    )
    monitoring_credentials: Path | None = setting(
        kinds.DIRECTORY,
        None,
        "Read credentials for monitoring endpoints from this directory, in files named like the keys of a"
        " Secret. Only the hosts of --monitoring-credentials-hosts receive them.",
        Group.MONITORING,
        unset="no credentials",
        chart="monitoring.credentialsSecret",
    )
    monitoring_credentials_hosts: tuple[str, ...] = setting(
        kinds.ENDPOINTS,
        "",
        "Send the credentials of --monitoring-credentials to these monitoring endpoints.",
        Group.MONITORING,
        unset="none",
        chart="monitoring.credentialsHosts",
    )
    nats_url: str | None = setting(
        kinds.SERVERS,
        None,
        "Listen for events on this NATS server, for rules without spec.nats.url. Separate several servers of"
        " one cluster by commas.",
        Group.EVENTS,
        secret=True,
        unset="derived from each rule's natsMonitoringURL",
        variable="NATS_URL",
        chart="nats.url",
    )
    nats_credentials: Path | None = setting(
        kinds.DIRECTORY,
        None,
        "Read credentials for the NATS server of --nats-url from this directory, in files named like the keys"
        " of a Secret. No other server receives them.",
        Group.EVENTS,
        unset="no credentials",
        chart="nats.credentialsSecret",
    )
    leader_elect: bool = setting(
        kinds.SWITCH,
        "false",
        "Act only while holding a Lease, so that several replicas can run.",
        Group.LEADER_ELECTION,
        chart="operator.leaderElection.enabled",
    )
    leader_elect_lease_duration: int = setting(
        kinds.duration(3, LONGEST_LEASE),
        "15s",
        "Let another replica take over a Lease that has not been renewed for this long. A failover takes this"
        " long too.",
        Group.LEADER_ELECTION,
        chart="operator.leaderElection.leaseDuration",
    )
    leader_elect_renew_deadline: int = setting(
        kinds.duration(2, LONGEST_LEASE - 1),
        "10s",
        "Stop the leader if it has not renewed its Lease for this long. It must be shorter than"
        " the lease duration; the difference is for requests on their way, which may take 5s.",
        Group.LEADER_ELECTION,
        chart="operator.leaderElection.renewDeadline",
    )
    leader_elect_namespace: str = setting(
        kinds.NAMESPACE,
        "",
        "Keep the Lease natsscaler.scaling.example.com in this namespace.",
        Group.LEADER_ELECTION,
        unset="the pod's own namespace",
    )
    log_level: str = setting(
        kinds.one_of("debug", "info", "warning", "error"),
        "info",
        "Log messages of this level and above.",
        Group.LOG,
        variable="LOG_LEVEL",
        chart="operator.logLevel",
    )
    in_cluster: bool = False
    """Running in a pod (Kubernetes sets KUBERNETES_SERVICE_HOST there)."""
    api_service: str = ""
    """Address of the API server's Service, as KUBERNETES_SERVICE_HOST says."""


SETTINGS: Mapping[str, Setting] = {
    one.name: one.metadata["setting"].of(one.name) for one in fields(Settings) if "setting" in one.metadata
}
"""All settings by the names of their fields."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message} (see {HELP})")


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of `natsscaler run`. Raises SettingsError; exits by itself on --help.

    A flag replaces its environment variable, which then is not even read. An empty variable counts as none.
    """
    flags = vars(_parser().parse_args(arguments))
    values: dict[str, Any] = {}
    for name, declared in SETTINGS.items():
        text = flags[name] if flags[name] is not None else environment.get(declared.variable) or None
        if text is not None:
            values[name] = declared.read(",".join(text) if isinstance(text, list) else text)
    api_service = environment.get("KUBERNETES_SERVICE_HOST")
    settings = Settings(in_cluster=api_service is not None, api_service=api_service or "", **values)
    if settings.activity_token_file and not settings.activity_token:
        settings = replace(settings, activity_token=_token(settings.activity_token_file))
    if settings.leader_elect and not settings.leader_elect_namespace:
        settings = replace(settings, leader_elect_namespace=_own_namespace())
    _check_credentials(settings)
    duration, deadline = settings.leader_elect_lease_duration, settings.leader_elect_renew_deadline
    if deadline >= duration:
        raise SettingsError(
            f"{SETTINGS['leader_elect_renew_deadline']}: {deadline}s is not shorter than the {duration}s of"
            f" {SETTINGS['leader_elect_lease_duration']}"
        )
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="natsscaler run",
        usage="natsscaler run [--FLAG VALUE ...]",
        description="Watch ScalingRules and scale their Deployments.",
        epilog=f"Each flag has an environment variable, such as {PREFIX}HOST for --host; LOG_LEVEL and"
        " NATS_URL have no prefix. A flag replaces its variable. A repeatable flag takes several values, and"
        " so does its variable, with commas between them. docs/settings.md lists all settings.",
    )
    groups = {group: parser.add_argument_group(group) for group in Group}
    for name, declared in SETTINGS.items():
        text = f"{declared.does} {declared.facts}".replace("%", "%%")
        add, kind = groups[declared.group].add_argument, declared.kind
        if kind is kinds.SWITCH:
            add(declared.flag, dest=name, help=text, metavar=kind.placeholder, nargs="?", const="true")
        else:
            action = "append" if kind.repeatable else "store"
            add(declared.flag, dest=name, help=text, metavar=kind.placeholder, action=action)
    return parser


def _check_credentials(settings: Settings) -> None:
    """See that the operator's own credentials have a place to go, and one only."""
    nats, url = SETTINGS["nats_credentials"], SETTINGS["nats_url"]
    if settings.nats_credentials and not settings.nats_url:
        raise SettingsError(f"{nats} needs {url}: no other server receives the credentials")
    if settings.nats_credentials and "@" in (settings.nats_url or ""):
        raise SettingsError(f"{url} has a user, and {nats} is given too: keep one of them")
    monitoring, hosts = SETTINGS["monitoring_credentials"], SETTINGS["monitoring_credentials_hosts"]
    if settings.monitoring_credentials and not settings.monitoring_credentials_hosts:
        raise SettingsError(f"{monitoring} needs {hosts}: only hosts that it names receive the credentials")
    for declared, directory in (
        (nats, settings.nats_credentials),
        (monitoring, settings.monitoring_credentials),
    ):
        if directory and not directory.is_dir():
            raise SettingsError(
                f"{declared}: {directory} is not a directory; mount the Secret with the credentials there"
            )


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Name the variables with natsscaler's prefix that no setting reads, and those that may be meant.

    Variables that Kubernetes itself sets for a Service of that name (service links) are passed over.
    """
    known = {declared.variable.removeprefix(PREFIX) for declared in SETTINGS.values()}
    told = []
    for name, value in sorted(environment.items()):
        rest = name.removeprefix(PREFIX)
        if rest not in (name, *known) and not SERVICE_LINK.match(f"{name}={value}"):
            close = get_close_matches(rest, known, n=1)
            meant = f": did you mean {PREFIX}{close[0]}?" if close else f" (see {HELP})"
            told.append(f"The environment variable {name} is unknown{meant}")
    return told


def _token(path: Path) -> str:
    place = f"{SETTINGS['activity_token_file']}: {path}"
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{place} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{place} is not a text file") from error
    if not token:
        raise SettingsError(f"{place} is empty: write the token into it, or do not set it")
    return token


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"{SETTINGS['leader_elect_namespace']} is needed outside a cluster: it names the namespace of"
            " the Lease"
        ) from error
