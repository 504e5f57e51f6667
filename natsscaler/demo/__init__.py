"""A live demonstration on one machine: a real nats-server and a small Kubernetes API, both on free ports."""
