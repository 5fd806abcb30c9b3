"""Prototype glyphs: as many classes of small pictures as wanted, each one smooth shape that is drawn with jitter.

A class is a smooth random field, fixed by a key; an image is that field rotated, scaled, shifted, bent, drawn with a
contrast of its own and with noise. For pre-training on what the data proper doesn't contain.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

COARSE, BEND, SLOPE = 5, 4, 6.0
"""Sides of the grid that makes a shape and of the one that bends it; slope of the sigmoid from field to ink."""


def glyph_fields(key, classes: int, size: int):
    """The shapes of some classes: a 5x5 grid of normal numbers, cubically enlarged.

    Args:
      key: decides the shapes.
      classes: c, how many.
      size: side of the images, in pixels, at least 5.

    Returns:
      [c, size, size] float32; ink is where the field is positive.

    Raises:
      ValueError: no class, or a size below 5.
    """
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")
    if size < COARSE:
        raise ValueError(f"size: expected at least {COARSE}, got {size}")
    coarse = jax.random.normal(key, (classes, COARSE, COARSE))
    return jax.image.resize(coarse, (classes, size, size), "cubic")


def draw_glyphs(
    key, fields, labels, *, rotation=15.0, scale=0.12, shift=1.0, bend=0.6, contrast=(0.7, 1.3), noise=0.15
):
    """Draws one image of each label.

        image = clip(1/2 + c (sigmoid(6 field(warp(place))) - 1/2) + noise, 0, 1)

    The warp is a rotation and scaling about the centre, a shift, and a 4x4 field of displacements, linearly enlarged.

    Args:
      key: decides the jitter.
      fields: [c, size, size] from `glyph_fields`.
      labels: [n] integers in 0..c - 1.
      rotation: largest angle, in degrees.
      scale: largest change of size, as a share.
      shift: largest shift in rows and in columns, in pixels.
      bend: standard deviation of the displacements, in pixels.
      contrast: range of c.
      noise: standard deviation of the noise.

    Returns:
      [n, size, size] float32 in [0, 1].

    Raises:
      ValueError: fields that are no square images, or labels that are no vector of integers.
    """
    fields, labels = jnp.asarray(fields), jnp.asarray(labels)
    if fields.ndim != 3 or fields.shape[1] != fields.shape[2]:
        raise ValueError(f"fields: expected [c, size, size], got {fields.shape}")
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers [n], got {labels.dtype}{list(labels.shape)}")
    n, size = len(labels), fields.shape[-1]
    key_pose, key_bend, key_noise = jax.random.split(key, 3)
    angle, growth, row, column, strength = jax.random.uniform(key_pose, (5, n), minval=-1.0)
    angle, size_of = angle * (math.pi / 180 * rotation), 1 + scale * growth
    cosine, sine = ((part / size_of)[:, None, None] for part in (jnp.cos(angle), jnp.sin(angle)))
    displaced = bend * jax.random.normal(key_bend, (n, 2, BEND, BEND))
    displaced = jax.image.resize(displaced, (n, 2, size, size), "linear")
    middle = (size - 1) / 2
    down, right = jnp.meshgrid(jnp.arange(size) - middle, jnp.arange(size) - middle, indexing="ij")
    down, right = down[None], right[None]
    # Where in the shape each pixel of the image [n, size, size] lies.
    rows = cosine * down - sine * right + displaced[:, 0] + (shift * row)[:, None, None] + middle
    columns = sine * down + cosine * right + displaced[:, 1] + (shift * column)[:, None, None] + middle
    field = jax.vmap(lambda f, r, c: map_coordinates(f, [r, c], order=1, mode="nearest"))(fields[labels], rows, columns)
    low, high = contrast
    c = low + (high - low) * (strength + 1) / 2
    image = 0.5 + c[:, None, None] * (jax.nn.sigmoid(SLOPE * field) - 0.5)
    return jnp.clip(image + noise * jax.random.normal(key_noise, image.shape), 0, 1)


def prototype_glyphs(key, classes: int, per_class: int, size: int, **jitter):
    """A labelled set of glyphs: `per_class` images of each of `classes` classes, class after class.

    Args:
      key: decides shapes and jitter; for more images of the same classes use `glyph_fields` and `draw_glyphs`.
      classes, per_class: how many.
      size: side of the images, in pixels.
      **jitter: options of `draw_glyphs`.

    Returns:
      `(x [classes * per_class, size, size] float32 in [0, 1], y [classes * per_class] int32)`.

    Raises:
      ValueError: as `glyph_fields`, or no image per class.
    """
    if per_class < 1:
        raise ValueError(f"per_class: expected at least 1, got {per_class}")
    key_fields, key_draw = jax.random.split(key)
    labels = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), per_class)
    return draw_glyphs(key_draw, glyph_fields(key_fields, classes, size), labels, **jitter), labels
