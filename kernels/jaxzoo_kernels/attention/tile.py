"""The maths of one tile of logits, [..., t, s] with any leading axes, in float32 (float64 for float64).

What belongs to a row (its maximum, sum, lse) is a column, [..., t, 1].
"""

import jax.numpy as jnp
from jax import lax

from .options import Options


def dot(subscripts: str, x, y):
    """A product of matrices accumulated in float32 or float64; float32 operands are not rounded before."""
    dtype = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
    exact = x.dtype in (jnp.float32, jnp.float64)
    precision = lax.Precision.HIGHEST if exact else lax.Precision.DEFAULT
    return jnp.einsum(subscripts, x, y, precision=precision, preferred_element_type=dtype)


def seen(rows, columns, x: dict, options: Options):
    """Which query sees which key, or None for all: `rows` [..., t, 1] and `columns` [..., 1, s] are positions."""
    tests = []
    if options.left is not None:
        tests.append(columns >= rows + (options.offset - options.left))
    if options.right is not None:
        tests.append(columns <= rows + (options.offset + options.right))
    if x["mask"] is not None:
        tests.append(x["mask"])
    if x["q_segments"] is not None:
        tests.append(x["q_segments"] == x["kv_segments"])
    visible = None
    for test in tests:
        visible = test if visible is None else visible & test
    return visible


def k_range(options: Options, row, rows: int, columns: int, count: int):
    """The blocks of `columns` keys, first and past the last of `count`, that queries row .. row + rows - 1 see."""
    position = row + options.offset
    before = None if options.left is None else position - options.left
    after = None if options.right is None else position + rows + options.right
    return _blocks(before, after, columns, count)


def q_range(options: Options, column, rows: int, columns: int, count: int):
    """The blocks of `rows` queries, first and past the last of `count`, that see `columns` keys from `column` on."""
    position = column - options.offset
    before = None if options.right is None else position - options.right
    after = None if options.left is None else position + columns + options.left
    return _blocks(before, after, rows, count)


def _blocks(before, after, size: int, count: int):
    """The blocks of `size`, first and past the last of `count`, that hold places before .. after - 1."""
    # Division that rounds towards 0, as a TPU has it: where it differs from floor the result is below 0 and is clipped.
    first = 0 if before is None else lax.div(jnp.asarray(before, jnp.int32), jnp.int32(size))
    last = count if after is None else lax.div(jnp.asarray(after + size - 1, jnp.int32), jnp.int32(size))
    return jnp.clip(first, 0, count), jnp.clip(last, 0, count)


def logits(q, k, rows, columns, x: dict, options: Options):
    """(logits, -inf where unseen; their derivative by the product q k).

    Args:
        q: [..., t, d]. k: [..., s, d].
        rows, columns: as in `seen`.
        x: the tile's part of bias, mask [..., t, s] and segments [..., t, 1], [..., 1, s], axes of size 1 allowed.
    """
    value = dot("...td,...sd->...ts", q, k) * options.scale
    slope = options.scale
    if options.softcap is not None:
        value = jnp.tanh(value / options.softcap)
        slope = slope * (1 - value * value)
        value = value * options.softcap
    if x["bias"] is not None:
        value = value + x["bias"].astype(value.dtype)
    visible = seen(rows, columns, x, options)
    if visible is not None:
        value = jnp.where(visible, value, -jnp.inf)
    return value, slope


def finite(lse):
    """A row that sees nothing has lse -inf; with 0 in its place every weight exp(-inf - 0) is 0 and no NaN appears."""
    return jnp.where(lse == -jnp.inf, 0.0, lse)


def weights(value, lse):
    """exp(logits - lse): the row's softmax."""
    return jnp.exp(value - finite(lse))


def absorb(state, value, v):
    """(maximum so far, sum, weighted sum of v [..., t, d_v]) of the rows after another tile; None before the first."""
    if state is None:
        top = value.max(-1, keepdims=True)
        p = weights(value, top)
        return top, p.sum(-1, keepdims=True), dot("...ts,...sd->...td", p.astype(v.dtype), v)
    top, total, acc = state
    new_top = jnp.maximum(top, value.max(-1, keepdims=True))
    p, shrink = weights(value, new_top), jnp.exp(top - finite(new_top))
    product = dot("...ts,...sd->...td", p.astype(v.dtype), v)
    return new_top, total * shrink + p.sum(-1, keepdims=True), acc * shrink + product


def finish(state, gate):
    """(o [..., t, d_v], lse) of rows that have seen all their tiles; `gate` is None or [..., t, d_v]."""
    top, total, acc = state
    some = jnp.where(total == 0, 1.0, total)
    o = acc / some
    if gate is not None:
        o = o / (1 + jnp.exp(-gate.astype(o.dtype)))
    return o, top + jnp.log(some)


def tangents(value, slope, lse, q, k, v, tangents, bias_tangent):
    """The tile's part of y = sum_j p_j (ds_j v_j + dv_j) [..., t, d_v] and of r = sum_j p_j ds_j."""
    dq, dk, dv = tangents
    p = weights(value, lse)
    ds = (dot("...td,...sd->...ts", dq, k) + dot("...td,...sd->...ts", q, dk)) * slope
    if bias_tangent is not None:
        ds = ds + bias_tangent.astype(ds.dtype)
    weighted = p * ds
    y = dot("...ts,...sd->...td", weighted.astype(v.dtype), v) + dot("...ts,...sd->...td", p.astype(v.dtype), dv)
    return y, weighted.sum(-1, keepdims=True)


def cotangents(value, slope, lse, q, k, v, ct_y, ct_r):
    """The tile's part of the cotangents of q [..., t, d], k and v, both [..., d, s], and of the logits [..., t, s].

    Those of k and v come transposed because "td,ts->ds" is the faster of the two products on CPU.
    """
    p = weights(value, lse)
    ct_value = p * (dot("...td,...sd->...ts", ct_y, v) + ct_r)
    ct_product = (ct_value * slope).astype(k.dtype)
    ct_v = dot("...td,...ts->...ds", ct_y, p.astype(v.dtype))
    ct_k = dot("...td,...ts->...ds", q, ct_product)
    return dot("...ts,...sd->...td", ct_product, k), ct_k, ct_v, ct_value
