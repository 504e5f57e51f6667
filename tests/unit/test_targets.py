"""What a rule scales: how it is named, and when two names mean the same."""

from typing import Any

import pytest

from natsscaler.core.errors import InvalidRule
from natsscaler.core.ownership import missing
from natsscaler.core.rule import Target, parse
from natsscaler.kube.objects import Autoscaler, AutoscalerSpec, AutoscalerTarget, Meta
from tests.support.factories import body

ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}


def by_reference(**changes: Any) -> dict[str, Any]:
    made = body(scaleTargetRef=ROLLOUT | changes)
    del made["spec"]["deploymentName"]
    return made


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({}, Target("default", "web", "Rollout", "argoproj.io")),
        ({"apiVersion": "argoproj.io/v2"}, Target("default", "web", "Rollout", "argoproj.io")),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, Target("default", "web")),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet"}, Target("default", "web", "StatefulSet")),
        (
            {"apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet"},
            Target("default", "web", "StatefulSet", "apps.kruise.io"),
        ),
        (
            {"apiVersion": "v1", "kind": "ReplicationController"},
            Target("default", "web", "ReplicationController", ""),
        ),
    ],
)
def test_group_kind_and_name_say_what_is_scaled(changes: dict[str, str], target: Target) -> None:
    assert parse(by_reference(**changes)).target == target


def test_a_deployment_is_the_same_by_either_field() -> None:
    named = parse(by_reference(apiVersion="apps/v1", kind="Deployment", name="my-app"))
    assert named.target == parse(body()).target


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (body(scaleTargetRef=ROLLOUT), "only one of them"),
        (by_reference(apiVersion="batch/v1", kind="Job"), "a Job or CronJob has no replicas"),
        (by_reference(apiVersion="argoproj.io"), "spec.scaleTargetRef.apiVersion"),
        (by_reference(kind="rollouts"), "spec.scaleTargetRef.kind"),
        (by_reference(name="Web"), "spec.scaleTargetRef.name"),
        (by_reference(namespace="other"), "namespace"),
    ],
)
def test_a_reference_that_names_nothing_to_scale_is_refused(made: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRule, match=said):
        parse(made)


def test_neither_field_is_refused() -> None:
    made = body()
    del made["spec"]["deploymentName"]
    with pytest.raises(InvalidRule, match="deploymentName or scaleTargetRef must be set"):
        parse(made)


def test_what_is_missing_is_named_with_its_kind_and_field() -> None:
    said = missing(parse(by_reference())).message
    assert said == "Rollout default/web, which spec.scaleTargetRef names, does not exist"


@pytest.mark.parametrize(
    ("kind", "api_version", "target"),
    [
        ("Deployment", "apps/v1", Target("shop", "web")),
        ("Deployment", "extensions/v1beta1", Target("shop", "web")),
        ("Deployment", "", Target("shop", "web")),
        ("StatefulSet", "apps/v1", Target("shop", "web", "StatefulSet")),
        ("StatefulSet", "apps.kruise.io/v1beta1", Target("shop", "web", "StatefulSet", "apps.kruise.io")),
        ("Rollout", "argoproj.io/v1alpha1", Target("shop", "web", "Rollout", "argoproj.io")),
    ],
)
def test_an_autoscaler_scales_what_its_group_kind_and_name_say(
    kind: str, api_version: str, target: Target
) -> None:
    spec = AutoscalerSpec(AutoscalerTarget(kind, "web", api_version))
    assert Autoscaler(Meta("hpa", "shop", "uid", "1"), spec).affected == target
