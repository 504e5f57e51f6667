"""What natsscaler knows and decides. It has no clock, no I/O and no log: time is an argument."""
