"""Synthetic pictures: real digits at random places, among fragments of other digits, in noise."""

import jax
import jax.numpy as jnp


def cluttered_digits(
    key, images, labels, count: int, *, canvas: int = 16, size: int = 10, distractors: int = 3, crop: int = 4, noise=0.1
):
    """Draws cluttered digits: a larger, harder set made of a small real one.

    A digit, resized bilinearly to size x size, is put at a random place of an empty canvas; over it come `distractors`
    random crop x crop cut-outs of other examples at random places, by pixelwise maximum; then Gaussian noise; then
    clipping to [0, 1]. Examples are drawn with replacement, so keep training and test sets apart by splitting `images`
    first.

    Args:
      key: a PRNG key.
      images: [n, h, w] float, in [0, 1].
      labels: [n] integers.
      count: examples to draw, b.
      canvas: side of the result, in pixels.
      size: side of the digit, in pixels, at most `canvas`.
      distractors: number of cut-outs; 0 for none.
      crop: side of a cut-out, in pixels, at most h and w.
      noise: standard deviation of the noise; may be traced.

    Returns:
      x: [b, canvas, canvas] float32 in [0, 1].
      y: [b] int32, the labels.
      position: [b, 2] int32, row and column of the upper left corner of the digit.
    """
    images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
    _check(images, labels, canvas, size, distractors, crop)
    n, h, w = images.shape
    key_places, key_noise = jax.random.split(key)
    # One draw for all integers: random numbers are what takes long to compile here.
    uniform = jax.random.uniform(key_places, (count, 3 + 5 * distractors))
    chosen, position, rest = jnp.split(uniform, [1, 3], axis=1)
    chosen = _integers(chosen[:, 0], n)
    position = _integers(position, canvas - size + 1)
    step, row, column, spot = jnp.split(rest.reshape(count, distractors, 5), [1, 2, 3], axis=2)
    other = (chosen[:, None] + 1 + _integers(step[..., 0], n - 1)) % n  # never the digit itself
    corner = jnp.concatenate([_integers(row, h - crop + 1), _integers(column, w - crop + 1)], axis=2)
    spot = _integers(spot, canvas - crop + 1)

    def draw(digit, place, others, corners, spots):
        picture = _placed(digit, jnp.zeros(2, int), place, size, canvas)
        cut_out = jax.vmap(lambda image, corner, spot: _placed(image, corner, spot, crop, canvas))
        return jnp.maximum(picture, cut_out(images[others], corners, spots).max(axis=0, initial=0.0))

    enlarged = jax.image.resize(images[chosen], (count, size, size), "bilinear")
    x = jax.vmap(draw)(enlarged, position, other, corner, spot)
    x = x + noise * jax.random.normal(key_noise, x.shape)
    return jnp.clip(x, 0, 1), labels[chosen], position


def _integers(uniform, stop: int):
    """Integers 0 to stop - 1 from numbers in [0, 1)."""
    return (uniform * stop).astype(jnp.int32)


def _placed(image, corner, spot, side: int, canvas: int):
    """The side x side cut-out of an image at `corner`, at `spot` of an empty canvas: [canvas, canvas]."""
    row, column = (jnp.arange(canvas) - spot[axis] for axis in range(2))
    inside = ((row >= 0) & (row < side))[:, None] & ((column >= 0) & (column < side))[None]
    return jnp.where(inside, image[(row + corner[0])[:, None], (column + corner[1])[None]], 0)


def _check(images, labels, canvas: int, size: int, distractors: int, crop: int) -> None:
    if images.ndim != 3:
        raise ValueError(f"images: expected [n, h, w], got {images.shape}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels: expected [{len(images)}], got {labels.shape}")
    if not 1 <= size <= canvas:
        raise ValueError(f"size: expected 1 to {canvas} (the canvas), got {size}")
    if distractors and not 1 <= crop <= min(canvas, *images.shape[1:]):
        raise ValueError(f"crop: expected 1 to {min(canvas, *images.shape[1:])} (the smallest side), got {crop}")
    if distractors and len(images) < 2:
        raise ValueError("images: distractors come from other examples, so expected at least 2, got 1")
