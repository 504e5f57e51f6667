"""Wait, read, decide, act, record. Knows the world only through the Protocols in `ports`."""
