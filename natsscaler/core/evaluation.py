"""What one evaluation of a rule led to, as one value that never changes."""

from msgspec import Struct

from natsscaler.core.decision.pipeline import Decision
from natsscaler.core.decision.situation import Observation
from natsscaler.core.reasons import Finding
from natsscaler.core.rule import Rule


class Evaluation(Struct, frozen=True):
    """One evaluation of one version of a rule. Whoever acts on it or tells of it uses nothing else."""

    rule: Rule
    seen: Observation | None = None
    """None: the rule has not been read for, or may not scale."""
    decision: Decision | None = None
    unable: Finding | None = None
    """What keeps the Deployment from being scaled by this rule."""
    events: Finding | None = None
    """Listening, or what keeps events from waking the rule; None: not yet known."""
    late: bool = False
    """The read budget made it miss its deadline."""
