"""Products with quantised matrices: int8, int4 and 8-bit floats, with scales per tensor, per channel and per group.

    out_ij = sum_g x_scale_ig w_scale_gj sum_(k in g) x_ik w_kj

The inner sum is over the stored numbers and the scales come after it, so that matrix units see the narrow numbers: int8
times int8 is summed exactly in int32, 8-bit floats in float32, and float activations take weights widened to their own
dtype, in which every int4, int8 and 8-bit float is exact. Sums over groups are kept in float32.

What bounds it: decoding (m of a few rows) reads each weight once, so bytes of w bound it and int4 is the gain; long
inputs are bound by the matrix unit, where int8 and 8-bit floats run at twice the rate of bfloat16 on current chips.
A loop over groups adds one pass over out per group: groups of 128 or more keep it small.

Tried on cpu and dropped: multiplying int8 in float32, which is exact in runs of 1024 terms, for BLAS. XLA's own int8
product into int32 was 3 times faster (512 x 2048 x 1024 on two cores, JAX 0.10.2).

Every platform gets the lax form, which has been run on cpu, compiled for TPU v5e and sm_90a, and not run there; whether
XLA reads int4 weights without first writing them out wide has not been looked at. The Pallas kernels for TPU (tpu.py)
and for Hopper GPUs (gpu.py: float activations by integers, and 8-bit floats by their own dtype) surely do, and are
taken where they are named until they have run on one.
"""

import functools

import jax
import jax.numpy as jnp

from .._core import check_floating, check_shape
from .._core.checks import FLOATING
from .._core.products import check_matmul, fold
from .op import quantized_matmul_op
from .xla import EIGHT_BITS, INTEGERS

__all__ = ["quantized_matmul"]


def quantized_matmul(x, w, w_scale, *, x_scale=None, implementation: str | None = None):
    """Multiplies by a quantised matrix and scales the result, without dequantising the matrix.

        out_ij = sum_g x_scale_ig w_scale_gj sum_(k in g) x_ik w_kj

    Args:
        x: [..., m, k] activations: float16, bfloat16, float32, float64 (the weights alone are quantised), int4 or int8,
            or float8_e4m3fn, float8_e5m2.
        w: [..., k, n] weights: int4, int8, float8_e4m3fn or float8_e5m2; integers where x is of integers, 8-bit floats
            where x is of those. Leading axes broadcast with x's, as in `jnp.matmul`.
        w_scale: [] for the whole matrix, [n] per output channel, or [..., groups, n] per group of k / groups
            consecutive rows of w; floating.
        x_scale: None for 1, [], [..., m] per row, or [..., m, groups]; floating. `groups` is 1 or w_scale's, or
            w_scale's is 1.
        implementation: None or "xla"; or "pallas_gpu" or "pallas_tpu", which have not run on a GPU or TPU yet.

    Returns:
        [..., m, n] of x's dtype where that is float16 or wider, else of the scales' promoted dtype. Accumulated in
        float32 (float64 for float64), integers of one group exactly.

    Derivatives of any order are those of (x_scale x) @ (w_scale w), into every floating operand. They are computed with
    w dequantised, and rounded to the operand's own dtype; integers have none.

    Raises:
        ValueError: shapes or groups that don't fit. TypeError: a dtype, or pair of dtypes, that is none of these.
        NotImplementedError: a named implementation that can't run, and why.

    Source: Jacob et al. (arXiv 1712.05877), eqs. 2 to 4, zero points being 0; groups: Dettmers et al. (arXiv
    2110.02861).
    """
    x, w, w_scale = (jnp.asarray(z) for z in (x, w, w_scale))
    scales = [w_scale] if x_scale is None else [w_scale, jnp.asarray(x_scale)]
    _check_dtypes(x, w, scales)
    check_matmul(("x", "w"), x, w)
    x_scale = jnp.ones((), scales[0].dtype) if x_scale is None else scales[1]
    x_scale, w_scale = _check_scales(x, w, x_scale, w_scale)
    out_dtype = x.dtype if x.dtype.name in FLOATING else jnp.result_type(*(s.dtype for s in scales))
    return _quantized_matmul(x, w, x_scale, w_scale, out_dtype=jnp.dtype(out_dtype), implementation=implementation)


def _check_dtypes(x, w, scales):
    if w.dtype.name not in INTEGERS + EIGHT_BITS:
        raise TypeError(f"w: expected dtype {', '.join(INTEGERS + EIGHT_BITS)}, got {w.dtype}; quantise it first")
    partners = INTEGERS if w.dtype.name in INTEGERS else EIGHT_BITS
    if x.dtype.name not in FLOATING + partners:
        expected = ", ".join(FLOATING + partners)
        raise TypeError(f"x: expected dtype {expected} to go with w's {w.dtype}, got {x.dtype}; cast it")
    for name, scale in zip(("w_scale", "x_scale"), scales, strict=False):
        check_floating(name, scale)


def _check_scales(x, w, x_scale, w_scale):
    """x_scale [..., m or 1, groups or 1] and w_scale [..., groups or 1, n], with x's and w's leading axes."""
    k, n = w.shape[-2:]
    grouped = w_scale.ndim == w.ndim and w_scale.shape == (*w.shape[:-2], w_scale.shape[-2], n)
    expected = f"(), ({n},) or {(*w.shape[:-2], 'groups', n)}".replace("'", "")
    check_shape("w_scale", w_scale, expected, grouped or w_scale.shape in ((), (n,)))
    rows = x.shape[:-1]
    by_group = x_scale.ndim == x.ndim and x_scale.shape[:-1] == rows
    expected = f"(), {rows} or {(*rows, 'groups')}".replace("'", "")
    check_shape("x_scale", x_scale, expected, by_group or x_scale.shape in ((), rows))
    w_scale = w_scale if grouped else jnp.broadcast_to(w_scale, (*w.shape[:-2], 1, n))
    if not by_group:
        x_scale = jnp.broadcast_to(x_scale.reshape(x_scale.shape or (1,) * len(rows)), rows)[..., None]
    groups = (x_scale.shape[-1], w_scale.shape[-2])
    if (1 not in groups and groups[0] != groups[1]) or 0 in groups:
        raise ValueError(f"x_scale: expected 1 or {groups[1]} groups as w_scale has, got {groups[0]}")
    if k % max(groups):
        raise ValueError(f"w_scale: expected a number of groups that divides k = {k}, got {max(groups)}")
    return x_scale, w_scale


@functools.partial(jax.jit, static_argnames=("out_dtype", "implementation"))
def _quantized_matmul(x, w, x_scale, w_scale, **options):
    x, w, shape = fold(x, w)
    x_scale, w_scale, _ = fold(x_scale, w_scale)
    (out,) = quantized_matmul_op(x, w, x_scale, w_scale, **options)
    return out.reshape(shape)
