"""A model of KEDA with a HorizontalPodAutoscaler, to compare a rule with.

It models, with their defaults: the trigger nats-jetstream (messages not yet acknowledged, by lagThreshold);
the HPA's look every 15 s, its tolerance of 0.1, and its limits: those that hold without spec.behavior (at
most twice as many replicas, or 4, at a time; down to the most that was wanted in 300 s), or those of a
behavior that the ScaledObject gives (kubernetes pkg/controller/podautoscaler/horizontal.go); and KEDA's own
step between 0 and 1 at its pollingInterval and cooldownPeriod. All looks are at whole multiples of these
periods, so the first step comes after up to 15 s.

It does not model: KEDA's fallback, pauses, several triggers, scaling modifiers, metrics that are cached, pods
that the HPA sets aside because they are not ready (for an external metric it does not), and the time that
requests take.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from natsscaler.core.decision.behavior_limits import limit
from natsscaler.core.decision.situation import Taken
from natsscaler.core.errors import SettingsError
from natsscaler.core.rule import Behavior, Policy, PolicyType, Rule, SelectPolicy
from natsscaler.simulate.arrivals import Arrivals
from natsscaler.simulate.loop import Stepped
from natsscaler.simulate.outcome import Simulated, simulated
from natsscaler.simulate.plant import Plant, Speed

SYNC_SECONDS = 15
"""--horizontal-pod-autoscaler-sync-period."""
TOLERANCE = 0.1
"""--horizontal-pod-autoscaler-tolerance."""
WINDOW_SECONDS = 300
"""--horizontal-pod-autoscaler-downscale-stabilization."""
TWICE, FOUR = 2, 4
"""scaleUpLimitFactor and scaleUpLimitMinimum, where there is no spec.behavior."""
DEFAULT_POLICIES = (
    Policy(type=PolicyType.PODS, value=4, period_seconds=15),
    Policy(type=PolicyType.PERCENT, value=100, period_seconds=15),
)
"""Of scaleUp, where spec.behavior is given and has none (autoscaling/v2 HPAScalingRules)."""
TRIGGER = "nats-jetstream"


class KedaSettings(Struct, frozen=True, kw_only=True):
    """What of a ScaledObject matters here, with KEDA's defaults."""

    name: str = "keda"
    lag_threshold: int = 10
    activation_lag_threshold: int = 0
    min_replicas: int = 0
    max_replicas: int = 100
    polling_interval: int = 30
    cooldown_period: int = 300
    behavior: Behavior | None = None


class _NatsTrigger(Struct):
    type: str
    metadata: Mapping[str, str] = {}


class _HpaConfig(Struct):
    behavior: Behavior | None = None


class _AdvancedConfig(Struct):
    hpa: _HpaConfig = field(default_factory=_HpaConfig, name="horizontalPodAutoscalerConfig")


class _ScaledObjectSpec(Struct, rename="camel"):
    triggers: tuple[_NatsTrigger, ...]
    min_replica_count: int = 0
    max_replica_count: int = 100
    polling_interval: int = 30
    cooldown_period: int = 300
    advanced: _AdvancedConfig = field(default_factory=_AdvancedConfig)


def of_rule(rule: Rule) -> KedaSettings:
    """Make the ScaledObject nearest to a rule: the same bounds, as many messages per replica."""
    spec = rule.spec
    return KedaSettings(
        lag_threshold=max(1, spec.messages_per_replica or spec.scale_up_threshold),
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
    )


def read(manifest: Mapping[str, Any]) -> KedaSettings:
    """Read a ScaledObject. Raises SettingsError, naming what cannot be modelled."""
    name = str(manifest.get("metadata", {}).get("name", "keda"))
    try:
        spec = msgspec.convert(manifest.get("spec"), _ScaledObjectSpec)
    except msgspec.ValidationError as error:
        raise SettingsError(f"ScaledObject {name}: {error}") from error
    if [trigger.type for trigger in spec.triggers] != [TRIGGER]:
        raise SettingsError(f"ScaledObject {name}: only one trigger, of type {TRIGGER}, can be simulated")
    metadata = spec.triggers[0].metadata
    try:
        lag, activation = (int(metadata.get(key, default)) for key, default in DEFAULTS.items())
    except ValueError as error:
        raise SettingsError(f"ScaledObject {name}: lagThreshold must be a whole number: {error}") from error
    return KedaSettings(
        name=f"keda {name}",
        lag_threshold=max(1, lag),
        activation_lag_threshold=activation,
        min_replicas=spec.min_replica_count,
        max_replicas=spec.max_replica_count,
        polling_interval=max(1, spec.polling_interval),
        cooldown_period=spec.cooldown_period,
        behavior=spec.advanced.hpa.behavior,
    )


DEFAULTS = {"lagThreshold": "10", "activationLagThreshold": "0"}


class KedaLoop:
    """KEDA's operator and the HPA at work on a plant. Times: seconds since the start."""

    def __init__(self, wanted: KedaSettings, plant: Plant) -> None:
        self.wanted, self.plant = wanted, plant
        self.steps: list[Stepped] = []
        self._recommended = [(0.0, plant.replicas)]
        self._active_at = 0.0

    def run(self, until: float) -> None:
        """Let the time pass."""
        polling = self.wanted.polling_interval
        for second in range(1, math.ceil(until)):
            syncs, polls = second % SYNC_SECONDS == 0, second % polling == 0
            if syncs or polls:
                self.plant.advance(float(second))
                if polls and self.wanted.min_replicas == 0:
                    self._activate()
                if syncs and self.plant.replicas:
                    self._sync()
        self.plant.advance(until)

    def _activate(self) -> None:
        plant, now, lag = self.plant, self.plant.now, self.plant.waiting
        if lag > self.wanted.activation_lag_threshold:
            self._active_at = now
            if plant.replicas == 0:
                self._recommended = [(now, 1)]
                self._scale(1, f"Lag {lag} is above activationLagThreshold", "KEDA")
        elif plant.replicas and now - self._active_at >= self.wanted.cooldown_period:
            self._scale(0, f"Nothing has waited for cooldownPeriod {self.wanted.cooldown_period} s", "KEDA")

    def _sync(self) -> None:
        plant, lag, target = self.plant, self.plant.waiting, self.wanted.lag_threshold
        proposal = plant.replicas
        if not 1.0 - TOLERANCE <= lag / (target * plant.replicas) <= 1.0 + TOLERANCE:
            proposal = math.ceil(lag / target)
        low, high = max(1, self.wanted.min_replicas), self.wanted.max_replicas
        behavior = self.wanted.behavior
        allowed = self._legacy(proposal) if behavior is None else self._behaved(proposal, behavior)
        replicas = max(low, min(allowed, high))
        self._scale(
            replicas, f"Lag {lag} at lagThreshold {target} wants {proposal}", "HorizontalPodAutoscaler"
        )

    def _legacy(self, proposal: int) -> int:
        """Limit a proposal as without spec.behavior."""
        most = self._over(WINDOW_SECONDS, proposal, max)
        return min(most, max(TWICE * self.plant.replicas, FOUR))

    def _behaved(self, proposal: int, behavior: Behavior) -> int:
        """Limit a proposal as spec.behavior has it."""
        up, down, present = behavior.scale_up, behavior.scale_down, self.plant.replicas
        if not up.policies:
            up = msgspec.structs.replace(up, policies=DEFAULT_POLICIES)
        lowest = self._over(up.stabilization_window_seconds, proposal, min)
        highest = self._over(down.stabilization_window_seconds, proposal, max)
        stable = min(max(present, lowest), highest) if lowest <= highest else proposal
        direction = up if stable > present else down
        if stable == present or direction.select_policy is SelectPolicy.DISABLED:
            return present
        taken = [Taken(step.time, step.before, step.after) for step in self.steps]
        allowed = limit(direction, present, taken, self.plant.now)
        if allowed is None:
            return stable
        return min(stable, allowed.replicas) if stable > present else max(stable, allowed.replicas)

    def _over(self, window: float, proposal: int, choose: Callable[[list[int]], int]) -> int:
        """Note a proposal, and choose among those of the window."""
        now = self.plant.now
        if self._recommended[-1] != (now, proposal):
            self._recommended.append((now, proposal))
        self._recommended = [one for one in self._recommended if one[0] > now - 3600]
        return choose([proposal, *(replicas for at, replicas in self._recommended if at > now - window)])

    def _scale(self, replicas: int, message: str, reason: str) -> None:
        plant = self.plant
        if replicas != plant.replicas:
            before = plant.replicas
            plant.scale(replicas)
            self.steps.append(Stepped(plant.now, before, replicas, plant.waiting, reason, message))


def simulate_keda(
    wanted: KedaSettings, arrivals: Arrivals, speed: Speed, replicas: int, threshold: int
) -> Simulated:
    """Say what KEDA and the HPA would do; `threshold`: the backlog above which time is counted."""
    plant = Plant(arrivals, speed, replicas)
    autoscaler = KedaLoop(wanted, plant)
    autoscaler.run(arrivals.seconds)
    return simulated(wanted.name, plant, autoscaler.steps, threshold, wanted.max_replicas)
