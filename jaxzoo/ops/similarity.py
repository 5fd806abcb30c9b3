"""Norms and cosines that stay finite, with their gradients, at the zero vector."""

import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator


def safe_norm(x, *, axis=-1, keepdims=False):
    """The Euclidean norm, with gradient 0 instead of NaN at x = 0.

    Args:
      x: [..., d] vectors along `axis`.
      axis: axis or axes of the vector.
      keepdims: keep reduced axes with size 1.

    Returns:
      [...] norms of x's dtype; the sum of squares is taken in float32 or better.
    """
    square = jnp.square(x.astype(accumulator(x.dtype))).sum(axis, keepdims=keepdims)
    zero = square == 0
    # The inner where keeps sqrt away from 0, where its derivative is infinite and would turn the outer 0 into NaN.
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square))).astype(x.dtype)


def normalize(x, *, axis=-1, eps=1e-8):
    """Vectors scaled to length 1: x / max(|x|, eps).

    Args:
      x: [..., d] vectors along `axis`.
      axis: axis of the vector.
      eps: shorter vectors are divided by this, so that 0 stays 0.

    Returns:
      [..., d] of x's dtype.
    """
    wide = x.astype(accumulator(x.dtype))
    return (wide / jnp.maximum(safe_norm(wide, axis=axis, keepdims=True), eps)).astype(x.dtype)


def cosine_similarity(x, y, *, eps=1e-8):
    """The cosine of the angle between vectors: <x, y> / (max(|x|, eps) max(|y|, eps)).

    All pairs of [n, d] and [k, d] are `jax.vmap(jax.vmap(cosine_similarity, (None, 0)), (0, None))`, which compiles to
    one matrix product.

    Args:
      x: [..., d] vectors.
      y: [..., d] vectors, of x's shape.
      eps: lower bound of each norm: the cosine with a zero vector is 0, and so is its gradient in the other vector.

    Returns:
      [...] cosines of the common dtype; products are summed in float32 or better.
    """
    if x.shape != y.shape:
        raise ValueError(f"y: expected the shape of x, {x.shape}, got {y.shape}; pairs are taken with jax.vmap")
    dtype = jnp.result_type(x, y)
    x, y = (normalize(v.astype(accumulator(dtype)), eps=eps) for v in (x, y))
    return jnp.einsum("...d,...d->...", x, y).astype(dtype)
