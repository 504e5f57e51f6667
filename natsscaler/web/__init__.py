"""What natsscaler answers over HTTP: the activity page and its JSON, the probes, the metrics."""

from natsscaler.web.api import Leader
from natsscaler.web.server import Health, Web

__all__ = ["Health", "Leader", "Web"]
