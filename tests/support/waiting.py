"""What a rule that cannot be used waits for."""

from natsscaler.core.reasons import Finding, Reason
from tests.support.factories import UNKNOWN, backlog, facts, rule

REFUSED = Finding(Reason.FORBIDDEN, "natsscaler may not patch deployments/scale")


WAITING_FOR = [
    ("paused", facts(51, made=rule(paused=True)), "none while the rule is paused"),
    ("rehearsal", facts(51, made=rule(dryRun=True)), "none while it is a dry run"),
    ("zero", facts(51, 0), "none while the Deployment has 0 replicas"),
    ("unknown", facts(UNKNOWN), "once the backlog is known"),
    ("paused-unknown", facts(UNKNOWN, made=rule(paused=True)), "none while the rule is paused"),
    ("consumer", facts(backlog(51, paused=True)), "none while the consumer is paused"),
    (
        "refused",
        facts(51, unable=REFUSED),
        "once the Deployment can be scaled, which is tried repeatedly",
    ),
]
"""Rules that do not scale, and what they wait for."""
