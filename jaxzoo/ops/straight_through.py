"""Functions evaluated one way and differentiated another."""

import functools

import jax
import jax.numpy as jnp


def straight_through(f):
    """The straight-through estimator: the value of f with the derivative of the identity.

    y = f(x, ...), dy/dx = 1. Derivatives in further arguments are 0.

    Args:
      f: `f(x, ...) -> y` with y of x's shape; it may be constant almost everywhere (round, sign) and give any dtype.

    Returns:
      `g(x, ...) -> y` of x's shape and dtype.

    Source: Bengio, Léonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation" (arXiv 1308.3432), the fourth of its estimators.
    """

    @functools.wraps(f)
    def estimator(x, *args, **options):
        y = jax.lax.stop_gradient(f(jax.lax.stop_gradient(x), *args, **options))
        if jnp.shape(y) != jnp.shape(x):
            raise ValueError(f"f: expected an output of the input's shape {jnp.shape(x)}, got {jnp.shape(y)}")
        return with_derivative_of(y.astype(x.dtype), x)

    return estimator


@jax.custom_jvp
def with_derivative_of(value, surrogate):
    """Gives `value`, bit for bit, with the derivatives of `surrogate`, an array of the same shape and dtype."""
    return value


@with_derivative_of.defjvp
def _with_derivative_of_jvp(primals, tangents):
    value, surrogate = primals
    return with_derivative_of(value, surrogate), tangents[1]
