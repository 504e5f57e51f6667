"""Asks why a rule scales or does not, with the real reads of NATS; of Kubernetes it is told."""

import asyncio
from collections.abc import Sequence
from typing import Any

from kubernetes.aio import client

from natsscaler.commands.explain import Explainer, World
from natsscaler.commands.options import Options
from natsscaler.core.explain.steps import Step
from natsscaler.core.rule import parse
from natsscaler.kube.reader import ClusterReader
from natsscaler.kube.scales import Look
from natsscaler.nats.credential_store import Keyring
from natsscaler.net.allowlist import AllowList
from natsscaler.settings import Settings
from tests.support.factories import body


async def ask(
    status: dict[str, Any] | None = None, settings: Settings | None = None, **spec: Any
) -> dict[str, Step]:
    """Explain the sample rule, with these fields changed, of a Deployment with 4 replicas; by title.

    `settings`: the operator's, as they are in its pod.
    """
    (steps,) = await ask_all([{**body(**spec), "status": status or {}}], settings)
    return steps


async def ask_all(rules: Sequence[dict[str, Any]], settings: Settings | None = None) -> list[dict[str, Step]]:
    """Explain these rules at once, as `check` does."""
    options, allow = Options(settings=settings or Settings()), AllowList(in_cluster=False)
    parsed = [parse(rule) for rule in rules]
    async with client.ApiClient(client.Configuration()) as api:
        cluster = ClusterReader(api)
        explainer = Explainer(options, cluster, allow, Keyring(options.settings, cluster.secret))
        try:
            world = World(rules=parsed, targets={rule.target: Look(4) for rule in parsed})
            told = await asyncio.gather(*(explainer.explain(rule, world) for rule in rules))
        finally:
            await explainer.close()
    return [{step.title: step for step in steps} for steps in told]
