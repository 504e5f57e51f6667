"""Who may scale a Deployment: one rule alone, from its own namespace, and none if another autoscaler does.

A rehearsing rule scales nothing, so it may rehearse beside them.
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
            f"spec.namespace {target.namespace} is not the rule's own namespace {rule.key.namespace}:"
            " move the rule there, or run natsscaler with --allow-cross-namespace",
        )
    if namespaces and target.namespace not in namespaces:
        return Finding(
            Reason.NAMESPACE_NOT_WATCHED,
            f"natsscaler does not watch {target.namespace}: add --namespace {target.namespace}",
        )
    if rule.spec.dry_run:
        return None
    if autoscaler:
        return Finding(
            Reason.TARGET_OWNED_BY_ANOTHER,
            f"HorizontalPodAutoscaler {autoscaler} scales {target}: delete one of the two",
        )
    oldest = owner(rules)
    if oldest and oldest.key != rule.key:
        return Finding(
            Reason.TARGET_OWNED_BY_ANOTHER,
            f"the older ScalingRule {oldest.key} scales {target}: delete one of the two",
        )
    return None


def owner(rules: Iterable[Rule]) -> Rule | None:
    """Say which of the rules that name a Deployment may scale it."""
    rivals = (one for one in rules if not one.spec.dry_run)
    return min(rivals, key=lambda one: (one.created, one.key), default=None)


def unseen(rule: Rule) -> Finding:
    """Say that it is not known which targets and HorizontalPodAutoscalers the rule's namespace has."""
    kinds = {"Deployment": "deployments and ", "StatefulSet": "statefulsets and "}
    target = rule.target
    listed = kinds.get(target.kind, "") if target.group == "apps" else ""
    return Finding(
        Reason.FORBIDDEN,
        f"natsscaler may not list {listed}horizontalpodautoscalers in {target.namespace}:"
        " grant it the verbs list and watch on them there",
    )


def missing(rule: Rule) -> Finding:
    """Say that what the rule is to scale does not exist."""
    return Finding(
        Reason.TARGET_NOT_FOUND,
        f"there is no {rule.target.shown}: create it or fix {rule.target_field}",
    )
