"""Pallas TPU: the lines of `xla` on blocks of rows of 128 lanes, a block of each word in VMEM.

The grid is (examples, blocks of rows). Words pass as int32, the type of the vector unit; shifts are logical.
Interpreted and lowered; it has not been run on a TPU, and the block size is a guess.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .xla import fold_words, mul_words

LANES, ROWS = 128, 64


def refuse(*operands):
    """Why these operands can't run, or None."""
    return "an empty table" if operands[0].size == 0 else None


def blocks(*operands):
    """Rows and lanes of one grid step."""
    return {"rows": ROWS, "lanes": LANES}


def elementwise(function, operands, interpret):
    """function on pairs of words, of operands [g, 2, n] or [g or 1, 2, 1]."""
    g, _, n = operands[0].shape
    rows = -(-n // (LANES * ROWS)) * ROWS
    laid, specs = [], []
    for x in operands:
        one = x.shape[2] == 1 and n > 1
        x = lax.bitcast_convert_type(x, jnp.int32)
        if one:
            laid.append(jnp.broadcast_to(x[..., None], (len(x), 2, 1, LANES)))
        else:
            laid.append(jnp.pad(x, [(0, 0), (0, 0), (0, rows * LANES - n)]).reshape(len(x), 2, rows, LANES))
        specs.append(_spec(one, len(x) > 1))

    def body(*refs):
        *ins, out = refs
        block = out.shape[1:]
        words = [[jnp.broadcast_to(ref[i], block) for i in range(2)] for ref in ins]
        out[0], out[1] = function(*words, **({} if interpret else {"rounds": unrolled}))

    out = pl.pallas_call(
        body,
        grid=(g, rows // ROWS),
        in_specs=specs,
        out_specs=_spec(False, True),
        out_shape=compat.output(laid[0], (g, 2, rows, LANES), jnp.int32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        interpret=interpret,
    )(*laid)
    return [lax.bitcast_convert_type(out.reshape(g, 2, -1)[:, :, :n], jnp.uint32)]


def unrolled(function, limbs):
    """Three applications, one after the other."""
    return function(function(function(limbs)))


def _spec(one, many):
    """A block of rows of one example; of the only row, or of the only example, where there is one."""
    return pl.BlockSpec((None, 2, 1 if one else ROWS, LANES), lambda g, i: (g if many else 0, 0, 0 if one else i, 0))


def run_multiply(a, b, interpret=False):
    """See `xla.multiply`."""
    return elementwise(mul_words, [a, b], interpret)


def run_fold(low, high, u, interpret=False):
    """See `xla.fold`."""
    return elementwise(fold_words, [low, high, u], interpret)


multiply = Kernel(run_multiply, refuse, blocks)
fold = Kernel(run_fold, refuse, blocks)
