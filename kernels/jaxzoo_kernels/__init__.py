"""Kernels for JAX: one function per op, the best implementation chosen for each platform as the program is lowered."""

from ._core import explain
from .linear_recurrence import linear_recurrence

__all__ = ["explain", "linear_recurrence"]
