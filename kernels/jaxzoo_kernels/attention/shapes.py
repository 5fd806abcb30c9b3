"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """q [b, t, h, d], k and v [b, s, h_kv, d], gate [b, t, h, d] if gated."""

    b: int
    t: int
    s: int
    h: int
    h_kv: int
    d: int
    causal: bool = False
    gated: bool = False


TINY = Shape(2, 19, 13, 4, 2, 5)
CPU = {
    "encoder": Shape(2, 1024, 1024, 8, 8, 64),
    "language_model": Shape(2, 1024, 1024, 8, 8, 64, causal=True),
    "language_model_gated": Shape(2, 1024, 1024, 8, 8, 64, causal=True, gated=True),
    "grouped": Shape(2, 1024, 1024, 8, 2, 64, causal=True),
    "small": Shape(16, 128, 128, 4, 4, 32, causal=True),
}
GPU = {
    "encoder": Shape(4, 4096, 4096, 16, 16, 128),
    "language_model": Shape(4, 4096, 4096, 16, 16, 128, causal=True),
    "language_model_gated": Shape(4, 4096, 4096, 16, 16, 128, causal=True, gated=True),
    "narrow_heads": Shape(4, 4096, 4096, 16, 16, 64, causal=True),
    "decode": Shape(8, 1, 8192, 32, 8, 128),
}
