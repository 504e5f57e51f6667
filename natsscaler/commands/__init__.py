"""`natsscaler explain` and `natsscaler check`: look once and tell, with the caller's rights."""
