"""Where the operator runs, its ServiceAccount, what it watches, and how it was installed. Pure.

`natsscaler check` finds the Deployment by its label, so that a release of any name in any namespace is found,
and says how to grant what it lacks in the way that it was installed.
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct, field

from natsscaler.core.rule import Target

LABEL = "app.kubernetes.io/part-of=natsscaler"
"""What manifests and chart label everything with."""
RBAC = "app.kubernetes.io/component=rbac"
"""What the manifests label roles, their bindings and the ServiceAccount with."""
OPERATOR = Target("scaling-operator-system", "scaling-operator-controller-manager")
"""Deployment and ServiceAccount of the operator, as the manifests name them."""
NAMESPACED = Target("default", OPERATOR.name)
"""Likewise in config/overlays/namespaced."""
WATCHED = "NATSSCALER_NAMESPACE"
RELEASE = "meta.helm.sh/release-name"


class Installation(NamedTuple):
    """One operator in a cluster."""

    operator: Target = OPERATOR
    """Namespace and name of its Deployment."""
    account: str = OPERATOR.name
    """Its ServiceAccount, in the same namespace."""
    namespaces: tuple[str, ...] = ()
    """What it looks at; none: all."""
    release: str = ""
    """The release of Helm that it belongs to, if it does."""
    found: bool = False
    """Whether there is such a Deployment; otherwise this is a guess."""

    @property
    def grant(self) -> str:
        """The command that gives the operator its permissions (again), and changes nothing else.

        DIRECTORY in it is that of an overlay that is unknown here.
        """
        if self.release:
            upgrade = f"helm upgrade {self.release} helm/scaling-operator -n {self.operator.namespace}"
            return f"{upgrade} --reuse-values"
        overlay, made_for = (
            ("config/overlays/namespaced", NAMESPACED) if self.namespaces else ("config/default", OPERATOR)
        )
        if self.found and self.operator != made_for:
            return f"kubectl apply --server-side -k DIRECTORY -l {RBAC}"
        return f"kubectl apply --server-side -k {overlay} -l {RBAC}"


class _FieldRef(Struct):
    field_path: str = field(default="", name="fieldPath")


class _Source(Struct):
    field_ref: _FieldRef | None = field(default=None, name="fieldRef")


class _Variable(Struct):
    name: str
    value: str = ""
    value_from: _Source | None = field(default=None, name="valueFrom")


class _Container(Struct):
    env: tuple[_Variable, ...] = ()


class _PodSpec(Struct):
    containers: tuple[_Container, ...] = ()
    account: str = field(default="default", name="serviceAccountName")


class _Template(Struct):
    spec: _PodSpec


class _Spec(Struct):
    template: _Template


class _Meta(Struct):
    name: str
    namespace: str
    annotations: dict[str, str] = {}


class OperatorDeployment(Struct):
    """The operator's Deployment, as far as it matters here."""

    metadata: _Meta
    spec: _Spec

    @property
    def installation(self) -> Installation:
        """What it says of how natsscaler is installed."""
        meta, pod = self.metadata, self.spec.template.spec
        watched = next(
            (one for container in pod.containers for one in container.env if one.name == WATCHED), None
        )
        names = watched.value.split(",") if watched else []
        if watched and watched.value_from and watched.value_from.field_ref:
            names = [meta.namespace]  # the downward API can name no other
        return Installation(
            Target(meta.namespace, meta.name),
            pod.account,
            tuple(name.strip() for name in names if name.strip()),
            meta.annotations.get(RELEASE, ""),
            found=True,
        )


def choose(found: Iterable[Installation], namespace: str | None) -> Installation:
    """Choose one that looks at `namespace`, else one that looks at all, else the first; or guess."""

    def suits(one: Installation) -> tuple[bool, bool, Target]:
        return namespace not in one.namespaces, bool(one.namespaces), one.operator

    return min(found, key=suits, default=Installation())
