"""Kopf: ScalingRule events into the reactor.

`on.event` sets no finalizer and writes nothing to the rules, so that deleting one never waits for the
operator; every handler is idempotent, because kopf replays all rules whenever it lists them anew. What kopf
does not tell is which rules went while it was cut off: so each of its lists is followed by one of our own,
and rules that are no longer in it are forgotten. Both that and how long kopf has been silent are seen from
its requests, by tracing its HTTP session.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import aiohttp
import kopf
from kubernetes.aio import client

from natsscaler.core.errors import InvalidRule, KubernetesError
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import GROUP, PLURAL, VERSION, RuleKey, parse
from natsscaler.core.status import read_back
from natsscaler.kube.connection import KubeClient
from natsscaler.kube.requests import UNAUTHORIZED, refusal, request
from natsscaler.reactor.reactor import Reactor

log = logging.getLogger(__name__)

LIST_RETRY_SECONDS = 1.0
WATCH_SECONDS = 240
SILENT_SECONDS = 600.0
"""Kopf asks for rules every WATCH_SECONDS at the latest: without a request for this long it hangs."""
BACKOFFS = (1, 2, 4, 8, *[10] * 1000)
"""Between kopf's attempts at one request, in seconds; after the last one the process ends."""


class KnownRule(NamedTuple):
    """What tells a rule from another one of the same name, and an event from a later one."""

    uid: str
    version: int


class RuleLister(Protocol):
    """Tells which rules exist."""

    away: set[str]
    """Namespaces of which that cannot be told now; their rules are left as they are known."""

    async def rules(self) -> set[tuple[RuleKey, str]]:
        """List the keys and uids of all rules. Raises KubernetesError."""

    async def rule_objects(self) -> tuple[int, list[Mapping[str, Any]]]:
        """List all rules with all that they say, and in which resource version. Raises KubernetesError."""


class Handlers:
    """Feeds the reactor, and knows when every rule that exists has been seen."""

    def __init__(self, reactor: Reactor, api: KubeClient) -> None:
        self.registry = kopf.OperatorRegistry()
        self.asked_at = time.monotonic()
        """When kopf last sent a request for rules, on the monotonic clock."""
        self._reactor = reactor
        self._api = api
        self._known: dict[RuleKey, KnownRule] = {}
        self._deleted: dict[RuleKey, int] | None = None
        """While `list_all` waits for its list, the resource versions in which rules went."""
        self._as_of = 0
        """The resource version of that list: kopf's watch may lag behind it for a while."""
        self.problem = ""
        """Why rules cannot be had at the moment; empty: nothing is known to be in the way."""
        self._listed = asyncio.Event()
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
        settings.watching.server_timeout = WATCH_SECONDS
        settings.watching.client_timeout = WATCH_SECONDS + 30
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 10
        settings.networking.error_backoffs = BACKOFFS
        return settings

    async def follow(self, lister: RuleLister) -> None:
        """Compare notes with the API whenever kopf has listed all rules, for ever."""
        while True:
            await self._listed.wait()
            self._listed.clear()
            await self._compare(lister)
            if not self._reactor.listed.is_set():
                self._reactor.listed.set()
                log.info("All ScalingRules are known: %d", len(self._known))

    async def list_all(self, lister: RuleLister) -> None:
        """Take every rule as it is now, however far kopf's watch has come; tried until it succeeds.

        What kopf brings later although it is older than the list is left out.
        """
        while True:
            deleted = self._deleted = dict[RuleKey, int]()
            try:
                self._as_of, bodies = await lister.rule_objects()
            except KubernetesError as error:
                log.warning("ScalingRules cannot be listed and are listed again soon: %s", error.message)
                await asyncio.sleep(LIST_RETRY_SECONDS)
            else:
                break
        self._deleted = None
        listed = {_key(body): body for body in bodies}
        for key, (uid, version) in list(self._known.items()):
            if key not in listed and version <= self._as_of and key.namespace not in lister.away:
                self._gone(key, uid)
        for key, body in listed.items():
            known = self._known.get(key)
            if _version(body) >= max(known.version if known else 0, deleted.get(key, 0)):
                self._take(key, body)

    def on_exit(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Have kopf call this when it is told to exit, before it looks for tasks that are left."""

        async def startup(**_: object) -> None:
            try:
                await self._await_served()
            except asyncio.CancelledError:  # told to exit: kopf cleans up only what has started up
                log.info("The process was told to exit while ScalingRules were not served yet")
                logging.getLogger("kopf").setLevel(logging.ERROR)  # it would tell of its own activities
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
        while True:
            try:
                if await _served(self._api):
                    self.problem = ""
                    return
                problem = "There is no such kind. Install its CRD"
            except KubernetesError as error:
                problem = error.message
            if problem != self.problem:
                log.warning("Waiting for ScalingRules: %s", problem)
            self.problem = problem
            await asyncio.sleep(LIST_RETRY_SECONDS)

    async def _compare(self, lister: RuleLister) -> None:
        """Forget rules that have gone, and return once every other one has come by as an event."""
        while True:
            known = dict(self._known)
            try:
                existing = await lister.rules()
            except KubernetesError as error:
                if error.message != self.problem:
                    log.warning("ScalingRules cannot be listed and are listed again soon: %s", error.message)
                self.problem = error.message
                await asyncio.sleep(LIST_RETRY_SECONDS)
                continue
            self.problem = ""
            for key, (uid, _) in known.items():
                if (key, uid) not in existing and key.namespace not in lister.away:
                    self._gone(key, uid)
            try:
                async with asyncio.timeout(LIST_RETRY_SECONDS):
                    while not self._all_known(existing):
                        self._news.clear()
                        await self._news.wait()
                    return
            except TimeoutError:
                continue

    def _all_known(self, rules: set[tuple[RuleKey, str]]) -> bool:
        enough = len(self._known) >= len(rules)  # asked after every event: most often this is the answer
        return enough and rules <= {(key, uid) for key, (uid, _) in self._known.items()}

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        """Let kopf use the credentials that the rest of the process uses."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._asked)
        trace.on_request_end.append(self._answered)
        session = self._api.session([trace], [_retried_if_unauthorized])
        return kopf.AiohttpSession(server=self._api.host, aiohttp_session=session)

    async def _asked(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        if request.url.path.endswith(f"/{PLURAL}"):
            self.asked_at = time.monotonic()

    async def _answered(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, answer: aiohttp.TraceRequestEndParams
    ) -> None:
        list_of_rules = answer.url.path.endswith(f"/{PLURAL}") and "watch" not in answer.url.query
        if list_of_rules and answer.response.ok:
            self._listed.set()
        elif list_of_rules:
            self.problem = refusal("list", PLURAL, answer.response.status).message

    async def _on_event(self, event: Mapping[str, Any], **_: object) -> None:
        body = event["object"]
        key, uid, version = _key(body), body["metadata"]["uid"], _version(body)
        if version <= self._as_of:
            return
        known = self._known.get(key)
        if event["type"] == "DELETED":
            if self._deleted is not None:
                self._deleted[key] = version
            self._gone(key, uid)
        elif known and known.uid != uid and known.version > version:
            return  # kopf keeps the order of events per uid only: this is about an earlier rule of that name
        else:
            self._take(key, body)
        self._news.set()

    def _take(self, key: RuleKey, body: Mapping[str, Any]) -> None:
        metadata, status = body["metadata"], read_back(body.get("status"))
        self._known[key] = KnownRule(metadata["uid"], _version(body))
        try:
            self._reactor.upsert(parse(body), status)
        except InvalidRule as error:
            generation = metadata.get("generation", 0)
            finding = Finding(error.reason, error.message)
            self._reactor.reject(key, metadata["uid"], generation, finding, status)

    def _gone(self, key: RuleKey, uid: str) -> None:
        """Forget a rule, unless another one has its name by now."""
        known = self._known.get(key)
        if known and known.uid == uid:
            del self._known[key]
            self._reactor.deleted(key)


def _key(body: Mapping[str, Any]) -> RuleKey:
    return RuleKey(body["metadata"]["namespace"], body["metadata"]["name"])


def _version(body: Mapping[str, Any]) -> int:
    return int(body["metadata"]["resourceVersion"])


async def _retried_if_unauthorized(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Have kopf wait before it asks again: at a 401 it would log in anew at once, again and again."""
    response = await handler(request)
    if response.status == UNAUTHORIZED:
        response.release()
        raise aiohttp.ClientConnectionError("The Kubernetes API does not accept the credentials (401)")
    return response


async def _served(api: client.ApiClient) -> bool:
    """Look where kopf will look: the list of groups and the list of a group's kinds grow one by one."""
    async with request("list", "API groups"):
        groups = await client.ApisApi(api).get_api_versions()
    if all(group.name != GROUP for group in groups.groups):
        return False
    async with request("list", f"the kinds of {GROUP}/{VERSION}"):
        kinds = await client.CustomObjectsApi(api).get_api_resources(GROUP, VERSION)
    return any(kind.name == PLURAL for kind in kinds.resources)
