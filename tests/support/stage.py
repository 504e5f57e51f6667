"""The operator as a process of its own, on a real nats-server and either Kubernetes API."""

import asyncio
import base64
import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import nats
import pytest
import yaml
from kubernetes.aio import client
from nats.js.api import ConsumerConfig

from natsscaler.core.access import USE, USE_LABEL
from natsscaler.core.rule import GROUP, PLURAL, VERSION
from natsscaler.demo.nats_server import NatsServer
from tests.conftest import KubeApi

SAMPLE = pathlib.Path(__file__).parents[2] / "config/samples/scaling_v1_scalingrule.yaml"
LONG = 300
"""A poll interval that no test waits for: what happens before it has passed was caused by an event."""
START = "from natsscaler.app.cli import main; main()"
START_SECONDS = 60.0
"""Until a process has read its modules: 2 s, and ten times as long beside other work."""
ASKING = (
    "from natsscaler.net import allowlist; from functools import partial; allowlist.DNSResolver = partial("
    "allowlist.DNSResolver, nameservers=['127.0.0.1'], udp_port={port}); "
)
OFF = ("--metrics-port", "0", "--probe-port", "0", "--activity-port", "0")


class Stage:
    """A stream with a worker's consumer, a Deployment, and the operator."""

    def __init__(self, kube_api: KubeApi, nats_server: NatsServer, directory: pathlib.Path) -> None:
        self.namespace = kube_api.namespace
        self.nats = nats_server
        self._kubeconfig = kube_api.kubeconfig
        self._core = client.CoreV1Api(kube_api.client)
        self._apps = client.AppsV1Api(kube_api.client)
        self._hpas = client.AutoscalingV2Api(kube_api.client)
        self._rules = client.CustomObjectsApi(kube_api.client)
        self._log = directory / "operator.log"
        self._clock = directory / "clock"
        self._operators: list[asyncio.subprocess.Process] = []

    async def start(
        self,
        *flags: str,
        everywhere: bool = False,
        skew: int = 0,
        kubeconfig: pathlib.Path | None = None,
        environment: Mapping[str, str] | None = None,
        name_server: int = 0,
    ) -> asyncio.subprocess.Process:
        """Start an operator, and return once it runs.

        `skew`: seconds that its wall clock is fast; `name_server`: the port on 127.0.0.1 to ask for names.
        """
        kubeconfig = kubeconfig or self._kubeconfig
        namespace = () if everywhere else ("--namespace", self.namespace)
        self.step_clock(0)
        set_clock = (
            "import time, pathlib; true = time.time; "
            f"time.time = lambda: true() + {skew} + int(pathlib.Path({str(self._clock)!r}).read_text()); "
        )
        logged = self._log.stat().st_size if self._log.exists() else 0
        start = set_clock + (ASKING.format(port=name_server) if name_server else "") + START
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", start, "run", "--kubeconfig", str(kubeconfig)),
                *(*namespace, *OFF, *flags),
                stderr=log,
                env={name: value for name, value in os.environ.items() if "KUBERNETES" not in name}
                | dict(environment or {}),
            )
        self._operators.append(process)
        deadline = time.monotonic() + START_SECONDS
        while process.returncode is None and self._log.stat().st_size == logged:
            assert time.monotonic() < deadline, "the operator has not begun"
            await asyncio.sleep(0.02)
        return process

    def step_clock(self, seconds: int) -> None:
        """Let the operators' wall clocks be this much fast from now on, beside their skew."""
        draft = self._clock.with_suffix(".draft")
        draft.write_text(str(seconds))
        draft.replace(self._clock)

    async def stop(self) -> None:
        for process in self._operators:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                await asyncio.wait_for(process.wait(), 20)

    async def exit_status(self) -> int:
        """Wait until the operator that was started last has ended."""
        return await asyncio.wait_for(self._operators[-1].wait(), 30)

    async def create_stream(self) -> None:
        connection = await nats.connect(self.nats.url)
        stream = connection.jetstream()
        await stream.add_stream(name="ORDERS", subjects=["orders.>"])
        config = ConsumerConfig(durable_name="worker", filter_subject="orders.processing")
        await stream.add_consumer("ORDERS", config)
        await connection.close()

    async def create_consumer(self, name: str, subject: str, **more: Any) -> None:
        connection = await nats.connect(self.nats.url)
        config = ConsumerConfig(durable_name=name, filter_subject=subject, **more)
        await connection.jetstream().add_consumer("ORDERS", config)
        await connection.close()

    async def publish(self, messages: int, subject: str = "orders.processing") -> None:
        connection = await nats.connect(self.nats.url)
        stream = connection.jetstream()
        await asyncio.gather(*(stream.publish(subject, b"order") for _ in range(messages)))
        await connection.close()

    async def purge(self) -> None:
        connection = await nats.connect(self.nats.url)
        await connection.jetstream().purge_stream("ORDERS")
        await connection.close()

    async def create_secret(self, data: dict[str, str], name: str = "nats", use: str = USE) -> None:
        """Create a Secret, unless told one that natsscaler may use."""
        metadata = {"name": name, "labels": {USE_LABEL: use}}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        secret: Any = {"metadata": metadata, "data": encoded}
        await self._core.create_namespaced_secret(self.namespace, secret)

    async def create_deployment(self, replicas: int = 1, name: str = "my-app") -> None:
        labels = {"app": name}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
        manifest: Any = {"metadata": {"name": name}, "spec": spec}
        await self._apps.create_namespaced_deployment(self.namespace, manifest)

    async def create_stateful_set(self, name: str = "my-set") -> None:
        labels = {"app": name}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
        spec = {"replicas": 1, "serviceName": name, "selector": {"matchLabels": labels}, "template": pod}
        manifest: Any = {"metadata": {"name": name}, "spec": spec}
        await self._apps.create_namespaced_stateful_set(self.namespace, manifest)

    async def scale_stateful_set(self, replicas: int, name: str = "my-set") -> None:
        patch = {"spec": {"replicas": replicas}}
        await self._apps.patch_namespaced_stateful_set_scale(name, self.namespace, patch)

    async def stateful_replicas(self, name: str = "my-set") -> int:
        scale: Any = await self._apps.read_namespaced_stateful_set_scale(name, self.namespace)
        return int(scale.spec.replicas or 0)

    async def apply_sample(self, name: str = "my-app-scaling", **changes: Any) -> None:
        """Create the sample with these fields changed; None: without the field."""
        rule = yaml.safe_load(SAMPLE.read_text())
        rule["metadata"] = {"name": name, "namespace": self.namespace}
        rule["spec"] |= {"namespace": self.namespace, "natsMonitoringURL": self.nats.monitoring_url} | changes
        rule["spec"] = {field: value for field, value in rule["spec"].items() if value is not None}
        await self._rules.create_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, rule)

    async def event_reasons(self, name: str) -> set[str]:
        """Give the reasons of all Events about a rule."""
        answer: Any = await self._rules.list_namespaced_custom_object(
            "events.k8s.io", "v1", self.namespace, "events"
        )
        return {event["reason"] for event in answer["items"] if event["regarding"]["name"] == name}

    async def edit(self, patch: dict[str, Any], name: str = "my-app-scaling") -> None:
        await self._rules.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, patch, _content_type="application/merge-patch+json"
        )

    async def wipe_status(self, name: str = "my-app-scaling") -> None:
        patch = [{"op": "replace", "path": "/status", "value": {}}]
        await self._rules.patch_namespaced_custom_object_status(
            GROUP, VERSION, self.namespace, PLURAL, name, patch, _content_type="application/json-patch+json"
        )

    async def delete_rule(self, name: str = "my-app-scaling") -> None:
        await self._rules.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name)

    async def rules(self) -> list[str]:
        answer: Any = await self._rules.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL)
        return [item["metadata"]["name"] for item in answer["items"]]

    async def status(self, name: str = "my-app-scaling") -> dict[str, Any]:
        rule: Any = await self._rules.get_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name
        )
        status: dict[str, Any] = rule.get("status") or {}
        return status

    async def condition(self, kind: str, name: str = "my-app-scaling") -> tuple[str, str]:
        for condition in (await self.status(name)).get("conditions", ()):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    async def replicas(self, name: str = "my-app") -> int:
        scale: Any = await self._apps.read_namespaced_deployment_scale(name, self.namespace)
        return int(scale.spec.replicas or 0)

    async def scale(self, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await self._apps.patch_namespaced_deployment_scale("my-app", self.namespace, patch)

    async def create_autoscaler(self) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "my-app"}
        manifest: Any = {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
        await self._hpas.create_namespaced_horizontal_pod_autoscaler(self.namespace, manifest)

    async def delete_autoscaler(self) -> None:
        await self._hpas.delete_namespaced_horizontal_pod_autoscaler("hpa", self.namespace)

    async def delete_deployment(self) -> None:
        await self._apps.delete_namespaced_deployment("my-app", self.namespace)

    async def logged(self) -> list[dict[str, str]]:
        """Give the entries of the operator's log."""
        lines = (await asyncio.to_thread(self._log.read_text)).splitlines()
        return [json.loads(line) for line in lines]

    async def has_logged(self, part: str) -> str:
        """Give the level of the first entry that says this, or nothing."""
        return next((entry["level"] for entry in await self.logged() if part in entry["message"]), "")

    async def becomes(
        self, wanted: object, look: Callable[[], Awaitable[object]], seconds: float = 60
    ) -> None:
        """Wait until looking gives what is wanted; the operator's log is shown if it never does."""
        deadline = time.monotonic() + seconds
        while (found := await look()) != wanted:
            if time.monotonic() > deadline:
                pytest.fail(f"found {found!r} instead of {wanted!r}\n{self._log.read_text()[-4000:]}")
            await asyncio.sleep(0.02)


async def listening(stage: Stage) -> None:
    await stage.becomes(("True", "Listening"), partial(stage.condition, "EventDriven"))
    await stage.becomes(("True", "Scaling"), partial(stage.condition, "Ready"))


async def last_scaling(stage: Stage) -> tuple[int, int] | None:
    last = (await stage.status()).get("lastScaling")
    return (last["from"], last["to"]) if last else None
