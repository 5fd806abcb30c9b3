"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """x [g, m, k], y [g, k, n]."""

    g: int
    m: int
    k: int
    n: int


TINY = {
    "one": Shape(1, 1, 1, 1),
    "odd": Shape(1, 5, 13, 7),
    "heads": Shape(3, 4, 16, 6),
}
CPU = {"square": Shape(1, 512, 512, 512), "attention_scores": Shape(8, 128, 64, 128)}
GPU = {"square": Shape(1, 8192, 8192, 8192)}
