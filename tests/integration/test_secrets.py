"""Rules with Secrets on real servers that ask for credentials: accepted, refused, changed, withdrawn."""

import re
from collections.abc import AsyncIterator

import httpx
import nkeys  # type: ignore[import-untyped]
import pytest

from natsscaler.core.access import SecretKey
from natsscaler.core.errors import KubernetesError
from natsscaler.core.reasons import Reason
from natsscaler.demo.nats_server import NatsServer
from natsscaler.nats import connection, credential_store
from tests.support.certificates import Certificates
from tests.support.nats_jwt import Key, OperatorMode
from tests.support.secrets import PASSWORD, Recorder, Servers, login, prepare
from tests.support.until import until
from tests.support.world import TARGET, World, publish, user, world

pytestmark = pytest.mark.timeout(60)

REF = {"secretRef": {"name": "nats"}}
MARK = "hunter2"


async def listens(here: World) -> None:
    await here.becomes("EventDriven", "True", "Listening")
    await here.becomes("Ready", "True", "Scaling")


USER = Key(nkeys.PREFIX_BYTE_USER)
LOGINS = [
    pytest.param(PASSWORD.format(MARK), {"username": "app", "password": MARK}, id="password"),
    pytest.param(f"authorization {{ token: {MARK} }}", {"token": MARK}, id="token"),
    pytest.param(
        f"authorization {{ users: [{{nkey: {USER.public}}}] }}", {"nkey": USER.seed.decode()}, id="nkey"
    ),
]


@pytest.mark.parametrize(("config", "data"), LOGINS)
async def test_credentials_of_every_kind(nats_servers: Servers, config: str, data: dict[str, str]) -> None:
    server = await nats_servers(config=config)
    async with world(server) as here:
        here.keep_secret(data)
        here.apply("without")
        await here.becomes("EventDriven", "False", "CredentialsRefused", "without")
        assert "spec.nats.secretRef" in here.message("EventDriven", "without")
        here.apply(nats=REF)
        await here.becomes("EventDriven", "True", "Listening")
        here.keep_secret(OTHER[next(iter(data))])
        await restart(server)
        await here.becomes("EventDriven", "False", "CredentialsRefused")
        assert "fix Secret default/nats" in here.message("EventDriven")


OTHER = {
    "username": {"username": "app", "password": "wrong"},
    "token": {"token": "wrong"},
    "nkey": {"nkey": Key(nkeys.PREFIX_BYTE_USER).seed.decode()},
}


async def restart(server: NatsServer) -> None:
    await server.stop()
    await server.start()


async def test_a_credentials_file(nats_servers: Servers) -> None:
    mode = OperatorMode()
    server = await nats_servers(config=mode.config)
    async with world(server) as here:
        here.keep_secret({"creds": mode.creds()})
        here.apply(nats=REF)
        await here.becomes("EventDriven", "True", "Listening")
        assert here.connections[0].account


async def test_credentials_that_expire_while_connected(nats_servers: Servers) -> None:
    mode = OperatorMode()
    server = await nats_servers(config=mode.config)
    async with world(server) as here:
        here.keep_secret({"creds": mode.creds(lifetime=2)})
        here.apply(nats=REF)
        await here.becomes("EventDriven", "True", "Listening")
        await here.becomes("EventDriven", "False", "CredentialsRefused")
        assert re.search("fix Secret default/nats", here.message("EventDriven"))
        here.keep_secret({"creds": mode.creds()})
        await here.becomes("EventDriven", "True", "Listening")


async def test_credentials_that_are_revoked_while_connected(nats_servers: Servers) -> None:
    """The rule goes on by its deadlines, and listens again once the Secret is fixed."""
    server = await nats_servers(config=PASSWORD.format("first"))
    url = f"nats://app:first@127.0.0.1:{server.port}"
    await prepare(url)
    async with world(server) as here:
        here.keep_secret(login("app", "first"))
        here.apply(nats=REF, pollIntervalSeconds=1)
        await listens(here)
        server.reload(PASSWORD.format("second"))
        await here.becomes("EventDriven", "False", "CredentialsRefused")
        async with user(url.replace("first", "second")) as client:
            await publish(client, 60)
        await until(lambda: here.cluster.table[TARGET] == 2)
        here.keep_secret(login("app", "second"))
        await listens(here)


@pytest.mark.parametrize("scheme", ["tls", "nats"])
@pytest.mark.parametrize("verify", [False, True])
async def test_tls_by_a_name_that_the_address_does_not_have(
    nats_servers: Servers, certificates: Certificates, scheme: str, verify: bool
) -> None:
    """The certificate is for `localhost` alone; what is connected to is the address that was checked."""
    server = await nats_servers(config=certificates.nats_tls(verify=verify))
    keys: dict[str, bytes | str] = {"ca.crt": certificates.read("ca.crt")}
    if verify:
        keys |= {"tls.crt": certificates.read("client.crt"), "tls.key": certificates.read("client.key")}
    async with world(server) as here:
        here.keep_secret(keys)
        here.apply(nats=REF | {"url": f"{scheme}://localhost:{server.port}"})
        await here.becomes("EventDriven", "True", "Listening")
        here.apply("by-address", nats=REF | {"url": f"{scheme}://127.0.0.1:{server.port}"})
        await here.becomes("EventDriven", "False", "NotConnected", "by-address")
        assert "certificate is not valid for '127.0.0.1'" in here.message("EventDriven", "by-address")


async def test_a_server_of_an_unknown_authority(nats_servers: Servers, certificates: Certificates) -> None:
    server = await nats_servers(config=certificates.nats_tls())
    async with world(server) as here:
        here.keep_secret({"ca.crt": certificates.read("stranger.crt")})
        here.apply(nats=REF | {"url": f"tls://localhost:{server.port}"})
        await here.becomes("EventDriven", "False", "NotConnected")
        assert "certificate is not accepted: unable to get local issuer" in here.message("EventDriven")
        assert here.message("EventDriven").endswith("as ca.crt into the Secret of spec.nats.secretRef")


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with Recorder().serve() as made:
        yield made


@pytest.mark.parametrize("kind", ["password", "token", "creds"])
@pytest.mark.parametrize("demand", ["scheme", "authority"])
async def test_without_the_tls_that_is_required_nothing_secret_is_sent(
    nats_server: NatsServer, recorder: Recorder, certificates: Certificates, kind: str, demand: str
) -> None:
    creds = OperatorMode().creds()
    data: dict[str, str] = {
        "password": {"username": "app", "password": MARK},
        "token": {"token": MARK},
        "creds": {"creds": creds},
    }[kind]
    keys: dict[str, bytes | str] = {"ca.crt": certificates.read("ca.crt")} if demand == "authority" else {}
    scheme = "tls" if demand == "scheme" else "nats"
    async with world(nats_server) as here:
        here.keep_secret({**keys, **data})
        here.apply(nats=REF | {"url": f"{scheme}://127.0.0.1:{recorder.port}"})
        await here.becomes("EventDriven", "False", "NotConnected")
        assert "offers no TLS" in here.message("EventDriven")
    assert recorder.connections
    assert recorder.received == b""


async def test_a_tls_address_without_tls_is_refused_though_there_is_nothing_to_lose(
    nats_server: NatsServer,
) -> None:
    async with world(nats_server) as here:
        here.apply(nats={"url": f"tls://127.0.0.1:{nats_server.port}"})
        await here.becomes("EventDriven", "False", "NotConnected")
        assert "offers no TLS" in here.message("EventDriven")


async def test_a_secret_must_be_labelled(nats_servers: Servers) -> None:
    server = await nats_servers(config=PASSWORD.format(MARK))
    async with world(server) as here:
        here.apply(nats=REF)
        await here.becomes("EventDriven", "False", "SecretNotFound")
        here.keep_secret(login("app", MARK), use="other")
        await here.becomes("EventDriven", "False", "SecretNotLabelled")
        fix = "kubectl -n default label secret nats scaling.example.com/use=nats"
        assert fix in here.message("EventDriven")
        assert ("rule", "EventDriven", "SecretNotLabelled") in here.cluster.events
        here.keep_secret({"username": "app"})
        await here.becomes("EventDriven", "False", "SecretUnusable")
        assert "Key username of Secret default/nats needs the key password" in here.message("EventDriven")
        here.keep_secret(login("app", MARK))
        await here.becomes("EventDriven", "True", "Listening")


async def users_of_natsscaler(server: NatsServer) -> set[str]:
    """Ask a server as whom natsscaler is connected."""
    async with httpx.AsyncClient(base_url=server.monitoring_url, trust_env=False) as client:
        found = (await client.get("/connz?auth=true")).json()["connections"]
    return {one["authorized_user"] for one in found if one.get("name") == "natsscaler"}


async def test_a_secret_that_changes_is_used_without_being_refused_first(
    nats_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both users are let in: natsscaler reads the Secret again when what it knows is too old."""
    monkeypatch.setattr(connection, "MAX_AGE_SECONDS", 0.1)
    users = "authorization { users: [{user: a, password: a}, {user: b, password: b}] }"
    server = await nats_servers(config=users)
    async with world(server) as here:
        here.keep_secret(login("a", "a"))
        here.apply(nats=REF)
        await here.becomes("EventDriven", "True", "Listening")
        here.keep_secret(login("b", "b"))

        async def uses_the_new_one() -> bool:
            return await users_of_natsscaler(server) == {"b"}

        await until(uses_the_new_one)
        await here.becomes("EventDriven", "True", "Listening")
        here.refusal = KubernetesError(Reason.KUBERNETES_UNAVAILABLE, "no answer")
        reads = len(here.secret_reads)
        await until(lambda: len(here.secret_reads) > reads + 3)
        assert here.condition("EventDriven") == ("True", "Listening"), "what is known goes on being used"
        here.refusal = None
        here.keep_secret(login("b", "b"), use="no longer")
        await here.becomes("EventDriven", "False", "SecretNotLabelled")


async def test_a_rule_whose_secret_changes_listens_by_the_new_one(nats_servers: Servers) -> None:
    """Both connections listen for other rules, too; then the old user is removed."""
    users = "authorization {{ users: [{}] }}"
    new, old = "{user: new, password: new}", "{user: old, password: old}"
    server = await nats_servers(config=users.format(f"{new}, {old}"))
    url = f"nats://new:new@127.0.0.1:{server.port}"
    await prepare(url)
    async with world(server) as here:
        here.keep_secret(login("new", "new"), "new")
        here.keep_secret(login("old", "old"), "old")
        for name in ("new", "old"):
            here.apply(name, nats={"secretRef": {"name": name}}, dryRun=True)
        here.apply(nats={"secretRef": {"name": "old"}})
        await here.listens(*("orders.processing",) * 3)
        here.apply(nats={"secretRef": {"name": "new"}})
        await here.rests()
        server.reload(users.format(new))
        await here.becomes("EventDriven", "False", "CredentialsRefused", "old")
        async with user(url) as client:
            await publish(client, 60)
        await until(lambda: here.cluster.table[TARGET] == 2)
        assert here.condition("EventDriven") == ("True", "Listening")


async def test_rules_share_connections_and_reads_by_address_and_secret(nats_server: NatsServer) -> None:
    await prepare(nats_server.url)
    async with world(nats_server) as here:
        here.apply("plain", dryRun=True)
        await here.becomes("EventDriven", "True", "Listening", "plain")
        assert here.secret_reads == [], "a rule without a Secret costs no request for one"
        here.keep_secret({"token": MARK})
        here.keep_secret({"token": MARK}, "other")
        for name, secret in (("one", "nats"), ("two", "nats"), ("three", "other")):
            reference = {"secretRef": {"name": secret}}
            here.apply(name, nats=reference, monitoring=reference, dryRun=True)
        for name in ("one", "two", "three"):
            await here.becomes("EventDriven", "True", "Listening", name)
        assert len(here.connections) == 3
        assert len(here.reactor._endpoints) == 3
        read = {secret: here.secret_reads.count(SecretKey("default", secret)) for secret in ("nats", "other")}
        assert read == {"nats": 2, "other": 2}, "each for the monitoring endpoint and for NATS"


async def test_a_secret_is_one_of_the_rules_own_namespace(nats_server: NatsServer) -> None:
    async with world(nats_server) as here:
        here.keep_secret({"token": MARK})
        rule = here.rule(nats=REF)
        assert rule.nats("nats://nats").secret == SecretKey("default", "nats")
        assert credential_store.MAX_AGE_SECONDS <= 60
