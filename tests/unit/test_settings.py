"""Flags and environment of `natsscaler run`."""

import pathlib
import re

import pytest

from natsscaler.core.errors import SettingsError
from natsscaler.settings import SETTINGS, Settings, parse, unknown_variables

VALUES = {
    "--kubeconfig": "/etc/kubeconfig",
    "--namespace": "a,b",
    "--host": "127.0.0.1",
    "--metrics-port": "1",
    "--probe-port": "2",
    "--activity-port": "3",
    "--max-actions": "4",
    "--activity-token": "hush",
    "--activity-token-file": "/no/such/file",
    "--allow-cross-namespace": "true",
    "--dry-run": "true",
    "--allow-hosts": "*.nats,10.0.0.0/8",
    "--events": "Doorbell",
    "--read-budget": "0.2",
    "--monitoring-timeout": "3s",
    "--monitoring-max-mib": "32",
    "--monitoring-proxy": "http://proxy:3128",
    "--nats-url": "nats://nats:4222",
    "--nats-credentials": "/tmp",  # noqa: S108 - any directory
    "--monitoring-credentials": "/tmp",  # noqa: S108
    "--monitoring-credentials-hosts": "nats.example.com,10.0.0.0/8",
    "--leader-elect": "true",
    "--leader-elect-lease-duration": "30s",
    "--leader-elect-renew-deadline": "20s",
    "--leader-elect-namespace": "there",
    "--log-level": "debug",
}
BARE = {"--nats-url": "NATS_URL", "--log-level": "LOG_LEVEL"}
"""Names without prefix, as the contract has one of them."""
HOST_FLAGS = ("--allow-hosts", "--monitoring-credentials-hosts")
ELECT = ("--leader-elect", "--leader-elect-namespace", "here")


def named(flag: str) -> str:
    return BARE.get(flag, f"NATSSCALER_{flag.strip('-').replace('-', '_').upper()}")


def test_each_flag_is_a_variable_too_and_the_help_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [flag if value == "true" else f"{flag}={value}" for flag, value in VALUES.items()]
    by_flag = parse(flags, {})
    assert by_flag == parse((), {named(flag): value for flag, value in VALUES.items()})
    plain = Settings()
    same = [name for name in Settings.__dataclass_fields__ if getattr(by_flag, name) == getattr(plain, name)]
    assert same == ["in_cluster", "api_service"], "the values above differ from the defaults"
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    told = capsys.readouterr().out
    offered = set(re.findall(r"^  (--[a-z-]+)", told, re.MULTILINE))
    assert offered == set(VALUES) == {setting.flag for setting in SETTINGS.values()}
    assert {"NATSSCALER_HOST", *BARE.values()} <= set(re.findall(r"[A-Z_]+", told))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("nats://a:4222,nats://b:4222", "nats://a:4222,nats://b:4222"),
        ("a:4222, tls://b/", "nats://a:4222,tls://b"),
        ("nats://u:p@a , nats://u:p@b:4333", "nats://u:p@a,nats://u:p@b:4333"),
    ],
)
def test_servers_of_nats_are_read_as_its_own_clients_do(given: str, read: str) -> None:
    assert parse([], {"NATS_URL": given}).nats_url == read


def test_a_flag_wins_over_its_variable() -> None:
    assert parse(["--metrics-port=1"], {"NATSSCALER_METRICS_PORT": "2"}).metrics_port == 1


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--namespace", "namespaces"),
        ("--allow-hosts", "allow_hosts"),
        ("--monitoring-credentials-hosts", "monitoring_credentials_hosts"),
    ],
)
def test_a_repeatable_flag_replaces_its_variable_and_adds_to_itself(flag: str, name: str) -> None:
    settings = parse([f"{flag}=b", f"{flag}=c,d"], {named(flag): "a"})
    assert getattr(settings, name) == ("b", "c", "d")


@pytest.mark.parametrize(
    ("flag", "value", "wrong"),
    [
        ("--metrics-port", "1", "http"),
        ("--leader-elect", "false", "perhaps"),
        ("--namespace", "shop", "a b"),
        ("--events", "none", "Bell"),
        ("--log-level", "debug", "loud"),
    ],
)
def test_a_wrong_variable_does_not_matter_under_its_flag(flag: str, value: str, wrong: str) -> None:
    assert parse([f"{flag}={value}"], {named(flag): wrong}) == parse([f"{flag}={value}"], {})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--metrics-prot=1"], "unrecognized arguments: --metrics-prot=1"),
        (["--metrics-port"], "argument --metrics-port: expected one argument"),
        (["shop"], "unrecognized arguments: shop"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_where_to_look(arguments: list[str], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(arguments, {})
    assert str(caught.value) == f"{told} (see natsscaler run --help)"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--metrics-port=http", "'http' is not a whole number from 0 to 65535"),
        ("--probe-port=65536", "'65536' is not a whole number from 0 to 65535"),
        ("--activity-port=-1", "'-1' is not a whole number from 0 to 65535"),
        ("--max-actions=0", "'0' is not a whole number from 1 to 10000"),
        ("--read-budget=a half", "'a half' is not a share of time, which is above 0 and at most 1"),
        ("--read-budget=nan", "'nan' is not a share of time"),
        ("--leader-elect=perhaps", "'perhaps' must be true or false"),
        ("--log-level=loud", "'loud' is not one of debug, info, warning, error"),
        ("--nats-url=http://nats:8222", "it must be nats://HOST:PORT or tls://HOST:PORT"),
        ("--nats-url=nats://a,", "it must be nats://HOST:PORT or tls://HOST:PORT"),
        ("--nats-url=nats://u:hunter2@", "it must be nats://HOST:PORT or tls://HOST:PORT"),
        ("--nats-url=nats://a:b", "it must be nats://HOST:PORT or tls://HOST:PORT"),
        ("--nats-url=nats://a:99999", "Port out of range 0-65535"),
    ],
)
def test_a_bad_value_is_refused_and_the_flag_and_its_variable_are_named(flag: str, told: str) -> None:
    name, _, value = flag.partition("=")
    refused = re.escape(f"{name} [{named(name)}]: {told}")
    with pytest.raises(SettingsError, match=refused):
        parse((flag,), {})
    with pytest.raises(SettingsError, match=refused):
        parse((), {named(name): value})


@pytest.mark.parametrize("flag", ["--leader-elect", "--allow-cross-namespace"])
def test_switches_are_written_as_for_other_operators_of_kubernetes(flag: str) -> None:
    def on(*arguments: str, **environment: str) -> bool:
        settings = parse((*arguments, "--leader-elect-namespace=here"), environment)
        value = getattr(settings, flag.strip("-").replace("-", "_"))
        assert isinstance(value, bool)
        return value

    assert on(flag)
    assert on(f"{flag}=true")
    assert not on(f"{flag}=false")
    assert not on(f"{flag}=false", **{named(flag): "true"}), "the flag wins over its variable"


def test_the_log_level_is_understood_in_capitals() -> None:
    assert parse((), {"LOG_LEVEL": "DEBUG"}).log_level == "debug"
    assert parse(("--log-level=WARNING",), {}).log_level == "warning"


def test_there_is_no_election_unless_asked_for() -> None:
    settings = parse((), {})
    assert not settings.leader_elect
    assert (settings.leader_elect_lease_duration, settings.leader_elect_renew_deadline) == (15, 10)


@pytest.mark.parametrize(("text", "seconds"), [("20s", 20), ("20", 20), ("1m", 60), ("1m30s", 90)], ids=str)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    flags = ("--leader-elect-lease-duration", text)
    assert parse((*ELECT, *flags), {}).leader_elect_lease_duration == seconds
    environment = {"NATSSCALER_LEADER_ELECT_LEASE_DURATION": text}
    assert parse(ELECT, environment).leader_elect_lease_duration == seconds


@pytest.mark.parametrize("text", ["", "s", "m", "-1s", "1.5s", "15 s", "1h", "soon"])
def test_what_is_no_duration_is_refused_with_the_name_of_the_flag(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--leader-elect-renew-deadline.*whole seconds"):
        parse((*ELECT, f"--leader-elect-renew-deadline={text}"), {})


@pytest.mark.parametrize(
    ("duration", "deadline", "told"),
    [
        ("10s", "10s", r"--leader-elect-renew-deadline .* not shorter than the 10s of --leader-elect-lease"),
        ("9s", "10s", r"--leader-elect-renew-deadline .* not shorter than the 9s of --leader-elect-lease"),
        ("15s", "1s", r"--leader-elect-renew-deadline .*: 1s is out of range: 2s to 599s"),
        ("15s", "0s", r"--leader-elect-renew-deadline .*: 0s is out of range: 2s to 599s"),
        ("61m", "10s", r"--leader-elect-lease-duration .*: 61m is out of range: 3s to 600s"),
    ],
)
def test_a_deadline_must_leave_the_lease_some_time(duration: str, deadline: str, told: str) -> None:
    flags = ("--leader-elect-lease-duration", duration, "--leader-elect-renew-deadline", deadline)
    with pytest.raises(SettingsError, match=told):
        parse((*ELECT, *flags), {})


def test_the_environment_can_ask_for_an_election() -> None:
    environment = {"NATSSCALER_LEADER_ELECT": "true", "NATSSCALER_LEADER_ELECT_NAMESPACE": "there"}
    settings = parse((), environment)
    assert (settings.leader_elect, settings.leader_elect_namespace) == (True, "there")


def test_in_a_pod_the_lease_is_in_its_own_namespace(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "namespace"
    file.write_text("scaling-operator-system")
    monkeypatch.setattr("natsscaler.settings.NAMESPACE_FILE", file)
    assert parse(("--leader-elect",), {}).leader_elect_namespace == "scaling-operator-system"


def test_elsewhere_the_namespace_must_be_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natsscaler.settings.NAMESPACE_FILE", tmp_path / "none")
    with pytest.raises(SettingsError, match=r"--leader-elect-namespace"):
        parse(("--leader-elect",), {})
    assert parse((), {}).leader_elect_namespace == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--nats-credentials=."],
            "--nats-credentials [NATSSCALER_NATS_CREDENTIALS] needs --nats-url [NATS_URL]: no other",
        ),
        (["--nats-credentials=.", "--nats-url=nats://u:p@nats"], "keep one of them"),
        (
            ["--nats-credentials=./no", "--nats-url=nats://nats"],
            "--nats-credentials [NATSSCALER_NATS_CREDENTIALS]: no is not a directory; mount the Secret",
        ),
        (
            ["--monitoring-credentials=."],
            "--monitoring-credentials [NATSSCALER_MONITORING_CREDENTIALS] needs --monitoring-",
        ),
        (
            ["--monitoring-credentials-hosts=10.0.0.0/99"],
            "--monitoring-credentials-hosts [NATSSCALER_MONITORING_CREDENTIALS_HOSTS]: '10.0.0.0/99' is",
        ),
    ],
)
def test_the_operators_own_credentials_have_one_place_to_go(flags: list[str], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(flags, {})
    assert told in str(caught.value)


def test_the_limits_of_monitoring_can_be_set() -> None:
    assert (parse((), {}).monitoring_timeout, parse((), {}).monitoring_max_mib) == (5, 64)
    flags = ("--monitoring-timeout=2s", "--monitoring-max-mib=8", "--monitoring-proxy=http://proxy:3128")
    settings = parse(flags, {"HTTP_PROXY": "http://other:3128"})
    assert (settings.monitoring_timeout, settings.monitoring_max_mib) == (2, 8)
    assert settings.monitoring_proxy == "http://proxy:3128"
    assert parse((), {"HTTP_PROXY": "http://other:3128"}).monitoring_proxy is None


@pytest.mark.parametrize(
    "flag",
    [
        "--monitoring-timeout=0s",
        "--monitoring-timeout=31s",
        "--monitoring-max-mib=0",
        "--monitoring-max-mib=1025",
        "--monitoring-proxy=proxy:3128",
    ],
)
def test_limits_that_cannot_be_are_refused_with_the_name_of_the_flag(flag: str) -> None:
    with pytest.raises(SettingsError, match=flag.partition("=")[0]):
        parse((flag,), {})


def test_spaces_around_commas_do_not_count() -> None:
    environment = {
        "NATSSCALER_NAMESPACE": "ops, misc ,",
        "NATSSCALER_ALLOW_HOSTS": " *.nats.svc , 10.0.0.0/8",
        "NATSSCALER_EVENTS": "Advisories, Doorbell",
    }
    settings = parse((), environment)
    assert settings.namespaces == ("ops", "misc")
    assert settings.allow_hosts == ("*.nats.svc", "10.0.0.0/8")
    assert settings.events == Settings().events


@pytest.mark.parametrize("name", ["ops misc", "Ops", "ops/misc", "-ops", "o" * 64, "*"])
@pytest.mark.parametrize("flag", ["--namespace", "--leader-elect-namespace"])
def test_what_is_no_namespaces_name_is_refused_at_start(flag: str, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse((f"{flag}={name}",), {})
    assert f"{flag} [{named(flag)}]: {name!r} is not the name of a namespace" in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "pattern"),
    [
        *((flag, bad) for flag in HOST_FLAGS for bad in ("nats:8222", "10.0.0.0/33", "a b", "ftp://nats")),
        ("--allow-hosts", "http://nats"),
        *((HOST_FLAGS[1], f"http://{bad}") for bad in ("nats:99999", "u:p@nats", "nats/?a", "[::", "")),
    ],
)
def test_what_is_no_host_is_refused_at_start(flag: str, pattern: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse((f"{flag}={pattern}",), {})
    assert f"{flag} [{named(flag)}]: {pattern!r} is neither a host pattern" in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["nats", "*.nats.svc", "n[ab]-?.svc", "10.0.0.1", "fd00::/8", "::1", "10.0.0.0/8"]
)
def test_hosts_addresses_and_networks_may_be_allowed(pattern: str) -> None:
    assert parse((f"--allow-hosts={pattern}",), {}).allow_hosts == (pattern,)


def test_credentials_may_be_kept_to_an_endpoint() -> None:
    pattern = "https://nats.shop.svc:8222/mon"
    settings = parse((f"--monitoring-credentials-hosts={pattern}",), {})
    assert settings.monitoring_credentials_hosts == (pattern,)


def test_an_unknown_variable_of_the_prefix_is_told_with_what_may_be_meant() -> None:
    (told,) = unknown_variables(
        {"NATSSCALER_REED_BUDGET": "0.1", "NATSSCALER_READ_BUDGET": "0.1", "HOME": "/"}
    )
    name, _, meant = told.partition(" is unknown: ")
    assert name == "The environment variable NATSSCALER_REED_BUDGET"
    assert meant == "did you mean NATSSCALER_READ_BUDGET?"
    (told,) = unknown_variables({"NATSSCALER_METRCS_PORT": "8080"})
    assert told.endswith("did you mean NATSSCALER_METRICS_PORT?")
    (told,) = unknown_variables({"NATSSCALER_XYZ": ""})
    assert told.endswith("is unknown (see natsscaler run --help)")


def test_what_kubernetes_sets_for_services_is_not_told() -> None:
    links = {
        "NATSSCALER_SERVICE_HOST": "10.0.0.1",
        "NATSSCALER_SERVICE_PORT_WEB": "80",
        "NATSSCALER_PORT": "tcp://10.0.0.1:80",
        "NATSSCALER_PORT_80_TCP_ADDR": "10.0.0.1",
        "NATSSCALER_WEB_PORT": "tcp://10.0.0.1:80",
    }
    assert unknown_variables(links) == []
