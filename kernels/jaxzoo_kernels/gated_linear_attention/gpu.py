"""Mosaic GPU (Hopper): the passage of the state through the chunks, with tensor cores, the state in registers.

What a chunk does by itself (the scores A, q P and k R, see chunk.py) is batched products without order, which XLA runs
before the kernel. The kernel then goes over the chunks with one block of threads per head and 64 value channels, reads
and writes all but A in the op's own layout, and never writes the states to memory:

    o = A v + (q P) S,   S = G S + (k R)^T v

Lowered, compiled for sm_90a and run in JAX's GPU interpreter; it has not been run on a GPU. Until it has, it is taken
where it is named alone: implementation="pallas_gpu".
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from . import chunk as one
from .xla import padded, split

DTYPES = ("bfloat16", "float16")
CHUNK = 64  # rows of one tensor-core product
VALUES = 64  # value channels of one block of threads
STAGES = 2  # chunks in flight


def refuse(*operands, gate: str, **_):
    """Why these operands can't run, or None."""
    q, k, v, _, (_, *cts) = split(operands, gate)
    for x in (q, k, v, *cts[:1]):
        if jnp.dtype(x.dtype).name not in DTYPES or x.dtype != q.dtype:
            return f"tensor cores multiply {' or '.join(DTYPES)} exactly, q, k and v alike, not {x.dtype}"
    dk, dv = q.shape[-1], v.shape[-1]
    if dk not in (64, 128) or dv % VALUES or 0 in q.shape or dv == 0:
        return f"dk of 64 or 128 and dv a multiple of {VALUES} fill the tiles, got {dk} and {dv}"
    if max(q.shape[0], q.shape[2]) > 65535:
        return f"a grid has at most 65535 examples and heads, got {q.shape[0]} and {q.shape[2]}"
    return None


def blocks(*_, **__):
    """Steps of a chunk, value channels of a block, chunks in flight."""
    return {"chunk": CHUNK, "values": VALUES, "stages": STAGES}


def run(*operands, gate: str, chunk: int, scale: float):
    q, k, v, gates, (state,) = split(operands, gate)
    o, last = passage(*inside(q, k, gates, scale), padded(v, CHUNK), state)
    return [o[:, : v.shape[1]], last]


def inside(q, k, gates, scale):
    """(A [b, n, h, c, c], q P and k R [b, t, h, dk], G [b, n, h, dk] in float32) of n chunks of c steps, t padded."""

    def of_one(q, k, gates):
        q, k, *gates = (x.astype(jnp.float32) for x in (q, k, *gates))
        scores, seen, left, total = one.inside(q * scale, k, tuple(gates), lax.Precision.DEFAULT)
        return *(x.astype(dtype) for x in (scores, seen, left)), total

    dtype, dk = q.dtype, q.shape[-1]
    cuts = [in_chunks(x) for x in (q, k, *gates)]
    scores, seen, left, total = over_heads(of_one, 1, (0, 1, 1, 0))(cuts[0], cuts[1], tuple(cuts[2:]))
    if total is None:
        total = jnp.ones((), jnp.float32)
    total = total.reshape(*scores.shape[:3], -1) if total.ndim else total
    return scores, whole(seen), whole(left), jnp.broadcast_to(total, (*scores.shape[:3], dk))


def in_chunks(x):
    """[b, t, h, ..] to [b, n, c, h, ..], which moves nothing."""
    x = padded(x, CHUNK)
    return x.reshape(x.shape[0], -1, CHUNK, *x.shape[2:])


def whole(x):
    """The inverse of `in_chunks`."""
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def over_heads(function, in_axes, out_axes):
    """`function` of one chunk of one head over arrays [b, n, h, ..] (head axis 0) or [b, n, c, h, ..] (head axis 1)."""
    return jax.vmap(jax.vmap(jax.vmap(function, in_axes, out_axes)))


def passage(scores, reads, writes, total, x, state, *, reverse=False):
    """(y, last state) of y = A x + R S, S' = G S + W^T x, chunk by chunk; in `reverse` from the last, A transposed.

    Args:
        scores: [b, n, h, c, c] A. reads, writes: [b, t, h, dk] R and W. total: [b, n, h, dk] G, float32.
        x: [b, t, h, dv]. state: [b, h, dk, dv] float32.
    """
    (b, _, h, dk), dv = reads.shape, x.shape[-1]
    return plgpu.kernel(
        functools.partial(_body, reverse=reverse),
        out_type=[compat.output(x), compat.output(state)],
        grid=(b, h, dv // VALUES),  # the last axis is the fastest: neighbours share R and W in L2
        grid_names=("batch", "head", "values"),
        scratch_types=[
            [
                *(tile(x.dtype, STAGES, CHUNK, width) for width in (CHUNK, dk, dk, VALUES)),
                plgpu.SMEM((STAGES, dk), jnp.float32),
            ],
            tile(x.dtype, dk, VALUES),
            tile(x.dtype, CHUNK, VALUES),
            plgpu.Barrier(num_arrivals=5, num_barriers=STAGES),
        ],
        compiler_params=compat.mosaic_gpu_params(),
    )(scores, reads, writes, x, total, state)


def tile(dtype, *shape):
    """Shared memory as tensor cores read it."""
    return plgpu.SMEM(shape, dtype, transforms=(plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128)))


def _body(scores, reads, writes, x, total, first, y, last, inputs, state_smem, y_smem, arrived, *, reverse):
    batch, head = lax.axis_index("batch"), lax.axis_index("head")
    values = pl.ds(lax.axis_index("values") * VALUES, VALUES)
    count, dk = scores.shape[1], reads.shape[-1]

    def place(i):
        """(chunk, its rows) that step i is at."""
        chunk = count - 1 - i if reverse else i
        return chunk, pl.ds(chunk * CHUNK, CHUNK)

    def fetch(i, stage):
        chunk, rows = place(i)
        sources = [
            scores.at[batch, chunk, head],
            reads.at[batch, rows, head],
            writes.at[batch, rows, head],
            x.at[batch, rows, head, values],
            total.at[batch, chunk, head],
        ]
        for source, target in zip(sources, inputs, strict=True):
            plgpu.copy_gmem_to_smem(source, target.at[stage], arrived.at[stage])

    for stage in range(min(STAGES, count)):
        fetch(stage, stage)

    def step(i, state):
        stage = lax.rem(i, STAGES)
        plgpu.barrier_wait(arrived.at[stage])
        scores_now, reads_now, writes_now, x_now, total_now = (ref.at[stage] for ref in inputs)
        scores_now = scores_now.transpose((1, 0)) if reverse else scores_now
        state_smem[...] = state.astype(state_smem.dtype)
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the y of the chunk before has left shared memory
        plgpu.commit_smem()

        def products(y_acc, state_acc):
            plgpu.wgmma(y_acc, scores_now, x_now)
            plgpu.wgmma(y_acc, reads_now, state_smem)
            plgpu.wgmma(state_acc, writes_now.transpose((1, 0)), x_now)
            return y_acc[...], state_acc[...]

        y_now, added = pl.run_scoped(products, accumulator(CHUNK, VALUES), accumulator(dk, VALUES))
        y_smem[...] = y_now.astype(y_smem.dtype)
        state = state * per_row(compat.load(total_now, plgpu.Layout.WGMMA.reduce(1)), state) + added
        plgpu.commit_smem()  # every thread has written its part of y and read its part of this chunk
        plgpu.copy_smem_to_gmem(y_smem, y.at[batch, place(i)[1], head, values])

        @pl.when(i + STAGES < count)
        def _():
            fetch(i + STAGES, stage)

        return state

    start = compat.load(first.at[batch, head, pl.ds(0, dk), values], plgpu.Layout.WGMMA)
    last[batch, head, pl.ds(0, dk), values] = lax.fori_loop(0, count, step, start)
    plgpu.wait_smem_to_gmem(0)


def accumulator(rows, columns):
    return plgpu.ACC((rows, columns), jnp.float32)


def per_row(x, like):
    return lax.broadcast_in_dim(x, like.shape, [0])


forward = Kernel(run, refuse, blocks, named_alone=True)
