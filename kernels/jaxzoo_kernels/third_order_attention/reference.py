"""Third-order attention as it is written on paper, for tests: every triple at once, in the dtype of the arguments."""

import jax.numpy as jnp


def third_order_attention(q, k1, k2, v1, v2, *, mask1=None, mask2=None, causal=False, scale=None, return_lse=False):
    """Arguments and results as the public op's; differentiable, of any dtype, O(t s1 s2) memory."""
    t, s1, s2 = q.shape[-3], k1.shape[-3], k2.shape[-3]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    x = scale * jnp.einsum("...thd,...jhd,...khd->...htjk", q, k1, k2)
    seen = jnp.ones(x.shape, bool)
    if mask1 is not None:
        seen &= jnp.broadcast_to(mask1, x.shape[:-1])[..., None]
    if mask2 is not None:
        seen &= jnp.broadcast_to(mask2, (*x.shape[:-2], s2))[..., None, :]
    if causal:
        j, k = jnp.arange(s1)[:, None], jnp.arange(s2)[None]
        seen &= jnp.broadcast_to(jnp.arange(t)[:, None, None] >= jnp.maximum(j, k)[None], x.shape)
    some = seen.any((-2, -1), keepdims=True)
    top = jnp.where(seen, x, -jnp.inf).max((-2, -1), keepdims=True, initial=-jnp.inf)
    top = jnp.where(some, top, 0)
    p = jnp.where(seen, jnp.exp(jnp.where(seen, x - top, 0)), 0)
    total = p.sum((-2, -1), keepdims=True)
    lse = jnp.where(some, jnp.log(jnp.where(some, total, 1)) + top, -jnp.inf)[..., 0, 0]
    o = jnp.einsum("...htjk,...jhd,...khd->...thd", p / jnp.where(some, total, 1), v1, v2)
    return (o, jnp.moveaxis(lse, -2, -1)) if return_lse else o
