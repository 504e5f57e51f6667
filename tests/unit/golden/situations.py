"""The situations: what a rule asks for, what is seen, what was before, and what else is true."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from msgspec.structs import replace

from natsscaler.core.conditions import Facts
from natsscaler.core.contention import Others, SetBacks
from natsscaler.core.decision.pipeline import decide
from natsscaler.core.decision.situation import Memory, Want
from natsscaler.core.jetstream.backlog import Backlog, Via, measure
from natsscaler.core.jetstream.documents import ConsumerInfo
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.ownership import missing, obstacle, unseen
from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.remembering import restore
from natsscaler.core.rule import Rule
from natsscaler.core.selector import BacklogMode
from natsscaler.core.status import LastScaling, RuleStatus, rfc3339
from tests.support import factories
from tests.support.factories import FREE, NOW, SOURCE, UNKNOWN, backlog, proportional, rule

Found = int | Backlog | Unknown | None


@dataclass
class Situation:
    """What is true after an evaluation, and what was remembered before it."""

    kind: str
    name: str
    facts: Facts
    memory: Memory = FREE


def situations() -> Iterator[Situation]:
    """Make all situations, those of a kind one after the other."""
    yield from steps()
    yield from cadence()
    yield from proportions()
    yield from stabilization()
    yield from bounds()
    yield from switches()
    yield from unknown()
    yield from unable()
    yield from contention()
    yield from waking()
    yield from counting()
    yield from confirming()
    yield from restarts()
    yield from runs()


def situation(
    kind: str, name: str, found: Found, replicas: int = 3, *, memory: Memory = FREE, **given: Any
) -> Situation:
    return Situation(kind, name, factories.facts(found, replicas, memory=memory, **given), memory)


def steps() -> Iterator[Situation]:
    for replicas, messages in product((0, 1, 2, 3, 9, 10), (0, 9, 10, 30, 50, 51, 10**9)):
        yield situation("step", f"{messages} messages, {replicas} replicas", messages, replicas)
    for messages in (9, 10, 11):
        made = rule(scaleUpThreshold=10, scaleDownThreshold=10)
        yield situation("step", f"{messages} messages, equal thresholds", messages, made=made)
    for messages in (0, 1):
        made = rule(scaleUpThreshold=0, scaleDownThreshold=0)
        yield situation("step", f"{messages} messages, thresholds of 0", messages, made=made)


def cadence() -> Iterator[Situation]:
    for messages, replicas in ((51, 3), (51, 10), (30, 3), (9, 3), (9, 1)):
        for up, down in ((0, None), (10, None), (29.9, None), (30, None), (None, 0), (None, 29), (40, 5)):
            memory = _acted(up, down)
            name = f"{messages} messages, {replicas} replicas, up {up} s ago, down {down} s ago"
            yield situation("cadence", name, messages, replicas, memory=memory)
    made = rule(pollIntervalSeconds=3600)
    yield situation("cadence", "an hour between steps", 51, made=made, memory=_acted(1800, None))


def _acted(up: float | None, down: float | None) -> Memory:
    memory = FREE
    for ago, (before, after) in ((up, (1, 2)), (down, (2, 1))):
        memory = memory if ago is None else memory.acted(before, after, NOW - ago)
    return memory


def proportions() -> Iterator[Situation]:
    made = proportional()
    for replicas, messages in product((0, 1, 3, 5, 10), (0, 9, 10, 30, 45, 50, 51, 80, 100, 101, 500)):
        name = f"{messages} messages, {replicas} replicas"
        yield situation("proportional", name, messages, replicas, made=made)
    for messages in (1, 49, 50, 51, 99, 100, 101, 2**62):
        wide = proportional(50, maxReplicas=100, scaleUpThreshold=0, scaleDownThreshold=0)
        yield situation("proportional", f"{messages} messages at 50 per replica", messages, made=wide)
    for ago in (0.0, 0.5, 1.0):
        for name, messages, memory in (
            ("up", 80, _acted(ago, None)),
            ("down", 30, _acted(None, ago)),
            ("below", 0, _acted(None, ago)),
        ):
            title = f"{name}, {ago} s after the last such step"
            yield situation("proportional", title, messages, 5, made=made, memory=memory)


def stabilization() -> Iterator[Situation]:
    for window, ago, messages in product((0, 60, 300), (30, 100, 299, 300), (0, 30)):
        memory = Memory(wants=(Want(NOW - ago, 7),))
        name = f"{messages} messages, 7 wanted {ago} s ago, window {window} s"
        yield situation("stabilization", name, messages, 7, made=proportional(window=window), memory=memory)
    falling = Memory(wants=(Want(NOW - 200, 9), Want(NOW - 100, 6), Want(NOW - 10, 4)))
    for replicas, messages in product((3, 5, 8, 9, 10), (0, 30, 55, 80, 101)):
        name = f"{messages} messages, {replicas} replicas, a falling backlog"
        yield situation("stabilization", name, messages, replicas, made=proportional(), memory=falling)
    for ago in (10, 299, 300):
        memory = Memory(last_beyond_max=NOW - ago, wants=(Want(NOW - ago, 10),))
        name = f"at the maximum, which was asked for {ago} s ago"
        yield situation("stabilization", name, 30, 10, made=proportional(), memory=memory)
        yield situation("stabilization", f"no longer {name}", 30, 7, made=proportional(), memory=memory)
    soon = replace(falling, last_down=NOW - 0.5, last_up=NOW - 0.5)
    for messages in (0, 30, 100):
        name = f"{messages} messages, a moment after a step"
        yield situation("stabilization", name, messages, 10, made=proportional(), memory=soon)


def bounds() -> Iterator[Situation]:
    asked: dict[str, Rule] = {
        "step": rule(minReplicas=2),
        "proportional": proportional(minReplicas=2),
        "one number": rule(minReplicas=5, maxReplicas=5),
        "one number, proportional": proportional(minReplicas=5, maxReplicas=5),
    }
    founds: tuple[int | Unknown, ...] = (0, 15, 30, 51, 500, UNKNOWN)
    for (name, made), replicas, messages in product(asked.items(), (1, 2, 12), founds):
        count = "unknown" if isinstance(messages, Unknown) else f"{messages} messages"
        title = f"{name}, {count}, {replicas} replicas"
        yield situation("bounds", title, messages, replicas, made=made)
    held = Memory(last_up=NOW, last_down=NOW, wants=(Want(NOW - 5, 9),))
    for name, made in asked.items():
        for replicas in (1, 12):
            yield situation(
                "bounds", f"{name}, held, {replicas} replicas", 51, replicas, made=made, memory=held
            )


def switches() -> Iterator[Situation]:
    founds: dict[str, Found] = {
        "within": 30,
        "above": 51,
        "below": 5,
        "unknown": UNKNOWN,
        "consumer paused": backlog(51, paused=True),
        "not read": None,
    }
    for (name, found), paused, rehearses, replicas in product(
        founds.items(), (True, False), (True, False), (0, 1, 3, 10)
    ):
        if paused or rehearses or name == "consumer paused":
            on = [switch for switch, is_on in (("paused", paused), ("dryRun", rehearses)) if is_on]
            title = ", ".join([name, f"{replicas} replicas", *on])
            made = rule(paused=paused, dryRun=rehearses, minReplicas=2)
            yield situation("switches", title, found, replicas, made=made)
    for paused in (True, False):
        made = proportional(paused=paused)
        yield situation("switches", f"proportional, paused {paused}", 80, made=made)


UNKNOWNS = (
    *(Reason.NOT_YET_READ, Reason.MONITORING_UNREACHABLE, Reason.MONITORING_TIMEOUT),
    *(Reason.MONITORING_HTTP_STATUS, Reason.MONITORING_UNREADABLE, Reason.MONITORING_CERTIFICATE),
    *(Reason.MONITORING_TOO_LARGE, Reason.MONITORING_STALE, Reason.MONITORING_INCOMPLETE),
    *(Reason.IMPLAUSIBLE_COUNT, Reason.ADDRESS_NOT_ALLOWED, Reason.JETSTREAM_DISABLED),
    *(Reason.ACCOUNT_NOT_FOUND, Reason.AMBIGUOUS_ACCOUNT, Reason.STREAM_NOT_FOUND),
    *(Reason.CONSUMER_NOT_FOUND, Reason.CONSUMER_GONE, Reason.AMBIGUOUS_CONSUMER, Reason.LEADER_UNCLEAR),
    *(Reason.SECRET_NOT_FOUND, Reason.SECRET_NOT_LABELLED, Reason.SECRET_UNUSABLE),
    *(Reason.CREDENTIALS_REFUSED, Reason.FORBIDDEN, Reason.KUBERNETES_UNAVAILABLE),
)


def unknown() -> Iterator[Situation]:
    for reason, replicas in product(UNKNOWNS, (1, 3)):
        found = Unknown(reason, f"the sentence of {reason}")
        yield situation(
            "unknown", f"{reason}, {replicas} replicas", found, replicas, made=rule(minReplicas=2)
        )
    wanted = Memory(last_up=NOW - 5, wants=(Want(NOW - 5, 7),))
    for replicas in (0, 3, 7, 10, 12):
        name = f"proportional, {replicas} replicas"
        yield situation("unknown", name, UNKNOWN, replicas, made=proportional(), memory=wanted)


UNABLES = (
    *(Reason.TARGET_NOT_FOUND, Reason.TARGET_OWNED_BY_ANOTHER, Reason.CROSS_NAMESPACE_NOT_ALLOWED),
    *(Reason.NAMESPACE_NOT_WATCHED, Reason.CONFLICT, Reason.FORBIDDEN, Reason.DENIED),
    *(Reason.KUBERNETES_UNAVAILABLE, Reason.LEADERSHIP_LOST),
)


def unable() -> Iterator[Situation]:
    founds: dict[str, Found] = {"above": 51, "within": 30, "unknown": UNKNOWN, "not looked at": None}
    for reason, (name, found) in product(UNABLES, founds.items()):
        why = Finding(reason, f"the sentence of {reason}")
        yield situation("unable", f"{reason}, {name}", found, unable=why)
    mine, elsewhere = rule(), rule(namespace="shop")
    older = replace(mine, key=mine.key._replace(name="older"), uid="older", created="2025-01-01T00:00:00Z")
    may: dict[str, Any] = {"allow_cross_namespace": False, "namespaces": ()}
    yield situation("unable", "no Deployment", None, unable=missing(mine))
    yield situation("unable", "Deployments are not seen", None, unable=unseen(mine))
    yield situation("unable", "an HPA", 51, unable=obstacle(mine, [mine], "orders-hpa", **may))
    yield situation("unable", "an older rule", 51, unable=obstacle(mine, [mine, older], None, **may))
    refused = obstacle(elsewhere, [elsewhere], None, **may)
    yield situation("unable", "another namespace", None, made=elsewhere, unable=refused)


def contention() -> Iterator[Situation]:
    for asked, got, messages in ((10, 6, 500), (10, 3, 500), (2, 3, 5)):
        others = Others().answered(3, asked, got, NOW - 5, again_at=NOW + 25)
        made = proportional(window=0)
        yield from _among(f"admission made {got} of {asked}", others, messages, got, made)
    others = Others().answered(3, 10, 6, NOW - 40, again_at=NOW - 10)
    yield from _among("admission, and the wait is over", others, 500, 6, proportional())
    yield from _among("admission, and another number is wanted", others, 20, 6, proportional(window=0))
    for times in (1, 2, 3, 4, 10):
        fought = SetBacks()
        for number in range(times):
            fought = fought.stepped(NOW - times + number).changed(NOW - times + number + 0.5)
        for writer in ("argocd-controller (Update)", ""):
            others = Others(set_backs=fought, writer=writer)
            yield from _among(f"{times} set-backs by {writer or 'somebody'}", others, 51, 3, rule())
        yield from _among(f"{times} set-backs, nothing to do", Others(set_backs=fought), 30, 3, rule())


def _among(name: str, others: Others, messages: int, replicas: int, made: Rule) -> Iterator[Situation]:
    seen = factories.seen(messages, replicas)
    decision = decide(made, seen, FREE, NOW)
    others = others.decided(decision.desired, replicas, NOW, firm=not decision.held)
    waits = others.next_change(decision.desired, replicas, NOW)
    times = [time for time in (decision.next_change, waits) if time is not None and time < float("inf")]
    conflict = others.set_backs.finding(made.target, others.writer or "")
    facts = factories.facts(messages, replicas, made=made, unable=conflict)
    changed = replace(facts, admitted=others.admitted, next_change=min(times, default=None))
    yield Situation("contention", name, changed)


def waking() -> Iterator[Situation]:
    reasons = (
        *(Reason.LISTENING, Reason.SWITCHED_OFF, Reason.NOT_CONNECTED, Reason.OTHER_ACCOUNT),
        *(Reason.OTHER_SERVER, Reason.PERMISSION_DENIED, Reason.SUBSCRIPTION_LIMIT, Reason.SOURCED_STREAM),
        *(Reason.SUBJECT_TOO_WIDE, Reason.SUBJECT_UNUSABLE, Reason.SECRET_NOT_FOUND),
        *(Reason.SECRET_NOT_LABELLED, Reason.SECRET_UNUSABLE, Reason.CREDENTIALS_REFUSED, Reason.FORBIDDEN),
    )
    asked = rule(nats={"secretRef": {"name": "nats"}})
    for reason, (name, made) in product(reasons, {"no Secret": rule(), "a Secret": asked}.items()):
        events = Finding(reason, f"the sentence of {reason}")
        yield situation("waking", f"{reason}, {name}", 30, made=made, events=events)
    yield situation("waking", "not yet known", 30, events=None)
    yield situation("waking", "listening, late", 30, late=True)
    yield situation("waking", "not yet known, late", 30, events=None, late=True)


def counting() -> Iterator[Situation]:
    for match in (Match.NAMED, Match.EQUAL, Match.WITHIN, Match.STREAM):
        source = replace(
            SOURCE, match=match, consumers=("ORDERS",) if match is Match.STREAM else ("A/a", "B/b")
        )
        for name, made in {
            "plain": backlog(80, source=source),
            "wider": replace(backlog(80, source=source), wider=("orders.>",)),
            "paused": backlog(80, source=source, paused=True),
            "over NATS": replace(backlog(80, source=source), via=Via.CONSUMER_INFO, leaders=("n2",)),
        }.items():
            yield situation("counting", f"{match}, {name}", made)
    for mode in BacklogMode:
        yield situation("counting", f"{mode}", backlog(5, unacknowledged=60, mode=mode))


def confirming() -> Iterator[Situation]:
    """Leaders are asked over NATS before a step down, and where the read did not lead to them."""
    subject = "orders.processing"
    for pending, server in product((0, 60), ("n1", "n2")):
        workers = factories.consumer("workers", subject, pending=pending, leader="n2")
        view = factories.view(factories.stream("ORDERS", [subject], workers), server=server)
        answers: dict[str, ConsumerInfo | NotTold] = {
            "confirmed": workers,
            "contradicted": replace(workers, num_pending=90),
            "another of that name": replace(workers, created=factories.MOMENT),
            **{str(answer): answer for answer in NotTold},
        }
        read = "read from its leader" if server == "n2" else "read from another node"
        for name, answer in answers.items():
            found = measure(rule(), view, SOURCE, {"ORDERS/workers": answer})
            yield situation("confirming", f"{pending} messages, {read}, {name}", found)


def restarts() -> Iterator[Situation]:
    for ago, (before, after), current, made in product(
        (5, 29, 60), ((2, 3), (4, 3)), (3, 5, None), (rule(), proportional())
    ):
        scaling = LastScaling(time=rfc3339(NOW - ago), before=before, after=after)
        status = RuleStatus(last_scaling=scaling, current_replicas=current)
        memory = restore(status, 3, NOW, NOW)
        mode = "proportional" if made.spec.messages_per_replica else "step"
        name = f"{mode}, {before} to {after} replicas {ago} s ago, {current} in the status"
        yield situation("restart", f"{name}, above", 51, made=made, memory=memory)
        yield situation("restart", f"{name}, below", 5, made=made, memory=memory)


BURST = (0, 0, 60, 250, 800, 800, 500, 90, 40, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
FALTERING: tuple[Found, ...] = (120, 120, UNKNOWN, UNKNOWN, 120, 5, UNKNOWN, 5, 5, 5)


def runs() -> Iterator[Situation]:
    """Fold evaluations, 10 s apart, as the loop does: each one's step is taken at once."""
    short = partial(proportional, window=60)
    for name, made, founds in (
        ("burst, step", rule(), BURST),
        ("burst, step, quick", rule(pollIntervalSeconds=10), BURST),
        ("burst, proportional", short(50), BURST),
        ("faltering, step", rule(pollIntervalSeconds=10), FALTERING),
        ("faltering, proportional", short(), FALTERING),
    ):
        yield from _run(name, made, founds)


def _run(name: str, made: Rule, founds: Iterable[Found]) -> Iterator[Situation]:
    memory, replicas = FREE, 1
    for number, found in enumerate(founds):
        ago = 10.0 * number
        done = situation("run", f"{name}, after {ago:g} s", found, replicas, made=made, memory=memory)
        yield done
        decision = done.facts.decision
        assert decision
        memory = _aged(decision.memory.acted(replicas, decision.desired, NOW), 10.0)
        replicas = decision.desired


def _aged(memory: Memory, seconds: float) -> Memory:
    return Memory(
        last_up=memory.last_up - seconds,
        last_down=memory.last_down - seconds,
        last_beyond_max=memory.last_beyond_max - seconds,
        wants=tuple(Want(want.time - seconds, want.replicas) for want in memory.wants),
    )
