"""What the products share: leading axes folded into one, sums of terms that no dot product computes, tangents."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from .checks import check_shape

BLOCK = 4  # terms per pass over the accumulator; XLA may write so many of them out before it adds them


def check_matmul(names, x, y) -> None:
    """Raises unless x [..., m, k] and y [..., k, n] can be multiplied."""
    check_shape(names[0], x, "[..., m, k]", x.ndim >= 2)
    check_shape(names[1], y, f"[..., {x.shape[-1]}, n]", y.ndim >= 2 and y.shape[-2] == x.shape[-1])
    pairs = zip(x.shape[-3::-1], y.shape[-3::-1], strict=False)
    fits = all(p == q or 1 in (p, q) for p, q in pairs)
    check_shape(names[1], y, f"leading axes broadcastable to {names[0]}'s {x.shape[:-2]}", fits)


def fold(x, y):
    """x [..., m, k] and y [..., k, n] as [g or 1, m, k] and [g or 1, k, n], and the shape of their product.

    A matrix y is read once: the leading axes of x are then rows of one long matrix.
    """
    lead = jnp.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    shape = (*lead, x.shape[-2], y.shape[-1])
    if math.prod(y.shape[:-2]) == 1:
        return x.reshape(1, math.prod(x.shape[:-1]), x.shape[-1]), y.reshape(1, *y.shape[-2:]), shape

    def group(z):
        if math.prod(z.shape[:-2]) == 1:
            return z.reshape(1, *z.shape[-2:])
        return jnp.broadcast_to(z, (*lead, *z.shape[-2:])).reshape(math.prod(lead), *z.shape[-2:])

    return group(x), group(y), shape


def product(x, y, dtype, precision=lax.Precision.HIGHEST):
    """x [g or 1, m, k] times y [g or 1, k, n] as [g, m, n], accumulated in `dtype` with nothing rounded before."""
    options = {"precision": precision, "preferred_element_type": dtype}
    (g, m, k), n = x.shape, y.shape[-1]
    if y.shape[0] == 1:
        return lax.dot(x.reshape(g * m, k), y[0], **options).reshape(g, m, n)
    x = jnp.broadcast_to(x, (y.shape[0], m, k))
    return lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,))), **options)


def outer_sum(term, left, right, dtype):
    """sum_k term(left_k, right_k), a few k at a time: [g, m, k, n] is never in memory.

    Args:
        term: `term(*left_k, *right_k)`, arrays [g or 1, m, k, 1] and [g or 1, 1, k, n] -> [g, m, k, n] of `dtype`.
        left: tuple of [g or 1, m, k]. right: tuple of [g or 1, k, n].
        dtype: of the accumulator.

    Returns:
        [g, m, n]. Terms are added within a block of `BLOCK` first, which also keeps long sums accurate.
    """
    (g_left, m, k), (g_right, _, n) = left[0].shape, right[0].shape
    whole = k - k % BLOCK

    def partial(start, count):
        left_k = (lax.dynamic_slice_in_dim(x, start, count, 2)[..., None] for x in left)  # [g or 1, m, count, 1]
        right_k = (lax.dynamic_slice_in_dim(x, start, count, 1)[:, None] for x in right)  # [g or 1, 1, count, n]
        return jnp.sum(term(*left_k, *right_k), 2, dtype=dtype)

    total = jnp.zeros((max(g_left, g_right), m, n), dtype)
    if whole:
        total = lax.fori_loop(0, whole // BLOCK, lambda i, total: total + partial(i * BLOCK, BLOCK), total)
    return total + partial(whole, k - whole) if whole < k else total


def tangent_of(function, primals, tangents):
    """The tangent of `function(*primals)`, or None where all tangents are None."""
    known = [i for i, t in enumerate(tangents) if t is not None]
    if not known:
        return None

    def of_known(*chosen):
        full = list(primals)
        for i, x in zip(known, chosen, strict=True):
            full[i] = x
        return function(*full)

    return jax.jvp(of_known, [primals[i] for i in known], [tangents[i] for i in known])[1]


def elementwise_batch(op):
    """The batching rule of an op whose operands all have the output's shape."""

    def rule(operands, axes, size, **params):
        fronted = (
            jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
            for x, axis in zip(operands, axes, strict=True)
        )
        outputs = op(*fronted, **params)
        return outputs, [0] * len(outputs)

    return rule
