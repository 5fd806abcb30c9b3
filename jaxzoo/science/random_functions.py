"""Random functions on a fine grid: Gaussian processes, Chebyshev series; and how well sensors describe them."""

import jax
import jax.numpy as jnp
import numpy as np

JITTER = 1e-13


def cholesky_rbf(length, points, *, end=1.0):
    """The Cholesky factor [n, n] of exp(-(x - x')^2 / (2 l^2)) on a grid of n points on [0, end], float32.

    Made in float64: in float32 the matrix is not positive definite.

    Args:
      length: l > 0.
      points: n, at least 2.
      end: of the interval.

    Raises:
      ValueError: length or number of points out of range.
    """
    if not length > 0 or points < 2:
        raise ValueError(f"expected length > 0 and points >= 2, got {length} and {points}")
    x = np.linspace(0, end, points)
    gram = np.exp(-np.square(x[:, None] - x[None]) / (2 * length**2))
    return np.linalg.cholesky(gram + JITTER * np.eye(points)).astype(np.float32)


def grf_rbf(key, n, *, length=0.2, points=1000, end=1.0):
    """Draws from a Gaussian process of mean 0 with an RBF kernel: [n, points].

    Args:
      key: of the draws.
      n: how many.
      length: l of the kernel exp(-(x - x')^2 / (2 l^2)).
      points: of the grid on [0, end], its ends included.
      end: of the interval.
    """
    factor = jnp.asarray(cholesky_rbf(length, points, end=end))
    return jax.random.normal(key, (n, points)) @ factor.T


def chebyshev_space(key, n, *, points=1000, terms=20, bound=1.0):
    """Draws of sum_i a_i T_i(2 x - 1) on [0, 1] with a_i uniform in [-bound, bound]: [n, points].

    Args:
      key: of the draws.
      n: how many.
      points: of the grid, its ends included.
      terms: N, number of Chebyshev polynomials.
      bound: M.
    """
    basis = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, points), terms - 1).astype(np.float32)
    return jax.random.uniform(key, (n, terms), minval=-bound, maxval=bound) @ jnp.asarray(basis).T


def resample(u, x):
    """Values at x of functions on an even grid over [0, 1], by linear interpolation.

    Args:
      u: [..., n] values on the grid, its ends included.
      x: [q] points in [0, 1].

    Returns:
      [..., q].
    """
    place = jnp.clip(x, 0, 1) * (u.shape[-1] - 1)
    left = jnp.clip(jnp.floor(place).astype(int), 0, u.shape[-1] - 2)
    share = (place - left).reshape((1,) * (u.ndim - 1) + (-1,))
    return u[..., left] * (1 - share) + u[..., left + 1] * share


def interpolation_error(u, m):
    """max_x |u(x) - (I_m u)(x)|, I_m the piecewise linear interpolant on m + 1 even points (the paper's kappa, eq. 4).

    Args:
      u: [n] values on an even grid over [0, 1].
      m: number of intervals.

    Returns:
      A scalar; of random functions of length l it falls as 1 / (m l)^2.
    """
    at = resample(u, jnp.linspace(0, 1, m + 1))
    return jnp.abs(u - resample(at, jnp.linspace(0, 1, u.shape[-1]))).max()
