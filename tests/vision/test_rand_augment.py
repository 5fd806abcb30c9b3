"""RandAugment's operations against Pillow's, at magnitudes that are data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from jaxzoo.vision import rand_augment as ra

SIDES = (24, 30)


@pytest.fixture(scope="module")
def image():
    """Smooth shades, some noise, a flat corner: a picture in which every operation does something."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    shades = np.stack([40 + 4 * x, 200 - 3 * y, 90 + 2 * (x + y)], -1) + rng.integers(-20, 20, (*SIDES, 3))
    shades[:5, :5] = (250, 3, 128)
    return np.clip(shades, 3, 250).astype(np.uint8)


def pillow(name, level, sign, image):
    """The operation by Pillow; `level` from 0 to 1."""
    picture, (h, w) = Image.fromarray(image), image.shape[:2]
    factor = max(0.1, 1 + sign * 0.9 * level)
    enhance = {
        "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
        "sharpness": ImageEnhance.Sharpness,
    }
    matrices = {
        "shear_x": (1, 0.3 * sign * level, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.3 * sign * level, 1, 0),
        "translate_x": (1, 0, 0.45 * w * sign * level, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, 0.45 * h * sign * level),
    }
    if name in enhance:
        return enhance[name](picture).enhance(factor)
    if name in matrices:
        return picture.transform((w, h), Image.AFFINE, matrices[name], Image.BILINEAR, fillcolor=ra.FILL)
    add = [min(255, i + int(110 * level)) if i < 128 else i for i in range(256)]
    return {
        "identity": lambda: picture,
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "invert": lambda: ImageOps.invert(picture),
        "posterize": lambda: picture.point([i & (0xFF0 << int(4 * level)) & 255 for i in range(256)] * 3),
        "solarize": lambda: ImageOps.solarize(picture, 256 - int(256 * level)),
        "solarize_add": lambda: picture.point(add * 3),
        "rotate": lambda: picture.rotate(30 * sign * level, Image.BILINEAR, fillcolor=ra.FILL),
    }[name]()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("magnitude", [0.0, 4.3, 7.0, 10.0])
def test_every_operation_is_pillows(image, magnitude, sign):
    choices = jnp.arange(len(ra.OPERATIONS))
    found = jax.jit(jax.vmap(ra.operate, (None, 0, None, None)))(image, choices, magnitude, sign)
    for name, ours in zip(ra.OPERATIONS, np.asarray(found), strict=True):
        theirs = np.asarray(pillow(name, magnitude / 10, sign, image))
        gap = np.abs(ours.astype(int) - theirs)
        assert gap.max() <= 1, name
        assert (gap > 0).mean() < 0.02, name


def test_one_at_a_time_is_as_under_vmap(image):
    choices = jnp.array([ra.OPERATIONS.index(name) for name in ("rotate", "equalize", "posterize")])
    batch = jax.jit(jax.vmap(ra.operate, (None, 0, None, None)))(image, choices, 7.0, 1.0)
    alone = jax.jit(ra.operate)
    for choice, expected in zip(choices, batch, strict=True):
        np.testing.assert_array_equal(alone(image, choice, 7.0, 1.0), expected)


@jax.jit
def some_operations(image):
    return (
        ra.solarize(image, 128)[1, 1],
        ra.solarize_add(image, 110)[0, 0],
        ra.posterize(image, 3)[1, 0],
        ra.brightness(image, 0.55)[0, 1],
        ra.autocontrast(image)[0, 1],
    )


def test_by_hand():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20  # 0, 20 ... 220
    found = [values.tolist() for values in some_operations(image)]
    assert found == [[75, 55, 35], [110, 130, 150], [96, 128, 160], [33, 44, 55], [85, 85, 85]]


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "color", "contrast", "sharpness"])
def test_flat_pictures_stay_what_they_are(name):
    flat = jnp.full((5, 5, 3), 77, jnp.uint8)
    options = () if name in ("autocontrast", "equalize") else (1.7,)
    np.testing.assert_array_equal(jax.jit(getattr(ra, name))(flat, *options), flat)


def test_random_operations_differ_by_key_and_follow_the_rate(image):
    augment = jax.jit(jax.vmap(lambda key, rate: ra.rand_augment(key, image, rate=rate), (0, None)))
    run = lambda rate: np.asarray(augment(jax.random.split(jax.random.key(0), 20), rate))  # noqa: E731
    drawn = run(0.5)
    assert drawn.dtype == np.uint8
    assert len({picture.tobytes() for picture in drawn}) > 10
    assert 1 <= sum(np.array_equal(picture, image) for picture in drawn) <= 12  # a quarter has no operation
    np.testing.assert_array_equal(run(0.5), drawn)
    np.testing.assert_array_equal(run(0.0), np.broadcast_to(image, drawn.shape))


def test_other_than_bytes_are_refused():
    with pytest.raises(ValueError, match=r"image: expected \[h, w, 3\] uint8, got float32\[4, 4, 3\]"):
        ra.operate(jnp.zeros((4, 4, 3)), 0, 7.0)
