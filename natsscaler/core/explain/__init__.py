"""The words for people: a decision told step by step, a rule's state in a few words."""
