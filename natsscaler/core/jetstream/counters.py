"""What NATS counts of a consumer beside its backlog: the facts that rates of work are made of.

Only differences between two moments tell anything. `delivered` counts a message that is delivered again once
more (nats-server: server/consumer.go updateDelivered), so alone it is no measure of work.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from natsscaler.core.jetstream.documents import (
    INT64_MAX,
    ConsumerInfo,
    StreamInfo,
    StreamState,
    is_sourced,
    is_transformed,
    own_filters,
    published_subjects,
)
from natsscaler.core.subjects import all_within

Total = Annotated[int, Meta(ge=0)]


class Counters(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The counters of one consumer, or of a stream whose own messages are the backlog, at one moment."""

    name: Annotated[str, Meta(description="STREAM/CONSUMER, or STREAM where its own messages count.")]
    born: Annotated[str, Meta(description="When it was created: another one of its name counts anew.")] = ""
    ever: Annotated[
        Total | None,
        Meta(description="Messages that the stream has ever had; absent unless each of them counts."),
    ] = None
    delivered: Annotated[
        Total | None, Meta(description="Deliveries so far, repeated ones included; absent for a stream.")
    ] = None
    floor: Annotated[Total, Meta(description="Up to which delivery all are acknowledged.")] = 0
    pending: Annotated[Total, Meta(description="Messages not yet delivered.")] = 0
    unacknowledged: Annotated[Total, Meta(description="Messages delivered and not yet acknowledged.")] = 0
    redelivered: Annotated[Total, Meta(description="Those of them that were delivered again.")] = 0
    waiting: Annotated[Total, Meta(description="Pull requests that wait for messages.")] = 0
    most_unacknowledged: Annotated[
        Total, Meta(description="max_ack_pending of the consumer; absent: any number.")
    ] = 0
    pushed: Annotated[bool, Meta(description="Whether NATS pushes the messages, unasked.")] = False


def of_consumer(
    name: str, stream: StreamInfo, state: StreamState, told: ConsumerInfo, known: ConsumerInfo
) -> Counters | None:
    """Make the counters of what a consumer's leader `told`; None: it does not tell enough.

    `known`: the consumer with its configuration; `state`: of its stream, by that one's leader.
    """
    config = told.config or known.config
    if config is None:
        return None
    counts = (
        told.delivered.consumer_seq,
        told.ack_floor.consumer_seq,
        told.num_redelivered,
        told.num_waiting,
    )
    if not all(0 <= count <= INT64_MAX for count in counts):
        return None
    delivered, floor, redelivered, waiting = counts
    return Counters(
        name=name,
        born=_born(told.created or known.created),
        ever=_ever(state) if _takes_all(stream, known) else None,
        delivered=delivered,
        floor=floor,
        pending=min(told.num_pending, state.messages),
        unacknowledged=told.num_ack_pending,
        redelivered=redelivered,
        waiting=waiting,
        most_unacknowledged=max(0, min(config.max_ack_pending, INT64_MAX)),
        pushed=bool(config.deliver_subject),
    )


def of_stream(stream: StreamInfo) -> Counters:
    """Make the counters of a stream whose own messages are the backlog."""
    return Counters(
        name=stream.name, born=_born(stream.created), ever=_ever(stream.state), pending=stream.state.messages
    )


def complete(found: Sequence[Counters | None]) -> tuple[Counters, ...]:
    """Return these if all are known, else none: a part of the work tells nothing of the whole."""
    known = sorted((one for one in found if one), key=lambda one: one.name)
    return tuple(known) if len(known) == len(found) else ()


def _takes_all(stream: StreamInfo, consumer: ConsumerInfo) -> bool:
    """Tell whether each message of a stream is for this consumer."""
    filters = own_filters(consumer)
    if not filters:
        return True
    published = published_subjects(stream)
    as_published = not (is_sourced(stream) or is_transformed(stream))
    return as_published and bool(published) and all_within(published, filters)


def _ever(state: StreamState) -> int | None:
    return state.last_seq if state.last_seq is not None and 0 <= state.last_seq <= INT64_MAX else None


def _born(created: datetime | None) -> str:
    return created.isoformat() if created else ""
