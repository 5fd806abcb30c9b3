"""The maths of one tile of logits, [..., t, s] with any leading axes, in float32 (float64 for float64)."""

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
    """exp(logits - lse), lse [..., t]: the row's softmax."""
    return jnp.exp(value - finite(lse)[..., None])


def tangents(value, slope, lse, q, k, v, tangents, bias_tangent):
    """The tile's part of y = sum_j p_j (ds_j v_j + dv_j) [..., t, d_v] and of r = sum_j p_j ds_j [..., t]."""
    dq, dk, dv = tangents
    p = weights(value, lse)
    ds = (dot("...td,...sd->...ts", dq, k) + dot("...td,...sd->...ts", q, dk)) * slope
    if bias_tangent is not None:
        ds = ds + bias_tangent.astype(ds.dtype)
    weighted = p * ds
    y = dot("...ts,...sd->...td", weighted.astype(v.dtype), v) + dot("...ts,...sd->...td", p.astype(v.dtype), dv)
    return y, weighted.sum(-1)


def cotangents(value, slope, lse, q, k, v, ct_y, ct_r):
    """The tile's part of the cotangents of q [..., t, d], k and v, both [..., d, s], and of the logits [..., t, s].

    Those of k and v come transposed because "td,ts->ds" is the faster of the two products on CPU.
    """
    p = weights(value, lse)
    ct_value = p * (dot("...td,...sd->...ts", ct_y, v) + ct_r[..., None])
    ct_product = (ct_value * slope).astype(k.dtype)
    ct_v = dot("...td,...ts->...ds", ct_y, p.astype(v.dtype))
    ct_k = dot("...td,...ts->...ds", q, ct_product)
    return dot("...ts,...sd->...td", ct_product, k), ct_k, ct_v, ct_value
