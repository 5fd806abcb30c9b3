"""Integer discrete flow: a bijection on all digits; its prior is a distribution over the integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import logistic

from jaxzoo import data
from jaxzoo.probabilistic import integer_flow as flow


def test_the_flow_is_a_bijection_of_all_digits():
    x = jnp.asarray(data.digits().x.reshape(-1, 64) * 16).astype(jnp.uint8)
    model, forward, inverse = flow.integer_flow(flow.coupling_masks(8, 8), 17, 16)
    params = model.init(jax.random.key(0), x[0])
    noise = jax.random.normal(jax.random.key(1), params.couplings["dense_2"]["kernel"].shape)
    params.couplings["dense_2"]["kernel"] += 2.0 * noise
    z = jax.jit(jax.vmap(forward, (None, 0)))(params, x)
    np.testing.assert_array_equal(z, jnp.round(z))
    assert (jnp.abs(z - x) > 0).mean() > 0.5
    np.testing.assert_array_equal(jax.jit(jax.vmap(inverse, (None, 0)))(params, z), x)


def test_rounding_has_the_derivative_of_the_identity():
    x = jnp.array([0.4, 1.6, -2.5])
    np.testing.assert_array_equal(flow.round_ste(x), [0, 2, -2])
    np.testing.assert_array_equal(jax.vjp(flow.round_ste, x)[1](jnp.array([1.0, 2.0, 3.0]))[0], [1, 2, 3])


def test_a_coupling_moves_only_what_is_not_masked():
    z, mask = jnp.arange(4.0), jnp.array([1.0, 0, 1, 0])
    out = flow.additive_coupling(z, mask, lambda seen: seen.sum(keepdims=True) + jnp.full(4, 0.2))
    np.testing.assert_array_equal(out, [0, 3, 2, 5])
    back = flow.additive_coupling(out, mask, lambda seen: seen.sum(keepdims=True) + jnp.full(4, 0.2), inverse=True)
    np.testing.assert_array_equal(back, z)


@pytest.mark.parametrize(("mean", "scale"), [(0.3, 2.0), (-4.0, 0.05), (7.5, 0.5)])
def test_discretized_logistic_against_scipy(mean, scale):
    z = np.arange(-60.0, 60.0)
    found = flow.discretized_logistic(jnp.asarray(z), jnp.full(120, mean), jnp.full(120, np.log(scale)))
    np.testing.assert_allclose(np.exp(found).sum(), 1, atol=1e-4)
    near = np.abs(z - mean) < 8 * scale + 1
    # Beyond the mean scipy's difference of cdfs is taken of the mirror image, where nothing cancels.
    a, b = (z + 0.5 - mean) / scale, (z - 0.5 - mean) / scale
    expected = np.where(z > mean, logistic.cdf(-b) - logistic.cdf(-a), logistic.cdf(a) - logistic.cdf(b))
    np.testing.assert_allclose(found[near], np.log(expected[near]), rtol=1e-3, atol=1e-4)


def test_the_mixture_sums_to_one_and_has_finite_gradients_far_away():
    keys = jax.random.split(jax.random.key(0), 3)
    prior = flow.Logistics(*(jax.random.normal(k, (1, 5)) for k in keys))
    z = jnp.arange(-80.0, 80.0)[:, None]
    p = jnp.exp(jax.vmap(flow.mixture_log_prob, (None, 0))(prior, z))
    np.testing.assert_allclose(p.sum(), 1, atol=1e-4)
    gradient = jax.grad(flow.mixture_log_prob)(prior, jnp.array([500.0]))
    assert all(jnp.isfinite(g).all() for g in gradient)


def test_masks_come_in_complements():
    masks = flow.coupling_masks(4, 6)
    assert masks.shape == (8, 24)
    np.testing.assert_array_equal(masks[::2] + masks[1::2], np.ones((4, 24)))
    assert len(np.unique(masks, axis=0)) == 6


def test_symbols_of_integers_and_the_escape():
    train = np.array([[-3, 0, -50], [2, 1, 50], [0, 0, 1]])
    letters = flow.alphabet(train, 9)
    np.testing.assert_array_equal(letters.low, [-3, 0, -3])
    symbols = flow.to_symbols(letters, np.array([[-3, 7, 4], [2, 8, 5], [-4, -1, -4]]))
    np.testing.assert_array_equal(symbols, [[0, 7, 7], [5, 8, 8], [8, 8, 8]])
    assert symbols.dtype == np.uint8
    assert flow.to_symbols(flow.alphabet(train, 512), train).dtype == np.uint16
