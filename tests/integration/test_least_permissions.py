"""The NATS permissions that docs/security.md asks for are enough, and none of them is too much."""

import pathlib
import re
from typing import Any

import pytest

from natsscaler.core.rule import Target
from natsscaler.demo.nats_server import NatsServer
from tests.support.secrets import Servers, login
from tests.support.until import until
from tests.support.world import TARGET, World, create_consumer, create_stream, publish, user, world

pytestmark = pytest.mark.timeout(60)

SECURITY = pathlib.Path(__file__).parents[2] / "docs/security.md"
ADMIN = "{user: admin, password: admin}"


def permissions() -> dict[str, list[str]]:
    """Read the lists of the page's configuration."""
    (block,) = re.findall(r"```\n(authorization \{.*?)```", SECURITY.read_text(), re.DOTALL)
    lists = re.findall(r"(publish|subscribe): \[(.*?)\]", block, re.DOTALL)
    return {verb: re.findall(r'"([^"]+)"', subjects) for verb, subjects in lists}


LEAST = permissions()
OTHER = Target("default", "other")
NEEDED = [(verb, subject) for verb, subjects in LEAST.items() for subject in subjects]
OF_STREAMS = "$JS.API.STREAM.INFO.>"
"""Only needed by rules that count all of a stream."""


def account(name: str, without: str = "") -> str:
    lists = {verb: [f'"{it}"' for it in subjects if it != without] for verb, subjects in LEAST.items()}
    allowed = ", ".join(f"{verb}: [{', '.join(subjects)}]" for verb, subjects in lists.items())
    return f"{{user: {name}, password: {name}, permissions: {{{allowed}}}}}"


async def serve(nats_servers: Servers, *accounts: str) -> NatsServer:
    server = await nats_servers(config=f"authorization {{ users: [{', '.join([ADMIN, *accounts])}] }}")
    async with user(admin_of(server)) as admin:
        await create_stream(admin)
        await create_consumer(admin)
        await create_consumer(admin, name="everything", subject="")
    return server


def admin_of(server: NatsServer) -> str:
    return f"nats://admin:admin@127.0.0.1:{server.port}"


def apply_as(here: World, name: str, **spec: Any) -> None:
    """Apply a rule of this name whose Secret is for the user of this name."""
    here.keep_secret(login(name, name), name)
    here.apply(name, nats={"secretRef": {"name": name}}, **spec)


async def test_they_are_enough(nats_servers: Servers) -> None:
    server = await serve(nats_servers, account("least"))
    async with world(server) as here:
        apply_as(here, "least")
        secret = {"secretRef": {"name": "least"}}
        here.cluster.table[OTHER] = 1
        here.apply("whole", deploymentName=OTHER.name, consumer="everything", nats=secret)
        await here.listens("orders.>", "orders.processing")
        await here.rests()
        async with user(admin_of(server)) as admin:
            await publish(admin, 51)
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert here.condition("EventDriven", "least") == ("True", "Listening")
    assert "Violation" not in server.log.read_text()


async def test_each_is_needed_and_named_where_it_lacks(nats_servers: Servers) -> None:
    """Without it the rule goes on by its deadlines."""
    names = {f"user-{number}": subject for number, (_, subject) in enumerate(NEEDED)}
    server = await serve(nats_servers, *(account(*item) for item in names.items()))
    async with world(server) as here:
        for name, subject in names.items():
            whole = {"consumer": "everything"} if subject == OF_STREAMS else {}
            apply_as(here, name, dryRun=name != "user-0", pollIntervalSeconds=1, **whole)
        for name, subject in names.items():
            await here.becomes("EventDriven", "False", "PermissionDenied", name)
            lacking = "orders.processing" if subject == "orders.>" else subject
            assert lacking in here.message("EventDriven", name)
        async with user(admin_of(server)) as admin:
            await publish(admin, 51)
        await until(lambda: here.cluster.table[TARGET] == 2)
