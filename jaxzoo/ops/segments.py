"""Sums, means, maxima and softmax over segments: rows that share an index, such as the edges that enter one node.

All take data [e, ...] and indices [e] of any order, keep the number of segments static and give 0 for an empty segment.
They leave out rows where `mask` is False or the index is outside [0, num_segments), whatever stands in them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.ops.norms import accumulator
from jaxzoo.ops.straight_through import with_derivative_of


def segment_sum(x, segment_ids, num_segments, *, mask=None):
    """The sum over each segment: y[i] = sum of x[j] over the j with segment_ids[j] = i.

    Args:
      x: [e, ...] rows.
      segment_ids: [e] integers in [0, num_segments).
      num_segments: number of segments, a Python int.
      mask: [e] booleans, False for padding; None for all True.

    Returns:
      [num_segments, ...] of x's dtype, 0 where a segment is empty; sums are taken in float32 or better.
    """
    ids = _rows(x, segment_ids, num_segments, mask)
    wide = accumulator(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x.dtype
    return jax.ops.segment_sum(x.astype(wide), ids, num_segments).astype(x.dtype)


def segment_mean(x, segment_ids, num_segments, *, mask=None):
    """The mean over each segment.

    Args:
      x: [e, ...] rows of floats.
      segment_ids: [e] integers in [0, num_segments).
      num_segments: number of segments, a Python int.
      mask: [e] booleans, False for padding; None for all True.

    Returns:
      [num_segments, ...] of x's dtype, 0 where a segment is empty; sums are taken in float32 or better.
    """
    ids = _rows(x, segment_ids, num_segments, mask)
    wide = x.astype(accumulator(x.dtype))
    total = jax.ops.segment_sum(wide, ids, num_segments)
    count = jax.ops.segment_sum(jnp.ones(ids.shape, wide.dtype), ids, num_segments)
    return (total / _along(jnp.maximum(count, 1), total)).astype(x.dtype)


def segment_max(x, segment_ids, num_segments, *, mask=None):
    """The maximum over each segment; equal maxima share the gradient evenly, as in `jnp.max`.

    Args:
      x: [e, ...] rows of floats.
      segment_ids: [e] integers in [0, num_segments).
      num_segments: number of segments, a Python int.
      mask: [e] booleans, False for padding; None for all True.

    Returns:
      [num_segments, ...] of x's dtype, 0 where a segment is empty.
    """
    ids = _rows(x, segment_ids, num_segments, mask)
    top = _maxima(jax.lax.stop_gradient(x), ids, num_segments)
    best = jax.lax.stop_gradient(x) == _gather(top, ids)  # [e, ...]
    ties = jax.ops.segment_sum(best.astype(accumulator(x.dtype)), ids, num_segments)
    share = jnp.where(best, 1 / jnp.maximum(_gather(ties, ids), 1), 0).astype(x.dtype)
    return with_derivative_of(top, jax.ops.segment_sum(x * share, ids, num_segments))


def segment_softmax(x, segment_ids, num_segments, *, mask=None):
    """The softmax within each segment: y[j] = exp(x[j]) / sum of exp(x[l]) over the l of j's segment.

    Args:
      x: [e, ...] logits; each trailing position is a softmax of its own.
      segment_ids: [e] integers in [0, num_segments).
      num_segments: number of segments, a Python int.
      mask: [e] booleans, False for padding; None for all True.

    Returns:
      [e, ...] of x's dtype, 0 where the mask is False or all of a segment is -inf; taken in float32 or better.
    """
    ids = _rows(x, segment_ids, num_segments, mask)
    wide = x.astype(accumulator(x.dtype))
    top = _maxima(jax.lax.stop_gradient(wide), ids, num_segments)
    valid = _along(ids < num_segments, wide) & (wide > -jnp.inf)
    # Positions left out never enter exp, so that neither they nor their derivatives can become NaN.
    weight = jnp.where(valid, jnp.exp(jnp.where(valid, wide - _gather(top, ids), 0)), 0)
    total = jax.ops.segment_sum(weight, ids, num_segments)
    return (weight / jnp.where(valid, _gather(total, ids), 1)).astype(x.dtype)


def _rows(x, segment_ids, num_segments, mask):
    """The indices, num_segments for rows left out: sums and maxima drop it."""
    if not isinstance(num_segments, int | np.integer) or num_segments < 1:
        raise ValueError(f"num_segments: expected a Python int of at least 1, got {num_segments!r}")
    if x.ndim < 1 or segment_ids.shape != x.shape[:1]:
        raise ValueError(f"segment_ids: expected [{', '.join(map(str, x.shape[:1]))}], got {segment_ids.shape}")
    if not jnp.issubdtype(segment_ids.dtype, jnp.integer):
        raise ValueError(f"segment_ids: expected integers, got {segment_ids.dtype}")
    inside = (segment_ids >= 0) & (segment_ids < num_segments)
    if mask is None:
        return jnp.where(inside, segment_ids, num_segments)
    if mask.shape != segment_ids.shape or mask.dtype != jnp.bool:
        raise ValueError(f"mask: expected [{segment_ids.shape[0]}] booleans, got {mask.shape} of {mask.dtype}")
    return jnp.where(inside & mask, segment_ids, num_segments)


def _maxima(x, ids, num_segments):
    top = jax.ops.segment_max(x, ids, num_segments)
    count = jax.ops.segment_sum(jnp.ones(ids.shape, jnp.int32), ids, num_segments)
    return jnp.where(_along(count > 0, top), top, 0)


def _gather(per_segment, ids):
    """The segment's value for each row, 0 for rows outside."""
    return per_segment.at[ids].get(mode="fill", fill_value=0)


def _along(v, x):
    """A vector over x's first axis, with axes of size 1 for the others."""
    return v.reshape(-1, *(1,) * (x.ndim - 1))
