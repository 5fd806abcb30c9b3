"""Global magnitude pruning: the minimum threshold in its two forms, exact counts of the gradual schedule, the study."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.compression.global_magnitude_pruning import (
    global_mask,
    global_pruning,
    gradual_counts,
    layer_mask,
    magnitude,
    minimum_threshold,
    mt_rescale,
    study,
)
from jaxzoo.compression.prunable_nets import normed_mlp
from jaxzoo.compression.pruning_problems import digit_sets, held_out, make_problem, scaled
from jaxzoo.compression.pruning_study import RULES, find_masks, layer_counts
from jaxzoo.data import Dataset
from jaxzoo.data.shifted_images import shifted_and_flipped


def weights(seed=0, scales=(1.0, 1.0, 0.05, 1.0)):
    rng = np.random.default_rng(seed)
    shapes = ((8, 10), (10, 60), (60, 60), (60, 4))
    return [jnp.asarray(s * rng.normal(size=shape), jnp.float32) for s, shape in zip(scales, shapes, strict=True)]


def counts(masks):
    return [int(m.sum()) for m in masks]


def official_rescale(w, sparsity, m):
    """The official loop in double precision: fix what falls below m, multiply the rest by target / total, repeat."""
    n = np.array([x.size for x in w], float)
    s = 1 - np.array(counts(global_pruning(w, sparsity))) / n
    s[n < m] = 0
    for _ in range(10_000):
        low = (n * (1 - s) < m) & (n >= m)
        s[low] = 1 - m / n[low]
        total = (s * n).sum() / n.sum()
        if abs(total - sparsity) < 1e-12:
            return s
        others = ~(low | (n < m) | np.isclose(n * (1 - s), m))
        s[others] *= sparsity / total
    return s


def test_no_minimum_is_vanilla_pruning():
    both = jax.jit(lambda w: [(global_pruning(w, s), global_pruning(w, s, 0), mt_rescale(w, s, 0)) for s in (0.3, 0.9)])
    for vanilla, direct, rescaled in both(weights()):
        jax.tree.map(np.testing.assert_array_equal, direct, vanilla)
        jax.tree.map(np.testing.assert_array_equal, rescaled, vanilla)


@pytest.mark.parametrize(("sparsity", "m"), [(0.9, 30), (0.9, 60), (0.95, 40)])
def test_rescaling_is_the_official_loop(sparsity, m):
    w = weights()
    n = np.array([x.size for x in w])
    masks = jax.jit(mt_rescale, static_argnums=(1, 2))(w, sparsity, m)
    np.testing.assert_allclose(counts(masks), n * (1 - official_rescale(w, sparsity, m)), atol=1.0)
    assert abs(sum(counts(masks)) - n.sum() * (1 - sparsity)) <= len(n) / 2 + 1
    assert min(counts(masks)) >= m
    assert counts(global_pruning(w, sparsity))[2] < m  # else nothing was tested


def test_layers_smaller_than_the_minimum_are_not_pruned():
    w = [*weights(), jnp.full((3, 3), 1e-6)]
    for masks in (mt_rescale(w, 0.9, 12), global_pruning(w, 0.9, 12)):
        assert counts(masks)[4] == 9


def test_the_two_forms_of_the_minimum_differ_little():
    direct, rescaled = jax.jit(lambda w: (global_pruning(w, 0.9, 30), mt_rescale(w, 0.9, 30)))(weights())
    assert counts(direct)[2] == counts(rescaled)[2] == 30
    shared = sum(int((a & b).sum()) for a, b in zip(direct, rescaled, strict=True))
    assert shared > 0.9 * sum(counts(direct))


def test_the_minimum_is_a_share_of_all_weights():
    assert minimum_threshold([jnp.zeros((1000, 1000)), jnp.zeros(500)]) == 501
    assert minimum_threshold([jnp.zeros(10)]) == 40


def test_counts_of_the_gradual_schedule_are_exact_integers():
    w = weights()
    n = sum(x.size for x in w)
    found = gradual_counts(w, 0.9, 60, 6)
    assert found.shape == (11,)
    assert (int(found[0]), int(found[-1])) == (0, math.floor(0.9 * n))
    assert int(found[5]) == math.floor(0.9 * 7 / 8 * n)
    with pytest.raises(ValueError, match="every: expected a divisor of steps = 60, got 7"):
        gradual_counts(w, 0.9, 60, 7)


def test_a_study_has_the_masks_of_every_method_and_sparsity_over_seeds():
    methods = {
        "global": lambda s, w: global_mask(magnitude(w), s),
        "uniform": lambda s, w: layer_mask(magnitude(w), 1 - s),
    }
    seeds = [weights(i) for i in range(2)]
    stacked = jax.tree.map(lambda *w: jnp.stack(w), *seeds)
    found = jax.jit(jax.vmap(lambda w: study(methods, (0.5, 0.9), w)))(stacked)
    for name, method in methods.items():
        for i, w in enumerate(seeds):
            for j, s in enumerate((0.5, 0.9)):
                want = method(s, w)
                jax.tree.map(lambda a, b, i=i, j=j: np.testing.assert_array_equal(a[i, j], b), found[name], want)


def test_all_methods_keep_about_as_much():
    x, y = np.random.default_rng(0).random((2, 30, 6)), np.arange(30) % 3
    sets = (x[0].astype(np.float32), y), {"accuracy": (x[1].astype(np.float32), y)}
    net = normed_mlp((6, 60, 3))
    problem = make_problem(net, sets, None, 1, 1, batch=10)
    search = jax.jit(lambda key, start: find_masks(problem, tuple(RULES), (0.6,), 2, key, *start))
    masks, found = search(jax.random.key(0), net.init(jax.random.key(1)))
    assert set(masks) == set(RULES)
    n = 6 * 60 + 60 * 3
    for mask in masks.values():
        kept = layer_counts(mask).sum(1)
        np.testing.assert_allclose(kept, [n - math.floor(0.6 * n)], atol=2)
    accuracy = [value for key, value in found.items() if key.endswith("untuned")]
    assert len(accuracy) == len(RULES) - 1
    assert all(((a >= 0) & (a <= 1)).all() for a in accuracy)
    assert ((found["mt agreement"] > 0.9) & (found["mt agreement"] <= 1)).all()


def test_digits_are_split_once_and_for_all():
    (train, tests), (images, _) = digit_sets()
    assert (train[0].shape, images[0].shape) == ((1200, 8, 8), (1200, 8, 8, 1))
    assert [len(tests[part][1]) for part in ("validation", "accuracy")] == [200, 397]
    assert float(train[0].min()) == pytest.approx(-0.3)


def test_a_tenth_is_held_out():
    whole = Dataset(np.arange(40.0)[:, None], np.arange(40), "", "", "", "")
    (x, y), tests = held_out(whole, whole)
    assert (len(x), len(tests["validation"][0]), len(tests["accuracy"][0])) == (36, 4, 40)
    np.testing.assert_array_equal(np.sort(np.concatenate([y, tests["validation"][1]])), np.arange(40))


def test_bytes_are_scaled():
    np.testing.assert_allclose(scaled(jnp.array([0, 255], jnp.uint8)), [-0.5, 0.5])
    np.testing.assert_array_equal(scaled(jnp.array([0.25])), [0.25])


def test_images_are_moved_and_mirrored():
    x = jnp.broadcast_to(jnp.arange(1.0, 26).reshape(1, 5, 5, 1), (64, 5, 5, 1))
    moved = jax.jit(lambda key: shifted_and_flipped(key, x, shift=1))(jax.random.key(0))
    padded = np.pad(np.arange(1.0, 26).reshape(5, 5), 1)
    cuts = [padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    cuts = {c.tobytes() for cut in cuts for c in (cut, np.ascontiguousarray(cut[:, ::-1]))}
    seen = {np.asarray(image, np.float64)[..., 0].tobytes() for image in moved}
    assert seen <= cuts
    assert len(seen) > 10
