"""Pallas TPU for the bits form: integer and float additions on the vector unit, a block of the result kept in VMEM.

The grid is (examples, blocks of m, blocks of n, blocks of k), k last and in sequence. A step adds outer terms, a column
of x against a row of y, with the sum in registers; the lax form passes over the whole accumulator instead. Interpreted,
and compiled for five TPU generations; it has not been run on a TPU, and the block sizes are guesses.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .xla import accumulator, bits_operands, result_dtype, with_specials

INFINITY = 0x7F800000


def refuse(x, y, *, semantics, **_):
    """Why these operands can't run, or None."""
    if semantics == "literal":
        return "the literal form is two ordinary products, which XLA runs on the matrix unit"
    if accumulator(x.dtype) != jnp.float32:
        return f"TPU vector units compute in float32, not {x.dtype}"
    return "an empty product" if 0 in x.shape + y.shape else None


def blocks(x, y, **_):
    """Rows, columns and terms of one grid step."""
    return {"m": 32, "n": 256 if y.shape[2] > 128 else 128, "k": 32}


def run(x, y, *, semantics, mantissa_bits, rounding, gradient, interpret=False):
    m, n = x.shape[1], y.shape[2]
    size = blocks(x, y)
    bm, bn, bk = size["m"], size["n"], size["k"]
    left, right, marks = bits_operands(x, y, mantissa_bits, rounding)
    left = [_columns(z, bm, bk) for z in left]
    right = [_padded(z, (1, bk, bn)) for z in right]
    steps = left[0].shape[1]
    shape = (max(x.shape[0], y.shape[0]), left[0].shape[2], right[0].shape[2])

    def spec_left(z):
        return pl.BlockSpec((None, None, bm, bk), lambda g, i, j, k: (g if z.shape[0] > 1 else 0, k, i, 0))

    def spec_right(z):
        return pl.BlockSpec((None, bk, bn), lambda g, i, j, k: (g if z.shape[0] > 1 else 0, k, j))

    total = pl.pallas_call(
        _body,
        grid=(shape[0], shape[1] // bm, shape[2] // bn, steps),
        in_specs=[*map(spec_left, left), *map(spec_right, right)],
        out_specs=pl.BlockSpec((None, bm, bn), lambda g, i, j, k: (g, i, j)),
        out_shape=compat.output(left[0], shape, jnp.float32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")),
        interpret=interpret,
    )(*left, *right)
    return [with_specials(total[:, :m, :n], marks).astype(result_dtype(x.dtype))]


def _padded(z, multiples):
    """z as int32, every axis padded to a multiple; terms past k are then 0 + 0, the bits of 0."""
    z = lax.bitcast_convert_type(z, jnp.int32)
    widths = [(0, -d % multiple) for d, multiple in zip(z.shape, multiples, strict=True)]
    return jnp.pad(z, widths)


def _columns(z, bm, bk):
    """[g, m, k] as [g, blocks of k, m, bk], so that a block of few columns is whole along the lanes."""
    z = _padded(z, (1, bm, bk))
    return jnp.moveaxis(z.reshape(*z.shape[:2], -1, bk), 2, 1)


def _body(a, sign_x, addend, floor, sign_y, out):
    @pl.when(pl.program_id(3) == 0)
    def _():
        out[...] = jnp.zeros_like(out)

    total = jnp.zeros(out.shape, jnp.float32)
    for i in range(addend.shape[0]):
        column, row = (slice(None), slice(i, i + 1)), (slice(i, i + 1), slice(None))
        # Above the floor the sum is positive, so that a negative one has passed 2^31.
        summed = a[column] + addend[row]
        magnitude = jnp.where(summed < 0, INFINITY, jnp.minimum(summed, INFINITY))
        magnitude = jnp.where(a[column] >= floor[row], magnitude, 0)
        total += lax.bitcast_convert_type(magnitude | (sign_x[column] ^ sign_y[row]), jnp.float32)
    out[...] += total


bits_matmul = Kernel(run, refuse, blocks)
