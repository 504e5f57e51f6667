"""The triggers of a ScaledObject: nats-jetstream says what counts, cron how many replicas at which times."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from natsscaler.core.errors import InvalidRule
from natsscaler.core.keda.parts import Part, Unconvertible
from natsscaler.core.schedules import MOST_SCHEDULES, Schedule, check

SCALER, CRON = "nats-jetstream", "cron"
DEFAULT_LAG_THRESHOLD = 10
"""Of the nats-jetstream trigger."""
ANY_SUBJECT = ">"
"""A rule that names its consumer counts all that waits for it, whatever the subject."""
FROM_A_SECRET = ("natsServerMonitoringEndpoint", "account")
"""What a TriggerAuthentication may give to a nats-jetstream trigger."""


def counted(
    triggers: Sequence[Part], namespace: str, authentications: Mapping[str, Part], *, goes_to_zero: bool
) -> dict[str, Any]:
    """Say what the rule counts, by the first of these nats-jetstream triggers. Raises Unconvertible."""
    first, *others = triggers
    for trigger in others:
        metadata = trigger.part("metadata")
        place = f"{metadata.text('stream')}/{metadata.text('consumer')}"
        trigger.notes.append(
            f"{trigger.path} ({SCALER}, {place}): not converted, as a rule with spec.consumer counts one"
            " consumer. KEDA takes the trigger that needs the most replicas. To count several consumers, set"
            " spec.subject to what all of them take, and remove spec.consumer: their messages are added."
        )
    return _counted(first, namespace, authentications, goes_to_zero=goes_to_zero)


def tell_others(triggers: Mapping[Part, str]) -> None:
    """Note triggers that have nothing to do with JetStream."""
    for trigger, kind in triggers.items():
        trigger.notes.append(
            f"{trigger.path} ({kind}): not converted, as a rule scales by JetStream alone. KEDA"
            " takes the trigger that needs the most replicas, so the rule may scale lower."
        )


def _counted(
    trigger: Part, namespace: str, authentications: Mapping[str, Part], *, goes_to_zero: bool
) -> dict[str, Any]:
    metadata = trigger.part("metadata")
    secret = _from_secrets(trigger, namespace, authentications)
    if "natsServerMonitoringEndpoint" not in metadata:
        where = secret.get("natsServerMonitoringEndpoint")
        why = f"is in {where}, which a rule does not read" if where else "is missing"
        message = f"{metadata.at('natsServerMonitoringEndpoint')} {why}: write HOST:PORT there"
        raise Unconvertible(message)
    endpoint = metadata.needed("natsServerMonitoringEndpoint")
    scheme = "https" if metadata.switch("useHttps") else "http"
    if "://" in endpoint:
        endpoint = endpoint.partition("://")[2]
    made: dict[str, Any] = {"natsMonitoringURL": f"{scheme}://{endpoint}", "subject": ANY_SUBJECT}
    account = metadata.text("account")
    if account:
        made["account"] = account
    elif "account" in secret:
        metadata.note(
            "account",
            f"in {secret['account']}, which a rule does not read. Set spec.account if several accounts have"
            " such a stream.",
        )
    made |= {"stream": metadata.needed("stream"), "consumer": metadata.needed("consumer")}
    lag = metadata.number("lagThreshold")
    lag = DEFAULT_LAG_THRESHOLD if lag is None else lag
    if lag < 1:
        raise Unconvertible(f"{metadata.at('lagThreshold')} {lag} must be 1 or more")
    made |= {"messagesPerReplica": lag, "scaleUpThreshold": lag, "scaleDownThreshold": 0}
    activation = metadata.number("activationLagThreshold")
    if activation:
        made["activation"] = {"messages": activation}
        zero = (
            f"KEDA goes to zero with up to {activation} messages, a rule only when nothing waits."
            if goes_to_zero
            else "it has no effect, as with KEDA, unless spec.minReplicas is 0."
        )
        metadata.note("activationLagThreshold", zero)
    metadata.rest("a nats-jetstream trigger does not have it, so KEDA ignores it too.")
    _general(trigger)
    return made


def _general(trigger: Part) -> None:
    """Note what any trigger may have."""
    trigger.leave("name", "a rule has no named triggers; metrics have the rule's name.")
    if trigger.switch("useCachedMetrics"):
        trigger.note("useCachedMetrics", "each decision is made on a fresh read, which serves all rules.")
    metric = trigger.text("metricType")
    if metric and metric != "AverageValue":
        trigger.note("metricType", f"{metric} has no counterpart: the rule divides as AverageValue does.")
    trigger.rest()


def _from_secrets(trigger: Part, namespace: str, authentications: Mapping[str, Part]) -> dict[str, str]:
    """Say which Secret has which parameter, by the trigger's authentication, as far as that is known."""
    if "authenticationRef" not in trigger:
        return {}
    reference = trigger.part("authenticationRef")
    name, kind = reference.needed("name"), reference.text("kind") or "TriggerAuthentication"
    reference.rest()
    known = authentications.get(f"{namespace}/{name}") if kind == "TriggerAuthentication" else None
    trigger.note(
        "authenticationRef",
        f"{kind} {name} has no counterpart. If the monitoring endpoint wants credentials, name a Secret with"
        " them in spec.monitoring.secretRef, and one for NATS in spec.nats.secretRef (docs/security.md).",
    )
    if known is None:
        return dict.fromkeys(FROM_A_SECRET, f"what {kind} {name} names")
    return {
        one.text("parameter") or "": f"key {one.text('key')} of Secret {one.text('name')}"
        for one in known.part("spec").parts("secretTargetRef")
    }


def bounded_below(triggers: Sequence[Part], low: int, high: int) -> list[dict[str, Any]]:
    """Turn cron triggers into schedules: the first that is active counts, and for KEDA the highest."""
    found = [(trigger, made) for trigger in triggers if (made := _schedule(trigger, low, high))]
    found.sort(key=lambda one: -one[1]["minReplicas"])
    for trigger, _ in found[MOST_SCHEDULES:]:
        trigger.notes.append(
            f"{trigger.path} (cron): not converted, as a rule has {MOST_SCHEDULES} schedules at most."
        )
    return [schedule for _, schedule in found[:MOST_SCHEDULES]]


def _schedule(trigger: Part, low: int, high: int) -> dict[str, Any] | None:
    """Make the schedule of a cron trigger; None: there is none for it, which is noted."""
    metadata = trigger.part("metadata")
    start, end = metadata.needed("start"), metadata.needed("end")
    zone, replicas = metadata.needed("timezone"), metadata.number("desiredReplicas")
    if replicas is None:
        raise Unconvertible(f"{metadata.at('desiredReplicas')} is missing: add it")
    metadata.rest()
    _general(trigger)
    if replicas <= low:
        trigger.notes.append(
            f"{trigger.path} (cron): not converted, as it asks for no more than minReplicaCount {low}."
        )
        return None
    if replicas > high:
        metadata.note("desiredReplicas", f"{replicas} is more than maxReplicaCount, so it became {high}.")
        replicas = high
    made = {
        "name": f"cron-{re.sub('[^0-9]', '', trigger.path)}",
        "timeZone": zone,
        "start": _five_fields(start),
        "end": _five_fields(end),
        "minReplicas": replicas,
    }
    try:
        check(low, high, (msgspec.convert(made, Schedule),))
    except (msgspec.ValidationError, InvalidRule):
        trigger.notes.append(
            f"{trigger.path} (cron): not converted, as natsscaler cannot read its times. Add an entry to"
            f" spec.schedules with minReplicas {replicas}, cron expressions of five fields for start and end,"
            " and a timeZone of the tz database."
        )
        return None
    return made


def _five_fields(expression: str) -> str:
    """Write a cron expression as natsscaler wants it: single blanks; KEDA also takes ? for *."""
    return " ".join(expression.split()).replace("?", "*")
