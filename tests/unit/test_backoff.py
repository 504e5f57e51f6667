"""Waits between attempts at a write that fails."""

from natsscaler.core.reasons import Finding, Reason
from natsscaler.reactor.backoff import WAIT_SECONDS, Backoff

WHY = Finding(Reason.KUBERNETES_UNAVAILABLE, "503")


def test_waits_double_up_to_a_minute_and_are_apart_by_chance() -> None:
    backoff, waits = Backoff(), []
    for _ in range(12):
        backoff.failed(100.0, WHY)
        waits.append(backoff.until - 100.0)
    for doublings, wait in enumerate(waits):
        longest = min(WAIT_SECONDS[0] * 2**doublings, 60.0)
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == len(waits)


def test_what_the_api_server_asks_for_is_the_least_wait() -> None:
    backoff = Backoff()
    backoff.failed(100.0, WHY, 30.0)
    assert backoff.until == 130.0


def test_success_begins_with_the_shortest_wait_again() -> None:
    backoff = Backoff()
    for _ in range(9):
        backoff.failed(100.0, WHY)
    backoff.reset()
    assert backoff.until < 100.0
    backoff.failed(100.0, WHY)
    assert backoff.until <= 101.0
