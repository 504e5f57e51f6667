"""How reading a monitoring endpoint fails, and what is said of it."""

import pytest

from natsscaler.core.reasons import Reason
from tests.support.faulty_monitoring import changed, cut_off, never, status, with_fields

FAULTS = [
    pytest.param(status(500), Reason.MONITORING_HTTP_STATUS, id="error-500"),
    pytest.param(status(401), Reason.MONITORING_HTTP_STATUS, id="unauthorized"),
    pytest.param(status(302, Location="/varz"), Reason.MONITORING_HTTP_STATUS, id="redirect"),
    pytest.param(
        changed(lambda truth: truth[: len(truth) // 2]), Reason.MONITORING_UNREADABLE, id="truncated"
    ),
    pytest.param(cut_off, Reason.MONITORING_UNREACHABLE, id="cut-off"),
    pytest.param(changed(lambda _: b"<html>"), Reason.MONITORING_UNREADABLE, id="not-json"),
    pytest.param(changed(lambda _: b"[]"), Reason.MONITORING_UNREADABLE, id="another-shape"),
    pytest.param(changed(lambda truth: truth + 2**21 * b" "), Reason.MONITORING_TOO_LARGE, id="too-large"),
    pytest.param(
        with_fields(now="2026-01-01T00:00:00Z"), Reason.MONITORING_STALE, id="a-clock-that-stands-still"
    ),
    pytest.param(with_fields(account_details=[]), Reason.MONITORING_INCOMPLETE, id="accounts-are-missing"),
    pytest.param(
        changed(lambda _: b'{"server_id": "X", "now": "2026-01-01T00:00:00Z", "disabled": true}'),
        Reason.LEADER_UNCLEAR,
        id="another-server",
    ),
    pytest.param(
        with_fields(disabled=True, account_details=[], total=0), Reason.JETSTREAM_DISABLED, id="disabled"
    ),
    pytest.param(never, Reason.MONITORING_TIMEOUT, id="no-answer"),
]
