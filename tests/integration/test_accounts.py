"""Accounts of a NATS server, from its configuration file and by JWTs, where the id is not the name."""

import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from tests.support.nats_jwt import OperatorMode
from tests.support.until import until
from tests.support.world import (
    TARGET,
    World,
    create_consumer,
    create_stream,
    doorbell_subjects,
    publish,
    world,
)

pytestmark = pytest.mark.timeout(60)
Servers = Callable[..., Awaitable[NatsServer]]
REF = {"secretRef": {"name": "nats"}}
FILE = """
accounts {
  SHOP: { jetstream: enabled, users: [{user: SHOP, password: SHOP}] }
  DEPOT: { jetstream: enabled, users: [{user: DEPOT, password: DEPOT}] }
}
"""


class ByFile:
    """Accounts of the configuration file."""

    config = FILE

    def id(self, account: str) -> str:
        return account

    def secret(self, account: str) -> dict[str, str]:
        return {"username": account, "password": account}


class ByJwt:
    """Accounts of an operator, whose names are tags of their public keys."""

    def __init__(self) -> None:
        self._mode = OperatorMode("SHOP", "DEPOT")
        self.config = self._mode.config

    def id(self, account: str) -> str:
        return self._mode.accounts[account].public

    def secret(self, account: str) -> dict[str, str]:
        return {"creds": self._mode.creds(account)}


Accounts = ByFile | ByJwt


@pytest.fixture(params=[ByFile, ByJwt])
def accounts(request: pytest.FixtureRequest) -> Accounts:
    made: Accounts = request.param()
    return made


@pytest.fixture
async def server(nats_servers: Servers, accounts: Accounts) -> NatsServer:
    return await nats_servers(config=accounts.config)


@pytest.fixture
async def join(server: NatsServer, accounts: Accounts, tmp_path: pathlib.Path) -> Callable[[str], Any]:
    @asynccontextmanager
    async def joined(account: str) -> AsyncIterator[Client]:
        secret = accounts.secret(account)
        if "creds" in secret:
            file = tmp_path / account
            file.write_text(secret["creds"])
            client = await nats.connect(server.url, user_credentials=str(file))
        else:
            client = await nats.connect(server.url, user=account, password=account)
        try:
            yield client
        finally:
            await client.close()

    return joined


async def prepare(client: Client, messages: int = 0) -> None:
    await create_stream(client)
    await create_consumer(client)
    await publish(client, messages)


def message(here: World) -> str:
    [status] = here.cluster.statuses.values()
    ready = status.condition("Ready")
    return ready.message if ready else ""


async def test_the_one_account_that_has_such_a_stream_is_found(
    server: NatsServer, accounts: Accounts, join: Callable[[str], Any]
) -> None:
    async with join("SHOP") as shop, join("DEPOT") as depot, world(server) as here:
        await prepare(shop)
        await create_stream(depot, "PARCELS", "parcels.>")
        here.keep_secret(accounts.secret("SHOP"))
        here.apply(nats=REF)
        await here.becomes("EventDriven", "True", "Listening")
        await here.listens("orders.processing")
        await publish(shop, 51)
        await until(lambda: here.cluster.table[TARGET] == 2)
        [status] = here.cluster.statuses.values()
        assert status.backlog_source
        assert status.backlog_source.account == "SHOP"


async def test_several_accounts_with_such_a_stream_are_listed_and_nothing_is_guessed(
    server: NatsServer, accounts: Accounts, join: Callable[[str], Any]
) -> None:
    async with join("SHOP") as shop, join("DEPOT") as depot, world(server) as here:
        await prepare(shop, 51)
        await prepare(depot)
        here.cluster.table[TARGET] = 3
        here.apply(pollIntervalSeconds=1)
        await here.becomes("Ready", "False", "AmbiguousAccount")
        assert {accounts.id("SHOP"), accounts.id("DEPOT")} <= set(
            message(here).replace("(", " ").replace(")", " ").replace(",", " ").replace(".", " ").split()
        )
        assert here.cluster.table[TARGET] == 3


@pytest.mark.parametrize("by_id", [True, False])
async def test_an_account_is_chosen_by_name_or_id(
    server: NatsServer, accounts: Accounts, join: Callable[[str], Any], by_id: bool
) -> None:
    async with join("SHOP") as shop, join("DEPOT") as depot, world(server) as here:
        await prepare(depot)
        await prepare(shop, 51)
        here.keep_secret(accounts.secret("SHOP"))
        here.apply(nats=REF, account=accounts.id("SHOP") if by_id else "SHOP")
        await until(lambda: here.cluster.table[TARGET] == 2)
        await here.becomes("EventDriven", "True", "Listening")


async def test_events_of_another_account_are_told_apart(
    server: NatsServer, accounts: Accounts, join: Callable[[str], Any]
) -> None:
    async with join("SHOP") as shop, world(server) as here:
        await prepare(shop, 51)
        here.keep_secret(accounts.secret("DEPOT"))
        here.apply(nats=REF, pollIntervalSeconds=1)
        await here.becomes("EventDriven", "False", "OtherAccount")
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert await doorbell_subjects(server) == []


async def test_an_account_that_does_not_exist_is_said_with_those_that_do(
    server: NatsServer, join: Callable[[str], Any]
) -> None:
    async with join("SHOP") as shop, world(server) as here:
        await prepare(shop)
        here.apply(account="SHIP", pollIntervalSeconds=1)
        await here.becomes("Ready", "False", "AccountNotFound")
        assert "SHOP" in message(here)
