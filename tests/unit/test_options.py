"""Flags and environment of `natsscaler explain` and `natsscaler check`."""

import pathlib

import pytest

from natsscaler.commands.explain import NoSuchRule, find
from natsscaler.commands.options import parse_check, parse_explain, split
from natsscaler.core.errors import SettingsError
from natsscaler.core.installation import OPERATOR
from natsscaler.core.rule import RuleKey, Target
from natsscaler.kube.connection import namespace_of
from natsscaler.settings import parse

KUBECONFIG = """
current-context: here
contexts:
- {name: here, context: {cluster: c, user: u}}
- {name: there, context: {cluster: c, user: u, namespace: shop}}
clusters: [{name: c, cluster: {server: "http://127.0.0.1"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.mark.parametrize(
    ("given", "namespace", "expected"),
    [
        ("shop/orders", None, ("shop", "orders")),
        ("shop/orders", "shop", ("shop", "orders")),
        ("orders", "shop", ("shop", "orders")),
        ("orders", None, (None, "orders")),
    ],
)
def test_a_rule_is_named_as_kubectl_names_things(
    given: str, namespace: str | None, expected: tuple[str | None, str]
) -> None:
    assert split(given, namespace) == expected


@pytest.mark.parametrize("given", ["/orders", "shop/", "a/b/c", "/"])
def test_what_names_no_rule_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="neither NAME nor NAMESPACE/NAME"):
        split(given, None)


def test_two_namespaces_contradict_each_other() -> None:
    with pytest.raises(SettingsError, match="contradict"):
        split("shop/orders", "default")


def test_flags_are_those_of_kubectl() -> None:
    options = parse_explain("natsscaler", ["orders", "-n", "shop", "--context", "there", "-o", "json"], {})
    assert (options.rule, options.namespace, options.context, options.output) == (
        *("orders", "shop", "there", "json"),
    )
    assert parse_check("natsscaler", ["--operator", "ops/nats"], {}).operator == Target("ops", "nats")
    assert parse_check("natsscaler", [], {}).operator is None


def test_in_its_pod_it_shares_the_operators_environment() -> None:
    environment = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "NATSSCALER_ALLOW_HOSTS": "*.svc,10.0.0.0/8",
        "NATSSCALER_MONITORING_TIMEOUT": "3s",
        "NATSSCALER_NAMESPACE": "shop,bank",
        "NATSSCALER_LEADER_ELECT": "true",
        "NATSSCALER_LEADER_ELECT_NAMESPACE": "ops",
        "NATS_URL": "nats://nats:4222",
    }
    options = parse_check("natsscaler", [], environment)
    assert options.settings == parse([], environment)
    assert options.operator == Target("ops", OPERATOR.name)
    assert options.namespaces == ("shop", "bank")
    assert parse_check("natsscaler", ["-n", "shop"], environment).namespaces == ("shop",)


def test_a_setting_that_the_operator_refuses_is_refused_here_as_well() -> None:
    with pytest.raises(SettingsError, match=r"\[NATSSCALER_LEADER_ELECT\]: 'perhaps' must be true or false"):
        parse_explain("natsscaler", ["orders"], {"NATSSCALER_LEADER_ELECT": "perhaps"})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["orders", "--kubeconfig", "/no/such/file"], "There is no file /no/such/file"),
        (["orders", "--operator", "ops"], "'ops' is not NAMESPACE/SERVICEACCOUNT"),
        ([], "required"),
    ],
)
def test_wrong_usage_ends_with_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_explain("kubectl natsscaler", arguments, {})
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: kubectl natsscaler explain")
    assert complaint in told


def test_the_namespace_of_a_context_is_that_of_the_kubeconfig(tmp_path: pathlib.Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    assert namespace_of(kubeconfig, "there") == "shop"
    assert namespace_of(kubeconfig, None) is None
    assert namespace_of(tmp_path / "none", None) is None


def test_the_rule_that_was_meant_is_named() -> None:
    known = [{"metadata": {"namespace": "shop", "name": name}} for name in ("orders", "invoices")]
    with pytest.raises(
        NoSuchRule, match=r"^There is no ScalingRule shop/ordres\. Did you mean shop/orders\? These"
    ):
        find(RuleKey("shop", "ordres"), known)
    with pytest.raises(NoSuchRule, match=r"^There is no ScalingRule shop/x\. These exist: "):
        find(RuleKey("shop", "x"), known)
