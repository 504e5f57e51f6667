"""Simulates a rule: arrivals, workers and the operator's loop put together."""

from msgspec.structs import replace

from natsscaler.core.rule import Rule
from natsscaler.simulate.arrivals import Arrivals
from natsscaler.simulate.loop import Loop
from natsscaler.simulate.outcome import Simulated, simulated
from natsscaler.simulate.plant import Plant, Speed

UNKNOWN_TO_IT = (
    "Between two rows of the trace, messages are taken to come evenly.",
    "A replica is taken to work at the same rate, however many there are, up to --limit-rate.",
    "No read fails, nobody else changes the replicas, and no message is delivered twice.",
)
"""What a simulation takes for granted; printed with each."""


def simulate(rule: Rule, arrivals: Arrivals, speed: Speed, replicas: int | None = None) -> Simulated:
    """Say what the rule would do; `replicas` at the start, by default as few as it allows, and 1 at least.

    A pause and dryRun are left aside: the question is what the rule would do. The same arguments give the
    same answer.
    """
    rule = replace(rule, pause=None, spec=replace(rule.spec, dry_run=False))
    bounds = rule.bounds(arrivals.start)
    plant = Plant(arrivals, speed, max(1, bounds.low) if replicas is None else replicas)
    loop = Loop(rule, plant)
    loop.run(arrivals.seconds)
    return simulated(str(rule.key), plant, loop.steps, rule.spec.scale_up_threshold, bounds.high)
