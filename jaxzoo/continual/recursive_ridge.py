"""Ridge regression batch by batch: the weights after any batches are those of all their examples at once.

    W = (X^T X + gamma I)^-1 X^T Y

Two states give them: R = (X^T X + gamma I)^-1 with W (recursive least squares), or X^T X with X^T Y (information form),
which is solved when the weights are wanted, is cheaper where that is seldom, and loses no digits on the way. Columns
of targets are independent of each other, so a class that comes late is a column that was zero until then.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve, solve_triangular


class RLS(NamedTuple):
    """State of recursive least squares.

    Attributes:
      R: [d, d] the inverse of X^T X + gamma I; symmetric, positive definite.
      W: [d, c] weights.
    """

    R: jax.Array
    W: jax.Array


class Information(NamedTuple):
    """State of the information form.

    Attributes:
      A: [d, d] X^T X.
      Q: [d, c] X^T Y.
    """

    A: jax.Array
    Q: jax.Array


def rls_init(d: int, gamma: float, *, classes: int, dtype=jnp.float32) -> RLS:
    """The state before any example: R = I / gamma, W = 0.

    Args:
      d: size of an example.
      gamma: > 0, the ridge penalty.
      classes: c, columns of W; those of classes not yet seen stay zero.
      dtype: of the state. In float32 about log10(largest eigenvalue of X^T X / gamma) of 7 digits are lost.

    Raises:
      ValueError: a size below 1 or gamma not above 0.
    """
    if d < 1 or classes < 1:
        raise ValueError(f"d, classes: expected at least 1, got {d} and {classes}")
    if not gamma > 0:
        raise ValueError(f"gamma: expected a number > 0, got {gamma}")
    return RLS(jnp.eye(d, dtype=dtype) / gamma, jnp.zeros((d, classes), dtype))


def downdate(R, x):
    """R after a batch, by the matrix inversion lemma, and the factor that its errors are multiplied with.

        R_k = R - R x^T S^-1 x R    R_k x^T = R x^T S^-1    S = I + x R x^T

    Args:
      R: [d, d] symmetric, positive definite, of before the batch.
      x: [b, d]; rows of zeros change nothing.

    Returns:
      `(R_k [d, d], R_k x^T [d, b])`.
    """
    x_R = x @ R  # [b, d]
    one = jnp.eye(len(x), dtype=R.dtype)
    L = jnp.linalg.cholesky(one + x_R @ x.T)
    # The small factor is inverted, so that all that has d columns is a matrix product: on CPU several times faster than
    # a triangular solve, and with one step of refinement as accurate.
    L_inverse = solve_triangular(L, one, lower=True)  # [b, b]
    half = L_inverse @ x_R  # [b, d]
    half = half + L_inverse @ (x_R - L @ half)
    # Written as a square, what is taken away is symmetric up to the rounding of one product. R_k x^T is not taken from
    # R_k, where the difference has lost the digits of the directions that were seen often.
    return R - half.T @ half, half.T @ L_inverse


def rls_update(state: RLS, x, y) -> RLS:
    """Takes in a batch.

        W <- W + R_k x^T (y - x W)    with the new R_k

    Args:
      state: so far.
      x: [b, d]; rows of zeros stand for no example.
      y: [b, c] targets; zero in those rows.

    Returns:
      The state that all examples at once would have given.

    Raises:
      ValueError: shapes that do not fit.
    """
    _check(state.W, x, y)
    R, R_xT = downdate(state.R, x)
    return RLS(R, state.W + R_xT @ (y - x @ state.W))


def information_init(d: int, *, classes: int, dtype=jnp.float32) -> Information:
    """The information form before any example: zeros."""
    return Information(jnp.zeros((d, d), dtype), jnp.zeros((d, classes), dtype))


def ridge_information_form(state: Information, x, y) -> Information:
    """Takes in a batch: A + x^T x, Q + x^T y.

    Args:
      state: so far.
      x: [b, d].
      y: [b, c].

    Returns:
      The state with the batch.

    Raises:
      ValueError: shapes that do not fit.
    """
    _check(state.Q, x, y)
    return Information(state.A + x.T @ x, state.Q + x.T @ y)


def ridge_weights(state: Information, gamma: float):
    """The weights [d, c] of an information form: (A + gamma I)^-1 Q, by a Cholesky factor."""
    return cho_solve(cho_factor(state.A + gamma * jnp.eye(len(state.A), dtype=state.A.dtype)), state.Q)


def ridge(x, y, gamma: float):
    """The joint solution [d, c] of all examples x [n, d] and targets y [n, c]."""
    return ridge_weights(Information(x.T @ x, x.T @ y), gamma)


def _check(W, x, y) -> None:
    if x.ndim != 2 or x.shape[1] != W.shape[0]:
        raise ValueError(f"x: expected [b, {W.shape[0]}], got {x.shape}")
    if y.shape != (len(x), W.shape[1]):
        raise ValueError(f"y: expected [{len(x)}, {W.shape[1]}], got {y.shape}")
