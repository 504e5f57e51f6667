"""What is kept for those who look: the state and past of every rule, and metrics."""
