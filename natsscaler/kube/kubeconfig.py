"""Reads kubeconfigs as kubectl does, and a pod's service account into the same shape.

What is read here stays for the life of the process: somebody's `kubectl config use-context` must not lead a
running operator to another cluster. Files that it names are read anew when they change: see `login`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Struct
from yarl import URL

from natsscaler.core.errors import SettingsError, excerpt

MISREAD = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML raises for texts that are no YAML, or name types that they do not have."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account."""
POD, ORIGIN = "the pod's service account", "--kubeconfig (or $KUBECONFIG)"
FILES = ("token_file", "client_certificate", "client_key")
"""Fields of a user that name files."""
T = TypeVar("T")


class Variable(Struct, frozen=True):
    """An environment variable of a plugin."""

    name: str
    value: str = ""


class Plugin(Struct, frozen=True, rename="camel"):
    """A command that gives credentials."""

    command: str
    api_version: str
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class Provider(Struct, frozen=True):
    """Credentials that kubectl has built in; only `oidc` is left of these."""

    name: str
    config: dict[str, str] = {}


class Cluster(Struct, frozen=True, rename="kebab"):
    """Where an API server is, and how it is known. File names are absolute once they are read."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class User(Struct, frozen=True, rename="kebab"):
    """As whom to ask."""

    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    exec: Plugin | None = None
    auth_provider: Provider | None = None
    impersonate: str = msgspec.field(default="", name="as")
    impersonate_uid: str = msgspec.field(default="", name="as-uid")
    impersonate_groups: tuple[str, ...] = msgspec.field(default=(), name="as-groups")
    impersonate_extra: dict[str, tuple[str, ...]] = msgspec.field(default={}, name="as-user-extra")


class Context(Struct, frozen=True):
    """A user of a cluster."""

    cluster: str
    user: str = ""
    namespace: str = ""


class NamedCluster(Struct, frozen=True):
    """An entry of a kubeconfig's list, likewise the next two."""

    name: str
    cluster: Cluster


class NamedUser(Struct, frozen=True):
    name: str
    user: User = User()


class NamedContext(Struct, frozen=True):
    name: str
    context: Context


class Kubeconfig(Struct, frozen=True, rename="kebab"):
    """One file, or several merged."""

    current_context: str = ""
    clusters: tuple[NamedCluster, ...] = ()
    users: tuple[NamedUser, ...] = ()
    contexts: tuple[NamedContext, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """Which API server to ask, and with which credentials."""

    origin: str
    """What says so, in the words of messages."""
    server: str
    cluster: Cluster
    user: User
    namespace: str = ""

    @property
    def encrypted(self) -> bool:
        return self.server.startswith("https://")


def of_pod(environment: Mapping[str, str] = os.environ) -> ApiServer:
    """Read how a pod reaches the API server. Raises SettingsError."""
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not (host and port):
        raise SettingsError(f"{POD}: KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is empty")
    token, authority = SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt"
    if not token.is_file():
        fix = "set automountServiceAccountToken: true, or give --kubeconfig"
        raise SettingsError(f"{POD}: there is no file {token} ({fix})")
    return ApiServer(
        origin=POD,
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        cluster=Cluster(certificate_authority=str(authority)),
        user=User(token_file=str(token)),
    )


def of_kubeconfig(path: Path | None, context: str | None) -> ApiServer:
    """Read a context of the kubeconfig given, else of those that kubectl reads. Raises SettingsError."""
    names = str(path or os.environ.get("KUBECONFIG") or Path("~/.kube/config"))
    files = [_at_home(name) for name in names.split(os.pathsep) if name]
    names = os.pathsep.join(str(file) for file in files)
    found = [_read(file) for file in files if file.exists()]
    if not found:
        raise SettingsError(f"there is no kubeconfig {names}: give one by --kubeconfig or $KUBECONFIG")
    chosen = context or next((one.current_context for one in found if one.current_context), "")
    if not chosen:
        raise SettingsError(f"{ORIGIN}: {names} has no current-context: give one by --context")
    asked = _named(chosen, "context", {c.name: c.context for one in reversed(found) for c in one.contexts})
    clusters = {c.name: c.cluster for one in reversed(found) for c in reversed(one.clusters)}
    users = {u.name: u.user for one in reversed(found) for u in reversed(one.users)}
    cluster = _named(asked.cluster, "cluster", clusters)
    user = _named(asked.user, "user", users) if asked.user else User()
    server = _server(cluster, user, asked.cluster)
    return ApiServer(origin=ORIGIN, server=server, cluster=cluster, user=user, namespace=asked.namespace)


def _at_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # a user without a home
        return Path(name)


def _named(name: str, kind: str, among: Mapping[str, T]) -> T:
    if name not in among:
        others = excerpt(", ".join(sorted(among))) or "none"
        raise SettingsError(f"{ORIGIN}: there is no {kind} {excerpt(name)}; there are: {others}")
    return among[name]


def _read(path: Path) -> Kubeconfig:
    try:
        with path.open("rb") as file:
            document = yaml.safe_load(file)
    except OSError as error:
        raise SettingsError(f"{ORIGIN}: {path} cannot be read: {error.strerror}") from error
    except MISREAD as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise SettingsError(f"{ORIGIN}: {path} is no YAML{where}") from error
    try:
        read = msgspec.convert(_without_nulls(document or {}), type=Kubeconfig)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{ORIGIN}: {path} is no kubeconfig: {excerpt(str(error))}") from error
    directory = path.absolute().parent
    return msgspec.structs.replace(
        read,
        clusters=tuple(_cluster_in(directory, one) for one in read.clusters),
        users=tuple(_user_in(directory, one) for one in read.users),
    )


def _without_nulls(value: Any) -> Any:
    """Leave out what is null: to Kubernetes that is as if it were not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _cluster_in(directory: Path, named: NamedCluster) -> NamedCluster:
    file = _path(directory, named.cluster.certificate_authority)
    cluster = msgspec.structs.replace(named.cluster, certificate_authority=file)
    return NamedCluster(named.name, cluster)


def _user_in(directory: Path, named: NamedUser) -> NamedUser:
    user = named.user
    files = {name: _path(directory, getattr(user, name)) for name in FILES}
    plugin = user.exec
    if plugin and "/" in plugin.command:
        plugin = msgspec.structs.replace(plugin, command=_path(directory, plugin.command))
    return NamedUser(named.name, msgspec.structs.replace(user, exec=plugin, **files))


def _path(directory: Path, name: str) -> str:
    return str(directory / name) if name else ""


def _server(cluster: Cluster, user: User, name: str) -> str:
    """Return the URL of the API server, with a scheme and no slash at the end."""
    known = cluster.certificate_authority or cluster.certificate_authority_data
    if cluster.insecure_skip_tls_verify and known:
        both = "insecure-skip-tls-verify and certificate-authority contradict each other: leave one out"
        raise SettingsError(f"{ORIGIN}: cluster {excerpt(name)}: {both}")
    if "://" in cluster.server:
        server = cluster.server
    else:
        shown = user.client_certificate or user.client_certificate_data
        secure = known or shown or cluster.insecure_skip_tls_verify
        server = f"{'https' if secure else 'http'}://{cluster.server}"
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        URL(server)
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"{ORIGIN}: cluster {excerpt(name)}: server is not like https://HOST:PORT")
    return server.rstrip("/")
