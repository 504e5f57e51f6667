"""Kopf: ScalingRule events into the reactor.

`on.event` sets no finalizer and writes nothing to the rules, so that deleting one never waits for the
operator; every handler is idempotent, because kopf replays all rules after each (re)connect.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import kopf
import msgspec
from kubernetes.aio import client

from natsscaler.errors import Finding, InvalidRule, KubernetesError
from natsscaler.kube.api import NETWORK_FAILURES, request
from natsscaler.reactor import Reactor
from natsscaler.rules import GROUP, PLURAL, VERSION, RuleKey, parse
from natsscaler.status import RuleStatus

log = logging.getLogger(__name__)

LIST_TIMEOUT_SECONDS = 30
LIST_RETRY_SECONDS = 1.0


class Handlers:
    """Feeds the reactor, and knows when every rule that existed at the start has been seen."""

    def __init__(self, reactor: Reactor, api: client.ApiClient) -> None:
        self.registry = kopf.OperatorRegistry()
        self._reactor = reactor
        self._api = api
        self._seen: set[RuleKey] = set()
        self._news = asyncio.Event()
        kopf.on.login(registry=self.registry)(self._login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=self.registry)(self._on_event)

    def settings(self) -> kopf.OperatorSettings:
        """Kopf's settings: only what differs from its defaults."""
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False  # Events are written by the reactor, with their own reasons
        settings.peering.standalone = True  # leadership is no matter of kopf's peering
        settings.scanning.disabled = True  # no permission to watch CRDs and namespaces: see _await_served
        settings.watching.connect_timeout = 60
        settings.watching.server_timeout = 600
        settings.watching.client_timeout = 660
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 10
        return settings

    async def await_first_list(self, namespaces: tuple[str, ...]) -> None:
        """Return once every rule that exists now has come by as an event, or has gone."""
        while True:
            try:
                missing = await _list_rules(self._api, namespaces) - self._seen
            except (client.ApiException, *NETWORK_FAILURES) as error:
                log.warning("Cannot list ScalingRules yet: %s", getattr(error, "reason", error))
            else:
                if not missing:
                    return
            self._news.clear()
            try:
                async with asyncio.timeout(LIST_RETRY_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    def on_exit(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Have kopf call this when it is told to exit, before it looks for tasks that are left."""

        async def startup(**_: object) -> None:
            try:
                await self._await_served()
            except asyncio.CancelledError:  # told to exit: kopf cleans up only what has started up
                await stop()
                raise

        async def cleanup(**_: object) -> None:
            await stop()

        kopf.on.startup(registry=self.registry)(startup)
        kopf.on.cleanup(registry=self.registry)(cleanup)

    async def _await_served(self) -> None:
        """Return once the API server serves ScalingRules.

        Kopf looks for the kind once, when it starts. It would notice a CRD that is created later if it could
        watch all CRDs; asking for this one kind takes no permission at all.
        """
        reported = ""
        while True:
            try:
                if await _served(self._api):
                    return
                problem = "there is no such kind: install its CRD"
            except KubernetesError as error:
                problem = error.message
            if problem != reported:
                log.warning("Waiting for ScalingRules: %s", problem)
            reported = problem
            await asyncio.sleep(LIST_RETRY_SECONDS)

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        """Let kopf use the credentials that the rest of the process uses."""
        configuration = self._api.configuration
        header = await configuration.get_api_key_with_prefix("BearerToken")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme="Bearer" if header else None,
            token=header.removeprefix("Bearer ") if header else None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    async def _on_event(self, event: Mapping[str, Any], **_: object) -> None:
        body = event["object"]
        metadata = body["metadata"]
        key = RuleKey(metadata["namespace"], metadata["name"])
        if event["type"] == "DELETED":
            self._reactor.forget(key)
        else:
            status = _status(body)
            try:
                self._reactor.upsert(parse(body), status)
            except InvalidRule as error:
                generation = metadata.get("generation", 0)
                finding = Finding(error.reason, error.message)
                self._reactor.reject(key, metadata["uid"], generation, finding, status)
        self._seen.add(key)
        self._news.set()


def _status(body: Mapping[str, Any]) -> RuleStatus:
    """Read back a status; one that natsscaler did not write is as good as none."""
    try:
        return msgspec.convert(dict(body.get("status") or {}), RuleStatus)
    except msgspec.ValidationError:
        return RuleStatus()


class _Meta(msgspec.Struct):
    namespace: str
    name: str


class _Rule(msgspec.Struct):
    metadata: _Meta


class _Rules(msgspec.Struct):
    items: list[_Rule]


async def _served(api: client.ApiClient) -> bool:
    """Look where kopf will look: the list of groups and the list of a group's kinds grow one by one."""
    async with request("list", "API groups"):
        groups = await client.ApisApi(api).get_api_versions()
    if all(group.name != GROUP for group in groups.groups):
        return False
    async with request("list", f"the kinds of {GROUP}/{VERSION}"):
        kinds = await client.CustomObjectsApi(api).get_api_resources(GROUP, VERSION)
    return any(kind.name == PLURAL for kind in kinds.resources)


async def _list_rules(api: client.ApiClient, namespaces: tuple[str, ...]) -> set[RuleKey]:
    rules = client.CustomObjectsApi(api)
    found: set[RuleKey] = set()
    async with asyncio.timeout(LIST_TIMEOUT_SECONDS):
        answers = (
            [await rules.list_namespaced_custom_object(GROUP, VERSION, name, PLURAL) for name in namespaces]
            if namespaces
            else [await rules.list_cluster_custom_object(GROUP, VERSION, PLURAL)]
        )
    for answer in answers:
        items = msgspec.convert(answer, _Rules).items
        found |= {RuleKey(item.metadata.namespace, item.metadata.name) for item in items}
    return found
