"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """q [b, t, h, d], k1 [b, s1, h, d], k2 [b, s2, h, d], v1 and v2 likewise with d_v."""

    b: int
    t: int
    s1: int
    s2: int
    h: int
    d: int
    d_v: int


TINY = Shape(2, 7, 6, 9, 2, 4, 3)
CPU = {
    "square": Shape(1, 128, 128, 128, 2, 32, 32),
    "batch": Shape(16, 32, 32, 32, 4, 16, 16),
}
GPU = {"head": Shape(1, 512, 512, 512, 8, 64, 64)}
