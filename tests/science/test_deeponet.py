"""DeepONet: its forms agree, its layers are where the paper has them, its data solve their equations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo.science import deeponet as don
from jaxzoo.science import ode
from jaxzoo.science.random_functions import cholesky_rbf


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_linear_networks_of_identities_give_the_inner_product():
    m = 5
    layer = {"w": jnp.eye(m), "b": jnp.zeros(m)}
    params = {"branch": [layer], "trunk": [layer], "b0": jnp.float32(0.3)}
    u, y = normal(0, m), jnp.abs(normal(1, m))
    np.testing.assert_allclose(don.deeponet_apply(params, u, y), (u * y).sum() + 0.3, rtol=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_all_pairs_equal_each_pair(stacked, bias):
    sizes = ((7, 6), (2, 5, 4)) if stacked else ((7, 6, 4), (2, 5, 4))
    params = don.deeponet_init(jax.random.key(0), *sizes, stacked=stacked, bias=bias)
    params = jax.tree.map(lambda x: x + 0.1 * normal(3, *x.shape), params)
    u, y = normal(0, 3, 7), normal(1, 5, 2)
    every = jnp.stack([jnp.stack([don.deeponet_apply(params, a, b) for b in y]) for a in u])
    np.testing.assert_allclose(don.deeponet_cartesian(params, u, y), every, atol=1e-6)
    np.testing.assert_allclose(don.deeponet_apply(params, u, y[:3]), jnp.diagonal(every[:, :3]), atol=1e-6)
    assert ("b0" in params) == bias


def test_the_stacked_branch_is_p_networks():
    params = don.deeponet_init(jax.random.key(0), (7, 6), (1, 5, 4), stacked=True)
    branch, u = params["branch"], normal(0, 3, 7)
    one = lambda k: jax.nn.relu(u @ branch["w1"][k] + branch["b1"][k][None]) @ branch["w2"][k]  # noqa: E731
    expected = jnp.stack([one(k) for k in range(4)], 1)
    np.testing.assert_allclose(don._branch(branch, u, jax.nn.relu), expected, atol=1e-6)


def test_the_trunk_ends_in_an_activation_and_the_branch_does_not():
    params = don.deeponet_init(jax.random.key(0), (7, 20, 20), (1, 20, 20))
    u, y = normal(0, 50, 7), normal(1, 50, 1)
    trunk, branch = don._trunk(params["trunk"], y, jax.nn.relu), don._branch(params["branch"], u, jax.nn.relu)
    assert trunk.min() == 0
    assert branch.min() < 0 < branch.max()


def test_weights_are_glorot_normal_and_offsets_zero():
    params = don.mlp_init(jax.random.key(0), (300, 500, 1))
    np.testing.assert_allclose(params[0]["w"].std(), np.sqrt(2 / 800), rtol=0.02)
    assert all(jnp.all(layer["b"] == 0) for layer in params)
    assert "b" not in don.mlp_init(jax.random.key(0), (3, 4, 1), last_bias=False)[-1]


@pytest.mark.parametrize("residual", [False, True])
def test_the_baseline_reads_function_and_point_side_by_side(residual):
    model = don.fnn((6, 6), residual=residual)
    example = normal(0, 7), normal(1, 1)
    params = model.init(jax.random.key(0), example)
    assert params[0]["w"].shape == (8, 6)
    x = jnp.concatenate(example)
    h = jax.nn.relu(x @ params[0]["w"]) if not residual else x @ params[0]["w"]
    g = jax.nn.relu(h @ params[1]["w"])
    expected = ((h + g if residual else g) @ params[2]["w"])[0]
    np.testing.assert_allclose(model.apply(params, example), expected, atol=1e-6)


def test_the_robust_error_leaves_out_the_largest_of_a_thousand():
    errors = jnp.ones(1000).at[7].set(1e6)
    assert don.robust_mse(errors) == 1
    assert don.robust_mse(jnp.asarray([2.0])) == 4


def test_gradients_equal_differences():
    with jax.enable_x64(True):
        params = don.deeponet_init(jax.random.key(0), (3, 4, 4), (1, 4, 4))
        params = jax.tree.map(lambda x: jnp.float64(x) + 0.1, params)
        u, y = jnp.float64(normal(0, 3)), jnp.abs(jnp.float64(normal(1, 1)))
        loss = lambda p: don.deeponet_apply(p, u, y, activation=jnp.tanh)  # noqa: E731
        check_grads(loss, (params,), order=1, modes=("fwd", "rev"), rtol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected to end with the trunk's 4"):
        don.deeponet_init(jax.random.key(0), (7, 6, 5), (1, 4))
    with pytest.raises(ValueError, match=r"expected \(m, w\)"):
        don.deeponet_init(jax.random.key(0), (7, 6, 5), (1, 4), stacked=True)
    with pytest.raises(ValueError, match="sizes: expected"):
        don.mlp_init(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="expected u"):
        don.ode_response(ode.antiderivative, jnp.zeros(1), jnp.zeros(3))
    with pytest.raises(ValueError, match="expected length > 0"):
        cholesky_rbf(0.0, 10)
    with pytest.raises(ValueError, match="expected u"):
        don.reaction_diffusion(jnp.zeros(10), diffusion=0.0)


def test_the_antiderivative_of_a_sine():
    with jax.enable_x64(True):
        x = jnp.linspace(0, 1, 1000)
        s = don.ode_response(ode.antiderivative, jnp.zeros(1), jnp.sin(jnp.pi * x))[:, 0]
        np.testing.assert_allclose(s[-1], 2 / np.pi, atol=1e-8)
        np.testing.assert_allclose(s, (1 - jnp.cos(jnp.pi * x)) / jnp.pi, atol=1e-8)


def test_the_nonlinear_equation_with_a_constant_force_and_the_pendulum_at_rest():
    with jax.enable_x64(True):
        x = jnp.linspace(0, 1, 1000)
        s = don.ode_response(ode.nonlinear, jnp.zeros(1), jnp.ones(1000))[:, 0]
        np.testing.assert_allclose(s, jnp.tanh(x), atol=1e-8)
        assert jnp.all(don.ode_response(ode.pendulum, jnp.zeros(2), jnp.zeros(50)) == 0)


def test_a_small_pendulum_is_a_harmonic_oscillator():
    with jax.enable_x64(True):
        x = jnp.linspace(0, 1, 500)
        s = don.ode_response(ode.pendulum, jnp.zeros(2), jnp.full(500, 1e-4))
        np.testing.assert_allclose(s[:, 0], 1e-4 * (1 - jnp.cos(x)), atol=1e-12)


def test_midpoints_are_exact_for_cubics():
    x = np.linspace(0, 1, 9)
    cubic = lambda x: 1 - 2 * x + 3 * x**2 - 4 * x**3  # noqa: E731
    with jax.enable_x64(True):
        np.testing.assert_allclose(ode.midpoints(jnp.asarray(cubic(x))), cubic((x[1:] + x[:-1]) / 2), atol=1e-12)


def test_interpolation_error_falls_with_the_square_of_sensors_and_length():
    m = np.array([20, 30, 50, 70, 100])

    def mean_error(length, m):
        u = don.grf_rbf(jax.random.key(0), 200, length=length)
        return np.array([jax.vmap(partial(don.interpolation_error, m=int(n)))(u).mean() for n in m])

    of_m = mean_error(0.2, m)
    assert abs(np.polyfit(np.log(m), np.log(of_m), 1)[0] + 2) < 0.2
    assert 3 < mean_error(0.1, m[3:4]) / of_m[3] < 5


def test_draws_have_the_covariance_of_the_kernel():
    u = don.grf_rbf(jax.random.key(0), 20_000, length=0.2, points=20)
    x = np.linspace(0, 1, 20)
    covariance = np.exp(-np.square(x[:, None] - x[None]) / (2 * 0.2**2))
    np.testing.assert_allclose(np.asarray(u).T @ np.asarray(u) / len(u), covariance, atol=0.05)


def test_chebyshev_series_are_those_of_numpy():
    u = don.chebyshev_space(jax.random.key(0), 3, points=50, terms=4, bound=2.0)
    a = jax.random.uniform(jax.random.key(0), (3, 4), minval=-2, maxval=2)
    expected = np.polynomial.chebyshev.chebval(np.linspace(-1, 1, 50), np.asarray(a).T)
    np.testing.assert_allclose(u, expected, atol=1e-5)


def test_resampling_is_exact_on_the_grid_and_linear_between():
    u = normal(0, 2, 11)
    np.testing.assert_allclose(don.resample(u, jnp.linspace(0, 1, 11)), u, atol=1e-6)
    np.testing.assert_allclose(don.resample(u, jnp.asarray([0.05, 1.0]))[:, 0], u[:, :2].mean(1), atol=1e-6)


def test_diffusion_of_a_sine_source():
    d, x = 0.01, jnp.linspace(0, 1, 100)
    s = don.reaction_diffusion(jnp.sin(jnp.pi * x), diffusion=d, reaction=0.0)
    t = jnp.linspace(0, 1, 100)[:, None]
    rate = d * jnp.pi**2
    expected = jnp.sin(jnp.pi * x)[None] * (1 - jnp.exp(-rate * t)) / rate
    np.testing.assert_allclose(s, expected, atol=1e-3)


def test_reaction_without_space_follows_its_equation():
    """Far from the borders s' = k s^2 + 1, whose solution is tan(sqrt(k) t) / sqrt(k)."""
    s = don.reaction_diffusion(jnp.ones(101), diffusion=1e-6, reaction=0.5, steps=200)
    t = np.linspace(0, 1, 200)
    np.testing.assert_allclose(s[:, 50], np.tan(np.sqrt(0.5) * t) / np.sqrt(0.5), atol=1e-3)
