"""Leader election: each test runs against the embedded and the real Kubernetes API."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client

from natsscaler.core.errors import LeadershipLost
from natsscaler.kube.connection import connect
from natsscaler.kube.lease import NAME, LeaderElector
from natsscaler.settings import LONGEST_LEASE
from tests.conftest import KubeApi
from tests.support.until import until

DURATION, DEADLINE = 15, 10


class Candidate:
    """A process that stands for election, with a monotonic clock that only moves when it is told to."""

    def __init__(self, kube_api: KubeApi, name: str, skew: float) -> None:
        self.now = 1000.0
        self.asked = 0
        self.failures: list[tuple[str, str]] = []
        self.elector = LeaderElector(
            kube_api.client,
            kube_api.namespace,
            name,
            duration=DURATION,
            renew_deadline=DEADLINE,
            on_failure=lambda *failure: self.failures.append(failure),
            clock=self._clock,
            wall=lambda: time.time() + skew,
        )
        self.task = asyncio.create_task(self.elector.run())

    def _clock(self) -> float:
        self.asked += 1
        return self.now

    async def looks(self) -> None:
        """Wait until it has looked at the Lease of another several times, and judged it by its clock."""
        enough = self.asked + 5
        await until(lambda: self.asked >= enough, 15)

    async def leads(self) -> None:
        await asyncio.wait_for(self.elector.elected.wait(), 15)

    async def dies(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def loses(self) -> str:
        with pytest.raises(LeadershipLost) as lost:
            await asyncio.wait_for(self.task, 15)
        return lost.value.message


class Room:
    """Candidates for one Lease, and another hand on it."""

    def __init__(self, kube_api: KubeApi) -> None:
        self._kube_api = kube_api
        self.candidates: list[Candidate] = []
        self.leases = client.CoordinationV1Api(kube_api.client)
        self.namespace = kube_api.namespace

    def enter(self, name: str, skew: float = 0) -> Candidate:
        self.candidates.append(Candidate(self._kube_api, name, skew))
        return self.candidates[-1]

    async def lease(self) -> Any:
        return await self.leases.read_namespaced_lease(NAME, self.namespace)

    async def make(self, holder: str, seconds: int) -> None:
        """Make the Lease by hand."""
        spec = client.V1LeaseSpec(holder_identity=holder, lease_duration_seconds=seconds)
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=NAME), spec=spec)
        await self.leases.create_namespaced_lease(self.namespace, body)

    async def edit(self, patch: Any) -> None:
        content_type = "application/merge-patch+json"
        await self.leases.patch_namespaced_lease(NAME, self.namespace, patch, _content_type=content_type)

    async def renewals(self, times: int) -> None:
        """Wait until the Lease has been written so many times."""
        last = ""
        async with asyncio.timeout(15):
            while times >= 0:
                version = (await self.lease()).metadata.resource_version
                times -= version != last
                last = version
                await asyncio.sleep(0.01)


@pytest.fixture
async def room(kube_api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr("natsscaler.kube.lease.RETRY_SECONDS", 0.05)
    made = Room(kube_api)
    yield made
    for candidate in made.candidates:
        candidate.task.cancel()
    await asyncio.gather(*(candidate.task for candidate in made.candidates), return_exceptions=True)


async def test_one_of_several_leads_and_the_others_know_who(room: Room) -> None:
    first = room.enter("a")
    await first.leads()
    others = [room.enter("b"), room.enter("c")]
    await until(lambda: all(other.elector.leader == "a" for other in others), 15)
    await room.renewals(3)
    assert [each.elector.leading for each in room.candidates] == [True, False, False]
    lease = await room.lease()
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("a", DURATION)


@pytest.mark.parametrize("skew", [-60, 0, 60])
async def test_a_dead_leader_is_followed_after_the_lease_whatever_the_wall_clocks(
    room: Room, skew: float
) -> None:
    dead = room.enter("dead")
    await dead.leads()
    heir = room.enter("heir", skew)
    await until(lambda: heir.elector.leader == "dead", 15)
    await room.renewals(2)
    await dead.dies()
    version = (await room.lease()).metadata.resource_version
    await until(lambda: heir.elector._version == version, 15)
    heir.now += DURATION
    await heir.looks()
    assert not heir.elector.leading
    heir.now += 0.001
    await heir.leads()
    lease = await room.lease()
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("heir", 2)


async def test_a_released_lease_is_taken_at_once(room: Room) -> None:
    first = room.enter("a")
    await first.leads()
    heir = room.enter("b")
    await until(lambda: heir.elector.leader == "a", 15)
    await first.dies()
    await first.elector.release()
    assert not first.elector.leading
    await heir.leads()


async def test_a_follower_releases_nothing(room: Room) -> None:
    first = room.enter("a")
    await first.leads()
    other = room.enter("b")
    await until(lambda: other.elector.leader == "a", 15)
    await other.dies()
    await other.elector.release()
    assert (await room.lease()).spec.holder_identity == "a"


async def test_a_leader_that_wakes_up_too_late_does_not_even_renew(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    leader.now += DEADLINE
    assert "within 10 s" in await leader.loses()
    assert not leader.elector.leading


async def test_a_leader_ends_when_another_holds_the_lease(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    await room.edit({"spec": {"holderIdentity": "usurper"}})
    assert "usurper" in await leader.loses()


async def test_an_edit_by_a_person_is_kept_and_costs_no_leadership(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    await room.edit({"metadata": {"labels": {"team": "orders"}}})
    await room.renewals(3)
    assert leader.elector.leading
    assert leader.failures == [("lease", "Conflict")]
    assert (await room.lease()).metadata.labels == {"team": "orders"}


async def test_deleting_the_lease_makes_no_second_leader(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    other = room.enter("b")
    await until(lambda: other.elector.leader == "a", 15)
    await leader.dies()
    await room.leases.delete_namespaced_lease(NAME, room.namespace)
    await other.looks()
    assert not other.elector.leading
    other.now += DURATION + 1
    await other.leads()


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_lease_of_63_years_made_by_hand_runs_out_after_the_longest_that_a_process_writes(
    room: Room, deleted: bool
) -> None:
    await room.make("nobody", 2_000_000_000)
    heir = room.enter("a")
    await until(lambda: heir.elector.leader == "nobody", 15)
    if deleted:
        await room.leases.delete_namespaced_lease(NAME, room.namespace)
    heir.now += LONGEST_LEASE
    await heir.looks()
    assert not heir.elector.leading
    heir.now += 0.001
    await heir.leads()
    lease = await room.lease()
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("a", DURATION)


async def test_a_longer_duration_of_a_leader_with_other_settings_is_waited_for(room: Room) -> None:
    await room.make("a leader with other settings", 300)
    heir = room.enter("a")
    await until(lambda: heir.elector.leader is not None, 15)
    await room.leases.delete_namespaced_lease(NAME, room.namespace)
    heir.now += 300
    await heir.looks()
    assert not heir.elector.leading
    heir.now += 0.001
    await heir.leads()


async def test_a_leader_writes_its_own_duration_over_one_made_by_hand(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    await room.edit({"spec": {"leaseDurationSeconds": 2_000_000_000}})
    await room.renewals(3)
    assert leader.elector.leading
    assert (await room.lease()).spec.lease_duration_seconds == DURATION


async def test_a_deleted_lease_is_made_again_by_its_leader(room: Room) -> None:
    leader = room.enter("a")
    await leader.leads()
    await room.leases.delete_namespaced_lease(NAME, room.namespace)

    async def holder() -> str | None:
        with contextlib.suppress(client.ApiException):
            found: str | None = (await room.lease()).spec.holder_identity
            return found
        return None

    async with asyncio.timeout(15):
        while await holder() != "a":  # noqa: ASYNC110 - only looking tells
            await asyncio.sleep(0.01)
    assert leader.elector.leading


async def test_a_moment_without_microseconds_is_written_too(room: Room, kube_api: KubeApi) -> None:
    elector = LeaderElector(
        kube_api.client,
        room.namespace,
        "a",
        duration=DURATION,
        renew_deadline=DEADLINE,
        on_failure=lambda *_: None,
        wall=lambda: 1.8e9,
    )
    task = asyncio.create_task(elector.run())
    await asyncio.wait_for(elector.elected.wait(), 15)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def writes(api: client.ApiClient, namespace: str) -> bool:
    body: Any = {"metadata": {"generateName": "written-"}}
    try:
        await client.CoreV1Api(api).create_namespaced_secret(namespace, body)
    except LeadershipLost:
        return False
    return True


async def fenced(kube_api: KubeApi, fence: aiohttp.TraceConfig) -> client.ApiClient:
    api = await connect(kube_api.kubeconfig, in_cluster=False)
    api.configuration.trace_configs = [fence]
    return api


async def test_the_fence_lets_write_only_who_leads(room: Room, kube_api: KubeApi) -> None:
    leader = room.enter("a")
    await leader.leads()
    other = room.enter("b")
    for candidate, may_write in ((leader, True), (other, False)):
        async with await fenced(kube_api, candidate.elector.fence()) as api:
            assert await writes(api, room.namespace) is may_write
            await client.CoreV1Api(api).list_namespaced_secret(room.namespace)
            assert await writes(api, room.namespace) is may_write  # on the connection that stands
    await leader.dies()
    leader.now += DEADLINE
    async with await fenced(kube_api, leader.elector.fence()) as api:
        assert not await writes(api, room.namespace)


async def test_the_fence_holds_even_if_the_time_passed_while_connecting(
    room: Room, kube_api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = room.enter("a")
    await leader.leads()
    await leader.dies()
    opened: list[asyncio.Transport] = []
    connect_for_real = asyncio.get_running_loop().create_connection

    async def connect_slowly(*arguments: Any, **options: Any) -> Any:
        transport, protocol = await connect_for_real(*arguments, **options)
        opened.append(transport)
        leader.now += DEADLINE
        return transport, protocol

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect_slowly)
    async with await fenced(kube_api, leader.elector.fence()) as api:
        assert leader.elector.leading
        assert not await writes(api, room.namespace)
    assert [transport.is_closing() for transport in opened] == [True]
