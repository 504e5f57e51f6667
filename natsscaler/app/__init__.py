"""The process: entry points, kopf, health and logs."""
