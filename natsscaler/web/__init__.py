"""What natsscaler answers over HTTP: the activity page and its JSON, the probes, the metrics."""

from natsscaler.web.server import Health, Leader, Web

__all__ = ["Health", "Leader", "Web"]
