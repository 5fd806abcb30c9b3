"""The straight-through estimator: exact values, the derivative of the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops

X = jnp.asarray([-1.6, -0.2, 0.3, 1e9, 2.5])


@pytest.mark.parametrize("f", [jnp.round, jnp.sign, lambda x: x > 0, lambda x: jnp.floor(x).astype(jnp.int32)])
def test_value_of_the_function_and_derivative_of_the_identity(f):
    y, pull = jax.vjp(ops.straight_through(f), X)
    np.testing.assert_array_equal(y, f(X).astype(jnp.float32))
    np.testing.assert_array_equal(pull(2 * X)[0], 2 * X)
    _, tangent = jax.jvp(ops.straight_through(f), (X,), (3 * X,))
    np.testing.assert_array_equal(tangent, 3 * X)


def test_values_are_exact_where_the_usual_sum_rounds():
    # x + (f(x) - x) is 0 here.
    assert ops.straight_through(lambda x: jnp.full_like(x, 0.1))(jnp.asarray([1e9])) == jnp.float32(0.1)


def test_further_arguments_get_no_gradient_and_may_be_traced():
    def threshold(x, level):
        return jnp.where(x > level, 1.0, 0.0)

    loss = lambda x, level: (X * ops.straight_through(threshold)(x, level)).sum()  # noqa: E731
    in_x, in_level = jax.jit(jax.grad(loss, (0, 1)))(X, jnp.float32(0.1))
    np.testing.assert_array_equal(in_x, X)
    assert in_level == 0


def test_inside_a_function_that_is_differentiated_twice():
    square = lambda x: (ops.straight_through(jnp.round)(x) ** 2).sum()  # noqa: E731
    np.testing.assert_array_equal(jax.grad(square)(X), 2 * jnp.round(X))
    np.testing.assert_array_equal(jax.hessian(square)(X), 2 * np.eye(5))


def test_vmap_equals_the_whole():
    np.testing.assert_array_equal(jax.vmap(ops.straight_through(jnp.round))(X), jnp.round(X))


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"f: expected an output of the input's shape \(5,\), got \(\)"):
        ops.straight_through(jnp.sum)(X)
