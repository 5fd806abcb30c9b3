"""Attention in pure lax, all heads at once: for short sequences, for accelerators without a kernel, for any derivative.

Queries are taken in blocks of rows, each against all keys, so that no more than `LARGEST` logits exist at a time; where
all of them fit there is one block and no loop. Within a block the queries of the heads that share a key head lie one
after the other, [b, g, n, d] with n = (h / g) rows, so that grouped heads are one product per key head.
"""

import jax
import jax.numpy as jnp
from jax import lax

from .options import Options, even, named
from .tile import cotangents, dot, finish, logits, tangents, weights

LARGEST = 1 << 25  # logits at a time

# The axis of t in every operand that has one.
TIME = {"q": 1, "bias": 2, "mask": 2, "q_segments": 1, "gate": 1, "lse": 2, "dq": 1, "dbias": 2, "ct_y": 1, "ct_r": 2}


def forward(*operands, options: Options):
    """[o [b, t, h, d_v], lse [b, h, t]]."""
    x = named(operands, options)
    q, k, v, sink = x["q"], heads_first(x["k"]), heads_first(x["v"]), x["sink"]

    def block(carry, rows, x):
        value, _ = _logits(x, k, rows, options)
        top = value.max(-1, initial=-jnp.inf, keepdims=True)
        total = jnp.zeros_like(top)
        if sink is not None:
            sinks = _of_rows(jnp.repeat(sink[..., None], rows.size, 2), k).astype(top.dtype)
            top = jnp.maximum(top, sinks)
            total = weights(sinks, top)
        p = weights(value, top)
        product = dot("...ts,...sd->...td", p.astype(v.dtype), v)
        gate = None if x["gate"] is None else _grouped(x["gate"], k)
        o, lse = finish((top, total + p.sum(-1, keepdims=True), product), gate)
        return carry, (_heads_last(o, q).astype(q.dtype), _per_head(lse, q))

    return list(_over_rows(block, (), x, (1, 2))[1])


def tangent(*operands, with_bias: bool, options: Options):
    """[y [b, t, h, d_v], r [b, h, t]], see `tile.tangents`.

    Operands: those of the logits, lse, and tangents of q, k, v and, if told so, of the bias.
    """
    count = len(options.names())
    lse, dq, dk, dv, *dbias = operands[count:]
    x = named(operands[:count], options) | {"lse": lse, "dq": dq, "dbias": dbias[0] if with_bias else None}
    q, k, v, dk, dv = x["q"], *(heads_first(a) for a in (x["k"], x["v"], dk, dv))

    def block(carry, rows, x):
        value, slope = _logits(x, k, rows, options)
        dbias = None if x["dbias"] is None else _square(x["dbias"], q, k, rows.size)
        given = _grouped(x["dq"], k), dk, dv
        y, r = tangents(value, slope, _of_rows(x["lse"], k), _grouped(x["q"], k), k, v, given, dbias)
        return carry, (_heads_last(y, q), _per_head(r, q))

    return list(_over_rows(block, (), x, (1, 2))[1])


def backward(*operands, with_bias: bool, options: Options):
    """[cotangents of q, k, v and, if told so, of the bias].

    Operands: those of the logits, lse, and cotangents of y and r, see `tile.tangents`.
    """
    count = len(options.names())
    lse, ct_y, ct_r = operands[count:]
    x = named(operands[:count], options) | {"lse": lse, "ct_y": ct_y.astype(operands[0].dtype), "ct_r": ct_r}
    q, k, v, bias = x["q"], heads_first(x["k"]), heads_first(x["v"]), x["bias"]
    summed = with_bias and bias.shape[2] == 1

    def block(sums, rows, x):
        value, slope = _logits(x, k, rows, options)
        lse, ct_r = (_of_rows(x[name], k) for name in ("lse", "ct_r"))
        ct_q, *cts, ct_value = cotangents(value, slope, lse, _grouped(x["q"], k), k, v, _grouped(x["ct_y"], k), ct_r)
        stacked = (_heads_last(ct_q, q).astype(q.dtype),)
        if with_bias:
            ct_bias = ct_value.reshape(*q.shape[0:3:2], rows.size, k.shape[2])
            repeated = tuple(axis for axis in range(4) if bias.shape[axis] == 1)
            (cts if summed else (stacked := list(stacked))).append(ct_bias.sum(repeated, keepdims=True))
        return tuple(x + ct for x, ct in zip(sums, cts, strict=True)), tuple(stacked)

    sums = [jnp.zeros((*a.shape[:2], a.shape[3], a.shape[2]), lse.dtype) for a in (k, v)]
    sums += [jnp.zeros(bias.shape, lse.dtype)] if summed else []
    (ct_k, ct_v, *of_bias), (ct_q, *stacked) = _over_rows(block, tuple(sums), x, (1, 2))
    ct_k, ct_v = (jnp.transpose(ct, (0, 3, 1, 2)).astype(a.dtype) for ct, a in ((ct_k, k), (ct_v, v)))
    return [ct_q, ct_k, ct_v, *(ct.astype(bias.dtype) for ct in (*of_bias, *stacked))]


def _over_rows(block, carry, x: dict, axes):
    """Runs `block(carry, rows [n], x) -> (carry, outputs)` over blocks of queries; outputs have t at `axes`."""
    (b, t, h, _), s = x["q"].shape, x["k"].shape[1]
    count, size = even(t, max(1, LARGEST // max(1, b * h * s)))
    if count == 1:
        return block(carry, jnp.arange(t), x)
    # Rows of zeros after the last query take part; their cotangents are zero, and what they give is cut off.
    cut = {name: _blocks(a, TIME[name], count, size, t) for name, a in x.items() if _has_rows(name, a)}
    whole = {name: a for name, a in x.items() if name not in cut}

    @jax.checkpoint
    def body(carry, given):
        rows, cut = given
        return block(carry, rows, whole | cut)

    carry, outputs = lax.scan(body, carry, (jnp.arange(count * size).reshape(count, size), cut))
    outputs = [jnp.moveaxis(out, 0, axis) for out, axis in zip(outputs, axes, strict=False)]  # [.., count, size, ..]
    merged = (
        out.reshape(*out.shape[:axis], count * size, *out.shape[axis + 2 :])
        for out, axis in zip(outputs, axes, strict=False)
    )
    return carry, tuple(lax.slice_in_dim(out, 0, t, axis=axis) for out, axis in zip(merged, axes, strict=False))


def _has_rows(name, a):
    return name in TIME and a is not None and a.shape[TIME[name]] != 1


def _blocks(a, axis, count, size, t):
    a = jnp.pad(a, [(0, count * size - t if i == axis else 0) for i in range(a.ndim)])
    return jnp.moveaxis(a.reshape(*a.shape[:axis], count, size, *a.shape[axis + 1 :]), axis, 0)


def _logits(x, k, rows, options):
    """`tile.logits` of a block of rows."""
    q, per_group = x["q"], x["q"].shape[2] // k.shape[1]
    extra = {name: None if x[name] is None else _square(x[name], q, k, rows.size) for name in ("bias", "mask")}
    of_q, of_kv = x["q_segments"], x["kv_segments"]
    extra["q_segments"] = None if of_q is None else jnp.tile(of_q, per_group)[:, None, :, None]
    extra["kv_segments"] = None if of_kv is None else of_kv[:, None, None]
    rows = jnp.tile(rows, per_group)[None, None, :, None]
    columns = jnp.arange(k.shape[2])[None, None, None]
    return logits(_grouped(q, k), k, rows, columns, extra, options)


def heads_first(x):
    return jnp.transpose(x, (0, 2, 1, 3))  # [b, g, s, d]


def _grouped(q, k):
    """[b, t, h, d] -> [b, g, n, d]."""
    b, t, h, d = q.shape
    return heads_first(q).reshape(b, k.shape[1], h // k.shape[1] * t, d)


def _heads_last(x, q):
    """[b, g, n, d] -> [b, t, h, d]."""
    b, g, n, d = x.shape
    return heads_first(x.reshape(b, q.shape[2], g * n // q.shape[2], d))


def _of_rows(x, k):
    """[b, h, t] -> [b, g, n, 1]."""
    b, h, t = x.shape
    return x.reshape(b, k.shape[1], h // k.shape[1] * t, 1)


def _per_head(x, q):
    """[b, g, n, 1] -> [b, h, t]."""
    b, g, n, _ = x.shape
    return x.reshape(b, q.shape[2], g * n // q.shape[2])


def _square(x, q, k, t):
    """[b, h, t, s] -> [b, g, n, s], axes of size 1 kept where they can be."""
    if q.shape[2] == k.shape[1] or x.shape[1] == x.shape[2] == 1:
        return x
    heads, groups = (q.shape[2], k.shape[1]) if x.shape[1] > 1 else (q.shape[2] // k.shape[1], 1)
    return jnp.broadcast_to(x, (x.shape[0], heads, t, x.shape[3])).reshape(x.shape[0], groups, -1, x.shape[3])
