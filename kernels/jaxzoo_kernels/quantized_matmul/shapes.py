"""Shapes that tests and benchmarks share, by name."""

from typing import NamedTuple


class Shape(NamedTuple):
    """x [m, k] of dtype x, w [k, n] of dtype w, with `groups` scales along k per column."""

    m: int
    k: int
    n: int
    x: str
    w: str
    groups: int = 1


TINY = {
    "int8": Shape(5, 24, 7, "int8", "int8"),
    "int8_groups": Shape(5, 24, 7, "int8", "int8", 3),
    "int8_weights": Shape(5, 24, 7, "float32", "int8"),
    "int4_weights": Shape(5, 24, 7, "float32", "int4", 3),
    "int4_weights_bfloat16": Shape(5, 24, 7, "bfloat16", "int4", 3),
    "int4_weights_float16": Shape(5, 24, 7, "float16", "int4"),
    "int8_by_int4": Shape(5, 24, 7, "int8", "int4", 2),
    "e4m3": Shape(5, 24, 7, "float8_e4m3fn", "float8_e4m3fn", 3),
    "e5m2_by_e4m3": Shape(5, 24, 7, "float8_e5m2", "float8_e4m3fn"),
    "e4m3_weights": Shape(5, 24, 7, "bfloat16", "float8_e4m3fn"),
}
CPU = {
    "int8": Shape(256, 1024, 1024, "int8", "int8"),
    "decode": Shape(1, 4096, 4096, "float32", "int4", 32),
    "prefill": Shape(256, 1024, 1024, "float32", "int4", 8),
}
GPU = {
    "int8": Shape(8192, 8192, 8192, "int8", "int8"),
    "decode": Shape(8, 8192, 8192, "bfloat16", "int4", 64),
    "e4m3": Shape(8192, 8192, 8192, "float8_e4m3fn", "float8_e4m3fn"),
}
