"""A request to the Kubernetes API, and what its failures are called.

What a failure says stays the same from one attempt to the next, so that a condition at rest is not written
again and again.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
import msgspec
from kubernetes.aio.client.exceptions import ApiException

from natsscaler.core.errors import KubernetesError, excerpt
from natsscaler.core.reasons import Reason
from natsscaler.kube.objects import Status

REQUEST_SECONDS = 5.0
"""For any request but lists and watches."""
SCALE_SECONDS = 35.0
"""For the patch of a scale: the API server itself ends it after 34 s, of which a webhook may take 30."""
LIST_SECONDS = 30.0
"""For one page of a list, or for a watch to begin."""
HTTP_OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN = 200, 400, 401, 403
NOT_FOUND, CONFLICT, GONE, UNPROCESSABLE = 404, 409, 410, 422
DENIED = re.compile("admission webhook .* denied|AdmissionPolicy .* denied|exceeded quota: ")
"""How the API server reports that a cluster's own policy refused a request, with whatever HTTP status."""
WEBHOOK = re.compile('failed calling webhook "([^"]+)": (?:failed to call webhook: )?(.*)', re.DOTALL)
"""How it reports that a webhook is down, slow or answers nonsense."""
OWN_PORT = re.compile(r"(?<=:)[0-9]+(?=->)")
"""What differs from one attempt to the next: the port that the API server called from."""
SAID_LENGTH = 400
"""How much of the words of a policy or webhook is told."""
LONGEST_OBEYED = 60.0
"""The longest Retry-After that is followed."""
NETWORK_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
"""What can go wrong on the way to the API server."""


class NoCredentials(aiohttp.ClientConnectionError):
    """There are no credentials to send a request with; the message says why."""


OnFailure = Callable[[str, Reason], None]
"""Told which operation failed that nobody waits for, as for the metrics."""


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
        failure = told if told.reason is Reason.DENIED or not meant else meant
        failure.retry_after = retry_after(error.headers or {})
        raise failure from error
    except (*NETWORK_FAILURES, msgspec.MsgspecError) as error:
        raise silence(verb, resource, error) from error


def refusal(verb: str, resource: str, status: int, body: str | bytes = b"") -> KubernetesError:
    """Say what an answer other than success means; of the body only the start of its message is told."""
    said = ""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        said = msgspec.json.decode(body, type=Status).message
    if DENIED.search(said):
        message = f"An admission policy forbids to {verb} {resource}: {excerpt(said, SAID_LENGTH)}"
        return KubernetesError(Reason.DENIED, message)
    if webhook := WEBHOOK.search(said):
        name, why = webhook.groups()
        message = (
            f"Admission webhook {excerpt(name)} failed, so the Kubernetes API answered {status}"
            f" to {verb} {resource}: {excerpt(OWN_PORT.sub('', why), SAID_LENGTH)}"
        )
        return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)
    if status not in (HTTP_OK, BAD_REQUEST, FORBIDDEN, UNPROCESSABLE):
        said = ""  # it may differ each time
    told = f" ({excerpt(said)})" if said else ""
    if status == FORBIDDEN:
        message = f"The operator lacks the verb {verb} on {resource}{told}"
        return KubernetesError(Reason.FORBIDDEN, message)
    message = f"The Kubernetes API answered {status} to {verb} {resource}{told}"
    return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds the API server asks to be left alone."""
    try:
        asked = float(headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
    return min(asked, LONGEST_OBEYED) if asked > 0 else 0.0  # not a number is no wait


def silence(verb: str, resource: str, error: Exception) -> KubernetesError:
    """Say that a request was not answered."""
    why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    if isinstance(error, NoCredentials):
        why = excerpt(str(error))
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        why = f"the proxy answered {error.status}"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        why = "nobody accepts connections at the proxy"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = excerpt(str(error.certificate_error))
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "its host cannot be resolved"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = "nobody accepts connections there"
    message = f"The Kubernetes API did not answer to {verb} {resource}: {why}"
    return KubernetesError(Reason.KUBERNETES_UNAVAILABLE, message)
