"""What a backlog is looked for by: the subject of a rule, or each of its sources.

A rule with a subject has one source, which is the rule itself; nothing below tells the two apart.
"""

from enum import StrEnum
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from natsscaler.core.errors import InvalidRule
from natsscaler.core.subjects import SUBJECT_PATTERN

INT32_MAX = 2**31 - 1
STREAM_NAME = r"^[^ \t\r\n\f\v.*>/\\]+\Z"
"""Names of streams and consumers (NATS ADR-6: no white space, dots, wildcards or path separators)."""
MOST_SOURCES = 8
"""Of one rule: each may have as many consumers as a rule with a subject has."""

Subject = Annotated[str, Meta(pattern=SUBJECT_PATTERN, max_length=1024)]
Name = Annotated[str, Meta(pattern=STREAM_NAME, max_length=255)]
Account = Annotated[str, Meta(min_length=1, max_length=255)]
MessagesPerReplica = Annotated[int, Meta(ge=1, le=INT32_MAX)]

ALIKE = "must differ in subject, stream, consumer or account: remove one of two that are alike"
MIXED = "must all have messagesPerReplica, or none: add it to the others, or remove it from all"
MAX_NEEDS = "combine Max needs sources with messagesPerReplica: add that, or remove combine"


class BacklogMode(StrEnum):
    """Which messages count as backlog."""

    PENDING_AND_UNACKNOWLEDGED = "PendingAndUnacknowledged"
    PENDING = "Pending"


class Combine(StrEnum):
    """What becomes of the replicas that each of several sources asks for."""

    SUM = "Sum"
    MAX = "Max"


class SourceSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several sources of a rule's backlog."""

    subject: Annotated[Subject, Meta(description="NATS subject whose backlog counts; as spec.subject.")]
    stream: Annotated[
        Name | None, Meta(description="Only look at this JetStream stream; as spec.stream.")
    ] = None
    consumer: Annotated[
        Name | None, Meta(description="Count what waits for this consumer; as spec.consumer.")
    ] = None
    account: Annotated[
        Account | None, Meta(description="Name or id of the NATS account; as spec.account.")
    ] = None
    messages_per_replica: Annotated[
        MessagesPerReplica | None,
        Meta(
            description="How many of its messages one replica is for. Scale to the sum of each backlog"
            " divided by this, rounded up. All sources have it, or none."
        ),
    ] = field(default=None, name="messagesPerReplica")


class Selector(NamedTuple):
    """What a backlog is looked for by; a choice of consumers holds as long as `str` of it stays the same."""

    field: str
    """The field of the rule that has it."""
    subject: str
    stream: str | None
    consumer: str | None
    account: str | None
    backlog: BacklogMode
    """Which messages count."""
    messages_per_replica: int | None

    def __str__(self) -> str:
        chosen = {"account": self.account, "stream": self.stream, "consumer": self.consumer}
        return ", ".join([f"subject {self.subject}", *(f"{k} {v}" for k, v in chosen.items() if v)])


def check_sources(sources: tuple[SourceSpec, ...], combine: Combine) -> None:
    """Raise InvalidRule if sources contradict each other, as the API server does by the same rules."""
    chosen = {(one.subject, one.stream, one.consumer, one.account) for one in sources}
    if len(chosen) < len(sources):
        raise InvalidRule(f"spec.sources {ALIKE}")
    sized = [one for one in sources if one.messages_per_replica]
    if sized and len(sized) < len(sources):
        raise InvalidRule(f"spec.sources {MIXED}")
    if combine is Combine.MAX and not sized:
        raise InvalidRule(f"spec.{MAX_NEEDS}")
