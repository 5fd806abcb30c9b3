"""Multi-head attention with grouped heads, rotary positions and a cache for decoding."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo import ops


class KVCache(NamedTuple):
    """Keys and values of the tokens so far.

    Attributes:
      k: [s, h_kv, d] keys, of which the first `length` count; turned by `rotary` where the layer does that.
      v: [s, h_kv, d] values.
      length: number of tokens so far, an int32 scalar.
    """

    k: jax.Array
    v: jax.Array
    length: jax.Array


def kv_cache(capacity, heads, head_dim, dtype=jnp.float32):
    """An empty `KVCache` with room for `capacity` tokens of `heads` key heads."""
    zeros = jnp.zeros((capacity, heads, head_dim), dtype)
    return KVCache(zeros, zeros, jnp.zeros((), jnp.int32))


class Attention(nn.Module):
    """Softmax attention among the tokens of one example: [t, d] -> [t, d].

    y = concat_h(softmax(q_h k_g^T / sqrt(d_h)) v_g) Wo, where query head h uses key head g = h * kv_heads // heads.

    Sources: Vaswani et al., "Attention Is All You Need" (arXiv 1706.03762), Sec. 3.2; grouped heads: Ainslie et al.,
    "GQA" (arXiv 2305.13245), Sec. 2.2.

    Attributes:
      heads: number of query heads.
      kv_heads: number of key and value heads, a divisor of `heads`; None for `heads`, 1 for multi-query attention.
      head_dim: features of each head; None for d / heads.
      causal: a token sees itself and those before it.
      window: with `causal`, a token sees the last `window` tokens, itself included; None for all.
      rotary: turn queries and keys by their positions; see `ops.rotary`.
      use_bias: learn offsets in all four projections, from 0.
      kernel_init: initialiser of the projections.
    """

    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    causal: bool = False
    window: int | None = None
    rotary: bool = False
    use_bias: bool = False
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x, cache=None, *, mask=None, segment_ids=None, positions=None):
        """Applies the layer.

        Args:
          x: [t, d] tokens.
          cache: a `KVCache` that these tokens continue; the layer must be causal.
          mask: [t, t] or [heads, t, t] booleans, False where row must not see column; a row that sees nothing gives 0.
          segment_ids: [t] integers: tokens see only their own segment (packed sequences).
          positions: [t] integers for `rotary`; None counts from 0, or from the length of the cache.

        Returns:
          [t, d], or `([t, d], cache)` where a cache was given. Beyond the capacity of the cache the result is NaN.
        """
        t, d = x.shape
        head_dim, kv_heads = self._check(d, cache, mask, segment_ids)
        project = partial(nn.DenseGeneral, use_bias=self.use_bias, kernel_init=self.kernel_init)
        q = project((self.heads, head_dim), name="q")(x)  # [t, h, d_h]
        k = project((kv_heads, head_dim), name="k")(x)  # [t, h_kv, d_h]
        v = project((kv_heads, head_dim), name="v")(x)
        if self.rotary:
            start = 0 if cache is None else cache.length
            positions = start + jnp.arange(t) if positions is None else positions
            q, k = ops.rotary(q, positions), ops.rotary(k, positions)
        if cache is None:
            mask = mask[None] if mask is not None and mask.ndim == 2 else mask
            options = {"mask": mask, "segment_ids": segment_ids, "causal": self.causal, "window": self.window}
            y = ops.attention(q, k, v, **options)
        else:
            before, cache = cache.length, _extend(cache, k, v)
            keys, values = cache.k.astype(q.dtype), cache.v.astype(q.dtype)
            y = ops.attention(q, keys, values, causal=True, window=self.window, offset=before)
            # An update beyond the end is moved inside and overwrites other tokens: that must not pass unseen.
            y = jnp.where(cache.length <= cache.k.shape[0], y, jnp.nan)
        y = project(d, axis=(-2, -1), name="o")(y)
        return y if cache is None else (y, cache)

    def _check(self, d, cache, mask, segment_ids):
        """The sizes that follow from the others."""
        kv_heads = self.kv_heads or self.heads
        if self.heads % kv_heads:
            raise ValueError(f"kv_heads: expected a divisor of {self.heads} heads, got {kv_heads}")
        if self.head_dim is None and d % self.heads:
            raise ValueError(f"heads: expected a divisor of the {d} features of x, got {self.heads}; or give head_dim")
        if self.window is not None and not self.causal:
            raise ValueError(f"window: expected None for a layer that is not causal, got {self.window}")
        if cache is not None and (not self.causal or mask is not None or segment_ids is not None):
            raise ValueError(
                "cache: expected a causal layer without mask and segment_ids: a cache continues one sequence"
            )
        return self.head_dim or d // self.heads, kv_heads


def _extend(cache, k, v):
    """The cache with t more tokens."""
    t, capacity = k.shape[0], cache.k.shape[0]
    if cache.k.shape[1:] != k.shape[1:] or t > capacity:
        raise ValueError(f"cache: expected [{t} or more, {k.shape[1]}, {k.shape[2]}], got {cache.k.shape}")
    place = (cache.length, 0, 0)
    keys = jax.lax.dynamic_update_slice(cache.k, k.astype(cache.k.dtype), place)
    values = jax.lax.dynamic_update_slice(cache.v, v.astype(cache.v.dtype), place)
    return KVCache(keys, values, cache.length + t)
