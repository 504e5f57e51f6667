"""Events that come at an awkward moment: while a read is under way, an address fails, or a rule goes."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from natsscaler.core.access import Access
from natsscaler.core.errors import KubernetesError
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import RuleKey, Target
from natsscaler.core.status import RuleStatus
from natsscaler.demo.nats_server import NatsServer
from natsscaler.reactor import reactor
from natsscaler.reactor.endpoint_loop import EndpointLoop
from natsscaler.reactor.executor import STALE_SECONDS
from natsscaler.reactor.write_turns import SHARE, TURNS, Kind
from tests.support.until import until
from tests.support.world import TARGET, World, publish, world

pytestmark = pytest.mark.timeout(90)
SUBJECT = "orders.processing"
OTHER = TARGET._replace(name="other")


async def hold_a_read(here: World) -> None:
    """Have a read begin and its answer held back."""
    before = here.monitoring.reads
    here.monitoring.gate.clear()
    here.reactor.ring_target(TARGET)
    await until(lambda: here.monitoring.reads > before)


async def test_a_doorbell_that_rings_during_a_read(here: World, orders: Client) -> None:
    here.apply()
    await here.rests()
    await hold_a_read(here)
    await publish(orders, 51)
    await until(lambda: here.reactor._states[RuleKey("default", "rule")].rings == {"doorbell"})
    here.monitoring.gate.set()
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert here.wakeups("doorbell") == 1, "it asks for another read"


async def test_an_advisory_that_comes_during_a_read(here: World, orders: Client) -> None:
    here.apply(events=["Advisories"])
    await here.becomes("EventDriven", "False", "SwitchedOff")
    await until(lambda: here.monitoring.begun == here.monitoring.reads == 2)
    await hold_a_read(here)
    await orders.jetstream().delete_consumer("ORDERS", "worker")
    await until(lambda: here.reactor._states[RuleKey("default", "rule")].rings == {"advisory"})
    here.monitoring.gate.set()
    await here.becomes("ScalingActive", "False", "ConsumerNotFound")


async def test_a_rule_that_is_edited_during_a_read(here: World, orders: Client) -> None:
    await publish(orders, 20)
    here.apply()
    await here.rests()
    await hold_a_read(here)
    here.apply(scaleUpThreshold=19)
    here.monitoring.gate.set()
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_rule_that_is_deleted_while_its_doorbell_is_armed(here: World, orders: Client) -> None:
    here.cluster.table[OTHER] = 1
    here.apply("other", deploymentName="other")
    await here.rests()
    [connection] = here.connections
    arm = connection.doorbell
    arming, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: object) -> object:
        bell = await arm(*arguments)  # type: ignore[arg-type]
        arming.set()
        await go_on.wait()
        return bell

    connection.doorbell = slowly  # type: ignore[method-assign, assignment]
    key = here.apply()
    await arming.wait()
    here.reactor.forget(key)
    connection.doorbell = arm  # type: ignore[method-assign]
    go_on.set()
    await here.listens(SUBJECT)
    assert here.reactor.keys == {RuleKey("default", "other")}
    assert orders.is_connected


async def test_a_rule_that_is_created_again_during_a_read(here: World, orders: Client) -> None:
    key = here.apply()
    await here.rests()
    await hold_a_read(here)
    here.reactor.forget(key)
    here.apply()
    assert endpoints() == 1, "two loops would read one server side by side"
    here.monitoring.gate.set()
    await here.rests()
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)


@pytest.mark.parametrize("leads", [True, False])
async def test_what_served_rules_that_are_gone_ends(
    nats_server: NatsServer, orders: Client, *, leads: bool
) -> None:
    async with world(nats_server, leads=leads) as here:
        urls = [f"{nats_server.monitoring_url}/{number}" for number in range(20)]
        keys = [here.apply(f"rule-{n}", natsMonitoringURL=url) for n, url in enumerate(urls)]
        await until(lambda: endpoints() == 20 and all(map(waits, here.reactor._endpoints.values())))
        for key in keys:
            here.reactor.forget(key)
        await until(lambda: endpoints() == 0)
        await publish(orders, 51)
        here.apply()
        here.reactor.elected.set()
        await until(lambda: here.cluster.table[TARGET] == 2)


def waits(endpoint: EndpointLoop) -> bool:
    """Tell whether a loop waits for something that wakes it."""
    return bool(endpoint._woken._waiters)


def endpoints() -> int:
    """Count the loops that serve monitoring URLs."""
    return sum(task.get_name().startswith("endpoint ") for task in asyncio.all_tasks())


async def test_a_connection_outlives_the_last_rule_of_an_endpoint(here: World, orders: Client) -> None:
    """A flush that is broken off would make nats-py stop reading."""
    here.apply()
    await here.rests()
    [connection] = here.connections
    here.cluster.table[OTHER] = 1
    settle = connection.settle
    settling = asyncio.Event()

    async def told() -> bool:
        settling.set()
        return await settle()

    connection.settle = told  # type: ignore[method-assign]
    same = here.server.monitoring_url.replace("127.0.0.1", "localhost")
    key = here.apply("other", deploymentName="other", natsMonitoringURL=same, nats={"url": connection.url})
    await settling.wait()
    here.reactor.forget(key)
    await here.listens(SUBJECT)
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert here.connections == [connection]


async def test_a_connection_lost_and_made_anew_before_anybody_looked(here: World, orders: Client) -> None:
    """The doorbell of the connection that is gone must not be taken for one that listens."""
    here.apply()
    await here.rests()
    await hold_a_read(here)
    lost = here.reactor._states[RuleKey("default", "rule")].doorbell
    [connection] = here.connections
    assert connection._client
    await connection._client.close()
    await until(lambda: here.metrics.registry.get_sample_value("natsscaler_nats_connected") == 0)
    await until(lambda: here.metrics.registry.get_sample_value("natsscaler_nats_connected") == 1)
    here.monitoring.gate.set()
    await until(lambda: here.reactor._states[RuleKey("default", "rule")].doorbell is not lost)
    await here.listens(SUBJECT)
    await here.rests()
    await publish(orders, 51)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_path_keeps_its_case(here: World, orders: Client) -> None:
    """A proxy's path in upper case: paths are case-sensitive, hosts are not."""
    asked: list[str] = []
    read = here.monitoring.read

    async def note(access: Access, tenant: str) -> object:
        asked.append(access.url)
        return await read(access, tenant)

    here.monitoring.read = note  # type: ignore[method-assign, assignment]
    here.apply(natsMonitoringURL="http://LOCALHOST:1/NATS/Monitoring/")
    await here.becomes("ScalingActive", "False", "MonitoringUnreachable")
    assert asked[0] == "http://localhost:1/NATS/Monitoring"
    assert orders.is_connected


def scaled_unseen(here: World, replicas: int) -> None:
    """Have somebody scale the Deployment, which only a conflict tells of."""
    seen = dict(here.cluster.table)
    here.cluster.table[TARGET] = replicas

    async def fresh_replicas(target: Target) -> int:
        seen.update(here.cluster.table)
        return seen[target]

    here.cluster.replicas = seen.get  # type: ignore[method-assign, assignment]
    here.cluster.fresh_replicas = fresh_replicas  # type: ignore[method-assign]


async def test_a_step_that_waits_after_a_conflict_is_taken_in_time(here: World, orders: Client) -> None:
    await publish(orders, 100)
    scaled_unseen(here, 2)  # a step up of this moment
    here.apply(messagesPerReplica=20, events=[])
    await until(lambda: here.cluster.table[TARGET] == 5)


async def test_a_conflict_that_leaves_nothing_to_do_leaves_no_rule_deaf(here: World, orders: Client) -> None:
    here.cluster.table[OTHER] = 1
    here.apply("other", deploymentName="other", scaleUpThreshold=1000)
    await here.listens(SUBJECT)  # so no connection that is made wakes the rule once more
    await publish(orders, 100)
    scaled_unseen(here, 5)
    here.apply(messagesPerReplica=20)
    await here.listens(SUBJECT, SUBJECT)
    assert here.cluster.table[TARGET] == 5


async def test_a_decision_that_has_waited_for_its_turn_is_made_anew(here: World, orders: Client) -> None:
    """While the Kubernetes API hangs, what a step down was decided on may have become untrue."""
    here.cluster.table[TARGET] = 3
    shared = here.reactor._shared
    assert shared
    async with contextlib.AsyncExitStack() as stack:
        for number in range(TURNS):
            await stack.enter_async_context(shared.turns.turn(Kind.STEP, f"other-{number}"))
        here.apply()
        state = here.reactor._states[RuleKey("default", "rule")]
        await until(lambda: state.busy and state.step(time.monotonic()) is not None)
        await publish(orders, 20)  # within the thresholds
        shared.clock = lambda: time.monotonic() + STALE_SECONDS + 1
    await here.becomes("Ready", "True", "Scaling")
    await until(lambda: not state.busy and state.step(time.monotonic()) is None)
    assert here.cluster.table[TARGET] == 3
    assert here.wakeups("late") == 1


async def test_a_rule_that_is_deleted_between_a_conflict_and_the_next_attempt(
    here: World, orders: Client
) -> None:
    await publish(orders, 100)
    key = here.apply(messagesPerReplica=20)
    task = None

    async def fresh_replicas(_: Target) -> int:
        nonlocal task
        task = asyncio.current_task()
        here.reactor.forget(key)
        return 1

    here.cluster.fresh_replicas = fresh_replicas  # type: ignore[method-assign, assignment]
    here.cluster.replicas = {TARGET: 2}.get  # type: ignore[method-assign, assignment]
    await until(lambda: task is not None and task.done())
    assert here.cluster.table[TARGET] == 1


@pytest.mark.parametrize(
    "failure", [KubernetesError(Reason.KUBERNETES_UNAVAILABLE, "503"), ValueError("of a library")]
)
async def test_what_is_wrong_with_a_rule_is_said_as_soon_as_it_can_be_written(
    here: World, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(reactor, "RETRY_SECONDS", 0.05)
    write, failures = here.cluster.write_status, [failure] * 3

    async def write_status(key: RuleKey, uid: str, status: RuleStatus) -> None:
        if failures:
            raise failures.pop()
        await write(key, uid, status)

    here.cluster.write_status = write_status  # type: ignore[method-assign]
    wrong = Finding(Reason.INVALID_RULE, "spec.subject: fix it")
    here.reactor.reject(RuleKey("default", "rule"), "uid of rule", 1, wrong, RuleStatus())
    await here.becomes("Ready", "False", "InvalidRule")
    assert here.reactor._rejected == {}


async def test_a_rule_whose_deployments_may_not_be_listed_says_so_and_leaves_the_replicas(
    here: World, orders: Client
) -> None:
    here.cluster.unseen.add("default")
    await publish(orders, 51)
    here.apply()
    await here.becomes("AbleToScale", "False", "Forbidden")
    assert here.message("AbleToScale").startswith(
        "The operator lacks the verbs list and watch on deployments and"
    )
    assert here.cluster.table[TARGET] == 1
    here.cluster.unseen.clear()
    here.reactor.ring_target(TARGET)
    await until(lambda: here.cluster.table[TARGET] == 2)


async def test_a_step_waits_for_no_status_of_other_rules(here: World, orders: Client) -> None:
    """While statuses hang, as many as there may be at once, and more wait, a rule is scaled all the same."""
    write, hang = here.cluster.write_status, asyncio.Event()

    async def write_status(key: RuleKey, uid: str, status: RuleStatus) -> None:
        if key.name.startswith("slow"):
            await hang.wait()
        await write(key, uid, status)

    here.cluster.write_status = write_status  # type: ignore[method-assign]
    for number in range(2 * TURNS):
        here.apply(f"slow-{number}", deploymentName="missing", events=[])
    shared = here.reactor._shared
    assert shared
    await until(lambda: shared.turns._free <= TURNS - SHARE)
    await publish(orders, 100)
    here.apply(messagesPerReplica=20)
    await until(lambda: here.cluster.table[TARGET] == 5)
    hang.set()


async def test_a_rule_that_is_replaced_between_its_decision_and_its_step_is_decided_anew(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's task has been made and has not begun, as when the event loop has much else to do."""
    shared = here.reactor._shared
    assert shared
    spawn = shared.spawn

    def replace_first(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if name.startswith("carry out") and not replaced:
            replaced.append(name)
            here.reactor.upsert(replace(here.rule(messagesPerReplica=50), generation=9), RuleStatus())
        return spawn(work, name)

    replaced: list[str] = []
    await publish(orders, 100)
    monkeypatch.setattr(shared, "spawn", replace_first)
    here.apply(messagesPerReplica=20)
    await until(lambda: here.cluster.table[TARGET] != 1)
    assert here.cluster.steps == [(1, 2)], "5 were wanted by the rule as it was"


async def test_a_rule_that_is_replaced_while_its_step_waits_is_decided_anew(
    here: World, orders: Client
) -> None:
    """The old decision is not carried out for the new rule, and no status tells of both."""
    shared = here.reactor._shared
    assert shared
    await publish(orders, 100)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(TURNS):
            await stack.enter_async_context(shared.turns.turn(Kind.STEP, f"other-{number}"))
        key = here.apply(messagesPerReplica=20)
        await until(lambda: here.reactor._states[key].busy)
        here.reactor.upsert(replace(here.rule(messagesPerReplica=50), generation=9), RuleStatus())
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert here.cluster.steps == [(1, 2)], "5 were wanted by the rule as it was"
    await until(lambda: here.cluster.statuses[key].observed_generation == 9)


async def test_a_step_down_after_a_conflict_is_decided_on_a_count_of_its_own(
    here: World, orders: Client
) -> None:
    """The count that was confirmed was confirmed for another step."""
    await publish(orders, 20)
    scaled_unseen(here, 8)
    at_once = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    scale, reads = here.cluster.scale, list[int]()

    async def noted(target: Target, before: int, after: int) -> int:
        reads.append(here.monitoring.reads)
        return await scale(target, before, after)

    here.cluster.scale = noted  # type: ignore[method-assign]
    here.apply(messagesPerReplica=20, minReplicas=2, events=[], behavior=at_once)
    await until(lambda: here.cluster.table[TARGET] == 2)
    assert len(reads) >= 2
    assert reads[-1] > reads[0]
