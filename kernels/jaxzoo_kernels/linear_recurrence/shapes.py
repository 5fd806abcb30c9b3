"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """b [n, t, c]; a the same, or [1, 1, c] if constant in time; (re, im) pairs if complex."""

    n: int
    t: int
    c: int
    constant: bool = False
    complex: bool = False


TINY = {
    "rows": Shape(2, 24, 130),
    "odd": Shape(1, 7, 5),
    "constant": Shape(2, 40, 130, constant=True),
    "complex": Shape(1, 24, 130, complex=True),
    "complex_constant": Shape(2, 7, 130, constant=True, complex=True),
}
CPU = {
    "sequence_model": Shape(4, 2048, 512),
    "long": Shape(1, 16384, 128),
    "diagonal_ssm": Shape(8, 1024, 256, constant=True, complex=True),
}
GPU = {
    "wide": Shape(8, 65536, 1536),
    "diagonal_ssm": Shape(8, 65536, 1024, constant=True, complex=True),
}
