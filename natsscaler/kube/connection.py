"""The one way to the API server, for the client and for kopf: credentials, TLS, proxies, and refusals."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio import client

from natsscaler.core.errors import SettingsError
from natsscaler.kube.kubeconfig import ApiServer, of_kubeconfig, of_pod
from natsscaler.kube.login import Credentials, Login
from natsscaler.kube.proxies import proxy_for
from natsscaler.kube.refusals import Refusals
from natsscaler.kube.requests import UNAUTHORIZED, NoCredentials


class Request(aiohttp.ClientRequest):
    """A request whose TLS is chosen when it is sent, so that certificates can be replaced while it runs."""

    context: Any = True

    @property
    def ssl(self) -> Any:
        return self.context

    @property
    def connection_key(self) -> Any:
        return super().connection_key._replace(ssl=self.context)


class KubeClient(client.ApiClient):
    """A client of the API; `session` gives kopf the same way to it."""

    def __init__(self, access: ApiServer, login: Login, proxy: str | None, refusals: Refusals) -> None:
        configuration = client.Configuration(host=access.server)
        super().__init__(configuration)
        self.refusals = refusals
        self._access, self._login, self._proxy = access, login, proxy
        self._base_path = urlsplit(access.server).path
        configuration.client_session_kwargs = self._how()

    def another(self) -> "KubeClient":
        """Make a client with connections of its own."""
        return KubeClient(self._access, self._login, self._proxy, self.refusals)

    def session(
        self,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> aiohttp.ClientSession:
        """Make an HTTP session for requests to `host`."""
        how = self._how()
        how["middlewares"] = (*middlewares, self._send)
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(connector=connector, trace_configs=list(trace_configs), **how)

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return self._access.server

    async def close(self) -> None:
        await super().close()  # type: ignore[no-untyped-call]
        await self._login.close()

    def _how(self) -> dict[str, Any]:
        return {
            "middlewares": (self._send,),
            "request_class": Request,
            "proxy": self._proxy,
            "trust_env": False,
        }

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        credentials = await self._login.credentials()
        response = await handler(self._signed(request, credentials))
        if response.status == UNAUTHORIZED and (others := await self._login.again(credentials)):
            response.release()
            response = await handler(self._signed(request, others))
        self.refusals.note(request.url.path.removeprefix(self._base_path), response.status)
        return response

    def _signed(self, request: aiohttp.ClientRequest, credentials: Credentials) -> aiohttp.ClientRequest:
        for name in {name for name, _ in credentials.headers}:
            request.headers.popall(name, None)
        request.headers.extend(credentials.headers)
        request.server_hostname = self._access.cluster.tls_server_name or None
        if isinstance(request, Request):
            request.context = credentials.context or True
        return request


async def connect(
    kubeconfig: Path | None,
    in_cluster: bool,
    context: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> KubeClient:
    """Make a client of the API: the kubeconfig given, else the pod's service account, else the default one.

    `context`: of the kubeconfig, instead of its current one. Raises SettingsError.
    """
    in_pod = kubeconfig is None and context is None and in_cluster
    access = of_pod(environment) if in_pod else of_kubeconfig(kubeconfig, context)
    proxy = proxy_for(access.server, access.cluster.proxy_url, environment)
    login = Login(access)
    try:
        await login.credentials()
    except NoCredentials as error:
        raise SettingsError(str(error)) from error
    return KubeClient(access, login, proxy, Refusals())


def namespace_of(kubeconfig: Path | None, context: str | None) -> str | None:
    """Return the namespace that a context of the kubeconfig is set to, if it is set to one."""
    try:
        return of_kubeconfig(kubeconfig, context).namespace or None
    except SettingsError:
        return None  # connecting says what is wrong with it
