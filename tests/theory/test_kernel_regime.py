"""Trainings whose course the tangent kernel foretells: each against its definition, a wide one against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.theory.kernel_regime import (
    decay_rate,
    descend,
    direction_regression,
    ensemble_regression,
    in_standard_parameterisation,
    product_regression,
    scalar_ntk_mlp,
)
from jaxzoo.train import fit
from jaxzoo.transforms import ntk


def squared_error(apply, params, x, y):
    return jnp.sum((jax.vmap(apply, (None, 0))(params, x) - y) ** 2) / (2 * len(y))


@pytest.fixture
def regression():
    """A network, its parameters, and data."""
    key_params, key_x, key_y = jax.random.split(jax.random.key(0), 3)
    model = scalar_ntk_mlp(16, 3, 0.5)
    x = jax.random.normal(key_x, (5, 4))
    return model, jax.jit(model.init)(key_params, x[0]), x, jax.random.normal(key_y, (5,))


def test_descend_steps_down_the_gradient_of_the_cost(regression):
    model, params, x, y = regression
    stepped, error = jax.jit(lambda params: descend(model.apply, params, x, y, rate=0.3))(params)
    gradient = jax.jit(jax.grad(lambda params: squared_error(model.apply, params, x, y)))(params)
    for p, g, q in zip(*map(jax.tree.leaves, (params, gradient, stepped)), strict=True):
        np.testing.assert_allclose(q, p - 0.3 * g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(error, jax.vmap(model.apply, (None, 0))(params, x) - y, rtol=1e-5, atol=1e-6)


def test_standard_parameterisation_has_the_same_outputs_and_a_kernel_that_grows():
    grown = []
    for width in (16, 64):
        model = scalar_ntk_mlp(width, 3, 0.5)
        standard = in_standard_parameterisation(model, 0.5)
        x = jnp.array([[0.3, -0.7]])
        params, other = (jax.jit(m.init)(jax.random.key(1), x[0]) for m in (model, standard))
        np.testing.assert_allclose(model.apply(params, x[0]), standard.apply(other, x[0]), rtol=1e-5)
        np.testing.assert_allclose(np.std(other[1]["w"]), width**-0.5, rtol=0.2)
        theta, theta_standard = ntk(model.apply)(params, x), ntk(standard.apply)(other, x)
        grown.append(float(theta_standard[0, 0] / theta[0, 0]))
    assert grown[1] > 2.5 * grown[0]


def test_product_regression_keeps_what_was_measured_before_the_first_step():
    model = scalar_ntk_mlp(64, 3, 0.1)
    point = jnp.array([1.0, 0.0])
    task = product_regression(model, 6, lambda params: model.apply(params, point), rate=1.0)
    trained = fit(task, jax.random.key(2), 30)
    training = trained.state
    np.testing.assert_allclose(training.y, training.x[:, 0] * training.x[:, 1])
    start = task.init(jax.random.split(jax.random.key(2))[0])
    np.testing.assert_allclose(training.before, model.apply(start.params, point), rtol=1e-5)
    loss = squared_error(model.apply, start.params, start.x, start.y)
    np.testing.assert_allclose(trained.history["loss"][0], loss, rtol=1e-5)
    loss = squared_error(model.apply, training.params, training.x, training.y)
    np.testing.assert_allclose(trained.evaluations["loss"][-1], loss, rtol=1e-5)
    assert trained.evaluations["loss"][-1] < trained.history["loss"][0] / 2


def test_each_network_of_an_ensemble_is_trained_by_itself(regression):
    model, _, x, y = regression
    task = ensemble_regression(model, 3, x, y, rate=0.5)
    start = jax.jit(task.init)(jax.random.key(3))
    after, scalars = jax.jit(task.update)(start, jax.random.key(4))
    losses = []
    for i in range(3):
        alone, error = descend(model.apply, jax.tree.map(lambda p, i=i: p[i], start), x, y, rate=0.5)
        jax.tree.map(lambda p, q, i=i: np.testing.assert_allclose(p[i], q, rtol=1e-5, atol=1e-6), after, alone)
        losses.append(float(np.mean(error**2) / 2))
    np.testing.assert_allclose(scalars["loss"], np.mean(losses), rtol=1e-5)
    assert len(set(losses)) == 3


def test_directions_decay_at_their_rates_in_a_wide_network():
    inputs = jax.random.normal(jax.random.key(5), (20, 6))
    task = direction_regression(scalar_ntk_mlp(2048, 2, 0.1), inputs, 8, (1, 3), rate=0.2)
    trained = fit(task, jax.random.key(6), 150)
    time = 0.2 * np.arange(150)
    before, x = trained.state.before, trained.state.x
    np.testing.assert_allclose(before["v"] @ before["v"].T, np.eye(2), atol=1e-5)
    assert len(np.unique(np.asarray(x), axis=0)) == 8
    assert np.isin(x, inputs).all()
    for i, k in enumerate((1, 3)):
        component = trained.history[f"v{k}"]
        np.testing.assert_allclose(component[0], 1, rtol=1e-5)
        np.testing.assert_allclose(decay_rate(component, time), before["rates"][i], rtol=0.05)


def test_decay_rate_is_the_slope_until_the_threshold():
    time = 0.1 * np.arange(200)
    kinked = np.where(time < 1.2 / 0.8, np.exp(-0.8 * time), 0.01)  # what comes below 0.3 does not count
    np.testing.assert_allclose(decay_rate(kinked, time), 0.8, rtol=1e-12)
    assert np.isnan(decay_rate(np.exp(-0.01 * time), time))
    assert np.isnan(decay_rate(np.array([1.0, 0.1, 0.0]), time[:3]))
