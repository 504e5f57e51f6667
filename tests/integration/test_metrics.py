"""What the metrics say while rules are evaluated, scale, and go."""

import asyncio

import pytest
from nats.aio.client import Client

from natsscaler.core.errors import KubernetesError
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Target
from natsscaler.core.waking import WakeSource
from natsscaler.observe.metrics import Metrics
from tests.support.until import until
from tests.support.waking import in_virtual_time
from tests.support.world import TARGET, World, publish

pytestmark = pytest.mark.timeout(90)


def lines(here: World) -> list[str]:
    return here.metrics.write(openmetrics=False)[0].decode().splitlines()


def of_rules(here: World) -> list[str]:
    return [line for line in lines(here) if 'rule="' in line]


async def test_a_burst_is_seen_in_every_metric_of_the_rule(here: World, orders: Client) -> None:
    here.apply(messagesPerReplica=10)
    await here.rests()
    await publish(orders, 60)
    await until(lambda: here.cluster.table[TARGET] == 6)
    await here.rests()
    labels = '{namespace="default",rule="rule"'
    told = lines(here)
    assert f"natsscaler_backlog_messages{labels}}} 60" in told
    assert f"natsscaler_replicas{labels}}} 6" in told
    assert f"natsscaler_desired_replicas{labels}}} 6" in told
    assert f'natsscaler_event_driven{labels},reason="Listening"}} 1' in told
    assert (
        f'natsscaler_scaling_actions_total{labels},direction="up",reason="BacklogAboveThreshold"}} 1' in told
    )
    assert "natsscaler_reaction_seconds_count 1.0" in told
    assert "natsscaler_nats_connections 1.0" in told
    assert "natsscaler_nats_connected 1.0" in told
    assert here.wakeups("doorbell") == 1
    sources = [line.split('"')[1] for line in told if line.startswith("natsscaler_wakeups_total")]
    assert sorted(sources) == sorted(WakeSource)


@pytest.mark.usefixtures("orders")
async def test_a_rule_deleted_during_a_read_leaves_no_series(here: World) -> None:
    key = here.apply()
    await here.rests()
    assert of_rules(here)
    before = here.monitoring.reads
    here.monitoring.gate.clear()
    here.reactor.ring_target(TARGET)
    await until(lambda: here.monitoring.reads > before)
    here.reactor.forget(key)
    here.apply("other", deploymentName="other")
    here.monitoring.gate.set()
    await here.becomes("AbleToScale", "False", "TargetNotFound", "other")
    assert of_rules(here)
    assert not [line for line in of_rules(here) if 'rule="rule"' in line]


async def test_a_rule_deleted_while_it_scales_leaves_no_series(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, scale = asyncio.Event(), asyncio.Event(), here.cluster.scale

    async def slowly(target: Target, before: int, after: int) -> int:
        begun.set()
        await go_on.wait()
        return await scale(target, before, after)

    monkeypatch.setattr(here.cluster, "scale", slowly)
    await publish(orders, 60)
    key = here.apply()
    await begun.wait()
    assert of_rules(here)
    here.reactor.forget(key)
    go_on.set()
    await until(lambda: ("rule", "Scale", "ScaledUp") in here.cluster.events)
    assert of_rules(here) == []


async def test_a_write_that_fails_is_counted_and_its_reason_told(
    here: World, orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise KubernetesError(Reason.FORBIDDEN, "The operator may not patch deployments/scale")

    monkeypatch.setattr(here.cluster, "scale", refuse)
    await publish(orders, 60)
    here.apply()
    await here.becomes("AbleToScale", "False", "Forbidden")
    labels = '{namespace="default",rule="rule"'
    assert f'natsscaler_able_to_scale{labels},reason="Forbidden"}} 0' in lines(here)
    assert 'natsscaler_failures_total{operation="scale",reason="Forbidden"} 1.0' in lines(here)


@pytest.mark.usefixtures("orders")
async def test_a_lost_connection_is_one_that_is_asked_for_and_not_up(here: World) -> None:
    key = here.apply()
    await here.rests()
    await here.server.kill()
    await here.becomes("EventDriven", "False", "NotConnected")
    assert "natsscaler_nats_connected 0.0" in lines(here)
    assert "natsscaler_nats_connections 1.0" in lines(here)
    here.reactor.forget(key)
    assert "natsscaler_nats_connections 0.0" in lines(here)


def test_an_event_loop_that_was_held_up_is_measured() -> None:
    metrics = Metrics()

    async def scenario() -> None:
        task = asyncio.create_task(metrics.watch_event_loop(), name="event loop lag")
        await asyncio.sleep(1.5)
        asyncio.get_running_loop()._virtual.now += 3  # type: ignore[attr-defined]  # something blocks it
        await asyncio.sleep(1)
        task.cancel()

    in_virtual_time(scenario)
    name = "natsscaler_event_loop_lag_seconds"
    assert metrics.registry.get_sample_value(f"{name}_bucket", {"le": "1.0"}) == 1
    assert metrics.registry.get_sample_value(f"{name}_count") == 2
