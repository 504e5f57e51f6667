"""Flags and environment of `natsscaler run`."""

import pathlib

import pytest

from natsscaler.errors import SettingsError
from natsscaler.settings import parse

ELECT = ("--leader-elect", "--leader-elect-namespace", "here")


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
    ("duration", "deadline"), [("10s", "10s"), ("9s", "10s"), ("15s", "1s"), ("15s", "0s"), ("61m", "10s")]
)
def test_a_deadline_must_leave_the_lease_some_time(duration: str, deadline: str) -> None:
    flags = ("--leader-elect-lease-duration", duration, "--leader-elect-renew-deadline", deadline)
    with pytest.raises(SettingsError, match=r"--leader-elect-renew-deadline .* shorter"):
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
