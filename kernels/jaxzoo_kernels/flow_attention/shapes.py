"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """q [b, t, h, d], k [b, s, h, d], v [b, s, h, d_v]."""

    b: int
    t: int
    s: int
    h: int
    d: int
    d_v: int
    causal: bool = False


TINY = Shape(2, 19, 13, 2, 5, 3)
CPU = {
    "pixels": Shape(16, 256, 256, 4, 32, 32),
    "language_model": Shape(4, 512, 512, 4, 64, 64, causal=True),
    "long": Shape(1, 4096, 4096, 4, 64, 64, causal=True),
}
GPU = {"long": Shape(2, 16384, 16384, 8, 64, 64, causal=True)}
