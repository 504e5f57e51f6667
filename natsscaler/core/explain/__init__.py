"""The words for people: each reason's fix, and a decision told step by step."""
