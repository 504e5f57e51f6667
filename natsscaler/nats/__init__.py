"""All that talks to NATS: monitoring endpoints over HTTP, and connections that ring when messages arrive."""
