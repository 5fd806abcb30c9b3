"""Segment operations against a loop over segments: padding, empty segments, ties, extremes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo import ops

# Segment 1 is empty, 3 holds padding alone, one index is below and one above the range.
IDS = jnp.asarray([2, 0, 2, 4, 0, 3, 2, -1, 5], jnp.int32)
MASK = jnp.asarray([True, True, True, True, True, False, False, True, True])
SEGMENTS = 5
ALL = (ops.segment_sum, ops.segment_mean, ops.segment_max, ops.segment_softmax)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def members(i, mask=MASK):
    return [j for j in range(len(IDS)) if IDS[j] == i and mask[j]]


def softmax(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)])
@pytest.mark.parametrize(
    ("segment", "reduce"), [(ops.segment_sum, np.sum), (ops.segment_mean, np.mean), (ops.segment_max, np.max)]
)
def test_reductions_are_a_loop_over_segments(segment, reduce, trailing):
    x = draw(9, *trailing)
    y = segment(x, IDS, SEGMENTS, mask=MASK)
    assert y.shape == (SEGMENTS, *trailing)
    for i in range(SEGMENTS):
        rows = np.float64(x)[members(i)]
        want = reduce(rows, axis=0) if len(rows) else np.zeros(trailing)
        np.testing.assert_allclose(y[i], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("trailing", [(), (3,)])
def test_softmax_is_a_loop_over_segments(trailing):
    x = draw(9, *trailing)
    y = ops.segment_softmax(x, IDS, SEGMENTS, mask=MASK)
    want = np.zeros((9, *trailing))
    for i in range(SEGMENTS):
        if members(i):
            want[members(i)] = softmax(np.float64(x)[members(i)])
    np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("segment", ALL)
def test_gradients_are_finite_differences(segment):
    with jax.enable_x64(True):
        x = draw(9, 2).astype(jnp.float64)
        check_grads(jax.jit(lambda x: segment(x, IDS, SEGMENTS, mask=MASK)), (x,), order=1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("segment", ALL)
def test_what_stands_in_padding_does_not_matter(segment, garbage):
    x = draw(9, 2)
    left_out = jnp.asarray([5, 6, 7, 8])
    value, pull = jax.vjp(jax.jit(lambda x: segment(x, IDS, SEGMENTS, mask=MASK)), x.at[left_out].set(garbage))
    np.testing.assert_array_equal(value, segment(x.at[left_out].set(0.0), IDS, SEGMENTS, mask=MASK))
    (gradient,) = pull(draw(*value.shape, seed=1))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[left_out], 0)


@pytest.mark.parametrize("segment", ALL)
def test_all_padding_gives_zeros_and_zero_gradients(segment):
    value, pull = jax.vjp(jax.jit(lambda x: segment(x, IDS, SEGMENTS, mask=jnp.zeros(9, bool))), draw(9, 2))
    np.testing.assert_array_equal(value, np.zeros(value.shape))
    np.testing.assert_array_equal(pull(jnp.ones_like(value))[0], np.zeros((9, 2)))


@pytest.mark.parametrize("segment", ALL)
def test_no_rows_at_all(segment):
    y = segment(jnp.zeros((0, 2)), jnp.zeros(0, jnp.int32), 3)
    np.testing.assert_array_equal(y, np.zeros((0, 2) if segment is ops.segment_softmax else (3, 2)))


def test_equal_maxima_share_the_gradient():
    x, ids = jnp.asarray([1.0, 1.0, 0.0, -5.0]), jnp.asarray([0, 0, 0, 1])
    gradient = jax.grad(lambda x: ops.segment_max(x, ids, 2).sum())(x)
    np.testing.assert_array_equal(gradient, [0.5, 0.5, 0, 1])


@pytest.mark.parametrize("size", [1e4, -1e4, 3e38])
def test_softmax_of_extreme_logits(size):
    x = jnp.asarray([size, size, 0.0, size])
    ids = jnp.asarray([0, 0, 1, 2])
    y, pull = jax.vjp(lambda x: ops.segment_softmax(x, ids, 3), x)
    np.testing.assert_array_equal(y, [0.5, 0.5, 1, 1])
    assert np.isfinite(pull(jnp.asarray([1.0, -2.0, 3.0, 4.0]))[0]).all()


def test_softmax_over_minus_infinity():
    x, ids = jnp.asarray([-jnp.inf, 0.0, -jnp.inf, -jnp.inf]), jnp.asarray([0, 0, 1, 1])
    y, pull = jax.vjp(lambda x: ops.segment_softmax(x, ids, 2), x)
    np.testing.assert_array_equal(y, [0, 1, 0, 0])
    np.testing.assert_array_equal(pull(jnp.ones(4))[0], np.zeros(4))


@pytest.mark.parametrize("segment", ALL)
def test_order_of_rows_does_not_matter(segment):
    x, order = draw(9, 2), np.random.default_rng(1).permutation(9)
    y = segment(x, IDS, SEGMENTS, mask=MASK)
    shuffled = segment(x[order], IDS[order], SEGMENTS, mask=MASK[order])
    np.testing.assert_allclose(shuffled, y[order] if segment is ops.segment_softmax else y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("segment", ALL)
def test_jit_and_vmap_equal_a_loop(segment):
    x, ids = draw(3, 9, 2), jnp.stack([IDS, IDS[::-1], jnp.roll(IDS, 2)])
    batched = jax.jit(jax.vmap(lambda x, ids: segment(x, ids, SEGMENTS, mask=MASK)))(x, ids)
    loop = jnp.stack([segment(a, b, SEGMENTS, mask=MASK) for a, b in zip(x, ids, strict=True)])
    np.testing.assert_allclose(batched, loop, rtol=1e-6, atol=1e-7)


def test_bfloat16_in_gives_bfloat16_out_with_float32_sums():
    # bfloat16 can't count beyond 256.
    x, ids = jnp.ones(300, jnp.bfloat16), jnp.zeros(300, jnp.int32)
    assert ops.segment_sum(x, ids, 1) == 300
    assert ops.segment_mean(x, ids, 1) == 1
    np.testing.assert_array_equal(ops.segment_softmax(x, ids, 1), jnp.full(300, 1 / 300, jnp.bfloat16))
    assert {segment(x, ids, 1).dtype for segment in ALL} == {jnp.dtype(jnp.bfloat16)}


def test_sums_of_integers_stay_integers():
    y = ops.segment_sum(jnp.asarray([2**24, 1, 5]), jnp.asarray([0, 0, 1]), 2)
    np.testing.assert_array_equal(y, [2**24 + 1, 5])


@pytest.mark.parametrize("segment", ALL)
def test_what_does_not_fit_is_named(segment):
    x = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"segment_ids: expected \[3\], got \(2,\)"):
        segment(x, jnp.zeros(2, jnp.int32), 2)
    with pytest.raises(ValueError, match="segment_ids: expected integers, got float32"):
        segment(x, jnp.zeros(3), 2)
    with pytest.raises(ValueError, match="num_segments: expected a Python int of at least 1, got 0"):
        segment(x, jnp.zeros(3, jnp.int32), 0)
    with pytest.raises(ValueError, match=r"mask: expected \[3\] booleans, got \(3,\) of float32"):
        segment(x, jnp.zeros(3, jnp.int32), 2, mask=jnp.ones(3))
