"""Leader election: of several processes, the one that holds a Lease acts, the others stand by.

A process leads while its last successful renewal *began* less than the renew deadline ago; then it must end.
The others take the Lease over once it has not changed for its whole duration, as their own monotonic clocks
measure it: wall clocks may differ by any amount, the times in the Lease are for people. What lies between
the deadline and the duration is for a write that is under way.

No process writes a longer duration than LONGEST_LEASE, so none leads that long after its last renewal. A
Lease that says more was written by hand and is waited for no longer. One that is deleted is waited for
likewise, as its holder may still lead; then it is forgotten.

`kubernetes.aio.leaderelection` (37.0.2) was no choice: it fails to create a Lease, an API server that hangs
leaves it with two leaders, and it releases nothing.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp
from kubernetes.aio import client

from natsscaler.core.errors import KubernetesError, LeadershipLost
from natsscaler.core.reasons import Reason
from natsscaler.kube.requests import CONFLICT, NOT_FOUND, OnFailure, request
from natsscaler.settings import LONGEST_LEASE

NAME = "natsscaler.scaling.example.com"
"""The Lease (coordination.k8s.io/v1); whoever stands for election may get, create and update it."""
RETRY_SECONDS = 1.0
"""Between two looks at the Lease, or two renewals."""
RELEASE_SECONDS = 1.0
READS = frozenset({"GET", "HEAD"})

log = logging.getLogger(__name__)


class LeaderElector:
    """Stands for election, and renews once elected. Durations are seconds; `api` is for the Lease alone."""

    def __init__(
        self,
        api: client.ApiClient,
        namespace: str,
        identity: str,
        *,
        duration: int,
        renew_deadline: int,
        on_failure: OnFailure,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self.elected = asyncio.Event()
        self._leases = client.CoordinationV1Api(api)
        self._namespace = namespace
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._on_failure = on_failure
        self._clock = clock
        self._wall = wall
        self._lease: client.V1Lease | None = None
        """As it is, as far as is known; None: look before writing."""
        self._spec = client.V1LeaseSpec()
        """As last seen, even if the Lease has been deleted since: deleting it must not make two leaders."""
        self._version: str | None = None
        self._changed_at = -math.inf
        self._renewed = -math.inf
        """When the last renewal that succeeded began."""

    @property
    def leader(self) -> str | None:
        """Who leads, as last seen."""
        return self._spec.holder_identity or None

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._left() > 0

    async def run(self) -> None:
        """Stand for election, then renew, until LeadershipLost is raised."""
        while True:
            if self.elected.is_set():
                self.check()
            try:
                async with asyncio.timeout(self._left() if self.elected.is_set() else None):
                    await self._attempt()
            except LeadershipLost:
                raise
            except KubernetesError as error:
                self._lease = None
                self._on_failure("lease", error.reason)
                log.warning("Leader election failed and is tried again: %s", error)
            except TimeoutError:
                self._lease = None  # the renew deadline is over, as the next check says
            pause = max(0.0, self._left()) if self.elected.is_set() else RETRY_SECONDS
            await asyncio.sleep(min(RETRY_SECONDS, pause))

    async def release(self) -> None:
        """Give the Lease up, so that nobody need wait for its end; all writes, and `run`, must have ended."""
        if not self.leading:
            return
        self._renewed = -math.inf
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._give_up()
        except (KubernetesError, TimeoutError) as error:
            log.warning("The Lease was not released and expires by itself: %s", str(error) or "no answer")

    def check(self) -> None:
        """Raise LeadershipLost unless this process may write now."""
        if not self.leading:
            raise LeadershipLost(f"The Lease was not renewed within {self._renew_deadline} s")

    def fence(self) -> aiohttp.TraceConfig:
        """Make what keeps an API client from writing (any method but GET and HEAD) while not leading.

        It is asked again when the connection stands and the request is about to be sent, so that a process
        that was stopped while it connected does not write when it wakes up. The request raises
        LeadershipLost, and its connection is closed. (aiohttp tells of headers before it sends them:
        http_writer.py, StreamWriter.write_headers.)
        """
        fence = aiohttp.TraceConfig()

        async def check(
            _session: aiohttp.ClientSession,
            _context: SimpleNamespace,
            request: aiohttp.TraceRequestStartParams | aiohttp.TraceRequestHeadersSentParams,
        ) -> None:
            if request.method not in READS:
                self.check()

        fence.on_request_start.append(check)
        fence.on_request_headers_sent.append(check)
        return fence

    def _left(self) -> float:
        return self._renewed + self._renew_deadline - self._clock()

    async def _attempt(self) -> None:
        if self._lease is None or not self.elected.is_set():
            await self._look()
        if self.elected.is_set() and self.leader != self.identity:
            raise LeadershipLost(f"{self.leader or 'No process'} holds the Lease")
        if not self._vacant():
            return
        began = self._clock()
        await self._write(self.identity)
        self._renewed = began
        if not self.elected.is_set():
            log.info("This process leads: %s", self.identity)
            self.elected.set()

    async def _give_up(self) -> None:
        while True:
            await self._look()
            if self.leader != self.identity:
                return
            try:
                await self._write("")
            except KubernetesError as error:
                if error.reason is not Reason.CONFLICT:
                    raise
                continue  # a renewal that was cut off has come in after all
            log.info("The Lease is released")
            return

    def _vacant(self) -> bool:
        duration = min(self._spec.lease_duration_seconds or self._duration, LONGEST_LEASE)
        return self.leader in (None, self.identity) or self._clock() - self._changed_at > duration

    async def _look(self) -> None:
        async with request("get", "leases"):
            try:
                lease = await self._leases.read_namespaced_lease(NAME, self._namespace)
            except client.ApiException as error:
                if error.status != NOT_FOUND:
                    raise
                self._lease = None
                return
        version = lease.metadata.resource_version if lease.metadata else None
        if version != self._version:
            self._version, self._changed_at = version, self._clock()
        self._learn(lease)

    async def _write(self, holder: str) -> None:
        now = datetime.fromtimestamp(self._wall(), UTC)
        now = now.replace(microsecond=max(1, now.microsecond))  # the client omits 0, the API wants a fraction
        same = holder == self._spec.holder_identity
        spec = client.V1LeaseSpec(
            holder_identity=holder,
            lease_duration_seconds=self._duration,
            acquire_time=self._spec.acquire_time if same else now,
            renew_time=now,
            lease_transitions=(self._spec.lease_transitions or 0) + (not same),
        )
        overtaken = {CONFLICT: KubernetesError(Reason.CONFLICT, "Another process wrote the Lease first")}
        if self._lease is None:
            lease = client.V1Lease(metadata=client.V1ObjectMeta(name=NAME), spec=spec)
            async with request("create", "leases", overtaken):
                written = await self._leases.create_namespaced_lease(self._namespace, lease)
        else:
            lease = client.V1Lease(metadata=self._lease.metadata, spec=spec)
            async with request("update", "leases", overtaken):
                written = await self._leases.replace_namespaced_lease(NAME, self._namespace, lease)
        self._learn(written)

    def _learn(self, lease: client.V1Lease) -> None:
        before = self.leader
        self._lease, self._spec = lease, lease.spec or client.V1LeaseSpec()
        if self.leader not in (before, None, self.identity):
            log.info("%s leads; this process is on standby", self.leader)
            if (self._spec.lease_duration_seconds or 0) > LONGEST_LEASE:
                log.warning(
                    "The Lease says %d s, which no process writes: it runs out after %d s",
                    self._spec.lease_duration_seconds,
                    LONGEST_LEASE,
                )
