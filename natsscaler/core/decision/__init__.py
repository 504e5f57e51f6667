"""How many replicas there should be: a fold of small steps over a situation."""
