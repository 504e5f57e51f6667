"""Whom advisories concern, alone and many at once."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.jetstream.advisories import Advisory
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.reasons import Reason
from natsscaler.reactor.advisories import concerned
from natsscaler.reactor.rule_state import RuleState
from tests.support.factories import SOURCE, backlog, seen

ELECTED, CREATED, PAUSED = "CONSUMER.LEADER_ELECTED", "CONSUMER.CREATED", "CONSUMER.PAUSE"
STREAMS, CONSUMERS = ("A", "B", "C"), ("x", "y")
NAMES = [f"{stream}/{consumer}" for stream in STREAMS for consumer in CONSUMERS]


def counts_on(*names: str, known: bool = True) -> RuleState:
    """Make the state of a rule that counts on these consumers; not `known`: whose last read failed."""
    source = replace(SOURCE, consumers=names)
    last = seen(backlog(3, source=source) if known else Unknown(Reason.MONITORING_TIMEOUT, "none"), 1)
    return cast("RuleState", SimpleNamespace(source=source, seen=last))


advisories = st.one_of(
    st.builds(
        Advisory,
        action=st.sampled_from([ELECTED, CREATED, PAUSED, "CONSUMER.DELETED"]),
        stream=st.sampled_from(STREAMS),
        consumer=st.sampled_from(CONSUMERS),
    ),
    st.builds(
        Advisory,
        action=st.sampled_from(["STREAM.UPDATED", "STREAM.LEADER_ELECTED"]),
        stream=st.sampled_from(STREAMS),
        consumer=st.just(""),
    ),
)
states = st.builds(counts_on, st.sampled_from(NAMES), st.sampled_from(NAMES), known=st.booleans())


def hears(one: Any, state: RuleState) -> bool:
    """Tell the same of one advisory and one rule."""
    if state.seen and isinstance(state.seen.backlog, Unknown):
        return True
    consumers = state.source.consumers if state.source else ()
    if one.consumer and one.action != CREATED:
        return f"{one.stream}/{one.consumer}" in consumers
    return any(name.startswith(f"{one.stream}/") for name in consumers)


@given(st.lists(advisories, max_size=6), st.lists(states, max_size=4))
def test_many_advisories_at_once_concern_those_whom_each_of_them_does(
    told: list[Any], rules: list[RuleState]
) -> None:
    found = {id(state): elected for state, elected in concerned(told, rules)}
    for state in rules if told else ():
        heard = [one for one in told if hears(one, state)]
        assert (id(state) in found) == bool(heard)
        assert found.get(id(state), False) == any(one.action.endswith(".LEADER_ELECTED") for one in heard)
