"""Asks why a rule scales or does not, with the real reads of NATS; of Kubernetes it is told."""

from typing import Any

from kubernetes.aio import client

from natsscaler.explaining import Explainer, World
from natsscaler.explanation import Step
from natsscaler.keyring import Keyring
from natsscaler.kube.looking import Looking
from natsscaler.network import AllowList
from natsscaler.options import Options
from natsscaler.rules import parse
from natsscaler.settings import Settings
from tests.core.factories import body


async def ask(
    status: dict[str, Any] | None = None, settings: Settings | None = None, **spec: Any
) -> dict[str, Step]:
    """Explain the sample rule, with these fields changed, of a Deployment with 4 replicas; by title.

    `settings`: the operator's, as they are in its pod.
    """
    options = Options(settings=settings or Settings())
    rule, allow = {**body(**spec), "status": status or {}}, AllowList(in_cluster=False)
    async with client.ApiClient(client.Configuration()) as api:
        looking = Looking(api)
        explainer = Explainer(options, looking, allow, Keyring(options.settings, looking.secret))
        try:
            world = World(rules=[parse(rule)], replicas={parse(rule).target: 4})
            return {step.title: step for step in await explainer.explain(rule, world)}
        finally:
            await explainer.close()
