"""`natsscaler explain` and `natsscaler check` beside the operator, each fault read as a person would."""

import asyncio
import json
import os
import sysconfig
from functools import partial
from typing import Any

import pytest
from kubernetes.aio import client

from natsscaler.commands.options import Options
from natsscaler.commands.runner import Answer, Terminal, inquire
from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from natsscaler.kube.lease import NAME as LEASE
from tests.conftest import KubeApi, find_kubectl
from tests.support.stage import Stage

LONG = 300
"""A poll interval that no test waits for."""
RULE = "my-app-scaling"
SCRIPTS = sysconfig.get_path("scripts")


class Person:
    """Somebody with a kubeconfig, who asks."""

    def __init__(self, kube_api: KubeApi) -> None:
        self._kube_api = kube_api

    async def asks(self, rule: str = RULE, **options: Any) -> Answer:
        """Explain a rule, or with an empty name check the namespace."""
        namespace = self._kube_api.namespace
        made = Options(kubeconfig=self._kube_api.kubeconfig, namespace=namespace, rule=rule, **options)
        return await inquire(made, Terminal(colour=False, width=None))

    async def reads(self, rule: str = RULE, **options: Any) -> dict[str, tuple[str, str, str]]:
        """Give state, text and fix of each step, by its title."""
        answer = await self.asks(rule, output="json", **options)
        document = json.loads(answer.told)
        steps = {
            step["title"]: (step["state"], step["text"], _fix(step["fix"]))
            for section in document["sections"].values()
            for step in section
        }
        assert answer.status == (1 if any(state == "blocked" for state, _, _ in steps.values()) else 0)
        return steps


def _fix(told: dict[str, Any] | None) -> str:
    """Write the sentence and the commands of a fix in a line each."""
    return "\n".join([told["text"], *told["commands"]]) if told else ""


@pytest.fixture
def person(kube_api: KubeApi) -> Person:
    return Person(kube_api)


async def prepare(stage: Stage, **spec: Any) -> None:
    """Have a Deployment and a rule for it, and no operator."""
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, **spec)


async def at_work(stage: Stage, *flags: str, **spec: Any) -> None:
    """Have a Deployment and a rule that the operator sees to."""
    await prepare(stage, **spec)
    await stage.start(*flags)
    await stage.becomes(("True", "Listening"), partial(stage.condition, "EventDriven"))


async def test_a_rule_that_works_is_told_as_the_operator_sees_it(stage: Stage, person: Person) -> None:
    await at_work(stage)
    await stage.publish(100)
    await stage.becomes(2, lambda: seen_replicas(stage))
    steps = await person.reads()
    assert [title for title, (state, _, _) in steps.items() if state not in ("ok", "waiting")] == []
    assert steps["Consumer"][1].startswith(
        "ORDERS/worker in account $G: durable, and its filter is the rule's"
    )
    assert steps["Backlog"][1] == "100 messages: 100 not yet delivered and 0 not yet acknowledged"
    assert steps["Pace"][1].startswith("Not yet: the last step up was less than 300 s ago, until 20")
    held = "Backlog 100 is above scaleUpThreshold 50; the last step up was less than 300 s ago"
    assert steps["Outcome"][:2] == ("waiting", f"{stage.namespace}/my-app keeps 2 replicas: {held}")
    answer = await person.asks()
    assert (answer.status, answer.failure) == (0, "")
    assert answer.told.startswith(
        f"… ScalingRule {stage.namespace}/{RULE}: {stage.namespace}/my-app keeps 2 "
    )


async def seen_replicas(stage: Stage) -> int | None:
    count: int | None = (await stage.status()).get("currentReplicas")
    return count


async def test_an_operator_that_runs_dry_never_patches(stage: Stage, person: Person) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.publish(100)
    await stage.start("--dry-run=true")
    await stage.becomes(("False", "DryRun"), partial(stage.condition, "ScalingActive"))
    assert (await stage.status())["lastDecision"]["desired"] == 2
    assert await stage.replicas() == 1
    told = (await person.asks()).told
    assert "It is a dry run (--dry-run of the operator)" in told
    await stage.stop()
    await stage.start()
    await stage.becomes(2, stage.replicas)


@pytest.mark.skipif(not find_kubectl(), reason="no kubectl on PATH")
async def test_kubectl_finds_the_plugin(stage: Stage, kube_api: KubeApi) -> None:
    await at_work(stage, dryRun=True)
    kubectl = str(find_kubectl())
    environment = os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    environment |= {"KUBECONFIG": str(kube_api.kubeconfig)}
    environment.pop("KUBERNETES_SERVICE_HOST", None)

    async def run(*arguments: str) -> tuple[int | None, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            kubectl, *arguments, env=environment, stdout=pipe, stderr=pipe
        )
        out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    _, context, _ = await run("config", "current-context")
    place = ("--namespace", stage.namespace, "--context", context.strip())
    status, told, failure = await run("natsscaler", "explain", RULE, *place)
    assert (status, failure) == (0, "")
    heading = f"! ScalingRule {stage.namespace}/{RULE}"
    assert told.startswith(f"{heading}: {stage.namespace}/my-app keeps 1 replica while it is a dry run")
    status, told, failure = await run("natsscaler", "explain", f"{stage.namespace}/my-app-scalin")
    assert (status, told) == (1, "")
    assert failure.startswith("kubectl natsscaler explain: There is no ScalingRule")
    assert f"{stage.namespace}/{RULE}" in failure
    status, _, failure = await run("natsscaler", "explain")
    assert status == 2
    assert failure.startswith("usage: kubectl natsscaler explain")


async def test_a_missing_deployment(stage: Stage, person: Person) -> None:
    await stage.apply_sample()
    state, text, fix = (await person.reads())["Deployment"]
    assert state == "blocked"
    assert text == f"Deployment {stage.namespace}/my-app, which spec.deploymentName names, does not exist"
    assert f"kubectl get deployments -n {stage.namespace}" in fix.splitlines()


async def test_a_deployment_that_others_scale(stage: Stage, person: Person) -> None:
    await stage.create_autoscaler()
    await prepare(stage)
    await stage.apply_sample("z-younger")
    assert (await person.reads())["Deployment"][1].startswith("HorizontalPodAutoscaler hpa scales")
    await stage.delete_autoscaler()
    state, text, fix = (await person.reads("z-younger"))["Deployment"]
    assert (state, text.split(" scales ")[0]) == (
        "blocked",
        f"The older ScalingRule {stage.namespace}/{RULE}",
    )
    assert f"kubectl delete scalingrule z-younger -n {stage.namespace}" in fix
    assert (await person.reads())["Deployment"][0] == "ok"


async def test_what_a_person_switched_off(stage: Stage, person: Person) -> None:
    await prepare(stage)
    await stage.edit({"metadata": {"annotations": {"scaling.example.com/paused": "true"}}})
    await stage.scale(0)
    steps = await person.reads()
    assert steps["Rule"][0] == steps["Deployment"][0] == "attention"
    assert "scaling.example.com/paused- " in steps["Rule"][2]
    assert "kubectl scale deployment my-app" in steps["Deployment"][2]


async def test_a_rule_that_cannot_be_used(stage: Stage, person: Person) -> None:
    await prepare(stage)
    nights = {"name": "nights", "timeZone": "No/Where", "start": "0 20 * * *", "end": "0 6 * * *"}
    await stage.edit({"spec": {"schedules": [nights | {"minReplicas": 2}]}})
    state, text, fix = (await person.reads())["Rule"]
    assert state == "blocked"
    assert "No/Where" in text
    assert fix.splitlines()[1:] == [f"kubectl edit scalingrule {RULE} -n {stage.namespace}"]


async def test_no_consumer_names_those_that_exist(stage: Stage, person: Person) -> None:
    await prepare(stage, consumer="wroker", stream="ORDERS")
    state, text, fix = (await person.reads())["Consumer"]
    assert state == "blocked"
    assert "There is no consumer wroker on ORDERS; these exist: worker" in text
    assert "nats consumer add ORDERS wroker --pull --filter orders.processing --defaults" in fix


async def test_nats_that_is_reached_from_here_alone_or_from_there_alone(
    stage: Stage, person: Person, nats_server: NatsServer
) -> None:
    await prepare(stage, natsMonitoringURL="http://nats.no-such-namespace:8222")
    await stage.start()
    await stage.becomes(("False", "MonitoringUnreachable"), partial(stage.condition, "Ready"))
    steps = await person.reads()
    state, text, fix = steps["NATS"]
    assert state == "blocked"
    assert "nats.no-such-namespace cannot be resolved" in text
    assert "work inside it only" in text
    inside = "kubectl exec -n scaling-operator-system deployment/scaling-operator-controller-manager"
    assert f"{inside} -- natsscaler explain {stage.namespace}/{RULE}" in fix
    assert "kubectl port-forward -n no-such-namespace service/nats 8222" in fix
    assert f"{stage.namespace}/my-app keeps 1 replica, because the backlog is unknown" in steps["Outcome"][1]
    led_here = await person.reads(monitoring_url=nats_server.monitoring_url)
    assert led_here["NATS"][0] == "ok"
    assert "not so from here: check what lies between the operator and NATS" in led_here["Operator"][1]
    assert led_here["Outcome"][0] == "blocked"


async def test_without_an_operator_that_is_said(stage: Stage, person: Person) -> None:
    await prepare(stage)
    await stage.publish(100)
    steps = await person.reads()
    assert steps["Operator"][:2] == ("blocked", "No operator has evaluated this rule yet")
    assert "kubectl get pods -n scaling-operator-system" in steps["Operator"][2]
    would = f"{stage.namespace}/my-app is scaled from 1 to 2: Backlog 100 is above scaleUpThreshold 50"
    said = f"The operator does not act. Otherwise: {would}"
    assert steps["Outcome"][:2] == ("blocked", said)
    assert await stage.replicas() == 1, "explaining scales nothing"


async def test_an_operator_that_has_gone_is_said(stage: Stage, person: Person, kube_api: KubeApi) -> None:
    operator = Target(stage.namespace, "somebody")
    await at_work(stage, "--leader-elect", "--leader-elect-namespace", stage.namespace)
    assert (await person.reads("", operator=operator))["Operator"][1].endswith(" leads")
    await stage.stop()
    for rule in (RULE, ""):
        told = (await person.reads(rule, operator=operator))["Operator"][1]
        assert told.startswith("Nobody leads: the Lease was released at 20")
    patch = {"spec": {"holderIdentity": "a-pod", "renewTime": "2026-01-01T00:00:00.000001Z"}}
    leases = client.CoordinationV1Api(kube_api.client)
    await leases.patch_namespaced_lease(LEASE, stage.namespace, patch)
    told = (await person.reads(operator=operator))["Operator"][1]
    assert told == "Nobody leads: a-pod last renewed the Lease at 2026-01-01T00:00:00Z"
    await stage.edit({"spec": {"maxReplicas": 5}})
    assert "not yet generation 2" in (await person.reads())["Operator"][1]


async def test_check_tells_each_rule_in_one_line(
    stage: Stage, person: Person, nats_server: NatsServer
) -> None:
    await at_work(stage)
    await stage.apply_sample("a-second", deploymentName="other", natsMonitoringURL="http://nowhere.invalid")
    await stage.becomes(("False", "TargetNotFound"), partial(stage.condition, "AbleToScale", "a-second"))
    steps = await person.reads("")
    assert steps["CRD"][:2] == ("ok", "It is of this version")
    assert steps[nats_server.monitoring_url][:2] == ("ok", "nats answered, for 1 rule")
    assert steps["http://nowhere.invalid"][0] == "blocked"
    assert steps[f"{stage.namespace}/{RULE}"][0] == "ok"
    assert "does not exist" in steps[f"{stage.namespace}/a-second"][1]
    assert steps["Sum"][1] == "1 of 2 rules needs action"


async def test_check_does_not_tick_a_rule_that_asks_for_a_secret_and_does_not_get_it(
    stage: Stage, person: Person
) -> None:
    await stage.create_secret({"username": "a", "password": "b"}, use="something-else")
    await prepare(stage, nats={"secretRef": {"name": "nats"}})
    await stage.start()
    await stage.becomes(("True", "SecretNotLabelled"), partial(stage.condition, "Ready"))
    state, text, fix = (await person.reads(""))[f"{stage.namespace}/{RULE}"]
    assert state == "attention"
    assert "keeps 1 replica" in text
    assert "No message wakes it" in text
    assert f"kubectl -n {stage.namespace} label secret nats" in text + fix
