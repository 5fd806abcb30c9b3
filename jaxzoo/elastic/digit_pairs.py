"""Sums of two handwritten digits that stand side by side."""

import jax
import jax.numpy as jnp


def digit_pair_sum(key, images, labels, count):
    """Draws pairs of images with replacement; the target is the sum of their labels.

    Args:
      key: of the choice.
      images: [n, h, w].
      labels: [n] integers.
      count: pairs, b.

    Returns:
      x: [b, h * 2 w] pairs side by side, row by row.
      y: [b] int32, label + label.

    Raises:
      ValueError: shapes that don't fit.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(f"images, labels: expected [n, h, w] and [n], got {images.shape} and {labels.shape}")
    chosen = jax.random.randint(key, (2, count), 0, len(images))
    x = jnp.concatenate([images[chosen[0]], images[chosen[1]]], axis=2)  # [b, h, 2 w]
    return x.reshape(count, -1), labels[chosen].sum(0).astype(jnp.int32)
