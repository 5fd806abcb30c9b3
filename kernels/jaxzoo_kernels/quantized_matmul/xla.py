"""The quantised product in pure lax: a product of integers or floats per group, scaled and summed in float32."""

import jax.numpy as jnp
from jax import lax

from .._core.products import product

INTEGERS = ("int4", "int8")
EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2")
MANY_ROWS = 64


def accumulator(*dtypes):
    """float64 if one of them is, else float32."""
    return jnp.dtype("float64" if "float64" in map(str, dtypes) else "float32")


def multiply(x, w, dtype):
    """x @ w of the stored numbers: int8 into int32, weights of fewer bits widened to the dtype of float x."""
    if x.dtype.name in INTEGERS:
        return product(x.astype(jnp.int8), w.astype(jnp.int8), jnp.int32).astype(dtype)
    if x.dtype.name in EIGHT_BITS:
        if x.dtype != w.dtype:
            x, w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
        return product(x, w, dtype)
    return product(x, w.astype(x.dtype), dtype)


def scaled(x, w, x_scale, w_scale, out_dtype):
    """sum over groups of multiply(x_g, w_g) x_scale_g w_scale_g.

    x [g or 1, m, k], w [g or 1, k, n], x_scale [g or 1, m or 1, groups or 1], w_scale [g or 1, groups or 1, n].
    """
    groups = max(x_scale.shape[2], w_scale.shape[1])
    dtype = accumulator(x.dtype, x_scale.dtype, w_scale.dtype)
    x_scale, w_scale = x_scale.astype(dtype), w_scale.astype(dtype)
    if groups == 1:
        return [(multiply(x, w, dtype) * x_scale * w_scale).astype(out_dtype)]
    size = x.shape[2] // groups

    def group(i, total):
        x_i, w_i = lax.dynamic_slice_in_dim(x, i * size, size, 2), lax.dynamic_slice_in_dim(w, i * size, size, 1)
        of_x = lax.dynamic_slice_in_dim(x_scale, i, 1, 2) if x_scale.shape[2] > 1 else x_scale
        of_w = lax.dynamic_slice_in_dim(w_scale, i, 1, 1) if w_scale.shape[1] > 1 else w_scale
        return total + multiply(x_i, w_i, dtype) * of_x * of_w

    total = jnp.zeros((max(x.shape[0], w.shape[0]), x.shape[1], w.shape[2]), dtype)
    return [lax.fori_loop(0, groups, group, total).astype(out_dtype)]


def scaled_on_cpu(x, w, x_scale, w_scale, out_dtype):
    """`scaled`; but of many float rows in groups, one product of all k with w dequantised, which is no less exact.

    A loop over groups passes over the result for each: at 256 rows it takes half as long again. For a few rows
    it is the dequantised copy of w that would cost, twice as much and more.
    """
    groups = max(x_scale.shape[2], w_scale.shape[1])
    if groups > 1 and x.shape[1] >= MANY_ROWS and x.dtype in (jnp.float32, jnp.float64):
        return [dequantized(x, w, x_scale, w_scale, out_dtype)]
    return scaled(x, w, x_scale, w_scale, out_dtype)


def dequantized(x, w, x_scale, w_scale, out_dtype):
    """The product as written on paper, (x_scale x) @ (w_scale w): what the op's derivatives are those of."""
    dtype = accumulator(x.dtype, x_scale.dtype, w_scale.dtype)
    x, w, x_scale, w_scale = (z.astype(dtype) for z in (x, w, x_scale, w_scale))
    of_x = jnp.repeat(x_scale, x.shape[2] // max(x_scale.shape[2], 1), 2)
    of_w = jnp.repeat(w_scale, w.shape[1] // max(w_scale.shape[1], 1), 1)
    return product(x * of_x, w * of_w, dtype).astype(out_dtype)
