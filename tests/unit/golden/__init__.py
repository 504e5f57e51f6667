"""What is decided in some hundred situations, written down: a change of any decision shows in a diff.

`python -m tests.unit.golden` writes the files anew. Read the diff before you commit it: a number or a reason
that is not the same is another decision for somebody's Deployment.
"""
