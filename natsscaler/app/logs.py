"""Structured logs: lines for people on a terminal, JSON otherwise."""

import logging.config
import sys
from datetime import UTC, datetime

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


class _Dated(logging.Formatter):
    """Times as RFC 3339 has them, in UTC."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - its name in logging
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _DatedJson(_Dated, JsonFormatter):
    """The same, for machines."""


def configure_logging(level: str) -> None:
    """Log to stderr: lines for people on a terminal, JSON otherwise."""
    people = sys.stderr.isatty()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "people": {"()": _Dated, "fmt": "%(asctime)s %(levelname)-7s %(message)s"},
                "json": {
                    "()": _DatedJson,
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "reserved_attrs": [*RESERVED_ATTRS, "settings", "k8s_skip"],  # kopf's own, not for logs
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                },
            },
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": "people" if people else "json",
                }
            },
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {
                "natsscaler": {"level": level.upper()},
                "kopf": {"level": "DEBUG" if level == "debug" else "WARNING"},
            },
        }
    )
