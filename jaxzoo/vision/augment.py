"""Random crops, flips and erased places of one picture, and what networks for ImageNet are trained on.

Sources: Szegedy et al., "Going deeper with convolutions" (arXiv 1409.4842), for the crop; Zhong, Zheng, Kang, Li, Yang,
"Random erasing data augmentation" (arXiv 1708.04896).
"""

import math

import jax
import jax.numpy as jnp

from jaxzoo.vision.rand_augment import rand_augment

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's red, green and blue, of values from 0 to 1."""
ATTEMPTS = 10
"""At a box that fits into the picture."""


def augment(key, image, side, *, aspect=1.0, magnitude=7.0, erased=0.25):
    """A picture as networks for ImageNet are trained on it: crop, flip, RandAugment, normalised, a place erased.

    Args:
      key: of all choices.
      image: [h, w, 3] uint8.
      side: of the result.
      aspect: width over height of the picture before it was brought to w over h.
      magnitude: of `rand_augment`, 0 to 10.
      erased: probability that a place is erased.

    Returns:
      [side, side, 3] float32.
    """
    key_crop, key_flip, key_operations, key_erase = jax.random.split(key, 4)
    image = random_flip(key_flip, random_resized_crop(key_crop, image, side, aspect=aspect))
    image = rand_augment(key_operations, image, magnitude=magnitude)
    return random_erasing(key_erase, normalised(image), rate=erased)


def random_resized_crop(key, image, side, *, aspect=1.0, area=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """A box of random area, shape and place, brought to a square.

    The box has a share of the picture's area that is uniform in `area`, and a width over height whose logarithm is
    uniform in that of `ratio`; the first of ten such boxes that fits, or else the largest in the middle whose shape is
    allowed. It is resized bicubically, each pixel of the result the mean of what it covers.

    Args:
      key: of the box.
      image: [h, w, 3] uint8.
      side: of the result.
      aspect: width over height of the picture before it was brought to w over h; may be traced.
      area, ratio: bounds.

    Returns:
      [side, side, 3] uint8.
    """
    return resized(image, crop_box(key, aspect, area=area, ratio=ratio), side)


def crop_box(key, aspect, *, area=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """Top, left, height and width [4] of a random box, as shares of the picture's height and width."""
    top, left, height, width, fits = _boxes(key, aspect, area, ratio)
    first = jnp.argmax(fits)
    shape = jnp.clip(aspect, *ratio)
    whole_height, whole_width = jnp.minimum(1.0, aspect / shape), jnp.minimum(1.0, shape / aspect)
    middle = jnp.stack([(1 - whole_height) / 2, (1 - whole_width) / 2, whole_height, whole_width])
    return jnp.where(fits[first], jnp.stack([top, left, height, width])[:, first], middle)


def resized(image, box, side):
    """A box of an image at another size, bicubic and smoothed where it shrinks.

    Args:
      image: [h, w, 3] uint8.
      box: top, left, height and width [4], as shares of the image's height and width; may be traced.
      side: of the result.

    Returns:
      [side, side, 3] uint8.
    """
    sides = jnp.array(image.shape[:2], jnp.float32)
    scale = side / (box[2:] * sides)
    shift = -box[:2] * sides * scale
    x = image.astype(jnp.float32)
    x = jax.image.scale_and_translate(x, (side, side, image.shape[-1]), (0, 1), scale, shift, "cubic")
    return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)


def random_flip(key, image):
    """The image or, as often, its mirror image: left for right."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def normalised(image):
    """Bytes [..., 3] to numbers of mean 0 and standard deviation 1 over ImageNet."""
    channel = (1,) * (image.ndim - 1) + (-1,)
    mean, deviation = (jnp.array(values, jnp.float32).reshape(channel) for values in (MEAN, DEVIATION))
    return (image.astype(jnp.float32) / 255 - mean) / deviation


def random_erasing(key, image, *, rate=0.25, area=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3)):
    """Puts standard normal noise in the place of a random box, of a random area, shape and place.

    Args:
      key: of the box and the noise.
      image: [h, w, c] float, normalised.
      rate: probability that anything is erased.
      area: bounds of the box's share of the image's area, which is uniform between.
      ratio: bounds of its height over width, whose logarithm is uniform between.

    Returns:
      [h, w, c].
    """
    key_box, key_noise, key_rate = jax.random.split(key, 3)
    h, w, _ = image.shape
    top, left, height, width, fits = _boxes(key_box, w / h, area, ratio)
    first = jnp.argmax(fits)
    top, left, height, width = (v[first] for v in (top * h, left * w, height * h, width * w))
    inside = in_box(h, w, jnp.round(top), jnp.round(left), jnp.round(height), jnp.round(width))
    erased = jax.random.bernoulli(key_rate, rate) & fits[first]
    return jnp.where((erased & inside)[..., None], jax.random.normal(key_noise, image.shape, image.dtype), image)


def in_box(h, w, top, left, height, width):
    """Which pixels of an h x w image lie in a box: [h, w] bool; the box, in pixels, may be traced."""
    row, column = jnp.arange(h)[:, None], jnp.arange(w)[None]
    return (row >= top) & (row < top + height) & (column >= left) & (column < left + width)


def _boxes(key, aspect, area, ratio):
    """Ten random boxes, in shares of the picture's sides, and which of them fit: five arrays [10]."""
    share, shape, row, column = jax.random.uniform(key, (4, ATTEMPTS))
    share = area[0] + (area[1] - area[0]) * share
    low, high = (math.log(bound) for bound in ratio)
    shape = jnp.exp(low + (high - low) * shape)  # width over height, in pixels
    height, width = jnp.sqrt(share * aspect / shape), jnp.sqrt(share * shape / aspect)
    return row * (1 - height), column * (1 - width), height, width, (height <= 1) & (width <= 1)
