"""What natsscaler answers over HTTP: the activity page and its JSON, the probes, the metrics."""

from natsscaler.web.server import Health, Web
from natsscaler.web.views import Leader

__all__ = ["Health", "Leader", "Web"]
