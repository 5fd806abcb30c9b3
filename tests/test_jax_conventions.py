"""What JAX does in silence where other libraries raise an error or give another number. The project relies on these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_reading_beyond_the_end_gives_the_last_element():
    x = jnp.arange(5.0)
    assert jax.jit(lambda i: x[i])(7) == 4
    assert np.isnan(x.at[7].get(mode="fill"))


def test_writing_beyond_the_end_is_dropped_and_negative_indices_wrap():
    x = jnp.zeros(5)
    np.testing.assert_array_equal(x.at[7].set(1.0), x)
    np.testing.assert_array_equal(x.at[-1].set(1.0), [0, 0, 0, 0, 1])


def test_where_does_not_stop_the_gradient_of_what_it_leaves_out():
    careless = jax.grad(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0))
    careful = jax.grad(lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0))
    assert np.isnan(careless(0.0))
    assert careful(0.0) == 0


def test_float64_is_float32_outside_its_context():
    with pytest.warns(UserWarning, match="float64"):
        assert jnp.asarray(1.0, dtype=jnp.float64).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jnp.asarray(1.0, dtype=jnp.float64).dtype == jnp.float64


def test_random_numbers_depend_on_the_implementation_and_its_flag():
    def draw(partitionable, implementation):
        with jax.threefry_partitionable(partitionable):
            return float(jax.random.normal(jax.random.key(0, impl=implementation)))

    plain, old, rbg = draw(True, "threefry2x32"), draw(False, "threefry2x32"), draw(True, "rbg")
    assert len({plain, old, rbg}) == 3
    assert jax.random.normal(jax.random.key(0)) == plain


def test_a_key_used_twice_is_an_error_here():
    key = jax.random.key(0)
    jax.random.normal(key)
    with pytest.raises(jax.errors.KeyReuseError, match="onsumed key"):
        jax.random.normal(key)
