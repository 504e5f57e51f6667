"""What natsscaler answers over HTTP: the activity page and its JSON, the probes, the metrics."""
