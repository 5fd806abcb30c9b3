"""Third-order (tensor, triple-wise) attention: a query attends to pairs of keys.

    x_ijk = scale sum_c q_ic k1_jc k2_kc,   o_i = sum_jk softmax_jk(x_i)_jk v1_j * v2_k,

one softmax over all pairs. With a query q_i * k1_j for every pair (i, j) it is ordinary attention over k,

    o_ij = sum_k softmax_k(x_ijk) v2_k,   lse_ij = log sum_k exp(x_ijk),
    o_i = sum_j softmax_j(lse_i)_j v1_j * o_ij,

so the attention op does the work and brings its tiles, its kernels and its derivatives. The queries of a block of j are
laid out as heads that share one key head: [t, h * block, d] against [s2, h, d]. Blocks are merged by their lse. Of the
t s1 s2 products only a tile exists at a time; beyond the operands memory is that of one block and of one partial result
per block. Bound by the matrix products, 2 t s1 s2 (d + d_v) operations per head, and at small d by the t s1 s2
exponentials.

With `causal` the pairs (i, j) above the diagonal are computed and dropped: a half of the work is skipped instead of two
thirds. Skipping them too would take blocks of queries as well, and tiles too small for CPU.
"""

import functools

import jax
import jax.numpy as jnp

from .._core import check_floating, check_shape
from ..attention import attention

__all__ = ["third_order_attention"]

LARGEST = 1 << 22  # numbers in the queries of one block of j


def third_order_attention(
    q,
    k1,
    k2,
    v1,
    v2,
    *,
    mask1=None,
    mask2=None,
    causal: bool = False,
    scale: float | None = None,
    return_lse: bool = False,
    implementation: str | None = None,
):
    """Attention of every query to pairs of keys, without ever holding the t s1 s2 weights.

        o_i = sum_jk p_ijk v1_j * v2_k,   p_i = softmax over seen pairs (j, k) of scale sum_c q_ic k1_jc k2_kc,

    per head. Logits and sums are float32 (float64 for float64). A query that sees no pair gives 0 and an lse of -inf.

    Args:
        q: [..., t, h, d] queries. float16, bfloat16, float32 or float64; the others have the same dtype.
        k1: [..., s1, h, d] first keys.
        k2: [..., s2, h, d] second keys.
        v1: [..., s1, h, d_v] first values.
        v2: [..., s2, h, d_v] second values.
        mask1: booleans broadcastable to [..., h, t, s1], False where a query must not see a first key.
        mask2: booleans broadcastable to [..., h, t, s2], likewise for second keys.
        causal: query i sees pairs of keys 0 .. i.
        scale: factor of the logits, d^-0.5 if None; the paper's own is 1 / d.
        return_lse: give lse as well.
        implementation: as for `attention`.

    Returns:
        o: [..., t, h, d_v], q's dtype. With return_lse, a pair of it and lse: [..., t, h], float32 (float64 for
        float64): the logarithm of the sum over pairs.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that can't be. NotImplementedError: a named
            implementation that can't run, and why.

    Source: Alman & Song, "How to Capture Higher-order Correlations?" (arXiv 2310.04064), definition 1.1.
    """
    arrays = {"q": q, "k1": k1, "k2": k2, "v1": v1, "v2": v2}
    arrays = {name: jnp.asarray(x) for name, x in arrays.items()}
    _check(**arrays)
    masks = [
        _checked_mask(name, m, arrays["q"], arrays[k])
        for name, m, k in (("mask1", mask1, "k1"), ("mask2", mask2, "k2"))
    ]
    scale = arrays["q"].shape[-1] ** -0.5 if scale is None else float(scale)
    o, lse = _third_order_attention(*arrays.values(), *masks, causal=causal, scale=scale, implementation=implementation)
    return (o, lse) if return_lse else o


@functools.partial(jax.jit, static_argnames=("causal", "scale", "implementation"))
def _third_order_attention(q, k1, k2, v1, v2, mask1, mask2, *, causal, scale, implementation):
    (*lead, t, h, d), (s1, d_v) = q.shape, (k1.shape[-3], v1.shape[-1])
    size = min(max(s1, 1), max(1, LARGEST // max(1, q.size // max(d, 1) * max(d, d_v))))
    count = max(1, -(-s1 // size))
    j = jnp.arange(count * size).reshape(count, size)
    cut = functools.partial(_blocks, count=count, size=size)
    # What pads the last block of first keys is hidden like any other masked key.
    first_seen = (j < s1)[(slice(None), *[None] * len(lead), None, None)]  # [count, ..., 1, 1, size]
    if mask1 is not None:
        wide = mask1 if mask1.shape[-1] == s1 else jnp.broadcast_to(mask1, (*mask1.shape[:-1], s1))
        first_seen &= cut(wide, axis=wide.ndim - 1)

    @jax.checkpoint
    def block(given):
        j, k1, v1, seen = given
        pairs = (q[..., None, :] * jnp.moveaxis(k1, -3, -2)[..., None, :, :, :]).reshape(*lead, t, h * size, d)
        of_pairs = mask2 if mask2 is None or mask2.shape[-3] == 1 else jnp.repeat(mask2, size, -3)
        o, lse = attention(
            pairs, k2, v2, mask=of_pairs, causal=causal, scale=scale, return_lse=True, implementation=implementation
        )
        o, lse = o.reshape(*lead, t, h, size, d_v), lse.reshape(*lead, t, h, size)
        seen = jnp.swapaxes(seen, -3, -2)  # [..., t, h, size]
        if causal:
            before = j[None] <= jnp.arange(t)[:, None]  # [t, size]
            seen = seen & before.reshape((1,) * len(lead) + (t, 1, size))
        weights, total = _softmax(jnp.where(seen, lse, -jnp.inf))
        values = jnp.moveaxis(v1, -3, -2)[..., None, :, :, :].astype(lse.dtype)  # [..., 1, h, size, d_v]
        return (weights[..., None] * values * o.astype(lse.dtype)).sum(-2), total

    blocks = (j, cut(k1, axis=len(lead)), cut(v1, axis=len(lead)), first_seen)
    parts, lses = jax.lax.map(block, blocks)  # [count, ..., t, h, d_v], [count, ..., t, h]
    weights, lse = _softmax(jnp.moveaxis(lses, 0, -1))
    o = (jnp.moveaxis(weights, -1, 0)[..., None] * parts).sum(0)
    return o.astype(q.dtype), lse


def _softmax(x):
    """(softmax along the last axis, its lse); 0 and -inf where all of it is -inf, with a derivative of 0."""
    top = jax.lax.stop_gradient(x.max(-1, keepdims=True, initial=-jnp.inf))
    top = jnp.where(top == -jnp.inf, 0.0, top)
    p = jnp.exp(x - top)
    total = p.sum(-1, keepdims=True)
    some = jnp.where(total == 0, 1.0, total)
    lse = jnp.where(total == 0, -jnp.inf, top + jnp.log(some))
    return p / some, lse[..., 0]


def _blocks(x, *, axis, count, size):
    """x padded and cut along `axis` into [count, ..., size, ...]."""
    x = jnp.pad(x, [(0, count * size - x.shape[axis] if i == axis else 0) for i in range(x.ndim)])
    return jnp.moveaxis(x.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]), axis, 0)


def _checked_mask(name, mask, q, k):
    """The mask with axes of size 1 in front, [..., h, t, s] broadcastable; None if there is none."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected booleans, got {mask.dtype}")
    full = (*q.shape[:-3], q.shape[-2], q.shape[-3], k.shape[-3])
    fits = mask.ndim <= len(full) and all(n in (1, m) for n, m in zip(mask.shape[::-1], full[::-1], strict=False))
    check_shape(name, mask, f"a shape broadcastable to {full}", fits)
    return mask.reshape((1,) * (len(full) - mask.ndim) + mask.shape)


def _check(q, k1, k2, v1, v2):
    for name, x in (("q", q), ("k1", k1), ("k2", k2), ("v1", v1), ("v2", v2)):
        check_floating(name, x)
        if x.dtype != q.dtype:
            raise TypeError(f"{name}: expected q's dtype {q.dtype}, got {x.dtype}; cast one of them")
    check_shape("q", q, "[..., t, h, d]", q.ndim >= 3)
    *lead, _, h, d = q.shape
    for name, x in (("k1", k1), ("k2", k2)):
        fits = x.ndim == q.ndim and x.shape[:-3] == tuple(lead) and x.shape[-2:] == (h, d)
        check_shape(name, x, f"{tuple(lead)} and [s, {h}, {d}]", fits)
    for name, x, k in (("v1", v1, k1), ("v2", v2, k2)):
        check_shape(name, x, f"{k.shape[:-1]} and d_v", x.ndim == k.ndim and x.shape[:-1] == k.shape[:-1])
    check_shape("v2", v2, f"v1's {v1.shape[-1]} features", v2.shape[-1] == v1.shape[-1])
