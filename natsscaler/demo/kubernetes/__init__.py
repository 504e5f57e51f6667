"""A small Kubernetes API in memory, for the demo and for tests."""
