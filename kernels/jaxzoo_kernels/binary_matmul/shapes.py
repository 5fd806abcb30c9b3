"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """x [m, k], w [k, n] before packing."""

    m: int
    k: int
    n: int


TINY = {
    "one": Shape(1, 1, 1),
    "one_word": Shape(3, 32, 5),
    "odd": Shape(4, 100, 7),
    "many_words": Shape(2, 63 * 32 + 1, 3),
}
CPU = {"square": Shape(1024, 1024, 1024), "vector": Shape(1, 4096, 4096)}
GPU = {"square": Shape(8192, 8192, 8192)}
