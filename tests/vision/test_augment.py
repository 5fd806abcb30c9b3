"""Crops against Pillow's, boxes and erased places by what they must be, targets by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxzoo.vision import augment as au
from jaxzoo.vision.mixing import cutmix, mixed, mixup, smoothed


def picture(h, w, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    shades = np.stack([5 * x, 200 - 4 * y, 60 + 3 * (x + y)], -1) + rng.integers(-30, 30, (h, w, 3))
    return np.clip(shades, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.13, 0.3, 0.4, 0.57), (0.5, 0.2, 0.2, 0.15)])
def test_a_box_is_resized_as_pillow_does(box):
    image = picture(40, 32)
    found = np.asarray(jax.jit(partial(au.resized, side=20))(image, jnp.array(box))).astype(int)
    top, left, h, w = (share * side for share, side in zip(box, (40, 32, 40, 32), strict=True))
    theirs = Image.fromarray(image).resize((20, 20), Image.BICUBIC, box=(left, top, left + w, top + h))
    assert np.abs(found - np.asarray(theirs)).max() <= 2


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.5])
def test_boxes_lie_inside_and_have_the_area_and_shape_asked_for(aspect):
    keys = jax.random.split(jax.random.key(0), 2000)
    box = np.asarray(jax.jit(jax.vmap(lambda key: au.crop_box(key, aspect)))(keys))
    top, left, h, w = box.T
    assert (box >= 0).all()
    assert max((top + h).max(), (left + w).max()) <= 1 + 1e-5
    area, ratio = h * w, aspect * w / h
    assert 0.08 - 1e-4 <= area.min() < 0.12
    assert ratio.min() >= 3 / 4 - 1e-4
    assert ratio.max() <= 4 / 3 + 1e-4
    if aspect == 1:  # uniform, but an area a fits with probability min(1, log(1 / a) / log(4 / 3))
        assert area.mean() == pytest.approx(0.478, abs=0.02)
        assert (top / np.maximum(1 - h, 1e-3)).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("aspect", "expected"), [(1.0, (0, 0, 1, 1)), (4.0, (0, 1 / 3, 1, 1 / 3))])
def test_where_no_box_fits_it_is_the_largest_in_the_middle(aspect, expected):
    box = jax.jit(lambda key: au.crop_box(key, aspect, area=(3.0, 4.0)))(jax.random.key(0))
    np.testing.assert_allclose(box, expected, atol=1e-6)


def test_erasing_leaves_a_rectangle_of_noise():
    image = jnp.full((30, 40, 3), 9.0)
    erase = jax.jit(jax.vmap(lambda key: au.random_erasing(key, image, rate=0.5)))
    found = np.asarray(erase(jax.random.split(jax.random.key(1), 200)))
    gone = (found != 9).all(-1)
    share = gone.mean((1, 2))
    assert 0.4 < (share > 0).mean() < 0.6
    assert share[share > 0].min() > 0.01
    assert share.max() < 0.36
    for place in gone[share > 0][:20]:  # full rows and columns
        assert place.sum() == place.any(1).sum() * place.any(0).sum()
    noise = found[gone]
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_flip_and_normalisation():
    image = picture(6, 8)
    flips = np.asarray(jax.jit(jax.vmap(lambda key: au.random_flip(key, image)))(jax.random.split(jax.random.key(0))))
    more = np.asarray(jax.vmap(lambda key: au.random_flip(key, image))(jax.random.split(jax.random.key(2), 50)))
    assert all(np.array_equal(f, image) or np.array_equal(f, image[:, ::-1]) for f in [*flips, *more])
    assert 10 < sum(np.array_equal(f, image) for f in more) < 40
    expected = (image[2, 3] / 255 - np.array(au.MEAN)) / np.array(au.DEVIATION)
    np.testing.assert_allclose(au.normalised(jnp.asarray(image))[2, 3], expected, rtol=1e-5)


def test_the_whole_pipeline_under_vmap():
    images = jnp.asarray(np.stack([picture(20, 20, seed) for seed in range(4)]))
    run = jax.jit(jax.vmap(lambda key, x, aspect: au.augment(key, x, 12, aspect=aspect)))
    keys = lambda: jax.random.split(jax.random.key(0), 4)  # noqa: E731
    aspect = jnp.array([0.7, 1.0, 1.5, 1.0])
    found = run(keys(), images, aspect)
    assert (found.shape, found.dtype) == ((4, 12, 12, 3), jnp.float32)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(run(keys(), images, aspect), found)


def test_labels_are_smoothed_by_hand():
    np.testing.assert_allclose(smoothed(jnp.array([1, 3]), 4), [[0.025, 0.925, 0.025, 0.025], [0.025] * 3 + [0.925]])
    np.testing.assert_array_equal(smoothed(jnp.array(2), 3, 0.0), [0, 0, 1])


def test_mixtures_by_hand():
    one, other = jnp.zeros((8, 8, 2)), jnp.ones((8, 8, 2))
    np.testing.assert_allclose(mixup(one, other, 0.3), 0.7, rtol=1e-6)
    x, share = jax.jit(cutmix)(jax.random.key(0), one, other, 0.75)  # a 4 x 4 box, at most
    assert share == pytest.approx(1 - float(x.mean()))
    assert 0 < x.sum() <= 2 * 16
    assert set(np.unique(x)) == {0.0, 1.0}


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_a_batch_is_mixed_with_its_reverse_and_targets_follow(cut):
    x = jnp.arange(4.0).reshape(4, 1, 1, 1) + jnp.zeros((4, 10, 10, 3))
    targets = jnp.eye(4)
    run = jax.jit(lambda key, cut: mixed(key, x, targets, alpha=0.4, cut_rate=cut))
    for seed in range(3):
        y, mixture = run(jax.random.key(seed), cut)
        np.testing.assert_allclose(mixture.sum(-1), 1, rtol=1e-6)
        share = float(mixture[0, 0])
        np.testing.assert_allclose(mixture[1], [0, share, 1 - share, 0], atol=1e-6)
        np.testing.assert_allclose(y.mean((1, 2, 3)), mixture @ jnp.arange(4.0), atol=1e-5)
        if cut:
            assert set(np.unique(y)) <= {0.0, 1.0, 2.0, 3.0}
