"""Pallas TPU for products of signs: words cross from HBM, and their bits become int8 signs for the matrix unit in VMEM.

The grid is (examples, blocks of m, blocks of n, blocks of words), words last and in sequence. Bit i of all words of a
block is one matrix of signs on either side, so that 32 products of such matrices sum over the block in another order
than the lax form, and no bits have to move between lanes. Interpreted, and compiled for TPU v5e to v7x (v4 takes no
int8 product); it has not been run on a TPU, and the block sizes are guesses.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .xla import WORD

ROWS, COLUMNS, WORDS = 256, 512, 128


def refuse(x, w, **_):
    """Why these operands can't run, or None."""
    return "an empty product" if 0 in x.shape + w.shape else None


def blocks(x, w, **_):
    """Rows, columns and words of one grid step."""
    return {"m": min(ROWS, x.shape[1]), "n": min(COLUMNS, w.shape[2]), "words": min(WORDS, x.shape[2])}


def run(x, w, *, k, interpret=False):
    (_, m, words), n, size = x.shape, w.shape[2], blocks(x, w)
    bm, bn, bw = size["m"], size["n"], size["words"]
    x, w = (
        lax.bitcast_convert_type(jnp.pad(z, ((0, 0), *pads)), jnp.int32)
        for z, pads in ((x, ((0, 0), (0, -words % bw))), (w, ((0, -words % bw), (0, 0))))
    )
    lead = max(x.shape[0], w.shape[0])

    def body(x, w, out):
        step = pl.program_id(3)

        @pl.when(step == 0)
        def _():
            out[...] = jnp.zeros_like(out)

        words_x, words_w = x[...], w[...]
        place = (step * bw + lax.broadcasted_iota(jnp.int32, words_x.shape, 1)) * WORD
        total = out[...]
        for bit in range(WORD):
            sign = jnp.where(place + bit < k, _sign(words_x, bit), 0)  # bits past k count as nothing
            total += jnp.dot(
                sign.astype(jnp.int8), _sign(words_w, bit).astype(jnp.int8), preferred_element_type=jnp.int32
            )
        out[...] = total

    return [
        pl.pallas_call(
            body,
            grid=(lead, pl.cdiv(m, bm), pl.cdiv(n, bn), x.shape[2] // bw),
            in_specs=[
                pl.BlockSpec((None, bm, bw), lambda g, i, j, s: (g if x.shape[0] > 1 else 0, i, s)),
                pl.BlockSpec((None, bw, bn), lambda g, i, j, s: (g if w.shape[0] > 1 else 0, s, j)),
            ],
            out_specs=pl.BlockSpec((None, bm, bn), lambda g, i, j, s: (g, i, j)),
            out_shape=compat.output(x, (lead, m, n), jnp.int32),
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")),
            interpret=interpret,
        )(x, w)
    ]


def _sign(words, bit):
    """1 or -1, where the bit is set."""
    return 1 - 2 * (lax.shift_right_logical(words, bit) & 1)


signs = Kernel(run, refuse, blocks, named_alone=True)
