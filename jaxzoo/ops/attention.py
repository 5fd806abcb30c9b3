"""Softmax attention."""

import jax
import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator


def attention(q, k, v, *, bias=None, mask=None, causal=False, window=None, segment_ids=None, scale=None):
    """Softmax attention: o = softmax(scale q k^T + bias) v over the keys that a query sees, per head.

    Query head i uses key head i * h_kv // h.

    Args:
      q: [t, h, d] queries.
      k: [s, h_kv, d] keys; h is a multiple of h_kv.
      v: [s, h_kv, d_v] values.
      bias: [h, t, s] or with axes of size 1, added to the logits.
      mask: [h, t, s] booleans or with axes of size 1, False where a query must not see a key.
      causal: query i sees keys 0 to i.
      window: query i sees keys less than `window` away.
      segment_ids: [t] integers, for t = s: a query sees keys of its own segment.
      scale: factor of the logits, d^-0.5 if None.

    Returns:
      [t, h, d_v] of q's dtype, 0 where a query sees nothing; logits and sums are float32 or better.
    """
    (t, h, d), (s, h_kv, _) = q.shape, k.shape
    if h % h_kv or k.shape[-1] != d or v.shape[:2] != (s, h_kv):
        raise ValueError(f"k, v: expected [s, divisor of {h}, {d}] and [s, ..., d_v], got {k.shape} and {v.shape}")
    dtype = accumulator(q.dtype)
    q = q.reshape(t, h_kv, h // h_kv, d)
    logits = jnp.einsum("tgrd,sgd->grts", q, k, preferred_element_type=dtype).reshape(h, t, s)
    logits = logits * (d**-0.5 if scale is None else scale)
    if bias is not None:
        logits = logits + bias.astype(dtype)
    seen = jnp.broadcast_to(True if mask is None else mask, (h, t, s))
    distance = (jnp.arange(t)[:, None] - jnp.arange(s)[None])[None]  # [1, t, s]
    if causal:
        seen &= distance >= 0
    if window is not None:
        seen &= jnp.abs(distance) < window
    if segment_ids is not None:
        seen &= (segment_ids[:, None] == segment_ids[None])[None]
    # Rows that see nothing are given logits 0 first, so that neither the softmax nor its derivative is NaN.
    some = seen.any(-1, keepdims=True)
    weights = jax.nn.softmax(jnp.where(seen, logits, jnp.where(some, -jnp.inf, 0.0)), -1) * some
    weights = weights.reshape(h_kv, h // h_kv, t, s).astype(v.dtype)
    o = jnp.einsum("grts,sgd->tgrd", weights, v, preferred_element_type=dtype)
    return o.reshape(t, h, -1).astype(q.dtype)
