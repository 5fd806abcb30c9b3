"""The kernels against closed forms, Jacobians and sampled networks; the predictions against descent."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxzoo.theory.neural_tangent_kernel import (
    analytic_kernels,
    first_layer,
    kernel_pca_rates,
    next_layer,
    ntk_mlp,
    predict_ensemble,
    predict_mse,
)
from jaxzoo.transforms import linearize, ntk


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def circle(n):
    angles = jnp.linspace(-jnp.pi, jnp.pi, n, endpoint=False)
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)


# Kernels in the limit


def test_quadrature_broadcasts_over_a_gram_matrix():
    x = circle(5)
    by_name = analytic_kernels(x[:3], x, depth=2, s=jax.lax.erf)
    by_quadrature = analytic_kernels(x[:3], x, depth=2, s=lambda u: jax.lax.erf(u))
    np.testing.assert_allclose(by_quadrature, by_name, atol=1e-8)


@pytest.mark.parametrize("s", [jax.nn.relu, jax.lax.erf, jnp.tanh])
def test_gradients_equal_finite_differences(s):
    """Of the diagonal of a Gram matrix too, where every angle is 0."""
    x = jnp.array([[0.6, -1.1], [0.3, 0.8], [0.0, 0.0]])
    direction = jnp.array([[0.3, 0.5], [-0.7, 0.2], [0.0, 0.0]])

    @jax.jit
    def loss(x):
        return sum(jnp.sum(jnp.sin(k)) for k in analytic_kernels(x, depth=3, s=s))

    numeric = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(x), direction), numeric, rtol=1e-6)


@pytest.mark.parametrize("s", [jax.nn.relu, jnp.tanh])
def test_gradients_are_finite_at_zero_and_opposite_inputs(s):
    x = jnp.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    gradient = jax.jit(jax.jacfwd(lambda x: analytic_kernels(x, depth=2, s=s, b_var=0.0)))(x)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_he_scaling_gives_sigma_1_and_theta_depth(depth):
    x = circle(6)
    sigma, theta = analytic_kernels(x, depth=depth, w_var=2.0, b_var=0.0)
    np.testing.assert_allclose(jnp.diagonal(sigma), 1, rtol=1e-14)
    np.testing.assert_allclose(jnp.diagonal(theta), depth, rtol=1e-14)


def test_scaled_relu_gives_sigma_1_and_theta_depth():
    """The same with the factor in the nonlinearity: s = sqrt(2) relu, |x|^2 = n_0."""
    x = circle(6) * math.sqrt(2)
    sigma, theta = analytic_kernels(x, depth=4, s=lambda u: math.sqrt(2) * jax.nn.relu(u), b_var=0.0)
    np.testing.assert_allclose(jnp.diagonal(sigma), 1, rtol=1e-6)
    np.testing.assert_allclose(jnp.diagonal(theta), 4, rtol=1e-6)


def test_single_precision_keeps_the_diagonal():
    """arccos near 1 loses half the digits, unless the angle of an input with itself is exactly 0."""
    x = jax.random.normal(jax.random.key(0), (40, 784), jnp.float32)
    exact = analytic_kernels(x.astype(jnp.float64), depth=6)
    for single in (analytic_kernels(x, depth=6), analytic_kernels(x, x, depth=6)):
        for k, reference in zip(single, exact, strict=True):
            assert k.dtype == jnp.float32
            np.testing.assert_allclose(jnp.diagonal(k), jnp.diagonal(reference), rtol=3e-6)
            np.testing.assert_allclose(k, reference, rtol=1e-5)


def test_depths_compose():
    x, x2 = circle(7), 1.5 * circle(3)
    deeper = jax.jit(next_layer)
    two = deeper(first_layer(x, x2))
    np.testing.assert_allclose(two[:2], analytic_kernels(x, x2, depth=2), rtol=1e-12)
    np.testing.assert_allclose(deeper(two)[:2], analytic_kernels(x, x2, depth=3), rtol=1e-12)


def test_rectangular_kernel_is_a_block_of_the_square_one():
    x = jax.random.normal(jax.random.key(1), (8, 3))
    square, block = analytic_kernels(x, depth=4), analytic_kernels(x[:5], x[5:], depth=4)
    np.testing.assert_allclose(block, jnp.stack(square)[:, :5, 5:], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: analytic_kernels(jnp.ones((3, 2)), depth=0), "depth: expected at least 1"),
        (lambda: analytic_kernels(jnp.ones(3), depth=2), "x: expected"),
        (lambda: analytic_kernels(jnp.ones((3, 2)), jnp.ones((3, 4)), depth=2), "x2: expected"),
        (lambda: predict_mse(jnp.eye(3), jnp.ones((2, 4)), jnp.ones(3)), "ntk_xt: expected"),
        (lambda: predict_ensemble(jnp.eye(3), jnp.eye(4), jnp.ones(2)), "nngp, ntk: expected"),
        (lambda: predict_ensemble(jnp.eye(3), jnp.eye(3), jnp.ones(4)), "nngp, ntk: expected"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# Networks of finite width


@pytest.mark.parametrize(("hidden", "networks"), [((1024,), 2000), ((64, 64, 64), 2000)])
def test_outputs_before_training_have_covariance_sigma(hidden, networks):
    model, x = ntk_mlp((*hidden, 1)), circle(5)

    def outputs(key):
        return jax.vmap(model.apply, (None, 0))(model.init(key, x[0]), x)[:, 0]

    f = np.asarray(jax.lax.map(outputs, jax.random.split(jax.random.key(2), networks), batch_size=100))  # [networks, 5]
    products = f[:, :, None] * f[:, None, :]
    error = products.mean(0) - analytic_kernels(x, depth=len(hidden) + 1)[0]
    assert np.abs(error / (products.std(0) / math.sqrt(networks))).max() < 4
    assert np.abs(f.mean(0) / (f.std(0) / math.sqrt(networks))).max() < 4


@pytest.mark.parametrize("s", [jax.nn.relu, jnp.tanh])
def test_tangent_kernel_approaches_its_limit(s):
    model, x = ntk_mlp((512, 512, 1), s, beta=0.3), circle(4)
    kernel = ntk(lambda params, x: model.apply(params, x)[0], impl="vjp")
    theta = jax.lax.map(lambda key: kernel(model.init(key, x[0]), x), jax.random.split(jax.random.key(3), 8)).mean(0)
    limit = analytic_kernels(x, depth=3, s=s, b_var=0.09)[1]
    np.testing.assert_allclose(theta, limit, atol=0.04 * limit.max())


def test_two_forms_of_the_empirical_kernel_are_the_product_of_jacobians():
    model, x = ntk_mlp((9, 8, 2)), circle(6)
    params = jax.jit(model.init)(jax.random.key(4), x[0])
    j = jax.jit(jax.vmap(jax.jacobian(model.apply), (None, 0)))(params, x)
    j = np.concatenate([leaf.reshape(6, 2, -1) for leaf in jax.tree.leaves(j)], 2)  # [n, k, p]
    expected = np.einsum("iap,jbp->ijab", j, j)
    for impl in ("jacobian", "vjp"):
        theta = jax.jit(ntk(model.apply, impl=impl))(params, x)
        np.testing.assert_allclose(theta, expected, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(expected.transpose(0, 2, 1, 3).reshape(12, 12))
    assert eigenvalues[0] >= -1e-6 * eigenvalues[-1]


def test_parameterisation_starts_every_parameter_at_unit_variance():
    params = jax.jit(ntk_mlp((300, 200, 1)).init)(jax.random.key(5), jnp.zeros(50))
    assert [layer["w"].shape for layer in params] == [(300, 50), (200, 300), (1, 200)]
    np.testing.assert_allclose(np.std(params[1]["w"]), 1, atol=0.01)


# Training


def linear_model():
    """A network made linear in its parameters, and data."""
    model, x = ntk_mlp((12, 12, 1), jnp.tanh), circle(5)
    params0 = jax.jit(model.init)(jax.random.key(6), x[0])
    apply = linearize(lambda params, x: model.apply(params, x)[0], params0)
    return params0, apply, x, jnp.array([0.3, -0.2, 0.5, 0.1, -0.6])


def test_linearized_network_is_outputs_plus_jacobian():
    params0, apply, x, _ = linear_model()
    offset = jax.tree.map(jnp.cos, params0)

    @jax.jit
    def both(params0, offset):
        f = jax.vmap(apply, (None, 0))
        j = jax.jacobian(f)(params0, x)
        slope = sum(jax.tree.leaves(jax.tree.map(lambda j, d: jnp.tensordot(j, d, d.ndim), j, offset)))
        return f(jax.tree.map(jnp.add, params0, offset), x), f(params0, x) + slope

    np.testing.assert_allclose(*both(params0, offset), atol=1e-12)


@pytest.mark.parametrize(("rate", "overshoots"), [(0.5, False), (4.0, True)])
def test_descent_of_the_linearized_network_is_predicted(rate, overshoots):
    """At a rate, too, at which the fastest direction overshoots: 1 - rate lambda / N < 0."""
    params0, apply, x, y = linear_model()
    points = jnp.concatenate([x, 0.7 * circle(3)])
    f = jax.vmap(apply, (None, 0))

    @jax.jit
    def both(params0, t):
        def cost(params):
            return jnp.sum((f(params, x) - y) ** 2) / (2 * len(y))

        def step(_, params):
            return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(cost)(params))

        theta, f0 = ntk(apply)(params0, points), f(params0, points)
        predicted = predict_mse(theta[:5, :5], theta[:, :5], y, t, (f0[:5], f0), rate=rate)
        return f(jax.lax.fori_loop(0, t, step, params0), points), predicted, rate * kernel_pca_rates(theta[:5, :5])[0]

    trained, predicted, steps = both(params0, 40)
    assert (steps[0] > 1) == overshoots
    np.testing.assert_allclose(predicted, trained, atol=1e-10)


def test_flow_equals_matrix_exponential_and_small_steps():
    theta = analytic_kernels(circle(5), depth=3)[1]
    y = jnp.array([0.3, -0.2, 0.5, 0.1, -0.6])
    expected = y - scipy.linalg.expm(-np.asarray(theta) * 7.0 / 5) @ y
    np.testing.assert_allclose(predict_mse(theta, theta, y, 7.0), expected, atol=1e-12)
    np.testing.assert_allclose(predict_mse(theta, theta, y, 70_000, rate=1e-4), expected, atol=1e-4)


def test_limit_of_flow_interpolates_and_leaves_unseen_directions():
    theta = analytic_kernels(circle(5), depth=3)[1]
    y = jnp.stack([jnp.arange(5.0), jnp.ones(5)], 1)  # two outputs
    np.testing.assert_allclose(predict_mse(theta, theta, y), y, atol=1e-9)
    twice = jnp.array([0, 1, 2, 3, 3])
    blind = theta[twice][:, twice]  # two labels at one point: their difference can't be learnt, their mean can
    np.testing.assert_allclose(predict_mse(blind, blind, y)[3:], [[3.5, 1.0], [3.5, 1.0]], atol=1e-9)


def test_kernel_components_decay_at_their_rates():
    theta = analytic_kernels(circle(6) + jnp.array([[0.3, 0.1]]), depth=3)[1]
    rates, directions = kernel_pca_rates(theta)
    assert (np.diff(rates) <= 0).all()
    np.testing.assert_allclose(theta @ directions, 6 * rates[None, :] * directions, atol=1e-12)
    left = directions - jax.jit(predict_mse)(theta, theta, directions, 2.0)
    np.testing.assert_allclose(left, jnp.exp(-2.0 * rates)[None, :] * directions, atol=1e-12)


def test_ensemble_equals_training_drawn_outputs():
    """Draws of f_0 from the Gaussian process, each trained by `predict_mse`, have the mean and covariance foretold."""
    nngp, ntk_all = analytic_kernels(circle(7), depth=3)
    y, draws = jnp.array([0.4, -0.6, 0.5]), 20_000
    mean, cov = jax.jit(predict_ensemble)(nngp, ntk_all, y, 30.0)
    f0 = np.random.default_rng(7).multivariate_normal(np.zeros(7), nngp, draws).T
    f = jax.jit(predict_mse)(ntk_all[:3, :3], ntk_all[3:, :3], y[:, None], 30.0, (f0[:3], f0[3:]))  # [4, draws]
    np.testing.assert_allclose(mean, np.mean(f, 1), atol=5 * np.std(f, 1).max() / math.sqrt(draws))
    np.testing.assert_allclose(cov, np.cov(f), atol=0.03 * np.max(cov))


def test_ensemble_before_training_is_the_prior_and_after_it_certain_on_the_data():
    nngp, ntk_all = analytic_kernels(circle(4), depth=3)
    y = jnp.array([0.4, -0.6])
    predict = jax.jit(predict_ensemble)
    mean, cov = predict(nngp, ntk_all, y, 0.0)
    np.testing.assert_allclose(mean, 0, atol=1e-15)
    np.testing.assert_allclose(cov, nngp[2:, 2:], atol=1e-15)
    again = np.ix_([0, 1, 0, 1], [0, 1, 0, 1])  # the training points are their own test points
    mean, cov = predict(nngp[again], ntk_all[again], y)
    np.testing.assert_allclose(mean, y, atol=1e-12)
    np.testing.assert_allclose(cov, 0, atol=1e-12)
