"""Coefficients and polynomials against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.graphs.polynomial_filter import poly_filter, ppr_coeffs


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [0, 1, 6, 10])
def test_coefficients(alpha, k):
    coefficients = np.asarray(ppr_coeffs(alpha, k))
    expected = [alpha * (1 - alpha) ** i for i in range(k)] + [(1 - alpha) ** k]
    np.testing.assert_allclose(coefficients, expected, atol=1e-6)
    np.testing.assert_allclose(coefficients.sum(), 1, atol=1e-6)


def test_the_first_coefficient_alone_is_the_identity_and_so_is_alpha_one():
    x = jax.random.normal(jax.random.key(0), (5, 3))
    np.testing.assert_array_equal(poly_filter(jnp.sin, x, jnp.eye(4)[0]), x)
    np.testing.assert_array_equal(poly_filter(jnp.sin, x, ppr_coeffs(1.0, 3)), x)
    np.testing.assert_array_equal(poly_filter(jnp.sin, x, jnp.ones(1)), x)


def test_outputs_and_gradients_are_those_of_matrix_powers():
    key_s, key_x, key_gamma = jax.random.split(jax.random.key(0), 3)
    s = jax.random.normal(key_s, (5, 5)) / 3
    x = jax.random.normal(key_x, (5, 2))
    gamma = jax.random.normal(key_gamma, (5,))

    def by_powers(s, x, gamma):
        return sum(gamma[i] * jnp.linalg.matrix_power(s, i) @ x for i in range(5))

    def by_steps(s, x, gamma):
        return poly_filter(lambda x: s @ x, x, gamma)

    np.testing.assert_allclose(by_steps(s, x, gamma), by_powers(s, x, gamma), atol=1e-5)
    grads = [
        jax.jit(jax.grad(lambda *a, f=f: (f(*a) ** 2).sum(), (0, 1, 2)))(s, x, gamma) for f in (by_steps, by_powers)
    ]
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match="alpha, k: expected alpha in"):
        ppr_coeffs(1.5, 3)
    with pytest.raises(ValueError, match="alpha, k: expected alpha in"):
        ppr_coeffs(0.5, -1)
    with pytest.raises(ValueError, match=r"gamma: expected \[k \+ 1\]"):
        poly_filter(jnp.sin, jnp.ones((2, 2)), jnp.ones((2, 2)))
