"""Objects to create in a Kubernetes API."""

from typing import Any

from tests.support.factories import SAMPLE_SPEC

Object = dict[str, Any]


def rule(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "scaling.example.com/v1",
        "kind": "ScalingRule",
        "metadata": {"name": name},
        "spec": {**SAMPLE_SPEC, **spec},
    }


def deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    containers = [{"name": "main", "image": "example.com/app"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
