"""Convolutional networks that can be cut, with batch norm: their size, and statistics of each sub-network's own."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.elastic.baselines import at_width
from jaxzoo.elastic.nested import BATCH, prefix, prefix_slice
from jaxzoo.elastic.nested_conv import Stage, staged_net
from jaxzoo.elastic.nested_measures import accuracy, score_grid, settled, subset_accuracy
from jaxzoo.elastic.nested_mobilenet import nested_mobilenet
from jaxzoo.elastic.nested_resnet import BLOCK, nested_resnet
from jaxzoo.elastic.sortednet import depth_width_grid

SMALL = staged_net(BLOCK, [Stage(2, 2)], width=2, stem=2, channels=1, side=4, outputs=3)
IMAGES = jax.random.normal(jax.random.key(1), (3, 4, 4, 4, 1))
LABELS = jnp.array([0, 2, 1, 1])


@cache
def start():
    return jax.jit(SMALL.init)(jax.random.key(0))


def count(model):
    params = jax.eval_shape(model.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves({k: v for k, v in params.items() if k != "statistics"}))


def test_whole_networks_have_the_parameters_of_their_papers():
    assert count(nested_resnet()) == 464_154  # ResNet-32 with shortcuts without parameters
    assert count(nested_mobilenet(outputs=1000)) == 3_504_872  # MobileNetV2 for ImageNet


def test_grids_are_ten_widths_by_ten_depths():
    assert nested_mobilenet().dims.depth == 10
    assert nested_resnet().dims.depth == 12
    steps = nested_mobilenet().dims.stages
    assert [steps[f"blocks{s}"] for s in range(7)] == [(), (0,), (1, 5), (2, 6, 9), (3, 7), (4, 8), ()]


def test_products_of_the_whole_mobilenet():
    pixels, before, total, side = 32**2, 32, 32**2 * 27 * 32, 32
    stages = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for t, c, n, stride in stages:
        for i in range(n):
            hidden = t * before
            total += pixels * before * hidden * (t > 1)
            side //= stride if i == 0 else 1
            pixels = side**2
            total, before = total + pixels * hidden * (9 + c), c
    assert nested_mobilenet().macs(10, 10) == total + pixels * 320 * 1280 + 1280 * 10
    with pytest.raises(ValueError, match="repeats: expected one for each of 7 stages"):
        nested_mobilenet(repeats=(1, 2))


def in_training(params, x, active):
    return jax.vmap(SMALL.train_apply, (None, 0, None), axis_name=BATCH)(params, x, active)


def test_in_training_each_sub_network_has_the_statistics_of_a_dense_one():
    small = prefix_slice(start(), 1, 1, model=SMALL)
    got = jax.jit(in_training)(start(), IMAGES[0], prefix(SMALL.dims, 1, 1))
    np.testing.assert_allclose(got, jax.jit(lambda p, x: in_training(p, x, None))(small, IMAGES[0]), atol=1e-5)
    moved = IMAGES[0].at[1:].multiply(3)
    assert np.abs(jax.jit(in_training)(start(), moved, None)[0] - got[0]).max() > 1e-3


def test_statistics_settle_on_the_mean_over_batches():
    active = prefix(SMALL.dims, 1, 2)
    got = jax.jit(settled(SMALL, IMAGES))(start(), active)
    of_batch = jax.jit(jax.vmap(SMALL.statistics, (None, 0, None), out_axes=None, axis_name=BATCH))
    each = [of_batch(start(), x, active) for x in IMAGES]
    jax.tree.map(lambda a, *b: np.testing.assert_allclose(a, np.mean(b, 0), atol=1e-5), got["statistics"], *each)
    stem = jax.lax.conv_general_dilated(
        IMAGES[0], start()["stem"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ).reshape(-1, 2)
    np.testing.assert_allclose(each[0]["stem"]["mean"][0], stem[:, 0].mean(), atol=1e-5)
    np.testing.assert_allclose(each[0]["stem"]["var"][0], stem[:, 0].var(ddof=1), rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, got["stages"], start()["stages"])


def test_settled_on_its_batch_a_network_is_what_it_was_in_training():
    batch = jnp.concatenate([IMAGES.reshape(12, 4, 4, 1)] * 4)  # many, as the running variance is the unbiased one
    own = jax.jit(settled(SMALL, batch[None]))(start(), None)
    got = jax.jit(jax.vmap(SMALL.apply, (None, 0)))(own, batch)
    np.testing.assert_allclose(got, jax.jit(in_training)(start(), batch, None), atol=0.02)


@pytest.mark.parametrize("line", [False, True])
def test_scores_of_the_grid_are_those_of_settled_networks(line):
    grid, params = depth_width_grid((1, 2), (1, 2)), start()
    whole = (params, jax.tree.map(lambda p: p + 0.1, params)) if line else params
    score = accuracy(IMAGES[0], LABELS)
    got = jax.jit(lambda p: score_grid(SMALL, p, (1, 2), grid, score, line=line, batches=IMAGES[1:]))(whole)
    active = jax.vmap(lambda s: prefix(SMALL.dims, *s))(grid)

    def one(active):
        plain = at_width(whole, active) if line else whole
        one = jax.tree.map(lambda a: a[None], active)
        return subset_accuracy(SMALL, plain, one, IMAGES[0], LABELS, settle=settled(SMALL, IMAGES[1:]))[0]

    np.testing.assert_allclose(got.ravel(), jax.jit(lambda a: jax.lax.map(one, a))(active))
