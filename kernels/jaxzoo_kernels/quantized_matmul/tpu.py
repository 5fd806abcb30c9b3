"""Pallas TPU for the quantised product: narrow weights cross from HBM as they are stored and widen in VMEM.

The grid is (examples, blocks of m, blocks of n, blocks of k), k last and in sequence; a block of k lies within one
group, so that its product is scaled once, on the way into a float32 accumulator that stays in VMEM. What XLA may do for
decoding, to write int4 weights out wide and read them again, can't happen here. int8 is multiplied as int8, which v4
can't; 8-bit floats as bfloat16, in which they are exact. Sums of integers are exact within a block of k and rounded to
float32 from one block to the next. Interpreted, and compiled for five TPU generations; it has not been run on a TPU,
and the block sizes are guesses.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .xla import EIGHT_BITS, INTEGERS

ROWS, COLUMNS, LANES = 256, 512, 128
TERMS = (1024, 512, 256, LANES)


def refuse(x, w, x_scale, w_scale, *, out_dtype):
    """Why these operands can't run, or None."""
    for z in (x.dtype, x_scale.dtype, w_scale.dtype, out_dtype):
        if z in (jnp.float64, jnp.float16):
            return f"TPU matrix units take neither float16 nor float64, and one operand or the result is {z}"
    if 0 in x.shape + w.shape:
        return "an empty product"
    groups = max(x_scale.shape[2], w_scale.shape[1])
    if groups > 1 and x.shape[2] // groups % LANES:
        return f"groups of {x.shape[2] // groups} terms, which are not a multiple of {LANES}"
    return None


def blocks(x, w, x_scale, w_scale, **_):
    """Rows, columns and terms of one grid step."""
    groups, k = max(x_scale.shape[2], w_scale.shape[1]), x.shape[2]
    if groups == 1 and k <= TERMS[0]:
        terms = k
    else:
        size = k // groups if groups > 1 else k + -k % LANES
        terms = next(t for t in TERMS if size % t == 0)
    return {"m": min(ROWS, x.shape[1]), "n": min(COLUMNS, w.shape[2]), "k": terms}


def run(x, w, x_scale, w_scale, *, out_dtype, interpret=False):
    (_, m, k), n = x.shape, w.shape[2]
    groups, size = max(x_scale.shape[2], w_scale.shape[1]), blocks(x, w, x_scale, w_scale)
    bm, bn, bk = size["m"], size["n"], size["k"]
    # Only k needs padding: what lies past the last row or column meets nothing that is kept.
    x, w = jnp.pad(x, ((0, 0), (0, 0), (0, -k % bk))), jnp.pad(w, ((0, 0), (0, -k % bk), (0, 0)))
    lead, steps = max(z.shape[0] for z in (x, w, x_scale, w_scale)), x.shape[2] // bk
    of_x = jnp.broadcast_to(x_scale, (x_scale.shape[0], m, x_scale.shape[2]))
    of_x = jnp.moveaxis(of_x, 2, 1)[..., None].astype(jnp.float32)  # [g, groups, m, 1]
    of_w = w_scale[:, :, None].astype(jnp.float32)  # [g, groups, 1, n]
    per_group = steps // groups

    def at(z, *rest):
        """The index map of an operand: its example, or the only one, then `rest(i, j, group, k)`."""

        def index(g, i, j, step):
            group = lax.div(step, per_group) if z.ndim == 4 and z.shape[1] > 1 else 0
            return g if z.shape[0] > 1 else 0, *(f(i, j, group, step) for f in rest)

        return index

    row, column = (lambda i, j, group, step: i), (lambda i, j, group, step: j)
    of_group, term, first = (lambda i, j, group, s: group), (lambda i, j, group, s: s), (lambda *_: 0)
    return [
        pl.pallas_call(
            _body,
            grid=(lead, pl.cdiv(m, bm), pl.cdiv(n, bn), steps),
            in_specs=[
                pl.BlockSpec((None, bm, bk), at(x, row, term)),
                pl.BlockSpec((None, bk, bn), at(w, term, column)),
                pl.BlockSpec((None, None, bm, 1), at(of_x, of_group, row, first)),
                pl.BlockSpec((None, None, 1, bn), at(of_w, of_group, first, column)),
            ],
            out_specs=pl.BlockSpec((None, bm, bn), lambda g, i, j, step: (g, i, j)),
            out_shape=compat.output(x, (lead, m, n), out_dtype),
            scratch_shapes=[pltpu.VMEM((bm, bn), jnp.float32)],
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")),
            interpret=interpret,
        )(x, w, of_x, of_w)
    ]


def _body(x, w, x_scale, w_scale, out, total):
    @pl.when(pl.program_id(3) == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    total[...] += _multiply(x[...], w[...]).astype(jnp.float32) * x_scale[...] * w_scale[...]

    @pl.when(pl.program_id(3) == pl.num_programs(3) - 1)
    def _():
        out[...] = total[...].astype(out.dtype)


def _multiply(x, w):
    """x @ w of the stored numbers, into int32 or float32, without rounding any of them."""
    if x.dtype.name in INTEGERS:
        return jnp.dot(x.astype(jnp.int8), w.astype(jnp.int8), preferred_element_type=jnp.int32)
    dtype = jnp.bfloat16 if x.dtype.name in EIGHT_BITS else x.dtype
    precision = lax.Precision.HIGHEST if dtype == jnp.float32 else None
    return jnp.dot(x.astype(dtype), w.astype(dtype), precision=precision, preferred_element_type=jnp.float32)


scaled = Kernel(run, refuse, blocks, named_alone=True)
