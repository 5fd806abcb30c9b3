"""Masks: exact counts, ties, nesting, floors, densities and the cubic schedule."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.compression.masks import (
    cubic_sparsity,
    erk_densities,
    global_mask,
    layer_mask,
    prune_smallest,
    ranks,
    sparsity_report,
)
from jaxzoo.compression.scores import magnitude

W, V = jnp.array([[4.0, -1.0], [2.0, -3.0]]), jnp.array([0.5, 5.0])


def drawn(seed, *, levels=None):
    """Scores of a few layers of random shapes; on few levels, so with many ties, if `levels` is given."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(rng.integers(1, 9, rng.integers(1, 4))) for _ in range(rng.integers(1, 5))]
    draw = rng.random if levels is None else lambda shape: rng.integers(0, levels, shape).astype(float)
    return [np.asarray(draw(shape), np.float32) for shape in shapes], float(rng.random())


def plain_global(scores, count):
    """Python's own sort, stable: pairs of score and position."""
    flat = [float(x) for leaf in scores for x in leaf.reshape(-1)]
    gone = set(sorted(range(len(flat)), key=lambda i: flat[i])[:count])
    return [i not in gone for i in range(len(flat))]


def flat(masks):
    return np.concatenate([np.asarray(m).reshape(-1) for m in jax.tree.leaves(masks)])


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("part", range(5))
def test_exactly_floor_of_s_n_go_and_ties_by_position(part, levels):
    for seed in range(5 * part, 5 * part + 5):
        scores, s = drawn(seed, levels=levels)
        n = sum(leaf.size for leaf in scores)
        masks = global_mask(scores, s)
        assert n - flat(masks).sum() == math.floor(s * n)
        np.testing.assert_array_equal(flat(masks), plain_global(scores, math.floor(s * n)))


@pytest.mark.parametrize("floor", [0, 2])
def test_masks_of_rising_sparsity_are_nested(floor):
    for seed in range(5):
        scores, _ = drawn(seed, levels=4)
        before = np.ones(sum(leaf.size for leaf in scores), bool)
        pruned = jax.jit(lambda count, scores=scores: prune_smallest(scores, count, floor))
        for s in (0.1, 0.3, 0.4):
            now = flat(pruned(int(s * before.size)))
            assert not (now & ~before).any()
            before = now


def test_the_example_by_hand():
    masks = global_mask([jnp.abs(W), V], 0.5)
    np.testing.assert_array_equal(masks[0], [[True, False], [False, True]])
    np.testing.assert_array_equal(masks[1], [False, True])
    jax.tree.map(np.testing.assert_array_equal, global_mask([jnp.abs(W), V], 0.5, 1), masks)
    small = [jnp.abs(W), jnp.array([0.1, 0.2])]
    masks = global_mask(small, 0.5, 1)
    np.testing.assert_array_equal(masks[0], [[True, False], [False, True]])
    np.testing.assert_array_equal(masks[1], [False, True])
    assert not global_mask(small, 0.5)[1].any()


def test_a_floor_is_kept_and_the_count_is_exact():
    rng = np.random.default_rng(0)
    scores = [rng.random((20, 20)), 0.01 * rng.random(30), 0.01 * rng.random(3)]
    masks = global_mask([s.astype(np.float32) for s in scores], 0.9, 5)
    kept = [int(m.sum()) for m in masks]
    assert kept[1:] == [5, 3]
    assert sum(kept) == 433 - math.floor(0.9 * 433)
    np.testing.assert_array_equal(np.sort(scores[1][np.asarray(masks[1])]), np.sort(scores[1])[-5:])


def test_one_scale_changes_nothing_and_a_scale_of_one_layer_only_the_global_mask():
    rng = np.random.default_rng(1)
    weights = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 5), (7, 4))]
    masks, uniform = global_mask(magnitude(weights), 0.6), layer_mask(magnitude(weights), 0.4)
    # 0.37 and not a power of 2: products round, and still keep their order.
    scaled = global_mask(magnitude([0.37 * w for w in weights]), 0.6)
    jax.tree.map(np.testing.assert_array_equal, scaled, masks)
    one = magnitude([0.2 * weights[0], weights[1]])
    assert (flat(global_mask(one, 0.6)) != flat(masks)).any()
    jax.tree.map(np.testing.assert_array_equal, layer_mask(one, 0.4), uniform)


def test_layer_masks_keep_the_largest_of_each_layer():
    scores = [jnp.arange(10.0), jnp.arange(20.0)[::-1]]
    masks = layer_mask(scores, [0.3, 0.5])
    np.testing.assert_array_equal(masks[0], np.arange(10) >= 7)
    np.testing.assert_array_equal(masks[1], np.arange(20) < 10)
    traced = jax.jit(layer_mask)(scores, jnp.array([0.3, 0.5]))
    jax.tree.map(np.testing.assert_array_equal, traced, masks)


def test_a_traced_count_gives_the_same_masks():
    scores, _ = drawn(3, levels=5)
    n = sum(leaf.size for leaf in scores)
    pruned = jax.jit(lambda count: prune_smallest(scores, count))
    for count in (0, n // 3, n - 1):
        np.testing.assert_array_equal(flat(pruned(count)), plain_global(scores, count))


def test_ranks():
    np.testing.assert_array_equal(ranks(jnp.array([3.0, 1.0, 3.0, 0.0])), [2, 1, 3, 0])


def test_erk_by_hand():
    # With c = 1 the raw densities are 6/8, 8/16: no layer is capped at 0.3 of 24 weights.
    raw = np.array([6 / 8, 8 / 16])
    np.testing.assert_allclose(erk_densities([(2, 4), (4, 4)], 0.3), 0.3 * 24 / (6 + 8) * raw)
    np.testing.assert_allclose(erk_densities([(3, 3, 2, 4)], 0.25), [0.25])
    shapes = [(3, 3, 1, 8), (3, 3, 8, 16), (64, 10)]
    for density in (0.05, 0.3, 0.8, 1.0):
        d, sizes = erk_densities(shapes, density), np.array([math.prod(s) for s in shapes])
        assert (d @ sizes) == pytest.approx(density * sizes.sum())
        assert (d <= 1).all()
        free = d < 1
        per_rule = d[free] * sizes[free] / np.array([sum(s) for s in shapes])[free]
        np.testing.assert_allclose(per_rule, per_rule[:1].repeat(free.sum()))


def test_the_cubic_schedule():
    assert cubic_sparsity(2.0, 2, 10, 0.9) == 0
    assert cubic_sparsity(10.0, 2, 10, 0.9) == pytest.approx(0.9)
    assert cubic_sparsity(6.0, 2, 10, 0.8) == pytest.approx(0.8 * 7 / 8)
    np.testing.assert_allclose(cubic_sparsity(np.array([0.0, 99.0]), 2, 10, 0.9), [0, 0.9])
    np.testing.assert_allclose(jax.jit(cubic_sparsity, static_argnums=(1, 2))(jnp.float32(6), 2, 10, 0.8), 0.7)


def test_the_report_by_hand():
    masks = {"a": jnp.array([True, False, False, False]), "b": jnp.ones((2, 3), bool)}
    report = sparsity_report(masks, (10, 1))
    assert report["kept"].tolist() == [1, 6]
    assert float(report["sparsity"]) == pytest.approx(0.3)
    assert float(report["flops sparsity"]) == pytest.approx(1 - (10 + 6) / (40 + 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: global_mask([V], 1.0), r"sparsity: expected a number in \[0, 1\), got 1\.0"),
        (lambda: global_mask([V], 0.5, -1), "floor: expected at least 0, got -1"),
        (
            lambda: global_mask([jnp.abs(W), V], 0.9, 1),
            "floor: 1 weights in each layer are 2, but sparsity 0.9 keeps 1",
        ),
        (lambda: layer_mask([V, V], [0.5]), "densities: expected one for each of 2 layers, got 1"),
        (lambda: erk_densities([(2, 2)], 0.0), r"density: expected a number in \(0, 1\], got 0\.0"),
        (lambda: cubic_sparsity(0.0, 3, 3, 0.5), "t0, t1: expected t0 < t1, got 3 and 3"),
        (lambda: sparsity_report([V], (1, 2)), "positions: expected one for each of 1 layers, got 2"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
