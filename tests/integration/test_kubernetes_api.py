"""The embedded Kubernetes API behaves as the real one: each test runs against both."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from kubernetes.aio import client

from tests.conftest import KubeApi, Kubectl
from tests.support.factories import SAMPLE_SPEC
from tests.support.manifests import Object, deployment, rule

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Api:
    """The API by its paths, so that tests see what goes over the wire."""

    def __init__(self, kube_api: KubeApi, http: httpx.AsyncClient) -> None:
        self.http = http
        self.namespace = kube_api.namespace
        self.rules = f"/apis/scaling.example.com/v1/namespaces/{kube_api.namespace}/scalingrules"
        self.deployments = f"/apis/apps/v1/namespaces/{kube_api.namespace}/deployments"
        self.leases = f"/apis/coordination.k8s.io/v1/namespaces/{kube_api.namespace}/leases"
        self.events = f"/apis/events.k8s.io/v1/namespaces/{kube_api.namespace}/events"
        self.core_events = f"/api/v1/namespaces/{kube_api.namespace}/events"

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return await self.http.request(method, path, content=content, headers={"Content-Type": kind})

    async def get(self, path: str) -> Object:
        return decoded(await self.call("GET", path))

    async def create(self, path: str, body: Object) -> Object:
        return decoded(await self.call("POST", path, body))

    async def patch(self, path: str, body: Any, kind: str = MERGE_PATCH) -> Object:
        return decoded(await self.call("PATCH", path, body, kind))

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Object]]:
        async with self.http.stream("GET", path, params={"watch": "true", **query}) as response:
            assert response.status_code == 200
            yield (json.loads(line) async for line in response.aiter_lines())


@pytest.fixture
async def api(kube_api: KubeApi) -> AsyncIterator[Api]:
    settings = kube_api.client.configuration
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    token = settings.api_key.get("BearerToken")
    headers = {"Authorization": token} if token else {}
    async with httpx.AsyncClient(base_url=settings.host, headers=headers, verify=context, timeout=20) as http:
        yield Api(kube_api, http)


def decoded(response: httpx.Response) -> Object:
    assert response.is_success, response.text
    document: Object = response.json()
    return document


def refusal(response: httpx.Response) -> tuple[int, int, str, str]:
    """What clients decide by: the HTTP status, and the code, kind and reason in the body."""
    status = response.json()
    return response.status_code, status["code"], status["kind"], status["reason"]


def version(obj: Object) -> str:
    found: str = obj["metadata"]["resourceVersion"]
    return found


def names(listed: Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def first(events: AsyncIterator[Object], count: int) -> list[Object]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


def seen(events: list[Object]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


# Objects


async def test_a_created_object_is_served(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    assert created["metadata"].keys() >= {"uid", "resourceVersion", "creationTimestamp", "namespace"}
    assert created["metadata"]["generation"] == 1
    assert created["spec"].items() >= SAMPLE_SPEC.items()
    assert await api.get(f"{api.rules}/a") == created


async def test_lists_say_their_kind_and_version(api: Api) -> None:
    await api.create(api.rules, rule("b"))
    created = await api.create(api.rules, rule("a"))
    listed = await api.get(api.rules)
    assert (listed["kind"], listed["apiVersion"]) == ("ScalingRuleList", "scaling.example.com/v1")
    assert names(listed) == ["a", "b"]
    assert listed["items"][0] == created
    assert int(version(listed)) >= int(version(created))


async def test_items_of_built_in_lists_leave_out_their_kind(api: Api) -> None:
    await api.create(api.deployments, deployment("web", 1))
    listed = await api.get(api.deployments)
    assert (listed["kind"], listed["apiVersion"]) == ("DeploymentList", "apps/v1")
    assert not listed["items"][0].keys() & {"kind", "apiVersion"}


async def test_a_name_is_given_once(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    again = await api.call("POST", api.rules, rule("a"))
    assert refusal(again) == (409, 409, "Status", "AlreadyExists")


async def test_a_missing_object_is_not_found(api: Api) -> None:
    for path in (f"{api.rules}/none", f"{api.deployments}/none/scale", f"{api.leases}/none"):
        assert refusal(await api.call("GET", path)) == (404, 404, "Status", "NotFound")
    assert refusal(await api.call("PATCH", f"{api.rules}/none/status", {}, MERGE_PATCH))[0] == 404
    assert refusal(await api.call("DELETE", f"{api.rules}/none"))[0] == 404


async def test_a_missing_namespace_is_not_found(api: Api) -> None:
    answer = await api.call("POST", api.rules.replace(api.namespace, "none"), rule("a"))
    assert refusal(answer) == (404, 404, "Status", "NotFound")
    assert answer.json()["details"] == {"name": "none", "kind": "namespaces"}


async def test_an_unserved_kind_is_not_found(api: Api) -> None:
    for path in (
        "/apis/example.com/v1",
        "/apis/example.com/v1/things",
        "/apis/scaling.example.com/v1/things",
    ):
        assert (await api.call("GET", path)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"minReplicas": -1},
        {"minReplicas": 0, "idleSeconds": 0},
        {"minReplicas": 0, "activation": {"messages": -1}},
        {"minReplicas": 0, "activation": {"maxAgeSeconds": 0}},
        {"minReplicas": "1"},
        {"minReplicas": 11},
        {"subject": "a..b"},
        {"scaleDownThreshold": 51},
        {"natsMonitoringURL": "http://nats:8222/jsz"},
        {"natsMonitoringURL": "http://nats/path/varz/"},
        {"natsMonitoringURL": "http://a,b"},
        {"nats": {"url": "http://nats:8222"}},
        {"nats": {"url": "nats://a,nats://u:p@b"}},
        {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 60}]}}},
        {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 1801}]}}},
        {"behavior": {"scaleUp": {"policies": [{"type": "Pod", "value": 4, "periodSeconds": 60}]}}},
        {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 4}]}}},
        {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}] * 11}}},
        {"behavior": {"scaleDown": {"selectPolicy": "None"}}},
        {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}},
        {"behavior": {"scaleUp": {"tolerance": 0.1}}},
        {"drainTime": {"targetSeconds": 30}},
        {"drainTime": {"targetSeconds": 0, "replicaRate": 10}},
        {"drainTime": {"targetSeconds": 30, "replicaRate": 0}},
        {"drainTime": {"targetSeconds": 30, "utilizationPercent": 101}, "messagesPerReplica": 10},
        {"drainTime": {"replicaRate": 10}},
        {"sources": [{"subject": "a"}]},
        {"behavior": {"scaleDown": {"tolerance": 1.1}}, "messagesPerReplica": 10},
    ],
)
async def test_an_object_against_the_schema_is_invalid(api: Api, change: Object) -> None:
    answer = await api.call("POST", api.rules, rule("a", **change))
    assert refusal(answer) == (422, 422, "Status", "Invalid")
    assert answer.json()["details"]["causes"]


@pytest.mark.parametrize(
    "change",
    [
        {"natsMonitoringURL": "https://nats.svc.cluster.local.:8222/path"},
        {"nats": {"url": "nats://a:4222,nats://b:4222"}},
        {"nats": {"url": "tls://a.svc. , b:4222, [::1]:4222/"}},
    ],
)
async def test_addresses_as_people_write_them_are_accepted(api: Api, change: Object) -> None:
    assert (await api.call("POST", api.rules, rule("a", **change))).status_code == 201


async def test_the_defaults_of_behavior_are_written_whatever_of_it_is_given(api: Api) -> None:
    up: Object = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"}
    down: Object = {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "busyWorkers": "Ignore",
        "messagesInFlightPerReplica": 1,
        "maxWaitSeconds": 3600,
    }
    policies = [{"type": "Percent", "value": 10, "periodSeconds": 60}]
    for name, given, expected in (
        ("a", None, {"scaleUp": up, "scaleDown": down}),
        ("b", {}, {"scaleUp": up, "scaleDown": down}),
        (
            "c",
            {"scaleUp": {"policies": policies, "tolerance": 0.1}},
            {"scaleUp": {**up, "policies": policies, "tolerance": 0.1}, "scaleDown": down},
        ),
    ):
        body = rule(name, messagesPerReplica=10)
        if given is not None:
            body["spec"]["behavior"] = given
        assert (await api.create(api.rules, body))["spec"]["behavior"] == expected


async def test_a_missing_required_field_is_invalid(api: Api) -> None:
    body = rule("a")
    del body["spec"]["natsMonitoringURL"]
    answer = await api.call("POST", api.rules, body)
    assert refusal(answer) == (422, 422, "Status", "Invalid")
    fields = {(cause["field"], cause["reason"]) for cause in answer.json()["details"]["causes"]}
    assert ("spec.natsMonitoringURL", "FieldValueRequired") in fields


async def test_unknown_fields_are_dropped_or_refused(api: Api) -> None:
    created = await api.create(api.rules, rule("a", typo=1))
    assert "typo" not in created["spec"]
    strict = await api.call("POST", f"{api.rules}?fieldValidation=Strict", rule("b", typo=1))
    assert refusal(strict) == (400, 400, "Status", "BadRequest")
    assert 'unknown field "spec.typo"' in strict.json()["message"]


async def test_a_deleted_object_is_gone(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    answer = decoded(await api.call("DELETE", f"{api.rules}/a"))
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"]["uid"] == created["metadata"]["uid"]
    assert (await api.call("GET", f"{api.rules}/a")).status_code == 404


async def test_a_collection_is_deleted(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(api.rules, rule(name))
    decoded(await api.call("DELETE", api.rules))
    assert names(await api.get(api.rules)) == []


async def test_finalizers_hold_a_deleted_object(api: Api) -> None:
    body = rule("a")
    body["metadata"]["finalizers"] = ["example.com/wait"]
    await api.create(api.rules, body)
    held = decoded(await api.call("DELETE", f"{api.rules}/a"))
    assert held["metadata"]["deletionTimestamp"]
    await api.patch(f"{api.rules}/a", {"metadata": {"finalizers": None}})
    assert (await api.call("GET", f"{api.rules}/a")).status_code == 404


async def test_deletion_may_name_the_object_by_uid(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    answer = await api.call("DELETE", f"{api.rules}/a", {"preconditions": {"uid": "another"}})
    assert refusal(answer) == (409, 409, "Status", "Conflict")


# Versions and generations


async def test_a_change_of_the_spec_is_a_new_generation(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    changed = await api.patch(f"{api.rules}/a", {"spec": {"maxReplicas": 20}})
    assert changed["metadata"]["generation"] == 2
    assert int(version(changed)) > int(version(created))


async def test_metadata_and_status_are_no_new_generation(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    labelled = await api.patch(f"{api.rules}/a", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    reported = await api.patch(f"{api.rules}/a/status", {"status": {"currentReplicas": 3}})
    assert reported["metadata"]["generation"] == 1
    assert int(version(reported)) > int(version(labelled))


async def test_a_patch_that_changes_nothing_is_no_new_version(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    assert await api.patch(f"{api.rules}/a", {"spec": {"maxReplicas": 10}}) == created


async def test_a_stale_version_is_a_conflict(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    await api.patch(f"{api.rules}/a", {"spec": {"maxReplicas": 20}})
    stale = {"metadata": {"resourceVersion": version(created)}, "spec": {"maxReplicas": 30}}
    for answer in (
        await api.call("PATCH", f"{api.rules}/a", stale, MERGE_PATCH),
        await api.call("PUT", f"{api.rules}/a", created),
    ):
        assert refusal(answer) == (409, 409, "Status", "Conflict")


async def test_a_lease_is_replaced_only_at_its_current_version(api: Api) -> None:
    body = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    created = await api.create(api.leases, body)
    path = f"{api.leases}/leader"
    renewed = decoded(await api.call("PUT", path, {**created, "spec": {"holderIdentity": "b"}}))
    assert renewed["spec"] == {"holderIdentity": "b"}
    assert version(renewed) != version(created)
    assert refusal(await api.call("PUT", path, created)) == (409, 409, "Status", "Conflict")
    assert refusal(await api.call("PUT", path, body)) == (422, 422, "Status", "Invalid")


# The status subresource


async def test_the_status_is_written_only_through_its_subresource(api: Api) -> None:
    created = await api.create(api.rules, {**rule("a"), "status": {"currentReplicas": 3}})
    assert "status" not in created
    patched = await api.patch(f"{api.rules}/a", {"status": {"currentReplicas": 3}})
    assert "status" not in patched


async def test_the_status_subresource_writes_nothing_else(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    patch = {
        "spec": {"maxReplicas": 20},
        "metadata": {"labels": {"a": "b"}},
        "status": {"currentReplicas": 3},
    }
    written = await api.patch(f"{api.rules}/a/status", patch)
    assert written["status"]["currentReplicas"] == 3
    assert written["spec"]["maxReplicas"] == 10
    assert "labels" not in written["metadata"]
    replaced = decoded(await api.call("PUT", f"{api.rules}/a/status", {**written, "spec": {}, "status": {}}))
    assert replaced["spec"] == written["spec"]
    assert "currentReplicas" not in replaced["status"]


async def test_a_merge_patch_removes_by_null(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    await api.patch(f"{api.rules}/a/status", {"status": {"currentReplicas": 3, "pendingMessages": 4}})
    patched = await api.patch(f"{api.rules}/a/status", {"status": {"pendingMessages": None}})
    assert patched["status"]["currentReplicas"] == 3
    assert "pendingMessages" not in patched["status"]


# The scale subresource


async def test_a_scale_shows_and_changes_the_replicas(api: Api) -> None:
    created = await api.create(api.deployments, deployment("web", 2))
    scale = await api.get(f"{api.deployments}/web/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["metadata"]["uid"] == created["metadata"]["uid"]
    assert scale["status"]["selector"] == "app=web"
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 5},
    ]
    scaled = await api.patch(f"{api.deployments}/web/scale", patch, JSON_PATCH)
    assert scaled["spec"] == {"replicas": 5}
    found = await api.get(f"{api.deployments}/web")
    assert found["spec"]["replicas"] == 5
    assert found["metadata"]["generation"] == 2
    assert int(version(found)) >= int(version(scaled)) > int(version(scale))


async def test_a_failed_test_in_a_json_patch_changes_nothing(api: Api) -> None:
    await api.create(api.deployments, deployment("web", 2))
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]
    answer = await api.call("PATCH", f"{api.deployments}/web/scale", patch, JSON_PATCH)
    assert refusal(answer) == (422, 422, "Status", "Invalid")
    assert (await api.get(f"{api.deployments}/web/scale"))["spec"] == {"replicas": 2}


async def test_a_scale_at_zero_omits_the_replicas(api: Api) -> None:
    await api.create(api.deployments, deployment("web", 0))
    path = f"{api.deployments}/web/scale"
    assert (await api.get(path))["spec"] == {}
    patch = [
        {"op": "test", "path": "/spec", "value": {}},
        {"op": "add", "path": "/spec/replicas", "value": 1},
    ]
    assert (await api.patch(path, patch, JSON_PATCH))["spec"] == {"replicas": 1}
    assert refusal(await api.call("PATCH", path, patch, JSON_PATCH)) == (422, 422, "Status", "Invalid")
    back = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    assert (await api.patch(path, back, JSON_PATCH))["spec"] == {}


async def test_a_scale_below_zero_is_invalid(api: Api) -> None:
    await api.create(api.deployments, deployment("web", 1))
    patch = {"spec": {"replicas": -1}}
    answer = await api.call("PATCH", f"{api.deployments}/web/scale", patch, MERGE_PATCH)
    assert refusal(answer) == (422, 422, "Status", "Invalid")


async def test_a_scaled_deployment_becomes_ready(api: Api) -> None:
    created = await api.create(api.deployments, deployment("web", 2))
    query = {"resourceVersion": version(created), "fieldSelector": "metadata.name=web"}
    await api.patch(f"{api.deployments}/web/scale", {"spec": {"replicas": 3}})
    async with asyncio.timeout(30), api.watch(api.deployments, **query) as events:
        async for event in events:
            status = event["object"]["status"]
            if status.get("readyReplicas") == 3:
                assert (status["replicas"], status["availableReplicas"]) == (3, 3)
                assert status["observedGeneration"] == event["object"]["metadata"]["generation"] == 2
                return


# Lists in pages and watches


async def test_pages_show_the_moment_of_the_first(api: Api) -> None:
    for name in "abcde":
        await api.create(api.rules, rule(name))
    page = await api.get(f"{api.rules}?limit=2")
    assert (names(page), page["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    await api.create(api.rules, rule("bb"))
    decoded(await api.call("DELETE", f"{api.rules}/e"))
    second = await api.get(f"{api.rules}?limit=2&continue={page['metadata']['continue']}")
    third = await api.get(f"{api.rules}?limit=2&continue={second['metadata']['continue']}")
    assert (names(second), names(third)) == (["c", "d"], ["e"])
    assert version(page) == version(second) == version(third)
    assert not third["metadata"].get("continue")


async def test_a_watch_sees_exactly_what_came_after_its_version(api: Api) -> None:
    await api.create(api.rules, rule("before"))
    listed = await api.get(api.rules)
    await api.create(api.rules, rule("a"))
    await api.patch(f"{api.rules}/a", {"spec": {"maxReplicas": 20}})
    await api.patch(f"{api.rules}/before/status", {"status": {"currentReplicas": 1}})
    decoded(await api.call("DELETE", f"{api.rules}/a"))
    async with api.watch(api.rules, resourceVersion=version(listed)) as events:
        past = await first(events, 4)
        await api.create(api.rules, rule("live"))
        live = await first(events, 1)
    expected = [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("MODIFIED", "before"),
        ("DELETED", "a"),
        ("ADDED", "live"),
    ]
    assert seen(past + live) == expected
    versions = [int(version(event["object"])) for event in past + live]
    assert versions == sorted(set(versions))
    assert past[1]["object"]["kind"] == "ScalingRule"


async def test_a_watch_without_a_version_begins_with_what_exists(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    async with api.watch(api.rules) as events:
        assert seen(await first(events, 1)) == [("ADDED", "a")]
        await api.create(api.rules, rule("b"))
        assert seen(await first(events, 1)) == [("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_bookmark(api: Api) -> None:
    created = await api.create(api.rules, rule("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with api.watch(api.rules, **query) as events:
        added, bookmark = await first(events, 2)
    assert seen([added]) == [("ADDED", "a")]
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(version(bookmark["object"])) >= int(version(created))


async def test_a_watch_ends_after_its_timeout(api: Api) -> None:
    listed = await api.get(api.rules)
    async with api.watch(api.rules, resourceVersion=version(listed), timeoutSeconds="1") as events:
        assert [event async for event in events if event["type"] != "BOOKMARK"] == []


async def test_selectors_choose_what_is_listed_and_watched(api: Api) -> None:
    labelled = rule("a")
    labelled["metadata"]["labels"] = {"team": "x"}
    await api.create(api.rules, labelled)
    await api.create(api.rules, rule("b"))
    listed = await api.get(f"{api.rules}?labelSelector=team%3Dx")
    assert names(listed) == ["a"]
    assert names(await api.get(f"{api.rules}?labelSelector=team%21%3Dx")) == ["b"]
    assert names(await api.get(f"{api.rules}?fieldSelector=metadata.name%3Db")) == ["b"]
    refused = await api.call("GET", f"{api.rules}?fieldSelector=spec.subject%3Db")
    assert refusal(refused) == (400, 400, "Status", "BadRequest")
    async with api.watch(api.rules, resourceVersion=version(listed), labelSelector="team=x") as events:
        await api.patch(f"{api.rules}/b", {"metadata": {"labels": {"team": "x"}}})
        await api.patch(f"{api.rules}/a", {"metadata": {"labels": None}})
        assert seen(await first(events, 2)) == [("ADDED", "b"), ("DELETED", "a")]


# Events


async def test_an_event_is_served_in_both_shapes(api: Api) -> None:
    regarding = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": api.namespace}
    event = {
        "metadata": {"name": "web.1"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "natsscaler",
        "reportingInstance": "natsscaler-1",
        "action": "Scale",
        "reason": "ScaledUp",
        "type": "Normal",
        "note": "from 1 to 2",
        "regarding": regarding,
    }
    created = await api.create(api.events, event)
    assert created["note"] == "from 1 to 2"
    core = await api.get(f"{api.core_events}/web.1")
    assert (core["message"], core["reportingComponent"]) == ("from 1 to 2", "natsscaler")
    assert core["involvedObject"] == regarding
    about = "fieldSelector=involvedObject.kind%3DDeployment,involvedObject.name%3D"
    assert names(await api.get(f"{api.core_events}?{about}web")) == ["web.1"]
    assert names(await api.get(f"{api.core_events}?{about}other")) == []


async def test_an_event_without_its_time_is_invalid(api: Api) -> None:
    answer = await api.call("POST", api.events, {"metadata": {"name": "e"}, "reason": "ScaledUp"})
    assert refusal(answer) == (422, 422, "Status", "Invalid")


async def test_a_core_event_is_named_by_the_server(api: Api) -> None:
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": api.namespace}
    event = {"metadata": {"generateName": "web-"}, "involvedObject": about, "reason": "A", "message": "b"}
    created = await api.create(api.core_events, event)
    assert created["metadata"]["name"].startswith("web-")
    assert (created["source"], created["firstTimestamp"]) == ({}, None)


# Discovery, tables and clients


async def test_discovery_names_the_rules(api: Api) -> None:
    groups = (await api.get("/apis"))["groups"]
    group = next(group for group in groups if group["name"] == "scaling.example.com")
    assert group["preferredVersion"] == {"groupVersion": "scaling.example.com/v1", "version": "v1"}
    resources = (await api.get("/apis/scaling.example.com/v1"))["resources"]
    found = {resource["name"]: resource for resource in resources}
    assert found.keys() == {"scalingrules", "scalingrules/status"}
    assert found["scalingrules"]["shortNames"] == ["sr"]
    assert found["scalingrules"]["singularName"] == "scalingrule"
    verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert set(found["scalingrules"]["verbs"]) == verbs


async def test_a_table_has_the_columns_of_the_crd(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    await api.patch(f"{api.rules}/a/status", {"status": {"currentReplicas": 3, "pendingMessages": 70}})
    answer = decoded(await api.http.get(api.rules, headers={"Accept": TABLE}))
    columns = [column["name"] for column in answer["columnDefinitions"] if not column["priority"]]
    cells = dict(zip(columns, answer["rows"][0]["cells"], strict=False))
    age = cells.pop("Age")
    assert answer["kind"] == "Table"
    assert age.endswith("s")
    assert cells == {
        "Name": "a",
        "Deployment": "my-app",
        "Namespace": "default",
        "Current Replicas": 3,
        "Pending Messages": 70,
        "Last Action": None,
        "Ready": None,
        "Reason": None,
    }


async def test_tables_of_built_in_kinds_have_the_same_columns(api: Api) -> None:
    expected = {
        api.deployments: "Name Ready Up-to-date Available Age",
        api.core_events: "Last Seen Type Reason Object Message",
        api.leases: "Name Holder Age",
        f"/apis/autoscaling/v2/namespaces/{api.namespace}/horizontalpodautoscalers": (
            "Name Reference Targets MinPods MaxPods Replicas Age"
        ),
        "/api/v1/namespaces": "Name Status Age",
    }
    for path, columns in expected.items():
        answer = decoded(await api.http.get(path, headers={"Accept": TABLE}))
        narrow = [column["name"] for column in answer["columnDefinitions"] if not column["priority"]]
        assert " ".join(narrow) == columns


async def test_the_python_client_pages_and_scales(kube_api: KubeApi) -> None:
    apps: Any = client.AppsV1Api(kube_api.client)
    for name in ("a", "b", "c"):
        await apps.create_namespaced_deployment(kube_api.namespace, deployment(name, 1))
    page = await apps.list_namespaced_deployment(kube_api.namespace, limit=2)
    token = page.metadata._continue
    rest = await apps.list_namespaced_deployment(kube_api.namespace, limit=2, _continue=token)
    assert [item.metadata.name for item in page.items + rest.items] == ["a", "b", "c"]
    patch = [{"op": "test", "path": "/spec/replicas", "value": 2}]
    with pytest.raises(client.ApiException) as refused:
        await apps.patch_namespaced_deployment_scale("a", kube_api.namespace, patch)
    assert refused.value.status == 422


async def test_kubectl_gets_and_changes_rules(api: Api, kubectl: Kubectl) -> None:
    await api.create(api.deployments, deployment("web", 1))
    assert "created" in await kubectl("create", "-f", "-", stdin=json.dumps(rule("a")))
    header, line = (await kubectl("get", "sr")).splitlines()
    assert header.split("  ")[0] == "NAME"
    assert "PENDING MESSAGES" in header
    assert line.split()[:3] == ["a", "my-app", "default"]
    assert "annotated" in await kubectl("annotate", "sr", "a", "scaling.example.com/paused=true")
    assert 'scaling.example.com/paused: "true"' in await kubectl("get", "sr", "a", "-o", "yaml")
    assert "my-app" in await kubectl("describe", "sr", "a")
    assert "scaled" in await kubectl("scale", "deployment", "web", "--replicas=4")
    assert await kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    assert "deleted" in await kubectl("delete", "sr", "a")
    assert await kubectl("get", "sr") == ""


# Dry runs, and what the schema does not know


async def test_a_dry_run_answers_and_writes_nothing(api: Api) -> None:
    answered = await api.create(f"{api.rules}?dryRun=All", rule("a"))
    assert answered["spec"].items() >= SAMPLE_SPEC.items()
    assert (await api.call("GET", f"{api.rules}/a")).status_code == 404
    created = await api.create(api.rules, rule("a"))
    patched = await api.patch(f"{api.rules}/a?dryRun=All", {"spec": {"maxReplicas": 20}})
    assert patched["spec"]["maxReplicas"] == 20
    replaced = {**created, "spec": {**created["spec"], "maxReplicas": 30}}
    decoded(await api.call("PUT", f"{api.rules}/a?dryRun=All", replaced))
    decoded(await api.call("DELETE", f"{api.rules}/a?dryRun=All"))
    decoded(await api.call("DELETE", f"{api.rules}/a", {"dryRun": ["All"]}))
    decoded(await api.call("DELETE", f"{api.rules}?dryRun=All"))
    assert await api.get(f"{api.rules}/a") == created


async def test_a_dry_run_refuses_what_a_write_would(api: Api) -> None:
    await api.create(api.rules, rule("a"))
    assert refusal(await api.call("POST", f"{api.rules}?dryRun=All", rule("a")))[3] == "AlreadyExists"
    invalid = await api.call("POST", f"{api.rules}?dryRun=All", rule("b", minReplicas=-1))
    assert refusal(invalid)[3] == "Invalid"


@pytest.mark.parametrize("query", ["dryRun=Some", "dryRun=All&dryRun=Some"])
async def test_a_dry_run_of_another_kind_is_refused(api: Api, query: str) -> None:
    answer = await api.call("POST", f"{api.rules}?{query}", rule("a"))
    assert answer.status_code in {400, 422}, answer.text
    assert (await api.call("GET", f"{api.rules}/a")).status_code == 404


async def test_of_an_unknown_field_is_warned_unless_told_otherwise(api: Api) -> None:
    created = await api.call("POST", api.rules, rule("a", typo=1))
    assert created.headers["Warning"] == r'299 - "unknown field \"spec.typo\""'
    patch = {"spec": {"other": 1}}
    patched = await api.call("PATCH", f"{api.rules}/a", patch, MERGE_PATCH)
    assert patched.headers["Warning"] == r'299 - "unknown field \"spec.other\""'
    ignored = await api.call("PATCH", f"{api.rules}/a?fieldValidation=Ignore", patch, MERGE_PATCH)
    known = await api.call("PATCH", f"{api.rules}/a", {"spec": {"maxReplicas": 20}}, MERGE_PATCH)
    assert not [answer.headers for answer in (ignored, known) if "Warning" in answer.headers]


async def test_kubectl_explains_the_fields_of_a_rule(kubectl: Kubectl) -> None:
    told = await kubectl("explain", "scalingrule.spec.behavior.scaleDown")
    assert "stabilizationWindowSeconds\t<integer>" in told
    assert "How scaling down behaves." in told
    assert "natsMonitoringURL\t<string> -required-" in await kubectl("explain", "scalingrule.spec")


async def test_kubectl_shows_what_would_change_and_changes_nothing(kubectl: Kubectl, api: Api) -> None:
    manifest = rule("a")
    await kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    before = await api.get(f"{api.rules}/a")
    manifest["spec"]["maxReplicas"] = 12
    with pytest.raises(AssertionError):  # diff ends with status 1 if there is a difference
        await kubectl("diff", "-f", "-", stdin=json.dumps(manifest))
    told = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
    assert told == "scalingrule.scaling.example.com/a configured (server dry run)\n"
    await kubectl("delete", "--dry-run=server", "scalingrule", "a")
    assert await api.get(f"{api.rules}/a") == before


@pytest.mark.parametrize("kube_api", ["embedded"], indirect=True)
@pytest.mark.parametrize("command", ["logs", "exec", "port-forward"])
async def test_what_needs_pods_is_refused_at_once_where_there_are_none(
    kubectl: Kubectl, api: Api, command: str
) -> None:
    await api.create(api.deployments, deployment("web", 1))
    arguments = {"logs": (), "exec": ("--", "ls"), "port-forward": ("8080",)}[command]
    with pytest.raises(AssertionError, match=f"kubectl {command}: the embedded Kubernetes API has no pods"):
        await kubectl(command, "deployment/web", *arguments)


@pytest.mark.parametrize("kube_api", ["embedded"], indirect=True)
async def test_server_side_apply_is_refused_in_plain_words(kubectl: Kubectl) -> None:
    with pytest.raises(AssertionError, match="leave out --server-side"):
        await kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(rule("a")))
