"""Looks at a whole installation, for `natsscaler check`: CRD, permissions, operator, NATS and every rule."""

import asyncio
import time
from collections.abc import Iterable, Sequence

from natsscaler.commands.explain import Body, Explainer, World, key_of
from natsscaler.commands.options import Options
from natsscaler.core.access import Access, server_shown
from natsscaler.core.crd import differences
from natsscaler.core.decision.situation import StepKind
from natsscaler.core.errors import KubernetesError
from natsscaler.core.explain.operator_report import from_outside, led
from natsscaler.core.explain.steps import Step, fix
from natsscaler.core.explain.text import RULES, SERVERS
from natsscaler.core.jetstream.selection import Unknown, listed
from natsscaler.core.permissions import ACTING, LEADING, READING_SECRETS
from natsscaler.core.reasons import Fix, Reason, State
from natsscaler.core.rule import Rule, Target
from natsscaler.core.words import amount
from natsscaler.kube.reader import ClusterReader

CRD = "kubectl apply --server-side -k config/crd"
ELSEWHERE = (
    "If it runs as another ServiceAccount, add --operator NAMESPACE/SERVICEACCOUNT;"
    " if it watches one namespace only, add --namespace"
)
AT_ONCE = 64
"""Rules that are explained at the same time."""


async def check(options: Options, cluster: ClusterReader, explainer: Explainer) -> dict[str, Sequence[Step]]:
    """Look at everything; the last step of each section that has rules sums up. Raises KubernetesError."""
    crd = await _crd(cluster)
    bodies = await explainer.rules(options.namespace or "default")
    if options.namespace:
        bodies = [body for body in bodies if body["metadata"]["namespace"] == options.namespace]
    world = await explainer.look_around(bodies, options.namespaces)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(body: Body) -> Step:
        async with limit:
            return _summary(body, await explainer.explain(body, world))

    rules = await asyncio.gather(*(one(body) for body in sorted(bodies, key=key_of)))
    return {
        "Installation": [crd, await _permissions(options, cluster, world.rules), _operator(options, world)],
        SERVERS: await _servers(options, explainer, world.rules),
        RULES: [*rules, _total(rules)],
    }


async def _crd(cluster: ClusterReader) -> Step:
    install = Fix("Install that of this version, with the chart or with this", (CRD,))
    try:
        found = await cluster.crd()
    except KubernetesError as error:
        if error.reason is not Reason.FORBIDDEN:
            raise
        text = "Its version is unknown: you may not get customresourcedefinitions"
        ask = Fix("Ask an administrator of the cluster to run this", ("natsscaler check",))
        return Step("CRD", text, State.ATTENTION, ask)
    if found is None:
        return Step("CRD", "It is not installed, so there can be no rules", State.BLOCKED, install)
    other = differences(found)
    if other:
        return Step("CRD", f"It is of another version: {listed(other)}", State.BLOCKED, install)
    return Step("CRD", "It is of this version")


async def _permissions(options: Options, cluster: ClusterReader, rules: Iterable[Rule]) -> Step:
    installed = options.installed
    account = None if options.settings.in_cluster else Target(installed.operator.namespace, installed.account)
    who = "The operator" if account is None else f"ServiceAccount {account}"
    places = options.namespaces
    where = (
        f"in {'namespaces' if places[1:] else 'namespace'} {', '.join(places)}"
        if places
        else "in all namespaces"
    )
    wanted = [(one, namespace) for namespace in places or [""] for one in ACTING]
    wanted += [(one, installed.operator.namespace) for one in LEADING]
    with_secrets = {rule.key.namespace for rule in rules if rule.nats("").secret or rule.monitoring.secret}
    wanted += [(READING_SECRETS, namespace) for namespace in sorted(with_secrets)]
    try:
        granted = await asyncio.gather(*(cluster.may(one, namespace, account) for one, namespace in wanted))
    except KubernetesError as error:
        text = f"What {who} is permitted cannot be asked: {error.message}"
        pod = f"-n {installed.operator.namespace} deployment/{installed.operator.name}"
        ask = Fix("Ask as the operator itself", (f"kubectl exec {pod} -- natsscaler check",))
        return Step("Permissions", text, State.ATTENTION, ask)
    lacking = dict.fromkeys(str(one) for (one, _), may in zip(wanted, granted, strict=True) if not may)
    if not lacking:
        return Step("Permissions", f"{who} has all that it needs {where}")
    lacks = f"{who} lacks {where}: {', '.join(lacking)}"
    sure = account is None or installed.found
    text = "Grant it" if sure else f"Grant it. {ELSEWHERE}"
    return Step("Permissions", lacks, State.BLOCKED, Fix(text, (installed.grant,)))


def _operator(options: Options, world: World) -> Step:
    problem, namespace = led(world.lease, time.time()), options.installed.operator.namespace
    pods = (f"kubectl get pods -n {namespace}",)
    if problem:
        return Step(StepKind.OPERATOR, problem, State.BLOCKED, Fix("See why", pods))
    if world.lease is None:
        text = f"The leader is unknown: no Lease in namespace {namespace}, or you may not get leases there"
        elsewhere = Fix("See that it runs; if it does in another namespace, add --operator", pods)
        return Step(StepKind.OPERATOR, text, State.ATTENTION, elsewhere)
    return Step(StepKind.OPERATOR, f"{world.lease.holder} leads")


async def _servers(options: Options, explainer: Explainer, rules: Iterable[Rule]) -> list[Step]:
    by_access: dict[Access, list[Rule]] = {}
    for rule in rules:
        by_access.setdefault(rule.monitoring, []).append(rule)
    steps = []
    for access, of_it in sorted(by_access.items(), key=str):
        found, url = await explainer.read(access), access.url
        number = amount(len(of_it), "rule")
        if not isinstance(found, Unknown):
            names = ", ".join(sorted(server_shown(name, url) for name in found.view.nodes))
            steps.append(Step(url, f"{names} answered, for {number}"))
            continue
        step = Step(url, f"{found.message}, for {number}", State.BLOCKED, fix(found.reason, of_it[0]))
        outside = found.reason.about.unanswered and not options.settings.in_cluster
        steps.append(from_outside(step, url, options.installed.operator, "check") if outside else step)
    return steps


def _summary(body: Body, steps: Sequence[Step]) -> Step:
    """Say in one line how a rule is: what happens, or what keeps it from happening."""
    outcome = steps[-1]
    asleep = next((step for step in steps if step.title == StepKind.WAKING), None)
    if asleep and asleep.state is State.ATTENTION and outcome.state is State.OK:
        return Step(str(key_of(body)), f"{outcome.text}. {asleep.text}", asleep.state, asleep.fix)
    cause = next(
        (step for step in steps if step.state is outcome.state and step.state is not State.OK), outcome
    )
    told = (
        outcome.text if cause is outcome or outcome.state is State.WAITING else f"{cause.title}: {cause.text}"
    )
    return Step(str(key_of(body)), told, outcome.state, cause.fix)


def _total(rules: Sequence[Step]) -> Step:
    wrong = sum(step.state is State.BLOCKED for step in rules)
    if not rules:
        return Step("Sum", "There are no rules that you can see")
    if not wrong:
        return Step("Sum", f"{amount(len(rules), 'rule')}, none needs action")
    need = "needs" if wrong == 1 else "need"
    return Step("Sum", f"{wrong} of {amount(len(rules), 'rule')} {need} action", State.BLOCKED)
