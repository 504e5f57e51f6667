"""Whatever anybody sends: an outcome of ours, and never a number that nobody said.

`make bench` runs the same properties with many more cases (`python -m tests.bench fuzz`).
"""

import asyncio
import copy
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.core.contention import WAIT_SECONDS, Others
from natsscaler.core.errors import InvalidRule, KubernetesError, SettingsError
from natsscaler.core.jetstream.advisories import advisory_of
from natsscaler.core.jetstream.backlog import Backlog, measure
from natsscaler.core.jetstream.documents import ConsumerInfo, Jsz, Varz, read_jsz
from natsscaler.core.jetstream.selection import Match, Unknown
from natsscaler.core.jetstream.snapshot import View
from natsscaler.core.jetstream.sources import Source
from natsscaler.core.reasons import Reason
from natsscaler.core.rule import Rule, Target, parse
from natsscaler.core.status import RuleStatus, read_back
from natsscaler.core.subjects import SUBJECT_PATTERN, overlaps, within
from natsscaler.kube.kubeconfig import of_kubeconfig
from natsscaler.kube.login import Login
from natsscaler.kube.objects import Managed, scale_in
from natsscaler.kube.requests import NoCredentials
from tests.support.documents import json_values, places
from tests.support.factories import SAMPLE_SPEC, body, node, rule


def worker(name: str, pending: int, *filters: str, leader: str = "n1") -> dict[str, Any]:
    return {
        "stream_name": "ORDERS",
        "name": name,
        "config": {"durable_name": name, "filter_subjects": list(filters), "ack_policy": "explicit"},
        "num_pending": pending,
        "num_ack_pending": 3,
        "paused": False,
        "cluster": {"name": "east", "leader": leader, "replicas": [{"name": "n2", "active": 5}]},
    }


TRUTH: dict[str, Any] = {
    "server_id": "NA",
    "now": "2026-01-01T00:00:00Z",
    "total": 1,
    "meta_cluster": {"name": "east", "leader": "n1", "cluster_size": 1},
    "account_details": [
        {
            "name": "$G",
            "id": "$G",
            "stream_detail": [
                {
                    "name": "ORDERS",
                    "state": {"messages": 40},
                    "cluster": {"leader": "n1"},
                    "config": {"subjects": ["orders.>"], "retention": "workqueue"},
                    "consumer_detail": [
                        worker("workers", 20, "orders.processing"),
                        worker("others", 7, "orders.other"),
                    ],
                },
                {"name": "BILLS", "state": {"messages": 4}, "config": {"subjects": ["bills"]}},
            ],
        }
    ],
}


@st.composite
def damaged(draw: st.DrawFn, truth: Any) -> Any:
    """Take the truth, and drop, replace, copy or rename a few of its parts."""
    document: Any = copy.deepcopy(truth)
    holder: Any
    for _ in range(draw(st.integers(0, 4))):
        paths = places(document)
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        way, last, holder = path[:-1], path[-1], document
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(["drop", "replace", "copy", "count"])):
            case "drop":
                del holder[last]
            case "replace":
                holder[last] = draw(json_values)
            case "copy" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case _ if isinstance(holder[last], int):
                holder[last] = draw(st.integers(0, 100))
    return document


def led(one: Any) -> bool:
    return bool((one.get("cluster") or {"leader": "n1"}).get("leader") == "n1")


def holds(stream: Any) -> int:
    """Say how many messages can be pending in a stream: a consumer is counted after its stream."""
    return int(stream["state"]["messages"]) if led(stream) else 2**63


def said(document: Any, source: Source) -> set[int]:
    """Read from a raw document what its consumers, or streams, can add up to; names may stand twice."""
    named = [one for one in document["account_details"] if one["name"] == source.account]
    streams = [stream for account in named for stream in account.get("stream_detail", ())]
    totals = {0}
    for name in source.consumers:
        stream_name, _, consumer_name = name.partition("/")
        holders = [one for one in streams if one["name"] == stream_name]
        if not consumer_name:
            counts = {one["state"]["messages"] for one in holders}
        else:
            counts = {
                0 if one.get("paused") else min(one["num_pending"], holds(holder)) + one["num_ack_pending"]
                for holder in holders
                for one in holder.get("consumer_detail", ())
                if one["name"] == consumer_name and led(one)
            }
        totals = {total + count for total in totals for count in counts}
    return totals


asked = st.sampled_from(
    [
        rule(),
        rule(subject="orders.*"),
        rule(subject="orders.>", stream="ORDERS"),
        rule(consumer="workers"),
        rule(subject="bills", account="$G"),
    ]
)
kept = st.none() | st.sampled_from(
    [
        Source(selector=str(rule().selectors[0]), account="$G", match=match, consumers=("ORDERS/workers",))
        for match in (Match.EQUAL, Match.STREAM)
    ]
)


@given(damaged(TRUTH), asked, kept)
def test_a_backlog_is_what_the_document_says_or_unknown(
    document: Any, of: Rule, before: Source | None
) -> None:
    try:
        decoded = read_jsz(json.dumps(document).encode())
    except msgspec.MsgspecError:
        return  # MonitoringUnreadable
    found = measure(of, View([node("n1", decoded)]), before)
    if isinstance(found, Backlog):
        assert found.messages in said(document, found.source)
    else:
        assert isinstance(found, Unknown)
        assert isinstance(found.reason, Reason)
        assert found.message


def test_the_whole_truth_is_known() -> None:
    decoded = read_jsz(json.dumps(TRUTH).encode())
    found = measure(rule(), View([node("n1", decoded)]))
    assert isinstance(found, Backlog)
    assert found.messages == 23


@given(damaged(TRUTH))
def test_a_document_is_the_same_whether_it_is_decoded_at_once_or_in_pieces(document: Any) -> None:
    raw = json.dumps(document).encode()
    try:
        at_once = msgspec.json.decode(raw, type=Jsz)
    except msgspec.MsgspecError:
        with pytest.raises(msgspec.MsgspecError):
            read_jsz(raw)
    else:
        assert read_jsz(raw) == at_once


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_bytes_are_a_document_or_unreadable(raw: bytes) -> None:
    for kind in (Jsz, Varz, ConsumerInfo):
        try:
            msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError:
            continue


@given(
    st.dictionaries(
        st.sampled_from([*SAMPLE_SPEC, "consumer", "events", "nats", "behavior", "x"]), json_values
    )
)
def test_a_rule_is_usable_or_invalid(changes: dict[str, Any]) -> None:
    try:
        made = parse(body(**changes))
    except InvalidRule:
        return
    assert made.spec.min_replicas <= made.spec.max_replicas
    assert all(re.match(SUBJECT_PATTERN, by.subject) for by in made.selectors)


@given(
    st.one_of(json_values, st.dictionaries(st.sampled_from(RuleStatus.__struct_encode_fields__), json_values))
)
def test_a_status_that_anybody_wrote_is_read_as_far_as_it_can_be(raw: Any) -> None:
    assert isinstance(read_back(raw), RuleStatus)


@given(st.text(max_size=40), st.text(max_size=40))
def test_subjects_compare_whatever_they_are(one: str, other: str) -> None:
    assert overlaps(one, other) == overlaps(other, one)
    assert overlaps(one, one)
    if within(one, other):
        assert overlaps(one, other)


@given(st.sampled_from(["STREAM.CREATED.", "CONSUMER.PAUSE."]), st.text(min_size=1, max_size=40))
def test_an_advisory_names_what_its_subject_does(kind: str, rest: str) -> None:
    heard = advisory_of(f"$JS.EVENT.ADVISORY.{kind}{rest}")
    assert heard.action == kind.removesuffix(".")
    assert rest.startswith(heard.stream)


scale_metadata = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["web", "other"]) | json_values,
        "namespace": st.just("default") | json_values,
        "uid": st.text(max_size=5) | json_values,
        "resourceVersion": st.integers(0, 99).map(str) | json_values,
    },
)
scales = st.fixed_dictionaries(
    {},
    optional={
        "metadata": scale_metadata | json_values,
        "spec": st.fixed_dictionaries({}, optional={"replicas": json_values}) | json_values,
    },
)


@given((scales | json_values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_any_answer_to_a_scale_is_its_replicas_or_an_outcome_of_ours(raw: bytes) -> None:
    try:
        found = scale_in(raw, Target("default", "web"))
    except KubernetesError:
        return
    said = json.loads(raw)
    assert (said["metadata"]["namespace"], said["metadata"]["name"]) == ("default", "web")
    assert found.spec.replicas == said["spec"].get("replicas", 0)
    assert 0 <= found.spec.replicas < 2**31


SECRET = "s3cr3t-t0ken"
KUBECONFIG: dict[str, Any] = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "east", "user": "n1", "namespace": "orders"}}],
    "clusters": [
        {"name": "east", "cluster": {"server": "https://[::1]:6443/k8s", "tls-server-name": "kubernetes"}},
        {"name": "west", "cluster": {"server": "n2:80", "insecure-skip-tls-verify": True}},
    ],
    "users": [
        {
            "name": "n1",
            "user": {
                "token": SECRET,
                "username": "jane",
                "password": SECRET,
                "as": "joe",
                "as-user-extra": {"dept": ["a", "b"]},
            },
        },
        {"name": "plugin", "user": {"exec": {"command": "/", "apiVersion": "v1", "env": []}}},
    ],
}


@given(damaged(KUBECONFIG) | json_values)
def test_a_kubeconfig_gives_credentials_or_says_why_not(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "kubeconfig"
    file.write_text(json.dumps(document))
    try:
        access = of_kubeconfig(file, None)
        found = asyncio.run(Login(access).credentials())
    except (SettingsError, NoCredentials) as error:
        told = str(error)
    else:
        told = ""
        assert re.match("https?://.*[^/]$", access.server)
        assert (found.context is not None) == access.encrypted
        assert all(value.isprintable() for header in found.headers for value in header)
    assert SECRET not in told


WRITER: dict[str, Any] = {
    "manager": "argocd-controller",
    "operation": "Apply",
    "time": "2026-01-01T00:00:00Z",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}


@given(damaged({"items": [{"metadata": {"managedFields": [WRITER]}}]}))
def test_who_wrote_the_replicas_is_named_or_unreadable(document: Any) -> None:
    try:
        found = msgspec.json.decode(json.dumps(document).encode(), type=Managed)
    except msgspec.MsgspecError:
        return  # then nobody is named
    assert all(isinstance(item.metadata.writer, str) for item in found.items)


numbers = st.integers(-(2**31), 2**31)


intervals = st.floats(0, 10) | st.floats(0, 4000)
happening = st.tuples(intervals, numbers, numbers, numbers, st.booleans(), st.booleans())


@given(st.lists(happening, max_size=60))
def test_whatever_others_make_of_steps_the_next_one_is_put_off_for_minutes_at_most(
    happenings: list[tuple[float, int, int, int, bool, bool]],
) -> None:
    others, now = Others(), 1000.0
    for seconds, before, asked_for, got, answered, firm in happenings:
        now += seconds
        if answered:
            others = others.answered(before, asked_for, got, now, now + 60)
        else:
            others = others.changed(got, now)
        others = others.decided(asked_for, got, now, firm=firm)
        assert others.may_step_at(asked_for) <= now + WAIT_SECONDS[1]
        assert others.next_change(asked_for, got, now) > now
