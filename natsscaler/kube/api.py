"""A connection to the Kubernetes API, and what its failures are called.

What a failure says stays the same from one attempt to the next, so that a condition at rest is not written
again and again.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import aiohttp
import msgspec
import yaml
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

from natsscaler.errors import KubernetesError, Reason, SettingsError, excerpt
from natsscaler.kube.objects import Status

REQUEST_SECONDS = 5.0
"""For any request but lists and watches."""
LIST_SECONDS = 30.0
"""For one page of a list, or for a watch to begin."""
HTTP_OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, GONE, UNPROCESSABLE = 200, 400, 403, 404, 409, 410, 422
DENIED = re.compile("admission webhook .* denied|ValidatingAdmissionPolicy .* denied")
"""How the API server reports that a cluster's own policy refused a request, with whatever HTTP status."""
NETWORK_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ConfigException)
"""What can go wrong on the way to the API server; ConfigException: the service account's token file."""
UNREADABLE = (ConfigException, OSError, yaml.YAMLError, UnicodeDecodeError)
"""What is raised for a kubeconfig that is not there, is no YAML or lacks something."""
MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)
"""What is raised for one that is YAML of another shape."""
OnFailure = Callable[[str, Reason], None]
"""Told which operation failed that nobody waits for, as for the metrics."""


async def connect(kubeconfig: Path | None, in_cluster: bool, context: str | None = None) -> client.ApiClient:
    """Make a client of the API: the kubeconfig given, else the pod's service account, else the default one.

    `context`: of the kubeconfig, instead of its current one. Raises SettingsError.
    """
    if kubeconfig is None and context is None and in_cluster:
        settings = client.Configuration()
        try:
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            mend = "set automountServiceAccountToken: true, or give --kubeconfig"
            raise SettingsError(f"the pod's service account: {excerpt(str(error))} ({mend})") from error
        return client.ApiClient(settings)
    named = _existing(kubeconfig)
    path = str(kubeconfig) if kubeconfig else None
    try:
        made: client.ApiClient = await config.new_client_from_config(path, context)  # type: ignore[no-untyped-call]
    except UNREADABLE as error:
        raise SettingsError(f"--kubeconfig (or $KUBECONFIG): {excerpt(str(error))}") from error
    except MISSHAPEN as error:
        raise SettingsError(f"--kubeconfig (or $KUBECONFIG): {named} is no kubeconfig") from error
    return made


def _existing(kubeconfig: Path | None) -> str:
    """Name the kubeconfig, or all that $KUBECONFIG has. Raises SettingsError if there is none of them."""
    named = str(kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION)
    if not any(Path(path).expanduser().exists() for path in named.split(os.pathsep)):
        raise SettingsError(f"there is no kubeconfig {named}: give one by --kubeconfig or $KUBECONFIG")
    return named


def namespace_of(kubeconfig: Path | None, context: str | None) -> str | None:
    """Return the namespace that a context of the kubeconfig is set to, if it is set to one."""
    path = str(kubeconfig) if kubeconfig else None
    try:
        contexts, current = config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
        named = context or current["name"]
        return next((one["context"].get("namespace") for one in contexts if one["name"] == named), None)
    except (*UNREADABLE, *MISSHAPEN):
        return None  # connecting says what is wrong with it


@contextlib.asynccontextmanager
async def request(
    verb: str,
    resource: str,
    refusals: Mapping[int, KubernetesError] | None = None,
    *,
    seconds: float | None = None,
) -> AsyncIterator[None]:
    """Bound a request in time and turn each of its failures into a KubernetesError.

    `refusals`: what certain HTTP statuses mean; `seconds`: instead of REQUEST_SECONDS.
    """
    try:
        async with asyncio.timeout(seconds or REQUEST_SECONDS):
            yield
    except ApiException as error:
        meant = (refusals or {}).get(error.status)
        told = refusal(verb, resource, error.status, error.body or b"")
        raise (told if told.reason is Reason.DENIED or not meant else meant) from error
    except (*NETWORK_FAILURES, msgspec.MsgspecError) as error:
        raise silence(verb, resource, error) from error


def refusal(verb: str, resource: str, status: int, body: str | bytes = b"") -> KubernetesError:
    """Say what an answer other than success means; of the body only the start of its message is told."""
    said = ""
    if status in (HTTP_OK, BAD_REQUEST, FORBIDDEN, UNPROCESSABLE):
        with contextlib.suppress(msgspec.MsgspecError):
            said = msgspec.json.decode(body, type=Status).message
    if DENIED.search(said):
        message = f"an admission policy forbids to {verb} {resource}: {excerpt(said)}"
        return KubernetesError(Reason.DENIED, message)
    told = f" ({excerpt(said)})" if said else ""
    if status == FORBIDDEN:
        message = f"natsscaler may not {verb} {resource}: grant it the verb {verb} on {resource}{told}"
        return KubernetesError(Reason.FORBIDDEN, message)
    message = f"the Kubernetes API answered {status} to {verb} {resource}{told}"
    return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)


def silence(verb: str, resource: str, error: Exception) -> KubernetesError:
    """Say that a request was not answered."""
    why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = excerpt(str(error.certificate_error))
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "its host cannot be resolved"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = "nobody accepts connections there"
    message = f"the Kubernetes API did not answer to {verb} {resource}: {why}"
    return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)
