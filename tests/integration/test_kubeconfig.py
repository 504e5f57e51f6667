"""Whatever a kubeconfig has in it: a connection, or a sentence that says what is wrong."""

import asyncio
import copy
import json
import pathlib
import string
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natsscaler.core.errors import SettingsError
from natsscaler.kube.connection import KubeClient, connect
from natsscaler.kube.proxies import bypassed, proxy_for
from tests.support.certificates import Certificates
from tests.support.documents import json_values, places

USABLE: dict[str, Any] = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    "clusters": [
        {
            "name": "c",
            "cluster": {
                "server": "https://127.0.0.1:6443",
                "insecure-skip-tls-verify": True,
                "tls-server-name": "api",
                "proxy-url": "http://proxy:3128",
            },
        }
    ],
    "users": [
        {
            "name": "u",
            "user": {
                "token": "secret-text",
                "tokenFile": "",
                "as": "me",
                "as-groups": ["a"],
                "client-certificate-data": None,
                "exec": None,
            },
        }
    ],
}
PLUGIN: dict[str, Any] = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "true",
    "env": [],
    "args": None,
}
ODD = st.sampled_from(
    [
        "",
        "\0",
        "\n",
        "é",
        "-----BEGIN CERTIFICATE-----",
        "eA==",
        "/",
        "/dev/null",
        "a:b",
        "[::1",
        "https://",
        "x" * 300,
        PLUGIN,
    ]
)


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Put a value into a copy of the document."""
    if not path:
        return value
    made: Any = copy.deepcopy(document)
    within = made
    for step in path[:-1]:
        within = within[step]
    within[path[-1]] = value
    return made


def outcome(text: bytes) -> KubeClient | str:
    """Connect by a kubeconfig, and let it be asked for nothing."""

    async def attempt() -> KubeClient | str:
        try:
            api = await connect(kubeconfig, in_cluster=False, environment={})
        except SettingsError as error:
            return str(error)
        await api.close()
        return api

    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = pathlib.Path(directory) / "kubeconfig"
        kubeconfig.write_bytes(text)
        return asyncio.run(attempt())


def check(found: KubeClient | str) -> None:
    if isinstance(found, str):
        assert found
        assert "\n" not in found
        assert "secret-text" not in found
    else:
        assert found.host.startswith("http")


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_kubeconfig_with_something_else_in_it(data: st.DataObject) -> None:
    document: Any = USABLE
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        document = changed(document, path, data.draw(ODD | json_values))
    check(outcome(json.dumps(document).encode()))


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_a_kubeconfig_that_is_any_text(text: bytes) -> None:
    assert isinstance(outcome(text), str)


@pytest.mark.parametrize(
    "text",
    [
        b"!!timestamp x",
        b"!!bool x",
        b"!!int ''",
        b"a: 2020-99-99",
        b"? [a]\n: b",
        b"[" * 3000,
        b"&a [*a]",
        b"a: &a {b: *a}",
    ],
    ids=repr,
)
def test_a_kubeconfig_that_yaml_stumbles_over(text: bytes) -> None:
    check(outcome(text))


def test_the_untouched_one_connects() -> None:
    found = outcome(json.dumps(USABLE).encode())
    assert isinstance(found, KubeClient)
    assert found.host == "https://127.0.0.1:6443"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (
            {"client-certificate-data": "eA==", "client-key-data": "eA=="},
            "client-certificate-data has no PEM",
        ),
        ({"client-certificate-data": "***"}, "client-certificate-data"),
        ({"tokenFile": "missing"}, "missing: No such file or directory"),
        ({"token": "a\nb"}, "no HTTP header may have"),
        ({"token": 5}, "Expected `str`, got `int`"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider gcp is not supported: use an exec plugin"),
        ({"exec": {**PLUGIN, "apiVersion": "v1"}}, "apiVersion v1 is not client.authentication.k8s.io/v1"),
        ({"exec": PLUGIN}, "exec plugin true gave no ExecCredential"),
        ({"exec": {**PLUGIN, "interactiveMode": "Always"}}, "wants to ask a person"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_user_is_told(user: dict[str, Any], said: str) -> None:
    found = outcome(json.dumps(changed(USABLE, ("users", 0, "user"), user)).encode())
    assert isinstance(found, str)
    assert said in found


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"server": "ftp://here"}, "server is not like https://HOST:PORT"),
        ({"server": "https://here:99999"}, "server is not like https://HOST:PORT"),
        ({}, "server is not like https://HOST:PORT"),
        ({"server": "https://a", "proxy-url": "socks5://b"}, "SOCKS is not supported"),
        (
            {"server": "https://a", "insecure-skip-tls-verify": True, "certificate-authority": "b"},
            "contradict each other",
        ),
        ({"server": "https://a", "certificate-authority": "/dev/null"}, "/dev/null has no PEM text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_cluster_is_told(cluster: dict[str, Any], said: str) -> None:
    found = outcome(json.dumps(changed(USABLE, ("clusters", 0, "cluster"), cluster)).encode())
    assert isinstance(found, str)
    assert said in found


def test_a_key_that_is_not_the_certificates_is_told(certificates: Certificates) -> None:
    user = {
        "client-certificate": str(certificates.path("client.crt")),
        "client-key": str(certificates.path("server.key")),
    }
    found = outcome(json.dumps(changed(USABLE, ("users", 0, "user"), user)).encode())
    assert isinstance(found, str)
    assert "certificate or key: KEY_VALUES_MISMATCH" in found


@pytest.mark.parametrize(
    ("host", "excluded", "direct"),
    [
        ("10.96.0.1", "10.96.0.0/12", True),
        ("10.96.0.1", "10.96.0.1", True),
        ("10.96.0.1", "10.0.0.0/16", False),
        ("fd00::1", "fd00::/8", True),
        ("api.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("api.example.com", ".example.com", True),
        ("example.com", ".example.com", False),
        ("api.example.com.", "a, *.example.com", True),
        ("badexample.com", "example.com", False),
        ("api.example.com", "example.com:443", False),
        ("api.example.com", "example.com:6443", True),
        ("fd00::1", "[fd00::1]:6443", True),
        ("anything", "*", True),
        ("localhost", "", True),
        ("127.0.0.1", "", True),
        ("anything", "", False),
        ("anything", ",", False),
        ("10.96.0.1", "nonsense/99", False),
    ],
)
def test_no_proxy_is_read_as_kubectl_reads_it(host: str, excluded: str, direct: bool) -> None:
    assert bypassed(host, 6443, excluded) is direct


def test_the_environment_names_a_proxy_for_each_scheme() -> None:
    environment = {"HTTPS_PROXY": "one:1", "http_proxy": "http://two:2"}
    assert proxy_for("https://api", "", environment) == "http://one:1"
    assert proxy_for("http://api", "", environment) == "http://two:2"
    assert proxy_for("https://api", "http://three:3", environment) == "http://three:3"
    assert proxy_for("https://api", "", {}) is None
