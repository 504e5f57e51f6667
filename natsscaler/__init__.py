"""Scales Kubernetes Deployments on NATS JetStream backlog, by events instead of polling."""

__version__ = "0.1.0"
