"""The model of KEDA and the HorizontalPodAutoscaler takes the steps that the real ones were seen to take."""

from typing import Any

import pytest

from natsscaler.core.errors import SettingsError
from natsscaler.simulate.arrivals import Arrivals, of_rows
from natsscaler.simulate.keda import KedaSettings, of_rule, read, simulate_keda
from natsscaler.simulate.plant import Speed
from tests.support.factories import rule

BURST = of_rows([(0, 0), (1, 3000), (2, 0), (1200, 0)])
SLOW = Speed(1e-3)


def steps(
    wanted: KedaSettings, arrivals: Arrivals = BURST, speed: Speed = SLOW
) -> list[tuple[float, int, int]]:
    start = max(1, wanted.min_replicas)
    found = simulate_keda(wanted, arrivals, speed, start, 50).steps
    return [(step.time, step.before, step.after) for step in found]


def scaled_object(**spec: Any) -> dict[str, Any]:
    trigger = {"type": "nats-jetstream", "metadata": {"lagThreshold": "50"}}
    return {"metadata": {"name": "orders"}, "spec": {"maxReplicaCount": 10, "triggers": [trigger], **spec}}


def test_up_as_recorded_with_keda_2_21_on_kubernetes_1_36() -> None:
    """Recorded: 1 → 4 → 8 → 10, 15 s apart, the first one after up to 15 s."""
    wanted = of_rule(rule(messagesPerReplica=50))
    assert steps(wanted)[:3] == [(15, 1, 4), (30, 4, 8), (45, 8, 10)]


def test_down_to_the_most_that_was_wanted_in_five_minutes() -> None:
    found = steps(of_rule(rule(messagesPerReplica=50)), speed=Speed(100.0))
    up = [step for step in found if step[2] > step[1]]
    down = [step for step in found if step[2] < step[1]]
    assert [step[1:] for step in down] == [(up[-1][2], 1)]
    assert down[0][0] >= 300


def test_a_difference_of_a_tenth_is_tolerated() -> None:
    def lag(messages: int) -> Arrivals:
        return of_rows([(0, messages), (1, 0), (100, 0)])

    wanted = KedaSettings(lag_threshold=100, min_replicas=1)
    assert steps(wanted, lag(110)) == []
    assert steps(wanted, lag(112)) == [(15, 1, 2)]


def test_a_behavior_has_the_policies_of_kubernetes_where_it_names_none() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    wanted = read(
        scaled_object(minReplicaCount=1, advanced={"horizontalPodAutoscalerConfig": {"behavior": behavior}})
    )
    assert steps(wanted)[:2] == [(15, 1, 5), (30, 5, 10)]


def test_a_behavior_with_policies() -> None:
    up = {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]}
    config = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": up}}}
    wanted = read(scaled_object(minReplicaCount=1, advanced=config))
    assert steps(wanted)[:3] == [(15, 1, 2), (45, 2, 3), (75, 3, 4)]


def test_to_zero_after_the_cooldown_and_back_at_a_poll() -> None:
    wanted = read(scaled_object(cooldownPeriod=60))
    arrivals = of_rows([(0, 0), (100, 10), (101, 0), (400, 0)])
    found = steps(wanted, arrivals, Speed(1.0))
    assert found[:2] == [(60, 1, 0), (120, 0, 1)]
    assert found[2][1:] == (1, 0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"triggers": [{"type": "cron"}]}, "only one trigger"),
        ({"triggers": "none"}, "Expected `array`"),
        ({"triggers": [{"type": "nats-jetstream", "metadata": {"lagThreshold": "many"}}]}, "whole number"),
    ],
)
def test_what_cannot_be_modelled_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(scaled_object(**spec))
