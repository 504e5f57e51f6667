"""Whom advisories concern, alone and many at once."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsscaler.core.evaluation import Evaluation
from natsscaler.core.jetstream.advisories import Advisory
from natsscaler.core.jetstream.selection import Unknown
from natsscaler.core.jetstream.trust import Trust
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import EventSource
from natsscaler.core.status import RuleStatus
from natsscaler.core.waking import WakeSource
from natsscaler.observe.rule_metrics import RuleSeries
from natsscaler.reactor.advisories import Advisories, Gathered, Index
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.rule_state import RuleState
from tests.support.factories import SOURCE, backlog, rule, seen
from tests.support.waking import in_virtual_time

ELECTED, CREATED, PAUSED = "CONSUMER.LEADER_ELECTED", "CONSUMER.CREATED", "CONSUMER.PAUSE"
STREAMS, CONSUMERS = ("A", "B", "C"), ("x", "y")
NAMES = [f"{stream}/{consumer}" for stream in STREAMS for consumer in CONSUMERS]


HERE, THERE = (cast("ConnectionPort", name) for name in ("here", "there"))


def counts_on(*names: str, known: bool = True) -> RuleState:
    """Make the state of a rule that counts on these consumers; not `known`: whose last read failed."""
    source = replace(SOURCE, consumers=names)
    last = seen(backlog(3, source=source) if known else Unknown(Reason.MONITORING_TIMEOUT, "none"), 1)
    state = RuleState(rule(), RuleStatus(), RuleSeries(labels=""))
    state.trusts = {source.selector: Trust(source)}
    state.evaluation, state.connection = Evaluation(rule(), last), HERE
    return state


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
    trusts = state.trusts.values()
    consumers = [name for trust in trusts if trust.source for name in trust.source.consumers]
    if one.consumer and one.action != CREATED:
        return f"{one.stream}/{one.consumer}" in consumers
    return any(name.startswith(f"{one.stream}/") for name in consumers)


@given(st.lists(advisories, max_size=6), st.lists(states, max_size=4))
def test_many_advisories_at_once_concern_those_whom_each_of_them_does(
    told: list[Any], rules: list[RuleState]
) -> None:
    index, gathered = Index(), Gathered()
    for state in rules:
        index.note(state)
    for one in told:
        gathered.add(one)
    concerned, elected = (index.of(HERE, names) for names in (gathered.concerned, gathered.elections))
    for state in rules:
        heard = [one for one in told if hears(one, state)]
        assert (state in concerned) == bool(heard)
        assert (state in elected) == any(one.action.endswith(".LEADER_ELECTED") for one in heard)
        deleted = [one for one in heard if one.action.endswith(".DELETED")]
        known = state.seen is not None and not isinstance(state.seen.backlog, Unknown)
        assert (state in index.of(HERE, gathered.deleted)) == (known and bool(deleted))
    assert not index.of(THERE, gathered.concerned)


changes = st.sampled_from(["source", "unknown", "elsewhere", "nowhere", "gone"])


@given(st.lists(st.tuples(st.integers(0, 2), changes, st.sampled_from(NAMES)), max_size=12))
def test_the_index_is_what_it_would_be_if_it_were_made_anew(told: list[tuple[int, str, str]]) -> None:
    rules, index = [counts_on("A/x") for _ in range(3)], Index()
    for number, change, name in told:
        state = rules[number]
        match change:
            case "source":
                other = counts_on(name)
                state.trusts, state.evaluation = other.trusts, other.evaluation
            case "unknown":
                state.evaluation = counts_on(name, known=False).evaluation
            case "elsewhere":
                state.connection = THERE
            case "nowhere":
                state.connection = None
            case "gone":
                state.gone = True
        index.note(state)
    anew = Index()
    for state in rules:
        anew.note(state)
        index.note(state)
    assert index.__dict__ == anew.__dict__


async def test_a_flood_is_gone_through_once_and_closes_what_it_must() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    tasks: list[asyncio.Task[None]] = []
    advisories = Advisories(
        lambda state, source: state.rings.append(source),  # type: ignore[attr-defined]
        lambda work, name: tasks.append(asyncio.create_task(work, name=name)),
    )
    state: Any = counts_on("A/x")
    state.rule = SimpleNamespace(spec=SimpleNamespace(events=list(EventSource)))
    state.doorbell, state.rings = SimpleNamespace(close=close), []
    advisories.index.note(state)
    for number in range(1000):
        await advisories.advised(HERE, Advisory("CONSUMER.DELETED", "A", "x"))
        await advisories.advised(HERE, Advisory("CONSUMER.DELETED", "A", f"other-{number}"))
    await asyncio.gather(*tasks)
    assert (len(tasks), state.rings, closed) == (1, [WakeSource.ADVISORY], ["closed"])
    state.rings.clear()
    await advisories.advised(HERE, Advisory("STREAM.UPDATED", "A", ""))
    await tasks[-1]
    assert (len(tasks), state.rings) == (2, [WakeSource.ADVISORY])


def test_advisories_that_keep_coming_are_told_less_and_less_often() -> None:
    told: list[float] = []

    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        tasks: list[asyncio.Task[None]] = []
        advisories = Advisories(
            lambda *_: told.append(clock()),
            lambda work, name: tasks.append(asyncio.create_task(work, name=name)),
        )
        state: Any = counts_on("A/x")
        state.rule = SimpleNamespace(spec=SimpleNamespace(events=list(EventSource)))
        state.doorbell, state.rings = None, ()
        advisories.index.note(state)
        for _ in range(6000):
            await advisories.advised(HERE, Advisory("CONSUMER.PAUSE", "A", "x"))
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)

    in_virtual_time(scenario)
    waits = [round(later - earlier, 2) for earlier, later in pairwise(told)]
    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, *[1.0] * 5]
