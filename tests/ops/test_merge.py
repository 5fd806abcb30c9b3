"""Merged layers equal the layers one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def norm(channels):
    state = ops.BatchState(normal(1, channels), normal(2, channels) ** 2 + 0.1, jnp.int32(3))
    return normal(3, channels), normal(4, channels), state


def test_batch_norm_folds_into_a_dense_layer():
    x, w, b, (scale, bias, state) = normal(5, 7, 4), normal(6, 4, 3), normal(7, 3), norm(3)
    expected, _ = ops.batch_norm(x @ w + b[None], scale, bias, state, train=False, eps=1e-3)
    w, b = ops.fold_batch_norm(w, b, scale, bias, state, eps=1e-3)
    np.testing.assert_allclose(x @ w + b[None], expected, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_folds_into_a_convolution_without_offset(affine):
    x, w, (scale, bias, state) = normal(5, 2, 6, 6, 4), normal(6, 3, 3, 4, 3), norm(3)
    scale, bias = (scale, bias) if affine else (None, None)
    expected, _ = ops.batch_norm(ops.conv(x, w), scale, bias, state, train=False)
    w, b = ops.fold_batch_norm(w, None, scale, bias, state)
    np.testing.assert_allclose(ops.conv(x, w) + b[None, None, None], expected, atol=1e-5)


@pytest.mark.parametrize("window", [1, 4])
def test_a_convolution_and_a_pointwise_one_merge(window):
    x, w1, b1 = normal(0, 2, 8, 8, 3), normal(1, window, window, 3, 5), normal(2, 5)
    w2, b2 = normal(3, 1, 1, 5, 4), normal(4, 4)
    row = lambda b: b[None, None, None]  # noqa: E731
    run = lambda x, w: ops.conv(x, w, stride=window, padding="VALID")  # noqa: E731
    expected = ops.conv(run(x, w1) + row(b1), w2) + row(b2)
    w, b = ops.merge_pointwise(w1, b1, w2, b2)
    np.testing.assert_allclose(run(x, w) + row(b), expected, atol=1e-4)


def test_dense_layers_merge_in_float64():
    with jax.enable_x64(True):
        x, w1, b1, w2, b2 = (jnp.float64(normal(i, *s)) for i, s in enumerate([(2, 3), (3, 5), (5,), (5, 4), (4,)]))
        w, b = ops.merge_pointwise(w1, b1, w2, b2)
        np.testing.assert_allclose(x @ w + b[None], (x @ w1 + b1[None]) @ w2 + b2[None], atol=1e-12)


def test_what_does_not_fit_is_refused():
    _, _, state = norm(3)
    with pytest.raises(ValueError, match=r"b: expected \[3\]"):
        ops.fold_batch_norm(normal(0, 4, 3), normal(1, 4), None, None, state)
    with pytest.raises(ValueError, match="expected a pointwise layer"):
        ops.merge_pointwise(normal(0, 4, 3), normal(1, 3), normal(2, 3, 3, 3, 5), normal(3, 5))
    with pytest.raises(ValueError, match="w1, b1, b2: expected"):
        ops.merge_pointwise(normal(0, 4, 3), normal(1, 3), normal(2, 5, 2), normal(3, 2))
