"""Kernels for JAX: one function per op, the best implementation chosen for each platform as the program is lowered."""

from ._core import explain
from .gated_linear_attention import gated_linear_attention, gated_linear_attention_step
from .l_mul import l_mul, l_mul_matmul
from .linear_recurrence import linear_recurrence

__all__ = [
    "explain",
    "gated_linear_attention",
    "gated_linear_attention_step",
    "l_mul",
    "l_mul_matmul",
    "linear_recurrence",
]
