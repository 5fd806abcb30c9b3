"""Multilinear extensions: a table over {0, 1}^n as the polynomial of degree 1 in each variable that passes through it.

    t~(u) = sum_x eq(u, x) t[x],   eq(u, x) = prod_i (u_i x_i + (1 - u_i)(1 - x_i)),   index of x = sum_i x_i 2^i

Bit 0 of the index is the first variable. A function that is a product over the axes of a table, as eq is, is kept as
its factors, one vector per axis: `Factors`. Tables are uint64, NumPy or JAX (jaxzoo.robustness.m61).
"""

import numpy as np

from jaxzoo.robustness.m61 import P, m61_add, m61_dot, m61_mul, m61_sub

Factors = list[np.ndarray]
"""A function on a table that is a product of one vector per axis."""


def mle_fold(table, u):
    """Binds the first variable: t[x] = t[2 x] + u (t[2 x + 1] - t[2 x]).

    Args:
      table: [2 n] uint64 below p.
      u: [] uint64 below p.

    Returns:
      [n] uint64 below p.
    """
    _check_even(table)
    low, high = table[0::2], table[1::2]
    return m61_add(low, m61_mul(u, m61_sub(high, low)))


def mle_eval(table, u):
    """t~(u), by folding.

    Args:
      table: [2^n] uint64 below p.
      u: [n] uint64 below p.

    Returns:
      [] uint64 below p.
    """
    if table.shape != (2 ** len(u),):
        raise ValueError(f"table: expected [{2 ** len(u)}] for {len(u)} variables, got {tuple(table.shape)}")
    for i in range(len(u)):
        table = mle_fold(table, u[i])
    return table[0]


def eq_table(u):
    """eq(u, x) for all x, in NumPy: the weights of the table's entries in t~(u); they sum to 1.

    Args:
      u: n field elements, integers.

    Returns:
      [2^n] uint64 below p.
    """
    table = np.ones(1, np.uint64)
    for u_i in u:
        taken = m61_mul(np.uint64(int(u_i)), table)
        table = np.concatenate([m61_sub(table, taken), taken])
    return table


def outer(vectors: Factors):
    """The table of a product of vectors.

    Args:
      vectors: [n_0], [n_1], ... uint64 below p.

    Returns:
      [n_0, n_1, ...] uint64 below p, NumPy.
    """
    table = vectors[0]
    for vector in vectors[1:]:
        table = m61_mul(table[..., None], vector)
    return table


def contract(table, vectors):
    """sum_x table[x] prod_a vectors[a][x_a]: over all axes, or those whose vector is not None.

    Args:
      table: [n_0, n_1, ...] uint64 below p, NumPy.
      vectors: for each axis [n_a] uint64 below p, or None to keep the axis.

    Returns:
      The table without the axes that have a vector; a Python integer where none is left.
    """
    for axis, vector in enumerate(vectors):  # most of them are mostly 0, in one axis or another
        if vector is not None and not vector.all():
            kept = np.flatnonzero(vector)
            table = np.take(table, kept, axis)
            vectors = [vector[kept] if a == axis else v for a, v in enumerate(vectors)]
    for axis in reversed(range(len(vectors))):
        if vectors[axis] is not None:
            shape = [1] * table.ndim
            shape[axis] = -1
            table = m61_dot(table, vectors[axis].reshape(shape), axis)
    return int(table) if np.ndim(table) == 0 else table


def inner(a: Factors, b: Factors) -> int:
    """The inner product of two products of vectors, axis by axis."""
    total = 1
    for x, y in zip(a, b, strict=True):
        total = total * int(m61_dot(x, y)) % P
    return total


def _check_even(table):
    if table.ndim != 1 or table.shape[0] % 2:
        raise ValueError(f"table: expected [2 n], got {tuple(table.shape)}")
