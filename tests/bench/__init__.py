"""Measurements from outside: the operator runs unchanged, as a process of its own."""
