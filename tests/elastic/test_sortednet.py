"""SortedNet's update, grid and selection, and the schemes that it is compared with."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.elastic import sortednet as sn
from jaxzoo.elastic.baselines import on_a_line, sandwich_logits, sandwich_loss
from jaxzoo.elastic.nested import nested, prefix
from jaxzoo.elastic.nested_measures import accuracy, grid_scores, negative_loss, subset_accuracy
from jaxzoo.elastic.nested_training import Rule, nested_task
from jaxzoo.elastic.nested_transformer import nested_transformer
from jaxzoo.elastic.residual_mlp import residual_mlp
from jaxzoo.train import fit

MODEL = residual_mlp(inputs=6, width=4, depth=2, outputs=3)
X = jax.random.normal(jax.random.key(1), (5, 6))
LABELS = jnp.array([0, 2, 1, 1, 0])
GRID = sn.depth_width_grid((2, 4), (1, 2))


@cache
def start():
    return jax.jit(MODEL.init)(jax.random.key(0))


def mean_cross_entropy(logits, labels):
    return sandwich_loss(logits, labels, 0.0)


def stacked(*shapes):
    return jax.vmap(lambda s: prefix(MODEL.dims, *s))(jnp.array(shapes))


def gradient(*shapes):
    loss = sn.accumulate(MODEL.apply, mean_cross_entropy)
    return jax.jit(jax.grad(loss))(start(), stacked(*shapes), X, LABELS)


def close(a, b, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), a, b)


def test_two_accumulated_gradients_are_the_mean_of_two():
    def alone(width, depth):
        def loss(params):
            logits = jax.vmap(nested(MODEL.apply, MODEL.dims), (None, 0, None, None))(params, X, width, depth)
            return optax.losses.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

        return jax.jit(jax.grad(loss))(start())

    expected = jax.tree.map(lambda a, b: (a + b) / 2, alone(2, 1), alone(3, 2))
    close(gradient((2, 1), (3, 2)), expected)


def test_copies_of_a_sub_network_are_one():
    close(gradient((2, 1), (2, 1), (2, 1)), gradient((2, 1)))


def test_an_update_is_a_step_on_the_accumulated_gradient():
    active, optimizer = stacked((2, 1), (4, 2)), optax.sgd(0.1)
    loss = sn.accumulate(MODEL.apply, mean_cross_entropy)
    update = jax.jit(sn.sortednet_update(loss, lambda key: active, optimizer))
    params, _, value = update(start(), optimizer.init(start()), jax.random.key(0), X, LABELS)
    close(params, jax.tree.map(lambda p, g: p - 0.1 * g, start(), gradient((2, 1), (4, 2))))
    np.testing.assert_allclose(value, jax.jit(loss)(start(), active, X, LABELS), rtol=1e-6)


def test_the_grid_is_every_width_and_depth():
    np.testing.assert_array_equal(GRID, [[2, 1], [2, 2], [4, 1], [4, 2]])
    assert sn.depth_width_grid(range(2, 41, 2), range(1, 9)).shape == (160, 2)
    with pytest.raises(ValueError, match="widths: expected ascending ints from 1 on"):
        sn.depth_width_grid((4, 2), (1,))
    with pytest.raises(ValueError, match="depths: expected ascending"):
        sn.depth_width_grid((4,), ())


def test_shapes_are_drawn_from_their_distributions():
    logits = jnp.log(jnp.array([[0.0, 0.25, 0.25, 0.5], [1.0, 0.0, 0.0, 0.0]]))
    drawn = jax.vmap(lambda k: sn.draw_from(k, GRID, logits))(jax.random.split(jax.random.key(0), 2000))
    shares = [(drawn[:, 0] == shape[None]).all(1).mean() for shape in GRID]
    np.testing.assert_allclose(shares, [0, 0.25, 0.25, 0.5], atol=0.04)
    assert np.all(drawn[:, 1] == GRID[:1])
    with pytest.raises(ValueError, match=r"logits: expected \[n, 4\], got \(2, 3\)"):
        sn.draw_from(jax.random.key(0), GRID, logits[:, :3])


def test_selection_takes_the_best_that_the_budget_allows():
    scores, costs = jnp.array([0.2, 0.6, 0.6, 0.9]), jnp.array([1, 2, 3, 4])
    assert [int(sn.select(scores, costs, b)) for b in (1, 2, 3.5, 4)] == [0, 1, 1, 3]


def test_the_pareto_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(0, 12, 40), rng.integers(0, 12, 40)
    front = sn.pareto_front(costs, scores)
    for i in range(40):
        beaten = np.any((costs <= costs[i]) & (scores >= scores[i]) & ((costs < costs[i]) | (scores > scores[i])))
        same = np.any((costs[front] == costs[i]) & (scores[front] == scores[i]))
        assert same == (not beaten)
    assert np.all(np.diff(costs[front]) > 0)
    with pytest.raises(ValueError, match="macs, accuracy: expected two arrays"):
        sn.pareto_front(costs, scores[1:])


def test_a_pair_is_two_images_side_by_side_and_its_label_their_sum():
    images, labels = np.arange(24.0).reshape(4, 2, 3), np.array([1, 2, 3, 9])
    x, y = sn.digit_pair_sum(jax.random.key(0), images, labels, 50)
    pairs = np.asarray(x).reshape(50, 2, 6)
    left, right = pairs[:, 0, 0].astype(int) // 6, pairs[:, 0, 3].astype(int) // 6
    np.testing.assert_array_equal(pairs, np.concatenate([images[left], images[right]], 2))
    np.testing.assert_array_equal(y, labels[left] + labels[right])
    with pytest.raises(ValueError, match=r"images, labels: expected \[n, h, w\] and \[n\]"):
        sn.digit_pair_sum(jax.random.key(0), images, labels[:3], 5)


def test_without_distillation_the_sandwich_loss_is_cross_entropy():
    logits = jax.random.normal(jax.random.key(0), (3, 5, 3))
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(logits, LABELS[None].repeat(3, 0)).mean()
    np.testing.assert_allclose(sandwich_loss(logits, LABELS, 0.0), expected, rtol=1e-6)


def test_distillation_fits_the_first_network_and_does_not_move_it():
    logits = jax.random.normal(jax.random.key(0), (3, 5, 3))
    got = jax.grad(sandwich_loss)(logits, LABELS, 1.0) * 15
    p, label = np.asarray(jax.nn.softmax(logits)), np.eye(3)[np.asarray(LABELS)]
    np.testing.assert_allclose(got, p - np.stack([label, p[0], p[0]]), atol=1e-6)


def test_the_sandwich_has_the_whole_and_the_smallest():
    drawn = sn.draw_from(jax.random.key(0), GRID, sandwich_logits(4, 4))
    np.testing.assert_array_equal(drawn[:2], [[4, 2], [2, 1]])
    with pytest.raises(ValueError, match="n: expected at least 2 for a sandwich, got 1"):
        sandwich_logits(4, 1)


def test_a_line_goes_from_one_network_to_the_other_with_the_width():
    ends = start(), jax.tree.map(lambda p: p + 0.1, start())
    active = prefix(MODEL.dims, 1, 2)
    mixed = jax.tree.map(lambda p, q: 0.25 * p + 0.75 * q, *ends)
    got, expected = jax.jit(on_a_line(MODEL.apply))(ends, X[0], active), jax.jit(MODEL.apply)(mixed, X[0], active)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def rule(n, unsorted=False, distil=0.0):
    return Rule(jnp.zeros((n, 4)), jnp.asarray(unsorted), *map(jnp.float32, (distil, 1e-2, 60)))


@pytest.mark.parametrize(("n", "line"), [(2, False), (1, True)])
def test_training_lowers_the_loss_and_counts_products(n, line):
    costs = jnp.array([MODEL.macs(int(w), int(l)) for w, l in GRID], jnp.float32)
    task = nested_task(MODEL, GRID, costs, lambda key: (X, LABELS), line=line)
    history = fit(task, jax.random.key(0), 60, rule(n)).history
    assert history["loss"][-10:].mean() < 0.8 * history["loss"][:10].mean()
    assert costs.min() <= history["macs"].min()
    assert history["macs"].max() <= costs.max()


def test_random_subsets_are_another_training_of_the_same_program():
    task = nested_task(MODEL, GRID, jnp.ones(4), lambda key: (X, LABELS))
    update = jax.jit(task.update)

    init = jax.jit(task.init)

    def step(unsorted):
        return update(init(jax.random.key(0), rule(2, unsorted)), jax.random.key(3))[0].params

    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (step(True), step(False))), strict=True)]
    assert max(moved) > 1e-3
    assert update._cache_size() == 1


def test_scores_of_the_grid_are_those_of_its_networks():
    score = accuracy(X, LABELS)
    got = jax.jit(lambda p: grid_scores(MODEL.exits, p, MODEL.dims, (2, 4), score))(start())
    active = stacked(*GRID.tolist())
    np.testing.assert_allclose(got.ravel(), jax.jit(partial(subset_accuracy, MODEL))(start(), active, X, LABELS))
    apply = jax.jit(jax.vmap(nested(MODEL.apply, MODEL.dims), (None, 0, None, None)))
    for (w, l), value in zip(GRID.tolist(), got.ravel(), strict=True):
        np.testing.assert_allclose(value, (apply(start(), X, w, l).argmax(1) == LABELS).mean())


def test_losses_of_sequences_are_their_mean_cross_entropies():
    model = nested_transformer(vocabulary=5, length=4, features=4, heads=2, depth=2)
    params = jax.jit(model.init)(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (3, 5), 0, 5)
    x, y = tokens[:, :-1], tokens[:, 1:]
    got = jax.jit(lambda p: grid_scores(model.exits, p, model.dims, (1, 2), negative_loss(x, y)))(params)
    logits = jax.jit(jax.vmap(nested(model.apply, model.dims), (None, 0, None, None)))(params, x, 1, 2)
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    np.testing.assert_allclose(got[0, 1], -expected, rtol=1e-5)
