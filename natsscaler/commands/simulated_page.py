"""Simulations as one page that needs nothing else: figures, and charts that zoom."""

from importlib.resources import files

import msgspec

from natsscaler.simulate.report import LABELS, Document

PLACE = "/*DATA*/null"


def page(made: Document) -> str:
    """Write the page; what names say cannot end the script that it is in."""
    data = msgspec.json.encode({"document": made, "labels": dict(LABELS)}).decode()
    template = files("natsscaler.commands").joinpath("simulated.html").read_text()
    return template.replace(PLACE, data.replace("<", "\\u003c"))
