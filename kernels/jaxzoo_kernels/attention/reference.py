"""Softmax attention as it is written on paper, for tests: every logit at once, in the dtype of the arguments."""

import jax
import jax.numpy as jnp


def attention(
    q,
    k,
    v,
    *,
    bias=None,
    mask=None,
    causal=False,
    window=None,
    offset=0,
    segment_ids=None,
    scale=None,
    softcap=None,
    gate=None,
    sink=None,
    return_lse=False,
    normalize=True,
):
    """Arguments and results as the public op's; differentiable, of any dtype, O(t s) memory."""
    (t, h, d), (s, h_kv, _) = q.shape[-3:], k.shape[-3:]
    k, v = (jnp.repeat(x, h // h_kv, axis=-2) for x in (k, v))
    x = jnp.einsum("...thd,...shd->...hts", q, k) * (d**-0.5 if scale is None else scale)
    if softcap is not None:
        x = softcap * jnp.tanh(x / softcap)
    if bias is not None:
        x = x + jnp.broadcast_to(bias, x.shape)

    ahead = jnp.arange(s)[None] - (jnp.arange(t)[:, None] + offset)  # [t, s] how far after the query a key stands
    seen = jnp.ones((t, s), bool)
    if causal:
        seen &= ahead <= 0
    if window is not None:
        left, right = (window - 1, window - 1) if isinstance(window, int) else window
        seen &= (True if left is None else ahead >= -left) & (True if right is None else ahead <= right)
    seen = jnp.broadcast_to(seen, x.shape)
    if mask is not None:
        seen &= jnp.broadcast_to(mask, x.shape)
    if segment_ids is not None:
        of_q, of_kv = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
        seen &= jnp.broadcast_to((of_q[..., :, None] == of_kv[..., None, :])[..., None, :, :], x.shape)

    x = jnp.where(seen, x, -jnp.inf)
    top = jnp.max(x, -1, initial=-jnp.inf, keepdims=True)
    if sink is not None:
        sink = jnp.broadcast_to(sink[..., :, None, None], top.shape)
        top = jnp.maximum(top, sink)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    weights = jnp.where(seen, jnp.exp(jnp.where(seen, x - top, 0)), 0)
    total = weights.sum(-1, keepdims=True) + (0 if sink is None else jnp.exp(sink - top))
    some = total > 0
    lse = jnp.where(some, jnp.log(jnp.where(some, total, 1)) + top, -jnp.inf)
    weights = weights / jnp.where(some, total, 1)
    o = jnp.einsum("...hts,...shd->...thd", weights, v)
    lse = jnp.moveaxis(lse[..., 0], -2, -1)  # [..., t, h]
    if not normalize:
        o = o * jnp.exp(lse)[..., None]
    if gate is not None:
        o = o * jax.nn.sigmoid(jnp.broadcast_to(gate, o.shape))
    return (o, lse) if return_lse else o
