"""`jaxzoo.ops` norms against their formulas written out in float64 numpy, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo import ops


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, shape)


def reference_layer_norm(x, scale, bias, eps):
    out = np.empty_like(x)
    for index in np.ndindex(x.shape[:-1]):
        row = x[index]
        out[index] = (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + eps) * scale + bias
    return out


def reference_group_norm(x, scale, bias, groups, eps):
    out, size = np.empty_like(x), x.shape[-1] // groups
    for g in range(groups):
        part = x[..., g * size : (g + 1) * size]
        out[..., g * size : (g + 1) * size] = (part - part.mean()) / np.sqrt(part.var() + eps)
    return out * scale + bias


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4)])
def test_layer_norm_is_its_formula_in_float64(shape):
    x, scale, bias = draw(*shape), draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    with jax.enable_x64(True):
        y = ops.layer_norm(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias), eps=1e-3)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, reference_layer_norm(x, scale, bias, 1e-3), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 4)])
def test_rms_norm_is_its_formula_in_float64(shape):
    x, scale = draw(*shape), draw(shape[-1], seed=1)
    with jax.enable_x64(True):
        y = ops.rms_norm(jnp.asarray(x), jnp.asarray(scale), eps=1e-3)
        want = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * scale
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "groups"), [((6,), 2), ((3, 6), 1), ((2, 3, 6), 6), ((2, 3, 6), 3)])
def test_group_norm_is_its_formula_in_float64(shape, groups):
    x, scale, bias = draw(*shape), draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    with jax.enable_x64(True):
        y = ops.group_norm(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias), groups=groups, eps=1e-3)
        np.testing.assert_allclose(y, reference_group_norm(x, scale, bias, groups, 1e-3), rtol=1e-12, atol=1e-12)


NORMS = {
    "layer": lambda x, scale, bias: ops.layer_norm(x, scale, bias),
    "rms": lambda x, scale, bias: ops.rms_norm(x, scale),
    "group": lambda x, scale, bias: ops.group_norm(x, scale, bias, groups=2),
}


@pytest.mark.parametrize("name", NORMS)
def test_gradients_are_finite_differences(name):
    with jax.enable_x64(True):
        args = jnp.asarray(draw(3, 4)), jnp.asarray(draw(4, seed=1)), jnp.asarray(draw(4, seed=2))
        check_grads(jax.jit(NORMS[name]), args, order=1, modes=("fwd", "rev"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NORMS)
def test_float32_is_close_to_float64(name):
    args = draw(5, 64), draw(64, seed=1), draw(64, seed=2)
    with jax.enable_x64(True):
        want = np.asarray(jax.jit(NORMS[name])(*(jnp.asarray(a) for a in args)))
    y = jax.jit(NORMS[name])(*(jnp.asarray(a, jnp.float32) for a in args))
    assert np.sqrt(np.mean((y - want) ** 2) / np.mean(want**2)) < 2e-6


@pytest.mark.parametrize("name", NORMS)
def test_bfloat16_in_gives_bfloat16_out_with_float32_statistics(name):
    # 4096 values near 256: a mean summed in bfloat16 stalls long before the end.
    x = jnp.asarray(256 + draw(1, 4096), jnp.bfloat16)
    scale, bias = jnp.ones(4096, jnp.bfloat16), jnp.zeros(4096, jnp.bfloat16)
    norm = jax.jit(NORMS[name])
    y = norm(x, scale, bias)
    want = norm(x.astype(jnp.float32), scale.astype(jnp.float32), bias.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, want.astype(jnp.bfloat16))


@pytest.mark.parametrize("name", NORMS)
def test_jit_and_vmap_equal_a_loop(name):
    x, scale, bias = (jnp.asarray(a, jnp.float32) for a in (draw(3, 2, 4), draw(4, seed=1), draw(4, seed=2)))
    loop = jnp.stack([NORMS[name](one, scale, bias) for one in x])
    batched = jax.jit(jax.vmap(NORMS[name], (0, None, None)))(x, scale, bias)
    np.testing.assert_allclose(batched, loop, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NORMS)
def test_constant_input_has_finite_gradients(name):
    gradient = jax.jit(jax.grad(lambda *a: NORMS[name](*a).sum(), argnums=(0, 1, 2)))
    for value in (0.0, 7.0, 1e4):
        grads = gradient(jnp.full((4,), value), jnp.ones(4), jnp.zeros(4))
        assert all(np.isfinite(g).all() for g in grads)


def test_left_out_scale_and_bias_are_one_and_zero():
    x = jnp.asarray(draw(3, 4), jnp.float32)
    np.testing.assert_array_equal(ops.layer_norm(x), ops.layer_norm(x, jnp.ones(4), jnp.zeros(4)))
    np.testing.assert_array_equal(ops.rms_norm(x), ops.rms_norm(x, jnp.ones(4)))
    np.testing.assert_array_equal(ops.group_norm(x, groups=2), ops.group_norm(x, jnp.ones(4), jnp.zeros(4), groups=2))


def test_wrong_shapes_are_named():
    x = jnp.ones((2, 4))
    with pytest.raises(ValueError, match=r"scale: expected \[4\].*got \(3,\)"):
        ops.layer_norm(x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"bias: expected \[4\].*got \(2, 4\)"):
        ops.group_norm(x, None, x, groups=2)
    with pytest.raises(ValueError, match=r"groups: expected a divisor of the 4 channels of x, got 3"):
        ops.group_norm(x, groups=3)
