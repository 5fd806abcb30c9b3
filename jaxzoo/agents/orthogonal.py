"""Orthogonal initial weights, without LAPACK.

The usual initialiser takes the Q of a QR decomposition, which on CPU is a call of LAPACK from compiled code. On two
cores, three of five long runs stopped for ever in such an initialisation, of 75 or 219 inputs to 64 units: every thread
idle, and the result never ready. Gram-Schmidt in plain operations gives the same matrix.
"""

import jax
import jax.numpy as jnp
from jax import lax


def orthogonal(scale: float = 1.0):
    """An initialiser of kernels [n, m] whose rows or columns, whichever are fewer, are orthogonal and `scale` long.

    Uniform among such matrices: a Gaussian one, its columns made orthogonal one after the other.

    Args:
      scale: length of the vectors.

    Returns:
      `init(key, shape, dtype) -> [n, m]`, as `flax.linen` takes it.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks" (arXiv 1312.6120), Sec. 3.
    """

    def init(key, shape, dtype=jnp.float32):
        if len(shape) != 2:
            raise ValueError(f"shape: expected a matrix (n, m), got {shape}")
        tall = shape[0] >= shape[1]
        columns = jax.random.normal(key, shape if tall else shape[::-1], dtype)
        q = scale * gram_schmidt(columns)
        return q if tall else q.T

    return init


def gram_schmidt(a):
    """Orthonormal columns [n, m] with the span of those of a [n, m], n >= m, each leading set of them for itself."""

    def add(q, j):
        column = a[:, j]
        for _ in range(2):  # once leaves the rounding errors of nearly parallel columns
            column = column - q @ (q.T @ column)  # columns of q that are not there yet are 0
        return q.at[:, j].set(column / jnp.linalg.norm(column)), None

    return lax.scan(add, jnp.zeros_like(a), jnp.arange(a.shape[1]))[0]
