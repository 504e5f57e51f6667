"""Who may scale a Deployment: one rule alone, from its own namespace, and none if another autoscaler does.

A dry run scales nothing, so it may run beside them.
"""

from collections.abc import Collection, Iterable

from natsscaler.core.reasons import Finding, Reason
from natsscaler.core.rule import Rule


def obstacle(
    rule: Rule,
    rules: Iterable[Rule],
    autoscaler: str | None,
    *,
    allow_cross_namespace: bool,
    namespaces: Collection[str],
) -> Finding | None:
    """Say what keeps a rule from scaling its Deployment, whatever the backlog is; None: nothing.

    `rules`: all that name the Deployment, or just the one that owns it; `autoscaler`: the
    HorizontalPodAutoscaler that scales it, if there is one; `namespaces`: those that natsscaler watches,
    none: all.
    """
    target = rule.target
    if target.namespace != rule.key.namespace and not allow_cross_namespace:
        return Finding(
            Reason.CROSS_NAMESPACE_NOT_ALLOWED,
            f"Deployment {target} is in another namespace than the rule, which needs --allow-cross-namespace",
        )
    if namespaces and target.namespace not in namespaces:
        return Finding(
            Reason.NAMESPACE_NOT_WATCHED,
            f"The operator does not watch namespace {target.namespace}, which spec.namespace names",
        )
    if rule.dry_run:
        return None
    if autoscaler:
        return Finding(
            Reason.TARGET_OWNED_BY_ANOTHER,
            f"HorizontalPodAutoscaler {autoscaler} scales Deployment {target} already",
        )
    oldest = owner(rules)
    if oldest and oldest.key != rule.key:
        return Finding(
            Reason.TARGET_OWNED_BY_ANOTHER,
            f"The older ScalingRule {oldest.key} scales Deployment {target} already",
        )
    return None


def owner(rules: Iterable[Rule]) -> Rule | None:
    """Say which of the rules that name a Deployment may scale it."""
    rivals = (one for one in rules if not one.dry_run)
    return min(rivals, key=lambda one: (one.created, one.key), default=None)


def unseen(rule: Rule) -> Finding:
    """Say that it is unknown which targets and HorizontalPodAutoscalers the rule's namespace has."""
    kinds = {"Deployment": "deployments and ", "StatefulSet": "statefulsets and "}
    target = rule.target
    listed = kinds.get(target.kind, "") if target.group == "apps" else ""
    return Finding(
        Reason.FORBIDDEN,
        f"The operator lacks the verbs list and watch on {listed}horizontalpodautoscalers in namespace"
        f" {target.namespace}",
    )


def missing(rule: Rule) -> Finding:
    """Say that what the rule is to scale does not exist."""
    return Finding(
        Reason.TARGET_NOT_FOUND,
        f"{rule.target.shown}, which {rule.target_field} names, does not exist",
    )
