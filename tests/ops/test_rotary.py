"""Rotary embedding as complex rotations, and what makes it a relative position code."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_it_is_multiplication_by_complex_phases():
    x, positions = draw(5, 2, 6), np.asarray([0, 1, 7, 100, 3])
    y = ops.rotary(x, jnp.asarray(positions), base=50.0)
    phase = np.exp(1j * positions[:, None] * 50.0 ** (-np.arange(3) / 3))[:, None]  # [t, 1, d / 2]
    turned = (np.float64(x[..., :3]) + 1j * np.float64(x[..., 3:])) * phase
    np.testing.assert_allclose(y, np.concatenate([turned.real, turned.imag], -1), atol=1e-5)


def test_inner_products_depend_on_the_distance_alone():
    q, k = draw(1, 1, 8), draw(1, 1, 8, seed=1)
    at = lambda x, p: ops.rotary(x, jnp.asarray([p]))[0, 0]  # noqa: E731
    np.testing.assert_allclose(at(q, 9) @ at(k, 4), at(q, 105) @ at(k, 100), rtol=1e-4)
    assert abs(at(q, 9) @ at(k, 4) - at(q, 9) @ at(k, 5)) > 1e-2


def test_position_zero_and_lengths_are_kept():
    x = draw(3, 2, 4)
    np.testing.assert_array_equal(ops.rotary(x, jnp.zeros(3, jnp.int32)), x)
    turned = ops.rotary(x, jnp.asarray([5, 50, 500]))
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-6)


def test_bfloat16_angles_are_float32():
    x, far = jnp.ones((1, 1, 4), jnp.bfloat16), jnp.asarray([1001])  # bfloat16 has no 1001
    y = ops.rotary(x, far)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, ops.rotary(x.astype(jnp.float32), far).astype(jnp.bfloat16))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"x: expected \[t, h, d\] with d even, got \(2, 1, 3\)"):
        ops.rotary(jnp.ones((2, 1, 3)), jnp.arange(2))
    with pytest.raises(ValueError, match=r"positions: expected \[2\], got \(3,\)"):
        ops.rotary(jnp.ones((2, 1, 4)), jnp.arange(3))
