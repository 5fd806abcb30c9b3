"""What a layer of infinite width does to the covariance of its inputs: expectations over Gaussian pairs."""

import jax
import jax.numpy as jnp
import numpy as np


def dual(s):
    """The expectations of a layer: how a nonlinearity maps covariances of its inputs to covariances of its outputs.

    kappa0 = E s'(u) s'(v),   kappa1 = E s(u) s(v),   (u, v) ~ N(0, [[q, sigma], [sigma, q2]])

    Closed forms for `jax.nn.relu` (Cho, Saul 2009) and `erf` of jax.lax or jax.scipy.special (Williams 1997). Any other
    function takes Gauss-Hermite quadrature with 64 x 64 nodes, whose error grows with the steepness of s: 2e-6 for erf
    at variance 2, 1e-3 at variance 4; 1e-2 where s has a kink.

    Args:
      s: elementwise nonlinearity.

    Returns:
      `(kappa0, kappa1)`, elementwise functions of (sigma, q, q2). Values and gradients are finite up to |sigma| =
      sqrt(q q2), and there kappa0 of the ReLU, which has a cusp, takes the gradient 0, as
      all do in a variance of 0.
    """
    if s is jax.nn.relu:
        return _relu_kappa0, _relu_kappa1
    if s in (jax.lax.erf, jax.scipy.special.erf):
        return _erf_kappa0, _erf_kappa1

    def slope(u):
        return jax.jvp(s, (u,), (jnp.ones_like(u),))[1]

    return _quadrature(slope), _quadrature(s)


def _relu_kappa0(sigma, q, q2):
    _, _, _, t = _angle(sigma, q, q2)
    return (jnp.pi - t) / (2 * jnp.pi)


def _relu_kappa1(sigma, q, q2):
    norm, cos, sin, t = _angle(sigma, q, q2)
    return norm * (sin + (jnp.pi - t) * cos) / (2 * jnp.pi)


def _angle(sigma, q, q2):
    """Norm sqrt(q q2), and cosine, sine and size of the angle t with cos t = sigma / norm.

    Cosines within rounding of +-1 count as +-1: arccos turns an error of eps there into one of sqrt(2 eps). The inner
    `where` of each pair keeps sqrt and arccos off the points at which their derivatives are infinite.
    """
    norm = _sqrt(q * q2)
    cos = sigma / jnp.where(norm > 0, norm, 1)
    parallel = jnp.abs(cos) >= 1 - 4 * jnp.finfo(cos.dtype).eps
    inner = jnp.where(parallel, 0, cos)
    sin = jnp.where(parallel, 0, jnp.sqrt((1 - inner) * (1 + inner)))
    t = jnp.where(parallel, jnp.where(cos > 0, 0, jnp.pi), jnp.arccos(inner))
    return norm, cos, sin, t


def _erf_kappa0(sigma, q, q2):
    return 4 / jnp.pi / jnp.sqrt((1 + 2 * q) * (1 + 2 * q2) - 4 * sigma**2)


def _erf_kappa1(sigma, q, q2):
    return 2 / jnp.pi * jnp.arcsin(2 * sigma / jnp.sqrt((1 + 2 * q) * (1 + 2 * q2)))


def _quadrature(g, nodes=64):
    """E g(u) g(v) by a Gauss-Hermite sum over z, z2 ~ N(0, 1): u = sqrt(q) z, v = sqrt(q2) (cos z + sin z2)."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()

    @jnp.vectorize
    def expectation(sigma, q, q2):
        norm, cos, _, _ = _angle(sigma, q, q2)
        # Gradients at cos = 1 are 0 (d/dsin, by symmetry) times infinity (dsin/dcos) unless sin stays above 0.
        sin = jnp.sqrt(1 - cos**2 + jnp.finfo(norm.dtype).eps ** 0.75)
        z2, w2 = jnp.asarray(points, norm.dtype), jnp.asarray(weights, norm.dtype)

        def add(total, node):
            z, w = node
            v = _sqrt(q2) * (cos * z + sin * z2)
            return total + w * g(_sqrt(q) * z) * jnp.sum(w2 * g(v)), None

        return jax.lax.scan(add, jnp.zeros_like(norm), (z2, w2))[0]

    return expectation


def _sqrt(x):
    """The root, with gradient 0 at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)
