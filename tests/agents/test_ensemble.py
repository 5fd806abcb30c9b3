"""Ensembles: predictions are sums over trees, however they came about; boosting lowers a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import ensemble as en
from jaxzoo.agents.trees import tree_fit_greedy, tree_fit_oblivious, tree_predict

CATS = (0, 0, 3)


def grown(fit, splits, trees=5, capacity=40):
    rng = np.random.default_rng(1)
    x = jnp.asarray(np.concatenate([rng.normal(size=(30, 2)), rng.integers(0, 3, (30, 1))], axis=1), jnp.float32)
    ensemble = en.empty_ensemble(capacity, splits, 8, jnp.asarray([1.0, -2.0]))
    append = jax.jit(lambda e, g: en.boost_append(e, fit(x, CATS, g, 6, 3), jnp.asarray([0.1, 0.5])))
    running, single = jnp.broadcast_to(ensemble.bias, (30, 2)), []
    for seed in range(trees):
        ensemble, step = append(ensemble, jnp.asarray(np.random.default_rng(seed).normal(size=(30, 2)), jnp.float32))
        single.append(step)
        running = running + tree_predict(step, x)
    return x, ensemble, single, running


@pytest.mark.parametrize(("fit", "splits"), [(tree_fit_oblivious, 3), (tree_fit_greedy, 7)])
def test_a_prediction_is_the_sum_over_trees_and_equals_the_running_one(fit, splits):
    x, ensemble, single, running = grown(fit, splits)
    assert ensemble.count == 5
    assert ensemble.trees.feature.shape == (64, splits)
    predicted = en.ensemble_predict(ensemble, x)
    np.testing.assert_allclose(predicted, ensemble.bias[None] + sum(tree_predict(t, x) for t in single), atol=1e-6)
    np.testing.assert_allclose(predicted, running, atol=1e-6)


def test_trees_beyond_a_chunk_count():
    x, ensemble, _, running = grown(tree_fit_oblivious, 3, trees=35)
    np.testing.assert_allclose(en.ensemble_predict(ensemble, x), running, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(lambda row: en.ensemble_predict(ensemble, row[None])[0])(x), running, atol=1e-5)


def test_a_step_is_minus_the_rate_times_the_mean_gradient():
    x = jnp.asarray([[0.0], [1.0]])
    tree = tree_fit_oblivious(x, (0,), jnp.asarray([[2.0, 1.0], [4.0, -1.0]]), 1, 1)
    ensemble, _ = en.boost_append(en.empty_ensemble(1, 1, 2, jnp.zeros(2)), tree, jnp.asarray([0.5, 0.1]))
    np.testing.assert_allclose(en.ensemble_predict(ensemble, x), [[-1.0, -0.1], [-2.0, 0.1]])


def test_importance_is_the_share_of_the_gain():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(200, 3)), jnp.float32)
    y = jnp.stack([jnp.sign(x[:, 1]), 0.5 * x[:, 1]], axis=1)
    ensemble, _ = en.boost_supervised(x, y, (0, 0, 0), trees=10, n_bins=16, depth=2)
    share = en.feature_importance(ensemble, 3)
    np.testing.assert_allclose(share.sum(), 1, rtol=1e-6)
    assert share[1] > 0.9
    assert en.feature_importance(en.empty_ensemble(1, 2, 4, jnp.zeros(1)), 3).sum() == 0


def test_boosting_lowers_both_losses():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(150, 2)), jnp.float32)
    label = (x[:, 0] * x[:, 1] > 0).astype(int)
    fit = jax.jit(en.boost_supervised, static_argnums=2, static_argnames=("loss", "trees", "n_bins", "depth"))
    ensemble, losses = fit(x, jax.nn.one_hot(label, 2), (0, 0), loss="softmax", trees=40, n_bins=16, depth=3)
    np.testing.assert_allclose(losses[0], np.log(2), rtol=1e-5)
    assert losses[-1] < 0.2
    assert (en.ensemble_predict(ensemble, x).argmax(1) == label).mean() > 0.95
    _, losses = fit(x, x[:, :1] * x[:, 1:], (0, 0), loss="rmse", trees=40, n_bins=16, depth=3)
    assert losses[-1] < 0.3 * losses[0]
    assert (jnp.diff(losses) <= 1e-6).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="capacity"):
        en.empty_ensemble(0, 2, 4, jnp.zeros(1))
    with pytest.raises(ValueError, match="loss"):
        en.boost_supervised(jnp.zeros((4, 1)), jnp.zeros((4, 1)), (0,), loss="hinge")
    with pytest.raises(ValueError, match=r"y: expected \[4, d\]"):
        en.boost_supervised(jnp.zeros((4, 1)), jnp.zeros(4), (0,))
