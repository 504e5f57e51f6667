"""Reads one Secret."""

import base64

from kubernetes.aio import client

from natsscaler.core.access import SecretKey
from natsscaler.core.errors import SecretNotFound
from natsscaler.kube.requests import NOT_FOUND, request
from natsscaler.nats.credential_store import Secret


async def read_secret(api: client.ApiClient, key: SecretKey) -> Secret:
    """Read a Secret as it is now. Raises SecretNotFound or KubernetesError."""
    missing = SecretNotFound(f"{key}, which the rule's secretRef names, does not exist")
    async with request("get", "secrets", {NOT_FOUND: missing}):
        found = await client.CoreV1Api(api).read_namespaced_secret(key.name, key.namespace)
    data = {name: base64.b64decode(value) for name, value in (found.data or {}).items()}
    return Secret((found.metadata and found.metadata.labels) or {}, data)
