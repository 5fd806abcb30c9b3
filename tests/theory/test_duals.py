"""The expectations of a layer against a sum over the plane, limits and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxzoo.theory.duals import dual

SIGMA, Q, Q2 = np.array([[0.3, -0.5, -1.1, 0.0, 0.9], [1.0, 0.8, 0.8, 2.0, 0.9], [0.7, 1.3, 1.7, 0.4, 0.9]])
"""Pairs of variances and their covariance, the last pair perfectly correlated."""


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def integrate(g, n=2000):
    """E g(u) g(v) of each pair by the midpoint rule over the plane, blind to the method's own quadrature."""
    z = (np.arange(n) + 0.5) * 16 / n - 8
    density = np.exp(-(z**2) / 2) * (16 / n) / np.sqrt(2 * np.pi)
    means = []
    for sigma, q, q2 in zip(SIGMA, Q, Q2, strict=True):
        root = np.linalg.cholesky(np.array([[q, sigma], [sigma, q2]]) + 1e-14 * np.eye(2))
        v = root[1, 0] * z[:, None] + root[1, 1] * z[None, :]
        means.append((density * g(root[0, 0] * z)) @ (g(v) @ density))
    return means


def test_relu_dual_equals_integral():
    kappa0, kappa1 = dual(jax.nn.relu)
    np.testing.assert_allclose(kappa1(SIGMA, Q, Q2), integrate(lambda u: np.maximum(u, 0)), atol=1e-5)
    np.testing.assert_allclose(kappa0(SIGMA, Q, Q2), integrate(lambda u: 1.0 * (u > 0)), atol=1e-3)


@pytest.mark.parametrize("erf", [jax.lax.erf, jax.scipy.special.erf])
def test_erf_dual_equals_integral(erf):
    kappa0, kappa1 = dual(erf)
    np.testing.assert_allclose(kappa1(SIGMA, Q, Q2), integrate(scipy.special.erf, 300), atol=1e-9)
    slope = integrate(lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2)), 300)
    np.testing.assert_allclose(kappa0(SIGMA, Q, Q2), slope, atol=1e-9)


@pytest.mark.parametrize(("variance", "error"), [(2.0, 2e-6), (4.0, 1.1e-3)])
def test_quadrature_has_the_stated_error(variance, error):
    for general, closed in zip(dual(lambda u: jax.lax.erf(u)), dual(jax.lax.erf), strict=True):
        np.testing.assert_allclose(jax.jit(general)(*[variance] * 3), closed(*[variance] * 3), rtol=error)


def test_any_nonlinearity_goes_by_quadrature():
    """erf by another name takes the general path: its values and gradients are those of the closed form."""
    for general, closed in zip(dual(lambda u: jax.lax.erf(u)), dual(jax.lax.erf), strict=True):
        general, closed = (jax.value_and_grad(lambda a, f=f: jnp.dot(Q2, f(*a))) for f in (general, closed))
        value, gradient = jax.jit(general)(jnp.stack([SIGMA, Q, Q2]))
        expected, slope = jax.jit(closed)(jnp.stack([SIGMA, Q, Q2]))
        np.testing.assert_allclose(value, expected, atol=1e-8)
        np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_quadrature_of_a_kink_is_good_to_two_digits():
    for general, closed in zip(dual(lambda u: jax.nn.relu(u)), dual(jax.nn.relu), strict=True):
        np.testing.assert_allclose(jax.jit(general)(SIGMA, Q, Q2), closed(SIGMA, Q, Q2), atol=0.01)


@pytest.mark.parametrize(("sigma", "kappa0_there", "kappa1_there"), [(0.7, 0.5, 0.35), (-0.7, 0.0, 0.0)])
def test_relu_dual_of_parallel_vectors(sigma, kappa0_there, kappa1_there):
    """t = 0 and t = pi: u = +-v. The slope of kappa1 in sigma is kappa0, by Price's theorem."""
    arguments = [jnp.float64(a) for a in (sigma, 0.7, 0.7)]
    (value0, slope0), (value1, slope1) = (
        jax.jit(jax.value_and_grad(f, (0, 1, 2)))(*arguments) for f in dual(jax.nn.relu)
    )
    np.testing.assert_allclose([value0, value1, slope1[0]], [kappa0_there, kappa1_there, kappa0_there], atol=1e-15)
    assert np.isfinite(slope0).all()
