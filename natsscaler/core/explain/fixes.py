"""What a person can do about each thing that is wrong, with the command to type.

A finding's message names the fault and what would be right; the fix says how to get there from a terminal.
"""

from natsscaler.core.errors import Reason
from natsscaler.core.rule import PAUSED_ANNOTATION

EDIT = "kubectl edit scalingrule {name} -n {namespace}"
REACH = (
    "The operator must reach {url}. See that spec.natsMonitoringURL names NATS as the operator's pod"
    " resolves it (http://nats.NAMESPACE:8222; of the official NATS chart http://nats-headless.NAMESPACE:8222,"
    " as its Service nats has no monitoring port), that the configuration of NATS sets http_port, and that no"
    " NetworkPolicy forbids it"
)
PORT = "{url}/jsz must lead to the monitoring port of nats-server, 8222 by default"
NO_FIX_NEEDED = "It ends by itself; if it lasts, see the operator's log"
POLLED = "Such a rule is polled: set a shorter spec.pollIntervalSeconds if that is too slow"

FIXES: dict[Reason, str] = {
    Reason.INVALID_RULE: EDIT,
    # The Deployment.
    Reason.TARGET_NOT_FOUND: (
        f"See which there are: kubectl get deployments -n {{target_namespace}}; then: {EDIT}"
    ),
    Reason.TARGET_OWNED_BY_ANOTHER: (
        "Keep one of the two; to remove this rule: kubectl delete scalingrule {name} -n {namespace}"
    ),
    Reason.CROSS_NAMESPACE_NOT_ALLOWED: (
        "Create the rule in namespace {target_namespace}, or have natsscaler run with --allow-cross-namespace"
    ),
    Reason.NAMESPACE_NOT_WATCHED: (
        "Have natsscaler run with --namespace {target_namespace} too, and with its role there"
    ),
    Reason.CONFLICT: (
        "Find the other writer: kubectl get deployment {deployment} -n {target_namespace}"
        " -o yaml --show-managed-fields; a GitOps tool must leave spec.replicas out"
    ),
    Reason.FORBIDDEN: "natsscaler check names all that the operator lacks, and the command that grants it",
    Reason.DENIED: "Ask whoever maintains that policy, or keep the rule within what it allows",
    Reason.KUBERNETES_UNAVAILABLE: NO_FIX_NEEDED,
    Reason.LEADERSHIP_LOST: "Another replica of the operator goes on",
    Reason.SCALING_DISABLED: (
        "kubectl scale deployment {deployment} -n {target_namespace} --replicas={minimum}"
    ),
    Reason.PAUSED: f"kubectl annotate scalingrule {{name}} -n {{namespace}} {PAUSED_ANNOTATION}-",
    Reason.DRY_RUN: (
        'kubectl patch scalingrule {name} -n {namespace} --type=merge -p \'{{"spec":{{"dryRun":false}}}}\''
    ),
    # NATS.
    Reason.NOT_YET_READ: "Wait a moment; if it lasts, the operator's log says what it waits for",
    Reason.MONITORING_UNREACHABLE: REACH,
    Reason.MONITORING_TIMEOUT: f"{REACH}. If it is reached, it is overloaded",
    Reason.MONITORING_HTTP_STATUS: (
        f"If it wants credentials, name them in spec.monitoring.secretRef: {EDIT}."
        f" Otherwise see who answers there: {PORT}"
    ),
    Reason.MONITORING_UNREADABLE: f"See who answers there: {PORT} (4222 is for clients)",
    Reason.MONITORING_CERTIFICATE: (
        "Put the certificate of the authority as ca.crt into the Secret that spec.monitoring.secretRef names,"
        " and use a host name that the server's certificate is for"
    ),
    Reason.MONITORING_TOO_LARGE: (
        "See who answers at {url}; if it is NATS, spread the streams over several servers"
    ),
    Reason.MONITORING_STALE: "Take away the cache in front of {url}, or see to the server's clock",
    Reason.MONITORING_INCOMPLETE: (
        "Bring the missing node back, or name spec.stream and spec.consumer so that it does not matter"
    ),
    Reason.IMPLAUSIBLE_COUNT: (
        "Compare: nats consumer info STREAM CONSUMER. If NATS counts wrongly, it counts anew after a"
        " restart of the server or a step down of its leader: nats consumer cluster step-down STREAM CONSUMER"
    ),
    Reason.ADDRESS_NOT_ALLOWED: "Ask an administrator to permit the host of {url} by --allow-hosts",
    Reason.JETSTREAM_DISABLED: "Put jetstream {{}} into the configuration of the NATS server, and restart it",
    Reason.LEADER_UNCLEAR: (
        "Wait for the election; if it lasts, see that the monitoring port of every node can be reached,"
        " as by a headless Service: {url}"
    ),
    # Credentials.
    Reason.SECRET_NOT_FOUND: (
        "See which there are: kubectl get secrets -n {namespace} -l scaling.example.com/use=nats"
    ),
    Reason.SECRET_NOT_LABELLED: "Type that line, if the Secret is meant for whoever may create rules here",
    Reason.SECRET_UNUSABLE: "Change that key of the Secret: it is read again by itself",
    Reason.CREDENTIALS_REFUSED: "Change the Secret, or the users of the server: each is tried again",
    # What is counted.
    Reason.ACCOUNT_NOT_FOUND: f"Set spec.account to one that is named above: {EDIT}",
    Reason.AMBIGUOUS_ACCOUNT: f"Set spec.account to the one that is meant: {EDIT}",
    Reason.STREAM_NOT_FOUND: (
        f"Name one that exists in spec.stream, or fix spec.subject: {EDIT}. If none of them is meant,"
        " create it: nats stream add STREAM --subjects {subject} --defaults"
    ),
    Reason.CONSUMER_NOT_FOUND: (
        "Start the workers, or create their durable consumer: nats consumer add STREAM NAME --pull"
        f" --filter {{subject}} --defaults; or name one that exists: {EDIT}"
    ),
    Reason.CONSUMER_GONE: (
        "Start the workers, or create the consumer again; if it is gone for good, or this one is meant,"
        f" name it in spec.consumer: {EDIT}"
    ),
    Reason.AMBIGUOUS_CONSUMER: f"Set spec.consumer to the one of the workers: {EDIT}",
    Reason.CONSUMER_PAUSED: "nats consumer resume STREAM CONSUMER --force, for each that is named above",
    # The bounds.
    Reason.ADMISSION_LIMITED: (
        f"Set spec.minReplicas and spec.maxReplicas within what the cluster admits: {EDIT}. To see who limits"
        " it: kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations"
    ),
    Reason.TOO_MANY_REPLICAS: (
        "See that the workers get on with it; if they do, and the cluster has room for more,"
        f" raise spec.maxReplicas: {EDIT}"
    ),
    # What wakes the rule.
    Reason.NOT_CONNECTED: (
        "The operator must reach the clients' port of NATS too, 4222 by default: spec.nats.url names it,"
        " else it is looked for at the host of {url}"
    ),
    Reason.OTHER_ACCOUNT: "Give the operator credentials of the stream's account",
    Reason.OTHER_SERVER: f"Name a server of the same cluster in spec.nats.url: {EDIT}",
    Reason.PERMISSION_DENIED: "Permit it to the operator's user in the configuration of NATS",
    Reason.SUBSCRIPTION_LIMIT: (
        "Raise max_subscriptions in the configuration of NATS, or the subscriptions that the JWT of the"
        " account or user allows"
    ),
    Reason.SOURCED_STREAM: POLLED,
    Reason.SUBJECT_TOO_WIDE: POLLED,
    Reason.SUBJECT_UNUSABLE: POLLED,
}
