"""The answers of the activity port; `openapi.py` describes the API from these structs."""

from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.core.status import Action, Time
from natsscaler.web.api import Leader, RuleDetail, RuleSummary

NotReady = Annotated[
    list[str],
    Meta(description="What keeps the process that answers from its work, as on /readyz; empty: nothing."),
]


class ActivityAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last scaling actions of all rules, newest first."""

    timestamp: Time
    actions: list[Action]
    count: int
    leader: Annotated[Leader | None, Meta(description="Absent without leader election.")] = None


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """That the process answers."""

    status: str = "healthy"
    timestamp: Time
    service: str = "scaling-operator"


class RulesAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """All rules, by namespace and name."""

    timestamp: Time
    rules: list[RuleSummary]
    count: int
    leader: Annotated[Leader | None, Meta(description="null without leader election.")]
    not_ready: NotReady


class RuleAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """One rule."""

    timestamp: Time
    rule: Annotated[RuleDetail | None, Meta(description="null, in a stream: there is no such rule any more.")]
    leader: Annotated[Leader | None, Meta(description="null without leader election.")]
    not_ready: NotReady


class Name(Struct, frozen=True, kw_only=True):
    """Names a rule."""

    namespace: str
    name: str


class Update(Struct, frozen=True, kw_only=True, rename="camel"):
    """What has changed since the event before."""

    timestamp: Time
    everything: Annotated[
        bool, Meta(description="These are all rules and actions: what was given before is void.")
    ]
    rules: list[RuleSummary]
    gone: Annotated[list[Name], Meta(description="Rules that there are no more.")]
    actions: Annotated[list[Action], Meta(description="New ones, oldest first.")]
    leader: Annotated[Leader | None, Meta(description="null without leader election.")]
    not_ready: NotReady


class Beat(Struct, frozen=True, kw_only=True, rename="camel"):
    """Nothing has changed; sent so that silence means that the operator is gone."""

    timestamp: Time
    leader: Annotated[Leader | None, Meta(description="null without leader election.")]
    not_ready: NotReady


class ErrorAnswer(Struct, frozen=True, kw_only=True):
    """Why there is no answer."""

    error: str
