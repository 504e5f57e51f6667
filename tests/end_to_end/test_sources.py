"""A rule of several sources on a whole operator: a real NATS server and a real API server."""

from functools import partial
from typing import Any

import nats
import pytest
from kubernetes.aio.client import ApiException

from tests.support.stage import LONG, Stage, last_scaling, listening

SOURCES: list[dict[str, Any]] = [
    {"subject": "orders.processing", "messagesPerReplica": 10},
    {"subject": "orders.returns", "messagesPerReplica": 40},
]
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


async def test_sources_add_up_wake_the_rule_and_an_unknown_one_never_scales_down(stage: Stage) -> None:
    """The poll interval of an hour shows that messages of either source wake the rule."""
    await stage.create_consumer("returns", "orders.returns")
    await stage.create_deployment()
    await stage.apply_sample(
        subject=None,
        sources=SOURCES,
        scaleUpThreshold=0,
        scaleDownThreshold=0,
        pollIntervalSeconds=LONG,
        behavior=AT_ONCE,
    )
    await stage.start()
    await listening(stage)
    await stage.publish(25)
    await stage.becomes(3, stage.replicas)
    await stage.publish(60, "orders.returns")
    await stage.becomes(4, stage.replicas)
    await stage.becomes([25, 60], partial(backlogs, stage))
    consumers = [one["source"]["consumers"] for one in (await stage.status())["backlogSources"]]
    assert consumers == [["ORDERS/worker"], ["ORDERS/returns"]]

    await delete_consumer(stage, "returns")
    await stage.edit({"spec": {"pollIntervalSeconds": 1}})
    await stage.becomes(("False", "ConsumerNotFound"), partial(stage.condition, "Ready"))
    await stage.becomes([25, None], partial(backlogs, stage))
    assert await stage.replicas() == 4
    await stage.publish(35)
    await stage.becomes(6, stage.replicas)
    await stage.create_consumer("returns", "orders.returns")
    await stage.becomes(("True", "Scaling"), partial(stage.condition, "Ready"))
    await stage.becomes(8, stage.replicas)
    await stage.purge()
    await stage.becomes(1, stage.replicas)
    await stage.becomes((8, 1), partial(last_scaling, stage))


async def backlogs(stage: Stage) -> list[int | None]:
    last = (await stage.status()).get("lastDecision", {})
    return [one.get("backlog") for one in last.get("sources", [])]


async def delete_consumer(stage: Stage, name: str) -> None:
    connection = await nats.connect(stage.nats.url)
    await connection.jetstream().delete_consumer("ORDERS", name)
    await connection.close()


@pytest.mark.parametrize("kube_api", [pytest.param("real", marks=pytest.mark.control_plane)], indirect=True)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"sources": SOURCES}, "subject or sources must be set, and only one", id="both"),
        pytest.param({"subject": None}, "subject or sources must be set, and only one", id="neither"),
        pytest.param({"subject": None, "sources": []}, "should have at least 1 items", id="none"),
        pytest.param(
            {"subject": None, "sources": SOURCES, "consumer": "a"},
            "set them in each of sources",
            id="companion",
        ),
        pytest.param(
            {"subject": None, "sources": [SOURCES[0], {"subject": "a"}]}, "must all have", id="mixed"
        ),
        pytest.param(
            {"subject": None, "sources": SOURCES, "drainTime": {"targetSeconds": 60, "replicaRate": 1}},
            "does not go with sources",
            id="drain-time",
        ),
        pytest.param({"subject": None, "sources": SOURCES[:1] * 2}, "must differ in subject", id="alike"),
        pytest.param(
            {"subject": None, "sources": [{"subject": "a"}], "combine": "Max"}, "combine Max needs", id="max"
        ),
        pytest.param(
            {"subject": None, "sources": [{"subject": "a..b"}]}, "must be a NATS subject", id="subject"
        ),
    ],
)
async def test_the_api_server_refuses_what_contradicts_itself(
    stage: Stage, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ApiException, match=words):
        await stage.apply_sample(**changes)
