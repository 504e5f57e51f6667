"""What a rule would do with given arrivals: the real decision, in virtual time. No clock, no I/O."""
