"""RandAugment: a few operations on pictures, drawn at random, all at one strength.

Each operation takes and returns bytes, as Pillow's do, and is compiled once: which one, how strong and which way are
data. Under `jax.vmap` every operation is computed and one is kept, so that a picture costs as much as all 16 of them.

Source: Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced search space" (arXiv
1909.13719), in the form that most networks for ImageNet are trained with: operations grow stronger with the magnitude,
which varies, and each is left out half of the time.
"""

import jax
import jax.numpy as jnp

FILL = (124, 116, 104)
"""What comes in from outside the picture: the mean colour of ImageNet."""
OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "invert",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
"""Names of the operations; their places are what `operate` takes."""
GEOMETRIC = OPERATIONS.index("rotate")
"""The first of those that move pixels; they are one operation, of different matrices."""


def rand_augment(key, image, *, magnitude=7.0, deviation=0.5, layers=2, rate=0.5, fill=FILL):
    """One picture after `layers` random operations.

    Args:
      key: of the choices.
      image: [h, w, 3] uint8.
      magnitude: mean strength, 0 to 10; may be traced.
      deviation: its standard deviation, drawn anew for each operation.
      layers: operations in a row; the same one may come twice.
      rate: probability that an operation is not left out.
      fill: colour of what comes in from outside, 0 to 255.

    Returns:
      [h, w, 3] uint8.
    """

    # One draw for all: random numbers are what takes long to compile here.
    choice, kept, strength, sign = jax.random.uniform(key, (4, layers), minval=1e-6)
    choice = jnp.where(kept < rate, 1 + (choice * (len(OPERATIONS) - 1)).astype(jnp.int32), 0)
    strength = jnp.clip(magnitude + deviation * jax.scipy.special.ndtri(strength), 0.0, 10.0)
    sign = jnp.where(sign < 0.5, -1.0, 1.0)
    layer = lambda image, drawn: (operate(image, *drawn, fill=fill), None)  # noqa: E731
    return jax.lax.scan(layer, image, (choice, strength, sign))[0]


def operate(image, choice, magnitude, sign=1.0, *, fill=FILL):
    """The operation of number `choice`.

    Args:
      image: [h, w, 3] uint8.
      choice: a place in `OPERATIONS`; may be traced, like the next two.
      magnitude: strength from 0, nothing or next to it, to 10.
      sign: 1 or -1, for those that go both ways.
      fill: colour of what comes in from outside, 0 to 255.

    Returns:
      [h, w, 3] uint8.

    Raises:
      ValueError: the image is not [h, w, 3] uint8.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != jnp.uint8:
        raise ValueError(f"image: expected [h, w, 3] uint8, got {image.dtype}{list(image.shape)}")
    level = jnp.asarray(magnitude, jnp.float32) / 10
    factor = jnp.maximum(0.1, 1 + sign * 0.9 * level)
    whole = lambda top: jnp.floor(level * top + 1e-4).astype(jnp.int32)  # noqa: E731
    branches = [
        lambda image: image,
        autocontrast,
        equalize,
        lambda image: 255 - image,
        lambda image: posterize(image, 4 - whole(4)),
        lambda image: solarize(image, 256 - whole(256)),
        lambda image: solarize_add(image, whole(110)),
        lambda image: color(image, factor),
        lambda image: contrast(image, factor),
        lambda image: brightness(image, factor),
        lambda image: sharpness(image, factor),
        lambda image: affine(image, _matrix(image.shape, choice - GEOMETRIC, sign * level), fill=fill),
    ]
    return jax.lax.switch(jnp.minimum(choice, GEOMETRIC), branches, image)


def autocontrast(image):
    """Stretches each channel so that its darkest value becomes 0 and its brightest 255."""
    x = image.astype(jnp.int32)
    low, high = x.min((0, 1), keepdims=True), x.max((0, 1), keepdims=True)
    stretched = (x - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, x).astype(jnp.uint8)


def equalize(image):
    """Spreads the values of each channel so that they are about equally frequent."""

    def channel(x):
        count = jnp.zeros(256, jnp.int32).at[x.reshape(-1)].add(1)
        last = count[x.max()]
        step = (x.size - last) // 255
        before = jnp.cumsum(count) - count
        table = jnp.minimum((step // 2 + before) // jnp.maximum(step, 1), 255).astype(jnp.uint8)
        return jnp.where(step > 0, table[x], x)

    return jax.vmap(channel, 2, 2)(image)


def posterize(image, bits):
    """Keeps the highest `bits` bits of each value."""
    lost = 8 - jnp.asarray(bits)
    return ((image.astype(jnp.int32) >> lost) << lost).astype(jnp.uint8)


def solarize(image, threshold):
    """Inverts the values from `threshold` on."""
    return jnp.where(image.astype(jnp.int32) < threshold, image, 255 - image)


def solarize_add(image, amount):
    """Adds to the values below 128, up to 255."""
    x = image.astype(jnp.int32)
    return jnp.where(x < 128, jnp.minimum(x + amount, 255), x).astype(jnp.uint8)


def color(image, factor):
    """Saturation: 0 is grey, 1 the image."""
    return _blend(_grey(image)[..., None], image, factor)


def contrast(image, factor):
    """0 is the image's mean grey, 1 the image."""
    return _blend(jnp.floor(_grey(image).mean(dtype=jnp.float32) + 0.5), image, factor)


def brightness(image, factor):
    """0 is black, 1 the image."""
    return _blend(jnp.float32(0), image, factor)


def sharpness(image, factor):
    """0 is the image smoothed by a 3x3 window with 5 in its middle and 1 around, but for the border; 1 the image."""
    x = image.astype(jnp.int32)
    total = 4 * x[1:-1, 1:-1]
    for i in range(3):
        for j in range(3):
            total = total + x[i : i + x.shape[0] - 2, j : j + x.shape[1] - 2]
    return _blend(x.at[1:-1, 1:-1].set((2 * total + 13) // 26), image, factor)  # rounded


def affine(image, matrix, *, fill=FILL):
    """Looks up the pixel at (x, y), measured from the upper left corner, at matrix [x, y, 1] of the image.

    Bilinear between the four nearest pixels, those at the border counting on outside; `fill` where the place is outside
    the image.

    Args:
      image: [h, w, 3] uint8.
      matrix: [2, 3].
      fill: three values from 0 to 255.
    """
    h, w, _ = image.shape
    y, x = (jnp.arange(n) + 0.5 for n in (h, w))
    at_x = matrix[0, 0] * x[None] + matrix[0, 1] * y[:, None] + matrix[0, 2]  # [h, w]
    at_y = matrix[1, 0] * x[None] + matrix[1, 1] * y[:, None] + matrix[1, 2]
    inside = (at_x >= 0) & (at_x < w) & (at_y >= 0) & (at_y < h)
    left, top = jnp.floor(at_x - 0.5), jnp.floor(at_y - 0.5)
    right_share, low_share = ((at - 0.5 - low)[..., None] for at, low in ((at_x, left), (at_y, top)))

    def pixel(down, right):
        row = jnp.clip(top.astype(jnp.int32) + down, 0, h - 1)
        column = jnp.clip(left.astype(jnp.int32) + right, 0, w - 1)
        return image[row, column].astype(jnp.float32)

    above = pixel(0, 0) * (1 - right_share) + pixel(0, 1) * right_share
    below = pixel(1, 0) * (1 - right_share) + pixel(1, 1) * right_share
    # Whole values that the arithmetic misses by a little are not cut down by one.
    found = jnp.floor(above * (1 - low_share) + below * low_share + 1e-3)
    return jnp.where(inside[..., None], found, jnp.asarray(fill, jnp.float32)[None, None]).astype(jnp.uint8)


def _matrix(shape, which, level):
    """Of rotate (by 30 degrees at 1), shear_x, shear_y (by 0.3), translate_x, translate_y (by 0.45 of a side)."""
    h, w, _ = shape
    angle = -jnp.pi / 6 * level
    c, s = jnp.cos(angle), jnp.sin(angle)
    center = (w / 2, h / 2)
    rotate = [c, s, center[0] - c * center[0] - s * center[1], -s, c, center[1] + s * center[0] - c * center[1]]
    rows = [
        rotate,
        [1, 0.3 * level, 0, 0, 1, 0],
        [1, 0, 0, 0.3 * level, 1, 0],
        [1, 0, 0.45 * w * level, 0, 1, 0],
        [1, 0, 0, 0, 1, 0.45 * h * level],
    ]
    return jnp.stack([jnp.stack([jnp.asarray(v, jnp.float32) for v in row]) for row in rows])[which].reshape(2, 3)


def _grey(image):
    """Luma in whole numbers, [h, w]."""
    weights = jnp.array([19595, 38470, 7471], jnp.int32)
    return (jnp.sum(image.astype(jnp.int32) * weights[None, None], axis=-1) + 0x8000) >> 16


def _blend(other, image, factor):
    """other + factor (image - other), cut to bytes."""
    x, other = image.astype(jnp.float32), jnp.asarray(other).astype(jnp.float32)
    other = other if other.ndim else other.reshape(1, 1, 1)
    return jnp.floor(jnp.clip(other + factor * (x - other), 0, 255)).astype(jnp.uint8)
