"""Dangerous lines, each broken once: `python -m tests.mutants` shows that some test fails for every one of them."""
