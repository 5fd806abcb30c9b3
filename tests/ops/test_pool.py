"""Pooling against `lax.reduce_window`: values, gradients, padding, ties, NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from jaxzoo import ops


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


CASES = {  # x, window, options
    "2x2": ((6, 4, 3), (2, 2), {}),
    "overlapping": ((7, 5, 2), (3, 2), {"stride": (2, 1)}),
    "same": ((2, 7, 5, 2), (3, 2), {"stride": 2, "padding": "SAME"}),
    "int": ((6, 6, 2), (3, 3), {"stride": 2, "padding": 1}),
    "pairs": ((5, 4, 2), (2, 3), {"stride": 1, "padding": ((1, 0), (0, 2))}),
    "odd, remainder dropped": ((7, 5, 1), (2, 2), {}),
    "1-D": ((2, 9, 3), (4,), {"stride": 3}),
    "whole": ((3, 4, 2), (3, 4), {}),
}


def over_windows(x, window, init, function, *, stride=None, padding="VALID"):
    rank = len(window)
    stride = window if stride is None else (stride,) * rank if isinstance(stride, int) else stride
    batch = x.ndim - rank - 1
    ones = (1,) * batch
    padding = ((padding, padding),) * rank if isinstance(padding, int) else padding
    if not isinstance(padding, str):
        padding = ((0, 0),) * batch + tuple(padding) + ((0, 0),)
    return lax.reduce_window(x, init, function, (*ones, *window, 1), (*ones, *stride, 1), padding)


@partial(jax.jit, static_argnums=0)
def value_and_gradient(f, x, cotangent):
    y, pull = jax.vjp(f, x)
    return y, *pull(cotangent)


def reference_max(x, window, **options):
    return over_windows(x, window, -jnp.inf, lax.max, **options)


def reference_mean(x, window, **options):
    return over_windows(x, window, 0.0, lax.add, **options) / np.prod(window)


@pytest.mark.parametrize(("pool", "reference"), [(ops.max_pool, reference_max), (ops.avg_pool, reference_mean)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_reduce_window(case, pool, reference):
    shape, window, options = CASES[case]
    x = draw(*shape)
    cotangent = draw(*jax.eval_shape(partial(reference, window=window, **options), x).shape, seed=1)
    ours, theirs = (value_and_gradient(partial(f, window=window, **options), x, cotangent) for f in (pool, reference))
    for value, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["same", "int", "pairs", "1-D"])
def test_the_mean_without_padding_divides_by_what_is_inside(case):
    shape, window, options = CASES[case]
    x = draw(*shape)
    total = over_windows(x, window, 0.0, lax.add, **options)
    count = over_windows(jnp.ones_like(x), window, 0.0, lax.add, **options)
    y = ops.avg_pool(x, window, count_padding=False, **options)
    np.testing.assert_allclose(y, total / count, rtol=1e-6, atol=1e-6)


def test_of_equal_elements_the_first_gets_the_gradient():
    x = jnp.asarray([[0.0, 1.0], [1.0, 1.0]])[..., None]
    gradient = jax.grad(lambda x: ops.max_pool(x, (2, 2)).sum())(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1], [0, 0]])


def test_nan_in_a_window_gives_nan_and_nowhere_else():
    for place in np.ndindex(2, 2):
        x = jnp.ones((4, 2, 1)).at[place].set(jnp.nan)
        np.testing.assert_array_equal(np.isnan(ops.max_pool(x, (2, 2)).ravel()), [True, False])


@pytest.mark.parametrize("pool", [ops.max_pool, ops.avg_pool])
def test_gradients_are_finite_differences(pool):
    with jax.enable_x64(True):
        x = draw(5, 4, 2).astype(jnp.float64)
        check_grads(jax.jit(lambda x: pool(x, (3, 2), stride=1, padding=1)), (x,), order=1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pool", [ops.max_pool, ops.avg_pool])
def test_jit_and_vmap_equal_a_loop(pool):
    x = draw(3, 5, 4, 2)
    batched = jax.jit(jax.vmap(lambda x: pool(x, (2, 2))))(x)
    np.testing.assert_allclose(batched, jnp.stack([pool(one, (2, 2)) for one in x]), rtol=1e-6)


def test_bfloat16_means_are_summed_in_float32():
    # bfloat16 can't count beyond 256.
    y = jax.jit(lambda x: ops.avg_pool(x, (20, 20)))(jnp.ones((20, 20, 1), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert y == 1


def test_max_of_integers():
    x = jnp.arange(-6, 0).reshape(6, 1)
    np.testing.assert_array_equal(ops.max_pool(x, (3,), padding=1, stride=3)[:, 0], [-5, -2])


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"x: expected \[..., h, w, c\].*got \(4, 2\)"):
        ops.max_pool(jnp.ones((4, 2)), (2, 2))
    with pytest.raises(ValueError, match="x: expected at least 5 positions under the window, got 4"):
        ops.avg_pool(jnp.ones((4, 4, 1)), (5, 5))
    with pytest.raises(ValueError, match=r"window: expected a positive int, or 2 of them, got \(0, 2\)"):
        ops.avg_pool(jnp.ones((4, 4, 1)), (0, 2))
