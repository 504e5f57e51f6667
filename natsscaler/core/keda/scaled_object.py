"""One ScaledObject with a nats-jetstream trigger becomes one ScalingRule, with a note for whatever is lost.

A rule is made ready for a dry run: KEDA goes on scaling until somebody decides otherwise (docs/migration.md).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from natsscaler.core.errors import InvalidRule
from natsscaler.core.keda.parts import FALSE, Part, Unconvertible
from natsscaler.core.keda.triggers import CRON, SCALER, bounded_below, counted, tell_others
from natsscaler.core.pause import PAUSED_ANNOTATION, REPLICAS_ANNOTATION
from natsscaler.core.rule import (
    GROUP,
    KIND,
    LONGEST_FALLBACK_SECONDS,
    VERSION,
    FallbackBehavior,
    SelectPolicy,
    parse,
)

DEFAULT_POLLING_SECONDS, DEFAULT_MAX_REPLICAS = 30, 100
"""Of a ScaledObject."""
PAUSES = "autoscaling.keda.sh"
OWN_ANNOTATIONS = {
    "autoscaling.keda.sh/force-activation": "nothing forces a rule awake. Set spec.minReplicas to 1 instead.",
    "scaledobject.keda.sh/transfer-hpa-ownership": "natsscaler has no HorizontalPodAutoscaler to take over.",
    "validations.keda.sh/hpa-ownership": "natsscaler never scales what a HorizontalPodAutoscaler scales.",
    "scaledobject.keda.sh/hpa-excluded-labels": "natsscaler makes no HorizontalPodAutoscaler.",
}
OF_THE_SERVER = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"),
    *("selfLink", "deletionGracePeriodSeconds"),
)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FALLBACKS = {
    "static": FallbackBehavior.STATIC,
    "currentReplicas": FallbackBehavior.HOLD,
    "currentReplicasIfHigher": FallbackBehavior.AT_LEAST,
    "currentReplicasIfLower": FallbackBehavior.AT_MOST,
}


class Converted(Struct, frozen=True):
    """A ScalingRule, and what its ScaledObject had that it has not."""

    source: str
    """Names the ScaledObject."""
    rule: Mapping[str, Any]
    notes: tuple[str, ...]


def is_for_jetstream(body: Mapping[str, Any]) -> bool:
    """Tell whether a ScaledObject has a trigger that natsscaler can stand in for."""
    triggers = (body.get("spec") or {}).get("triggers") or []
    return any(isinstance(one, Mapping) and one.get("type") == SCALER for one in triggers)


def convert(body: Mapping[str, Any], authentications: Mapping[str, Part], namespace: str | None) -> Converted:
    """Make the rule of a ScaledObject. Raises Unconvertible.

    `authentications`: TriggerAuthentications by NAMESPACE/NAME; `namespace`: its own, if it names none.
    """
    notes: list[str] = []
    whole = Part("", body, notes)
    for known in ("apiVersion", "kind", "status"):
        whole.take(known)
    metadata, spec = whole.part("metadata"), whole.part("spec")
    name = metadata.needed("name")
    home = metadata.text("namespace") or namespace
    if home is None:
        raise Unconvertible("metadata.namespace is missing: add it, or convert with --namespace NAMESPACE")
    made = _metadata(name, home, metadata)
    fields: dict[str, Any] = {**_target(spec.part("scaleTargetRef")), "namespace": home}
    seconds = _at_least_one(spec, "pollingInterval") or DEFAULT_POLLING_SECONDS
    fields |= _bounds(spec)
    low, high = fields["minReplicas"], fields["maxReplicas"]
    queues, times, others = _triggers(spec)
    fields |= counted(queues, home, authentications, goes_to_zero=low == 0)
    tell_others(others)
    fields["pollIntervalSeconds"] = seconds
    idle = _at_least_one(spec, "cooldownPeriod")
    if idle is not None:
        fields["idleSeconds"] = idle
    advanced = spec.part("advanced")
    behavior = _behavior(advanced)
    if behavior:
        fields["behavior"] = behavior
    fallback = _fallback(spec.part("fallback"), seconds) if "fallback" in spec else None
    if fallback:
        fields["fallback"] = fallback
    schedules = bounded_below(times, low, high)
    if schedules:
        fields["schedules"] = schedules
    fields["dryRun"] = True
    spec.leave(
        "initialCooldownPeriod", "the creation of a rule counts as a message, so idleSeconds begins there."
    )
    for part in (advanced, spec, metadata, whole):
        part.rest()
    rule = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": made, "spec": fields}
    _prove(rule)
    return Converted(f"{home}/{name}", rule, tuple(notes))


def _triggers(spec: Part) -> tuple[list[Part], list[Part], dict[Part, str]]:
    """Take the triggers: those of nats-jetstream, those of cron, and the others with their type."""
    found = [(trigger.needed("type"), trigger) for trigger in spec.parts("triggers")]
    others = {trigger: kind for kind, trigger in found if kind not in (SCALER, CRON)}
    return (
        [one for kind, one in found if kind == SCALER],
        [one for kind, one in found if kind == CRON],
        others,
    )


def _prove(rule: Mapping[str, Any]) -> None:
    """Raise Unconvertible if the operator would refuse this rule."""
    server = {"uid": "-", "creationTimestamp": "-"}
    try:
        parse({**rule, "metadata": {**rule["metadata"], **server}})
    except InvalidRule as error:
        message = f"The rule would be invalid: {error.message}. Correct the field that it comes from"
        raise Unconvertible(message) from error


def _metadata(name: str, namespace: str, metadata: Part) -> dict[str, Any]:
    for known in OF_THE_SERVER:
        metadata.take(known)
    metadata.leave("finalizers", "a rule needs none.")
    metadata.leave("ownerReferences", "add that of whatever is to own the rule.")
    labels, annotations = metadata.part("labels"), metadata.part("annotations")
    annotations.take(LAST_APPLIED)
    kept = dict(_pause(annotations))
    for known, said in OWN_ANNOTATIONS.items():
        annotations.leave(known, said)
    others = {one: str(value) for one, value in annotations.remaining()}
    labels.take("scaledobject.keda.sh/name")  # KEDA puts it there
    named = {one: str(value) for one, value in labels.remaining()}
    made: dict[str, Any] = {"name": name, "namespace": namespace}
    if named:
        made["labels"] = dict(sorted(named.items()))
    if others or kept:
        made["annotations"] = dict(sorted((others | kept).items()))
    return made


def _pause(annotations: Part) -> dict[str, str]:
    """Say by natsscaler's annotations what KEDA's say; what is no boolean pauses, as with KEDA."""

    def says(name: str) -> bool:
        value = annotations.take(f"{PAUSES}/{name}")
        return value is not None and str(value) not in FALSE

    everything, number = says("paused"), annotations.number(f"{PAUSES}/paused-replicas")
    down, up = says("paused-scale-in"), says("paused-scale-out")
    if number is not None:
        if number > 0:
            return {REPLICAS_ANNOTATION: str(number)}
        annotations.note(
            f"{PAUSES}/paused-replicas",
            "a rule is paused at 1 replica or more. It is paused as it is: scale to 0 by kubectl scale.",
        )
    if everything or number is not None or (down and up):
        return {PAUSED_ANNOTATION: "true"}
    if down or up:
        return {PAUSED_ANNOTATION: "scale-down" if down else "scale-up"}
    return {}


def _target(target: Part) -> dict[str, Any]:
    name, kind = target.needed("name"), target.text("kind") or "Deployment"
    version = target.text("apiVersion") or "apps/v1"
    target.leave("envSourceContainerName", "a rule reads no environment of its workers.")
    target.rest()
    if kind == "Deployment" and version.startswith("apps/"):
        return {"deploymentName": name}
    return {"scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name}}


def _bounds(spec: Part) -> dict[str, int]:
    low, high = spec.number("minReplicaCount") or 0, spec.number("maxReplicaCount")
    idle = spec.number("idleReplicaCount")
    if idle is not None and idle > 0:
        spec.note("idleReplicaCount", f"{idle} has no counterpart, and KEDA supports only 0.")
    elif idle == 0 and low > 1:
        spec.note(
            "idleReplicaCount",
            f"a rule has one lower bound. The rule never goes below {low}. To let it go to zero, set"
            f" spec.minReplicas to 0; it then also runs with fewer than {low} while there are few messages.",
        )
    elif idle == 0:
        low = 0
    return {"minReplicas": low, "maxReplicas": DEFAULT_MAX_REPLICAS if high is None else high}


def _at_least_one(spec: Part, name: str) -> int | None:
    seconds = spec.number(name)
    if seconds is not None and seconds < 1:
        spec.note(name, f"{seconds} became 1, the least.")
        return 1
    return seconds


def _behavior(advanced: Part) -> dict[str, Any]:
    if advanced.switch("restoreToOriginalReplicaCount"):
        advanced.note(
            "restoreToOriginalReplicaCount",
            "when a rule is deleted, the replicas stay as they are. Set it to false before you delete the"
            " ScaledObject, or KEDA resets the replicas then.",
        )
    advanced.leave(
        "scalingModifiers",
        "no counterpart: the rule scales by the messages of one consumer, without a formula. Check whether"
        " that is what you want.",
    )
    autoscaler = advanced.part("horizontalPodAutoscalerConfig")
    autoscaler.leave("name", "natsscaler makes no HorizontalPodAutoscaler.")
    behavior = autoscaler.part("behavior")
    made = {side: _direction(behavior.part(side)) for side in ("scaleUp", "scaleDown") if side in behavior}
    behavior.rest()
    autoscaler.rest()
    return {side: fields for side, fields in made.items() if fields}


def _direction(side: Part) -> dict[str, Any]:
    made: dict[str, Any] = {}
    window = side.number("stabilizationWindowSeconds")
    if window is not None:
        made["stabilizationWindowSeconds"] = window
    select = side.text("selectPolicy")
    if select in list(SelectPolicy):
        made["selectPolicy"] = select
    elif select:
        raise Unconvertible(f"{side.at('selectPolicy')} must be Max, Min or Disabled")
    policies = []
    for policy in side.parts("policies"):
        policies.append(
            {
                "type": policy.needed("type"),
                "value": policy.number("value"),
                "periodSeconds": policy.number("periodSeconds"),
            }
        )
        policy.rest()
    if policies:
        made["policies"] = policies
    tolerance = side.share("tolerance")
    if tolerance is not None:
        made["tolerance"] = tolerance
    side.rest()
    return made


def _fallback(fallback: Part, polling_seconds: int) -> dict[str, Any] | None:
    failures, replicas = fallback.number("failureThreshold"), fallback.number("replicas")
    wanted = fallback.text("behavior") or "static"
    fallback.rest()
    behavior = FALLBACKS.get(wanted)
    if behavior is None:
        fallback.note(
            "behavior", f"{wanted} has no counterpart. While the backlog is unknown, nothing scales."
        )
        return None
    asked = (failures or 0) * polling_seconds
    after = min(max(1, asked), LONGEST_FALLBACK_SECONDS)
    if after != asked:
        fallback.note(
            "failureThreshold", f"{asked} seconds became {after}: 1 to {LONGEST_FALLBACK_SECONDS} count."
        )
    made: dict[str, Any] = {"afterSeconds": after, "behavior": str(behavior)}
    if behavior is FallbackBehavior.HOLD:
        return made
    if not replicas:
        fallback.note(
            "replicas", "a fallback has 1 replica or more. While the backlog is unknown, nothing scales."
        )
        return None
    return {**made, "replicas": replicas}
