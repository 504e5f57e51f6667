"""From what NATS says to a backlog, or to Unknown with the reason."""
