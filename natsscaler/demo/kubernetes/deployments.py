"""What the API server's defaults and the Deployment controller do to a Deployment, without any pods."""

from natsscaler.demo.kubernetes.errors import Object

DEFAULTS: Object = {
    "replicas": 1,
    "selector": {},
    "template": {},
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}
CONDITIONS = (
    ("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
    ("Progressing", "NewReplicaSetAvailable", "ReplicaSet has successfully progressed."),
)
COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


def default_deployment(obj: Object) -> Object:
    given = {key: value for key, value in obj.get("spec", {}).items() if value != {}}
    return {**obj, "spec": {**DEFAULTS, **given}}


def settled_status(deployment: Object, now: str) -> Object:
    """Return the status once every replica runs; counts of 0 are left out, as the real API does."""
    replicas = deployment["spec"]["replicas"]
    conditions = deployment.get("status", {}).get("conditions") or [
        {
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
            "lastUpdateTime": now,
        }
        for type_, reason, message in CONDITIONS
    ]
    counts = dict.fromkeys(COUNTS, replicas) if replicas else {}
    return {**counts, "observedGeneration": deployment["metadata"]["generation"], "conditions": conditions}
