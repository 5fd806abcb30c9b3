"""Rotary position embedding."""

import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator


def rotary(x, positions, *, base=10000.0):
    """Turns each pair of features (i, i + d/2) by the angle position * base^(-2i/d).

    The inner product of a turned query and a turned key depends on the difference of their positions alone. Pairs are
    the two halves of the features, as in GPT-NeoX and LLaMA; the paper pairs neighbours (2i, 2i + 1), which is the same
    up to a permutation of features.

    Args:
      x: [t, h, d] queries or keys; d even.
      positions: [t] integers.
      base: the slowest pair turns by about 1 radian in `base` steps.

    Returns:
      [t, h, d] of x's dtype; angles are taken in float32 or better.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (arXiv 2104.09864), eq. 34.
    """
    t, _, d = x.shape
    if d % 2:
        raise ValueError(f"x: expected [t, h, d] with d even, got {x.shape}")
    if positions.shape != (t,):
        raise ValueError(f"positions: expected [{t}], got {positions.shape}")
    dtype = accumulator(x.dtype)
    frequency = base ** (-jnp.arange(0, d, 2, dtype=dtype) / d)  # [d / 2]
    angle = positions.astype(dtype)[:, None, None] * frequency[None, None]  # [t, 1, d / 2]
    first, second = jnp.split(x.astype(dtype), 2, -1)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x.dtype)
