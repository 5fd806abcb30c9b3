"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """q, k [b, t, h, dk], v [b, t, h, dv] and a gate: "none", "scalar" or "vector"."""

    b: int
    t: int
    h: int
    dk: int
    dv: int
    gate: str = "vector"


TINY = {
    "none": Shape(1, 40, 2, 8, 16, "none"),
    "scalar": Shape(1, 40, 2, 8, 16, "scalar"),
    "vector": Shape(1, 40, 2, 8, 16, "vector"),
}
CPU = {
    "short": Shape(8, 64, 4, 32, 32),
    "language_model": Shape(4, 512, 4, 64, 64),
    "language_model_scalar": Shape(4, 512, 4, 64, 64, "scalar"),
    "language_model_no_gate": Shape(4, 512, 4, 64, 64, "none"),
    "long": Shape(1, 4096, 4, 64, 64),
}
GPU = {
    "many_heads": Shape(1, 8192, 96, 128, 128),
    "few_heads": Shape(2, 16384, 4, 64, 64),
}
