"""What a person who runs the operator reads in its log."""

import socket
from functools import partial

from natsscaler.demo.ports import free_ports
from tests.support.stage import LONG, Stage, listening


async def test_a_port_that_is_taken_is_told_in_one_line_with_its_flag_and_variable(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await stage.start("--host", "127.0.0.1", "--probe-port", str(port))
        assert await stage.exit_status() == 2
    logged = await stage.logged()
    own = [entry for entry in logged if entry["logger"].startswith("natsscaler")]
    (told,) = [entry["message"] for entry in own if entry["level"] == "ERROR"]
    assert told == (
        f"--probe-port [NATSSCALER_PROBE_PORT]: cannot listen on 127.0.0.1:{port}:"
        " Address already in use; choose another port, or 0 to turn it off"
    )
    assert not any("exc_info" in entry for entry in own)


async def test_an_unknown_variable_of_natsscalers_is_warned_of_at_start(stage: Stage) -> None:
    await stage.start(environment={"NATSSCALER_REED_BUDGET": "0.5"})
    await stage.becomes("WARNING", partial(stage.has_logged, "did you mean NATSSCALER_READ_BUDGET?"))


async def test_the_ports_and_the_pages_address_are_logged_at_start(stage: Stage) -> None:
    page, probe, metrics = free_ports(3)
    ports = ("--activity-port", str(page), "--probe-port", str(probe), "--metrics-port", str(metrics))
    await stage.start("--host", "127.0.0.1", *ports)
    for told in (
        f"The page is at http://127.0.0.1:{page}/",
        f"The probes are at http://127.0.0.1:{probe}/healthz and /readyz",
        f"The metrics are at http://127.0.0.1:{metrics}/metrics",
    ):
        await stage.becomes("INFO", partial(stage.has_logged, told))


async def test_a_rule_that_turns_bad_is_a_warning_and_one_that_recovers_is_not(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    await stage.start()
    await listening(stage)
    await stage.delete_deployment()
    await stage.becomes("WARNING", partial(stage.has_logged, ": TargetNotFound: "))
    await stage.create_deployment()
    await stage.becomes("INFO", partial(stage.has_logged, ": ReadyForNewScale: "))
