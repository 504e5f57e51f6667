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

from natsscaler.errors import KubernetesError, Reason, excerpt
from natsscaler.kube.objects import Status

REQUEST_SECONDS = 5.0
"""For any request but lists and watches."""
LIST_SECONDS = 30.0
"""For one page of a list, or for a watch to begin."""
HTTP_OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN = 200, 400, 401, 403
NOT_FOUND, CONFLICT, GONE, UNPROCESSABLE = 404, 409, 410, 422
DENIED = re.compile("admission webhook .* denied|ValidatingAdmissionPolicy .* denied")
"""How the API server reports that a cluster's own policy refused a request, with whatever HTTP status."""
NETWORK_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
"""What can go wrong on the way to the API server."""
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
