"""Quantisation: error bounds, exact cases, ranges, axes, dtypes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops


def draw(*shape, seed=0, shift=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(shift, 1.0, shape), jnp.float32)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 9, 16])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 0.7, 5.0])
def test_the_error_is_within_the_bound_and_integers_within_the_range(bits, symmetric, shift):
    x = draw(40, 3, shift=shift)
    q = ops.quantize(x, bits, axis=0, symmetric=symmetric)
    assert q.scale.shape == q.zero.shape == (1, 3)
    low, high = (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    assert low <= q.values.min()
    assert q.values.max() <= high
    bound = np.float64(q.scale) * (0.5 if symmetric else 1.0)
    error = np.abs(np.float64(ops.dequantize(q)) - np.float64(x))
    assert (error <= bound + 2e-7 * np.abs(x).max()).all()


def test_eight_bits_of_a_known_vector():
    q = ops.quantize(jnp.asarray([-2.54, 0.0, 0.03, 1.27]), 8)
    np.testing.assert_array_equal(q.values, [-127, 0, 2, 64])  # 1.5 and 63.5 go to the even neighbour
    np.testing.assert_allclose(q.scale, [0.02], rtol=1e-6)
    q = ops.quantize(jnp.asarray([-1.0, 0.0, 2.0]), 2, symmetric=False)
    np.testing.assert_array_equal(q.values, [0, 1, 3])
    np.testing.assert_array_equal(q.zero, [1])
    np.testing.assert_array_equal(ops.dequantize(q), [-1, 0, 2])


@pytest.mark.parametrize("symmetric", [True, False])
def test_zero_is_exact_and_all_zeros_are_finite(symmetric):
    x = draw(9, shift=3.0).at[4].set(0.0)
    assert ops.fake_quantize(x, 4, symmetric=symmetric)[4] == 0
    np.testing.assert_array_equal(ops.fake_quantize(jnp.zeros(3), 4, symmetric=symmetric), np.zeros(3))


@pytest.mark.parametrize("symmetric", [True, False])
def test_quantising_twice_changes_nothing(symmetric):
    once = ops.fake_quantize(draw(50), 5, symmetric=symmetric)
    np.testing.assert_allclose(ops.fake_quantize(once, 5, symmetric=symmetric), once, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("axis", "shape"), [(None, (1, 1, 1)), (0, (1, 4, 3)), (-1, (2, 4, 1)), ((0, 2), (1, 4, 1))])
def test_axis_names_what_shares_a_scale(axis, shape):
    assert ops.quantize(draw(2, 4, 3), 8, axis=axis).scale.shape == shape


@pytest.mark.parametrize(
    ("bits", "symmetric", "dtype"), [(8, True, "int8"), (9, True, "int16"), (8, False, "uint8"), (9, False, "uint16")]
)
def test_integers_are_as_small_as_they_can_be(bits, symmetric, dtype):
    q = ops.quantize(draw(4), bits, symmetric=symmetric)
    assert q.values.dtype == q.zero.dtype == dtype
    assert q.scale.dtype == jnp.float32


def test_scales_per_example_under_vmap_equal_a_loop():
    x = draw(3, 5)
    batched = jax.jit(jax.vmap(lambda x: ops.fake_quantize(x, 3)))(x)
    np.testing.assert_allclose(batched, jnp.stack([ops.fake_quantize(one, 3) for one in x]), rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_fake_quantize_has_the_derivative_of_the_identity(symmetric):
    x = draw(4, 3)
    y, pull = jax.vjp(lambda x: ops.fake_quantize(x, 3, axis=0, symmetric=symmetric), x)
    np.testing.assert_array_equal(y, ops.dequantize(ops.quantize(x, 3, axis=0, symmetric=symmetric)))
    np.testing.assert_array_equal(pull(2 * x)[0], 2 * x)


def test_bfloat16_in_gives_bfloat16_out():
    assert ops.fake_quantize(draw(4).astype(jnp.bfloat16), 4).dtype == jnp.bfloat16


def test_bits_out_of_range_are_refused():
    for bits, symmetric in ((1, True), (0, False), (17, True)):
        with pytest.raises(ValueError, match=f"bits: expected .* to 16, got {bits}"):
            ops.quantize(draw(4), bits, symmetric=symmetric)
