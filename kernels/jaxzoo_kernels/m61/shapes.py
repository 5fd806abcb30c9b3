"""Shapes that tests and benchmarks share, by name."""

TINY = {"one": 1, "odd": 77, "blocks": 9000}
"""How many numbers; of folded ones, half a table."""
CPU = {"table": 2**20}
GPU = {"table": 2**26}
