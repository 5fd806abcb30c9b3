"""Polynomial filters of a linear operator on a graph, by repeated products and never by powers."""

import jax
import jax.numpy as jnp


def ppr_coeffs(alpha, k):
    """The weights of personalised PageRank cut after k steps: alpha (1 - alpha)^i for i < k, and (1 - alpha)^k.

    Args:
      alpha: chance of going back to the start, in [0, 1].
      k: highest power, at least 0.

    Returns:
      [k + 1] float32, with sum 1.

    Raises:
      ValueError: alpha or k out of range.
    """
    if not 0 <= alpha <= 1 or k < 0:
        raise ValueError(f"alpha, k: expected alpha in [0, 1] and k of at least 0, got {alpha} and {k}")
    stays = (1.0 - alpha) ** jnp.arange(k + 1, dtype=jnp.float32)
    return jnp.where(jnp.arange(k + 1) < k, alpha * stays, stays)


def poly_filter(op, x, gamma):
    """sum over i of gamma_i op^i(x).

    Args:
      op: linear, [n, d] -> [n, d].
      x: [n, d].
      gamma: [k + 1] coefficients, of the powers 0 to k.

    Returns:
      [n, d].

    Raises:
      ValueError: gamma is not a vector of one coefficient or more.
    """
    if gamma.ndim != 1 or not gamma.size:
        raise ValueError(f"gamma: expected [k + 1] coefficients, got {gamma.shape}")

    def step(carry, weight):
        power, total = carry
        power = op(power)
        return (power, total + weight * power), None

    (_, total), _ = jax.lax.scan(step, (x, gamma[0] * x), gamma[1:])
    return total
