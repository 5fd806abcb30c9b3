"""Pallas TPU: channels across the lanes, time in order, the state in VMEM from one block of time to the next.

The grid is (sequences, blocks of channels, blocks of time), time last and in sequence; each step streams a block of a
and of b into VMEM while the one before is computed, so that h costs one read of a and b and one write of h.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .parts import planar, split
from .xla import step

DTYPES = ("float32", "bfloat16")


def refuse(*operands, **_):
    """Why these operands can't run, or None."""
    a, b, s = split(operands)
    for x in (*a, *b, *s):
        if jnp.dtype(x.dtype).name not in DTYPES:
            return f"TPU vector units compute in {' and '.join(DTYPES)}, not {x.dtype}"
    return "an empty sequence" if 0 in b[0].shape else None


def blocks(*operands, **_):
    """Block sizes: time steps and channels of one grid step."""
    _, b, _ = split(operands)
    _, t, c = b[0].shape
    return {"time": t if t <= 256 else 256 // len(b), "channels": c if c <= 512 else 512}


def run(*operands, reverse: bool, after: bool, conjugate: bool, interpret=False):
    a, b, s = split(operands)
    (n, t, c), parts = b[0].shape, len(b)
    size = blocks(*operands)
    bt, bc = size["time"], size["channels"]
    steps = pl.cdiv(t, bt)

    def time_block(i):
        return steps - 1 - i if reverse else i

    def spec(x):
        many, long = x.shape[0] > 1, x.shape[1] > 1 or t == 1
        shape = (None, bt if long else 1, bc)
        return pl.BlockSpec(shape, lambda i, j, k: (i if many else 0, time_block(k) if long else 0, j))

    edge = pl.BlockSpec((None, 1, bc), lambda i, j, k: (i, 0, j))
    narrow = any(x.dtype != jnp.float32 for x in (*a, *b))
    outputs = pl.pallas_call(
        lambda *refs: _body(refs, parts, t, bt, reverse, after, conjugate, narrow),
        grid=(n, pl.cdiv(c, bc), steps),
        in_specs=[*map(spec, a), *map(spec, b), *[edge] * parts],
        out_specs=[*map(spec, b), *[edge] * parts],
        out_shape=[*map(compat.output, b), *(compat.output(x, (n, 1, c), jnp.float32) for x in s)],
        scratch_shapes=[pltpu.VMEM((1, bc), jnp.float32)] * parts
        + [pltpu.VMEM((x.shape[1] if x.shape[1] == 1 else bt, bc), jnp.float32) for x in (*a, *b, *b) if narrow],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
        interpret=interpret,
    )(*a, *b, *(x[:, None] for x in s))
    return [*outputs[:parts], *(x[:, 0] for x in outputs[parts:])]


def _body(refs, parts, t, bt, reverse, after, conjugate, narrow):
    groups = [refs[i : i + parts] for i in range(0, len(refs), parts)]
    a, b, first, h, last, state, *wide = groups
    blocks_of_time = pl.num_programs(2)
    block = blocks_of_time - 1 - pl.program_id(2) if reverse else pl.program_id(2)
    # Rows of 16-bit arrays share registers two by two: widen the whole block first, and address rows of 32 bits.
    a32, b32, h32 = wide if narrow else (a, b, h)
    if narrow:
        for to, source in zip((*a32, *b32), (*a, *b), strict=True):
            to[...] = source[...].astype(jnp.float32)

    @pl.when(pl.program_id(2) == 0)
    def _():
        for to, source in zip(state, first, strict=True):
            to[...] = source[...].astype(jnp.float32)

    def body(i, s):
        row = bt - 1 - i if reverse else i
        at = [ref[pl.ds(row if ref.shape[0] > 1 else 0, 1), :] for ref in (*a32, *b32)]
        now, new = step(tuple(at[:parts]), tuple(at[parts:]), s, after, conjugate)
        for ref, x in zip(h32, now, strict=True):
            ref[pl.ds(row, 1), :] = x
        if t % bt == 0:
            return new
        inside = block * bt + row < t  # what lies past the end of the array is not zero
        return tuple(jnp.where(inside, x, y) for x, y in zip(new, s, strict=True))

    end = lax.fori_loop(0, bt, body, tuple(ref[...] for ref in state), unroll=min(8, bt))
    for ref, x in zip(state, end, strict=True):
        ref[...] = x
    if narrow:
        for to, source in zip(h, h32, strict=True):
            to[...] = source[...].astype(to.dtype)

    @pl.when(pl.program_id(2) == blocks_of_time - 1)
    def _():
        for to, x in zip(last, end, strict=True):
            to[...] = x


recurrence = planar(Kernel(run, refuse, blocks))
