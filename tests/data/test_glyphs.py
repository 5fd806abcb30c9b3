"""Prototype glyphs: shapes, what the key fixes, what the jitter does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.data.glyphs import draw_glyphs, glyph_fields, prototype_glyphs

prototypes = jax.jit(prototype_glyphs, static_argnums=(1, 2, 3))


@jax.jit
def draw(key, fields, labels, jitter):
    return draw_glyphs(key, fields, labels, **jitter)


STILL = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "bend": 0.0, "contrast": (1.0, 1.0), "noise": 0.0}


def test_shapes_types_and_range():
    x, y = prototypes(jax.random.key(0), 5, 3, 8)
    assert (x.shape, x.dtype, y.dtype) == ((15, 8, 8), jnp.float32, jnp.int32)
    assert y.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert 0 <= x.min() < 0.2
    assert 0.8 < x.max() <= 1


def test_the_key_decides_and_nothing_else():
    first, again, other = (prototypes(jax.random.key(k), 5, 3, 8)[0] for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_without_jitter_an_image_is_its_shape():
    fields = glyph_fields(jax.random.key(0), 4, 12)
    labels = jnp.array([3, 0, 3])
    images = draw(jax.random.key(1), fields, labels, STILL)
    np.testing.assert_allclose(images, 1 / (1 + np.exp(-6 * np.asarray(fields[labels]))), atol=1e-5)


def test_shift_and_rotation_move_the_shape():
    """A field that grows along the rows: a shift changes it evenly, a turn of a quarter makes it grow along columns."""
    ramp = jnp.broadcast_to((jnp.arange(9.0) - 4)[:, None] / 20, (9, 9))[None]
    labels = jnp.zeros(40, jnp.int32)
    turned = draw(jax.random.key(0), ramp, labels, STILL | {"rotation": 90.0})
    ink = np.log(turned / (1 - turned)) / 6  # the field again
    slope = np.stack([ink[:, 5, 4] - ink[:, 4, 4], ink[:, 4, 5] - ink[:, 4, 4]])
    np.testing.assert_allclose(np.hypot(*slope), 1 / 20, rtol=1e-3)  # turned, but as steep
    assert slope[1].min() < -0.04
    assert slope[1].max() > 0.04
    moved = draw(jax.random.key(0), ramp, labels, STILL | {"shift": 1.0})
    step = 20 * np.log(moved / (1 - moved))[:, 4, 4] / 6
    assert -1 <= step.min() < -0.5
    assert 0.5 < step.max() <= 1


def test_images_of_a_class_are_more_alike_than_those_of_two():
    x, _ = prototypes(jax.random.key(0), 6, 30, 8)
    x = np.asarray(x).reshape(6, 30, 64)
    within = np.square(x - x.mean(1, keepdims=True)).mean()
    between = np.square(x.mean(1) - x.mean((0, 1))).mean()
    assert between > within / 2
    distance = np.square(x[:, 20:, None] - x[:, :20].mean(1)[None, None]).sum(-1)  # [class, image, mean]
    assert (distance.argmin(-1) == np.arange(6)[:, None]).mean() > 0.8


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="classes: expected at least 1"):
        glyph_fields(jax.random.key(0), 0, 8)
    with pytest.raises(ValueError, match="size: expected at least 5, got 4"):
        glyph_fields(jax.random.key(0), 2, 4)
    with pytest.raises(ValueError, match="per_class"):
        prototype_glyphs(jax.random.key(0), 2, 0, 8)
    with pytest.raises(ValueError, match=r"fields: expected \[c, size, size\]"):
        draw_glyphs(jax.random.key(0), jnp.zeros((2, 5, 6)), jnp.zeros(1, jnp.int32))
    with pytest.raises(ValueError, match="labels: expected integers"):
        draw_glyphs(jax.random.key(0), jnp.zeros((2, 5, 5)), jnp.zeros(1))
