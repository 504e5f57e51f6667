"""What the operator must be permitted by Kubernetes: what config/rbac grants, and a test holds to that."""

from typing import NamedTuple

from natsscaler.core.rule import GROUP, PLURAL


class Permission(NamedTuple):
    """One verb on one resource; a subresource stands behind a slash."""

    verb: str
    resource: str
    group: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group}".removesuffix(".")

    def attributes(self, namespace: str) -> dict[str, str]:
        """Give the resourceAttributes of an access review; namespace "": in all of them."""
        resource, _, subresource = self.resource.partition("/")
        return {
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "verb": self.verb,
            "namespace": namespace,
        }


ACTING = (
    Permission("list", PLURAL, GROUP),
    Permission("watch", PLURAL, GROUP),
    Permission("patch", f"{PLURAL}/status", GROUP),
    Permission("list", "deployments", "apps"),
    Permission("watch", "deployments", "apps"),
    Permission("get", "deployments/scale", "apps"),
    Permission("patch", "deployments/scale", "apps"),
    Permission("list", "statefulsets", "apps"),
    Permission("watch", "statefulsets", "apps"),
    Permission("get", "statefulsets/scale", "apps"),
    Permission("patch", "statefulsets/scale", "apps"),
    Permission("list", "horizontalpodautoscalers", "autoscaling"),
    Permission("watch", "horizontalpodautoscalers", "autoscaling"),
    Permission("create", "events", "events.k8s.io"),
)
"""Needed in all namespaces, or in each one that is watched."""
READING_SECRETS = Permission("get", "secrets", "")
"""Needed in the namespaces of rules that name a Secret."""
LEADING = tuple(Permission(verb, "leases", "coordination.k8s.io") for verb in ("get", "create", "update"))
"""Needed in the operator's own namespace, for leader election."""
