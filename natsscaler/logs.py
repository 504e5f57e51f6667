"""Structured logs: lines for people on a terminal, JSON otherwise."""

import logging.config
import sys

from pythonjsonlogger.core import RESERVED_ATTRS


def configure_logging(level: str) -> None:
    """Log to stderr: lines for people on a terminal, JSON otherwise."""
    people = sys.stderr.isatty()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "people": {"format": "%(asctime)s %(levelname)-7s %(message)s"},
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
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
