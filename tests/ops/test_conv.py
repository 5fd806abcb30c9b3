"""Convolution by matrix products against `lax.conv_general_dilated`: values, gradients, transforms, dtypes, errors."""

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


def reference(x, w, *, stride=1, padding="SAME", dilation=1, groups=1):
    """`lax.conv_general_dilated` on [b, ..., c]."""
    rank = w.ndim - 2
    pair = lambda v: (v,) * rank if isinstance(v, int) else v  # noqa: E731
    padding = ((padding, padding),) * rank if isinstance(padding, int) else padding
    layout = {1: ("NTC", "TIO", "NTC"), 2: ("NHWC", "HWIO", "NHWC")}[rank]
    return lax.conv_general_dilated(
        x, w, pair(stride), padding, rhs_dilation=pair(dilation), dimension_numbers=layout, feature_group_count=groups
    )


@partial(jax.jit, static_argnums=0)
def value_and_gradients(f, x, w, cotangent):
    y, pull = jax.vjp(f, x, w)
    return y, *pull(cotangent)


CASES = {  # x, w, options
    "3x3": ((2, 6, 5, 3), (3, 3, 3, 4), {}),
    "same, strided, odd": ((2, 7, 5, 3), (3, 2, 3, 4), {"stride": 2}),
    "same, stride beyond the window": ((1, 7, 8, 2), (2, 2, 2, 3), {"stride": (3, 4)}),
    "torch padding, strided": ((2, 8, 8, 3), (3, 3, 3, 4), {"stride": 2, "padding": 1}),
    "valid": ((1, 6, 6, 2), (5, 4, 2, 3), {"padding": "VALID"}),
    "pairs": ((1, 4, 5, 2), (3, 3, 2, 3), {"padding": ((0, 2), (3, 1)), "stride": (1, 2)}),
    "dilated": ((1, 9, 8, 2), (3, 2, 2, 3), {"dilation": (2, 3)}),
    "dilated, strided, same": ((1, 9, 8, 2), (3, 3, 2, 3), {"dilation": 2, "stride": 2}),
    "groups": ((2, 5, 5, 6), (3, 3, 2, 9), {"groups": 3}),
    "depthwise": ((2, 5, 5, 4), (3, 3, 1, 4), {"groups": 4, "stride": 2}),
    "depthwise, two filters": ((1, 5, 5, 4), (3, 3, 1, 8), {"groups": 4}),
    "pointwise": ((2, 3, 3, 5), (1, 1, 5, 2), {}),
    "one pixel": ((1, 1, 1, 1), (3, 3, 1, 1), {}),
    "1-D": ((2, 9, 3), (4, 3, 5), {}),
    "1-D causal, dilated": ((2, 9, 3), (3, 3, 5), {"padding": ((4, 0),), "dilation": 2}),
    "1-D depthwise, strided": ((2, 9, 3), (3, 1, 3), {"groups": 3, "stride": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_lax_in_float64(case):
    x_shape, w_shape, options = CASES[case]
    with jax.enable_x64(True):
        x, w = (draw(*s, seed=i).astype(jnp.float64) for i, s in enumerate((x_shape, w_shape)))
        shape = jax.eval_shape(partial(reference, **options), x, w).shape
        cotangent = draw(*shape, seed=3).astype(jnp.float64)
        ours, theirs = (value_and_gradients(partial(f, **options), x, w, cotangent) for f in (ops.conv, reference))
        for value, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ["groups", "1-D depthwise, strided"])
def test_derivatives_are_finite_differences_both_ways(case):
    x_shape, w_shape, options = CASES[case]
    with jax.enable_x64(True):
        x, w = (draw(*s, seed=i).astype(jnp.float64) for i, s in enumerate((x_shape, w_shape)))
        check_grads(partial(ops.conv, **options), (x, w), order=1, modes=("fwd", "rev"), rtol=1e-6, atol=1e-6)


def test_one_example_and_any_leading_axes():
    x, w = draw(2, 3, 5, 4, 2), draw(3, 3, 2, 3, seed=1)
    batched = ops.conv(x, w)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(batched[index], ops.conv(x[index], w), rtol=1e-5, atol=1e-6)


def test_vmap_over_kernels_equals_a_loop():
    x, w = draw(5, 4, 2), draw(3, 3, 3, 2, 4, seed=1)
    batched = jax.vmap(ops.conv, (None, 0))(x, w)
    np.testing.assert_allclose(batched, jnp.stack([ops.conv(x, one) for one in w]), rtol=1e-5, atol=1e-6)
    both = jax.vmap(ops.conv)(jnp.stack([x, 2 * x, -x]), w)
    np.testing.assert_allclose(both[1], 2 * batched[1], rtol=1e-5, atol=1e-6)


def test_training_in_a_scan_equals_a_loop():
    x, w0 = draw(2, 5, 4, 2), draw(3, 3, 2, 2, seed=1)

    def step(w, _):
        loss, gradient = jax.value_and_grad(lambda w: jnp.square(ops.conv(x, w, stride=2)).mean())(w)
        return w - 0.1 * gradient, loss

    scanned, losses = jax.jit(lambda w: lax.scan(step, w, length=3))(w0)
    w = w0
    for i in range(3):
        w, loss = step(w, None)
        np.testing.assert_allclose(losses[i], loss, rtol=1e-5)
    np.testing.assert_allclose(scanned, w, rtol=1e-5, atol=1e-6)


def test_float32_is_close_to_float64():
    x, w = draw(1, 9, 9, 32), draw(3, 3, 32, 8, seed=1)
    with jax.enable_x64(True):
        want = np.asarray(jax.jit(reference)(x.astype(jnp.float64), w.astype(jnp.float64)))
    assert np.sqrt(np.mean((ops.conv(x, w) - want) ** 2) / np.mean(want**2)) < 2e-6


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_bfloat16_in_gives_bfloat16_out_with_float32_sums(groups):
    x, w = (draw(*s, seed=i).astype(jnp.bfloat16) for i, s in enumerate(((9, 8, 4), (7, 3, 4 // groups, 4))))
    y = ops.conv(x, w, groups=groups)
    assert y.dtype == jnp.bfloat16
    want = ops.conv(x.astype(jnp.float32), w.astype(jnp.float32), groups=groups).astype(jnp.bfloat16)
    # Rounded once, at the end: equal but for sums that lie between two numbers of bfloat16.
    assert np.mean(np.asarray(y) == np.asarray(want)) > 0.98
    gradients = jax.grad(lambda x, w: ops.conv(x, w, groups=groups).sum(dtype=jnp.float32), (0, 1))(x, w)
    assert {g.dtype for g in gradients} == {jnp.dtype(jnp.bfloat16)}


def test_the_platform_is_chosen_when_lowering():
    traced = jax.jit(partial(ops.conv, padding=1)).trace(draw(5, 4, 2), draw(3, 3, 2, 3))
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert "stablehlo.convolution" in text
        assert "dot_general" not in text


def test_second_call_does_not_retrace():
    traces = []

    @jax.jit
    def run(x, w):
        traces.append(1)
        return ops.conv(x, w)

    x, w = draw(5, 4, 2), draw(3, 3, 2, 3)
    run(x, w)
    run(x + 1, w)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((5, 5, 3), (3, 3, 2, 4), {}, r"w: expected 3 channels .*got \(3, 3, 2, 4\)"),
        ((5, 5, 3), (3, 4), {}, r"w: expected \[k, c, o\] or \[kh, kw, c, o\], got \(3, 4\)"),
        ((5, 3), (3, 3, 3, 4), {}, r"x: expected 2 spatial axes and channels.*got \(5, 3\)"),
        ((5, 5, 3), (3, 3, 3, 4), {"groups": 2}, "groups: expected a divisor of 3 channels in and 4 out, got 2"),
        ((5, 5, 3), (3, 3, 3, 4), {"stride": 0}, "stride: expected a positive int, or 2 of them, got 0"),
        ((5, 5, 3), (3, 3, 3, 4), {"dilation": (1, 1, 1)}, "dilation: expected a positive int, or 2 of them"),
        ((5, 5, 3), (3, 3, 3, 4), {"padding": -1}, "padding: expected .*got -1"),
        ((5, 5, 3), (3, 3, 3, 4), {"padding": "same"}, "padding: expected .*got 'same'"),
        ((5, 5, 3), (3, 3, 3, 4), {"padding": ((1, 1),)}, "padding: expected .* 2 pairs"),
        ((2, 5, 3), (3, 3, 3, 4), {"padding": "VALID"}, "x: expected at least 3 positions under the window, got 2"),
    ],
)
def test_what_does_not_fit_is_named(x, w, options, message):
    with pytest.raises(ValueError, match=message):
        ops.conv(jnp.ones(x), jnp.ones(w), **options)


def test_different_dtypes_are_refused():
    with pytest.raises(ValueError, match="w: expected the dtype of x, bfloat16, got float32"):
        ops.conv(jnp.ones((5, 5, 3), jnp.bfloat16), jnp.ones((3, 3, 3, 4)))


def test_a_gradient_keeps_input_and_kernel_alone():
    x, w = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    _, transpose = jax.vjp(ops.conv, x, w)
    assert sum(leaf.size for leaf in jax.tree.leaves(transpose)) <= x.size + w.size


def test_one_export_serves_every_platform():
    x, w = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    gradient = jax.jit(jax.grad(lambda x, w: jnp.square(ops.conv(x, w)).sum(), (0, 1)))
    exported = jax.export.export(gradient, platforms=("cpu", "cuda", "tpu"))(x, w)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), exported.call(x, w), gradient(x, w))
